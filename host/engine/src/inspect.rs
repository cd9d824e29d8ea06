//! What a component says about itself without being run or compiled.

use wasmparser::{ComponentExternalKind, Parser, Payload};

use crate::error::LoadError;
use crate::stage::Stage;

/// Imports and exports of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Names of its imports, in their order.
    pub imports: Vec<String>,
    /// Names of its exports, in their order.
    pub exports: Vec<String>,
    /// Those of the imports no plugin gets.
    pub forbidden: Vec<String>,
}

/// Interfaces a plugin may import, whatever their minor version. A component has no other way to reach anything: this list is
/// the whole capability check.
const ALLOWED_IMPORTS: [&str; 2] = ["dpf:plugin/log@1.", "dpf:plugin/types@1."];

impl Inspection {
    /// The stages whose interface it exports, in the order of a reconcile.
    pub fn stages(&self) -> Vec<Stage> {
        Stage::ALL
            .into_iter()
            .filter(|stage| {
                let interface = format!("dpf:plugin/{}@", stage.interface());
                self.exports
                    .iter()
                    .any(|export| export.starts_with(&interface))
            })
            .collect()
    }
}

/// Reads imports and exports of a component. Nothing of it is validated or run.
///
/// # Errors
/// The bytes are not a WebAssembly component.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    let parse = |detail: String| LoadError::Parse { detail };
    if !Parser::is_component(bytes) {
        let detail = if Parser::is_core_wasm(bytes) {
            "it is a core module; make a component of it (dpfctl plugin build does)"
        } else {
            "it does not begin like one"
        };
        return Err(parse(detail.to_owned()));
    }
    let mut found = Inspection::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| parse(error.to_string()))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Those of the component itself; what is nested can only be given what it imports.
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let name = import.map_err(|error| parse(error.to_string()))?.name.name;
                    found.imports.push(name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(|error| parse(error.to_string()))?;
                    // Others are types, which an instance brings along.
                    if matches!(
                        export.kind,
                        ComponentExternalKind::Instance | ComponentExternalKind::Func
                    ) {
                        found.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    found.forbidden = found
        .imports
        .iter()
        .filter(|name| {
            !ALLOWED_IMPORTS
                .iter()
                .any(|allowed| name.starts_with(allowed))
        })
        .cloned()
        .collect();
    Ok(found)
}

//! What is checked of a component before it is compiled.

use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::error::LoadError;

/// Interfaces a plugin may import, whatever their minor version. A component has no other way to reach anything: this list is
/// the whole capability check.
const ALLOWED_IMPORTS: [&str; 2] = ["dpf:plugin/log@1.", "dpf:plugin/types@1."];

/// Checks size, format and imports.
pub(crate) fn check(bytes: &[u8], limit: usize) -> Result<(), LoadError> {
    if bytes.len() > limit {
        return Err(LoadError::TooLarge {
            size: bytes.len(),
            limit,
        });
    }
    let parse = |detail: String| LoadError::Parse { detail };
    if !Parser::is_component(bytes) {
        let detail = if Parser::is_core_wasm(bytes) {
            "it is a core module; make a component of it (dpfctl plugin build does)"
        } else {
            "it does not begin like one"
        };
        return Err(parse(detail.to_owned()));
    }
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(bytes)
        .map_err(|error| parse(error.to_string()))?;
    let mut forbidden = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| parse(error.to_string()))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Those of the component itself; what is nested can only be given what it imports.
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let name = import.map_err(|error| parse(error.to_string()))?.name.name;
                    if !ALLOWED_IMPORTS
                        .iter()
                        .any(|allowed| name.starts_with(allowed))
                    {
                        forbidden.push(name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    if forbidden.is_empty() {
        Ok(())
    } else {
        Err(LoadError::ForbiddenImports { imports: forbidden })
    }
}

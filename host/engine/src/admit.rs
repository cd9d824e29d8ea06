//! What is checked of a component before it is compiled.

use wasmparser::{Validator, WasmFeatures};

use crate::error::LoadError;
use crate::inspect::inspect;

/// Checks size, format and imports.
pub(crate) fn check(bytes: &[u8], limit: usize) -> Result<(), LoadError> {
    if bytes.len() > limit {
        return Err(LoadError::TooLarge {
            size: bytes.len(),
            limit,
        });
    }
    let imports = inspect(bytes)?.forbidden;
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(bytes)
        .map_err(|error| LoadError::Parse {
            detail: error.to_string(),
        })?;
    if imports.is_empty() {
        Ok(())
    } else {
        Err(LoadError::ForbiddenImports { imports })
    }
}

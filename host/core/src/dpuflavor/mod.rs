//! From a DPUFlavor to the bf.cfg of one DPU.
//!
//! Everything a user wrote reaches the DPU as base64 or as a JSON string: no content can end a heredoc, a quote or a
//! YAML value. The same input gives the same bytes.

mod render;
mod validate;

pub use render::{BfCfg, Join, RenderError, SIZE_LIMIT_BYTES, render};
pub use validate::{Finding, validate};

//! Builds a plugin crate into a WebAssembly component.

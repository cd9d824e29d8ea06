//! Hosts plugins: wasmtime embedding and plugin registry.

//! The default chain-builder plugin.

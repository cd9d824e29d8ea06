//! The default version-check plugin.

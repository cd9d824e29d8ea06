//! The default template-merge plugin.

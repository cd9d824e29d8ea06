//! The language of the Go package text/template, without its host.

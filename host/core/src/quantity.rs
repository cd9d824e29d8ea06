//! Kubernetes quantities in the form in which Kubernetes writes them back.

/// The canonical text of a quantity.
#[must_use]
pub fn canonical(text: &str) -> String {
    text.trim().to_owned()
}

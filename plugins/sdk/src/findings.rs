//! Findings and failures: what a plugin tells the user.

use crate::{Failure, Finding, Severity};

/// An error of the user's input, in the field of an object.
pub fn error(
    object: impl Into<String>,
    field: impl Into<String>,
    message: impl Into<String>,
) -> Finding {
    finding(Severity::Error, object, field, message)
}

/// Something in the user's input that somebody should look at, in the field of an object.
pub fn warning(
    object: impl Into<String>,
    field: impl Into<String>,
    message: impl Into<String>,
) -> Finding {
    finding(Severity::Warning, object, field, message)
}

fn finding(
    severity: Severity,
    object: impl Into<String>,
    field: impl Into<String>,
    message: impl Into<String>,
) -> Finding {
    Finding {
        severity,
        object: object.into(),
        field: field.into(),
        message: message.into(),
    }
}

/// A failure with its findings. Its message is theirs, in the way Kubernetes joins several errors.
pub fn failure(code: &str, findings: Vec<Finding>) -> Failure {
    let message = match findings.as_slice() {
        [one] => one.message.clone(),
        many => {
            let all: Vec<&str> = many
                .iter()
                .map(|finding| finding.message.as_str())
                .collect();
            format!("[{}]", all.join(", "))
        }
    };
    Failure {
        code: code.to_owned(),
        message,
        findings,
    }
}

/// Collects findings, so that a user sees everything that is wrong at once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    /// Adds an error.
    pub fn error(
        &mut self,
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.all.push(error(object, field, message));
    }

    /// Adds a warning.
    pub fn warning(
        &mut self,
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.all.push(warning(object, field, message));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The warnings, when there is no error.
    ///
    /// # Errors
    /// Everything, as a failure with this code, when there is one.
    pub fn or_fail(self, code: &str) -> Result<Vec<Finding>, Failure> {
        if self.all.iter().any(|it| it.severity == Severity::Error) {
            Err(failure(code, self.all))
        } else {
            Ok(self.all)
        }
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        self.all.extend(findings);
    }
}

impl From<Findings> for Vec<Finding> {
    fn from(findings: Findings) -> Self {
        findings.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_alone_are_no_failure() {
        let mut findings = Findings::default();
        findings.warning("DPUServiceTemplate/x", "spec", "unusual");
        assert_eq!(
            findings.clone().or_fail("Wrong"),
            Ok(vec![warning("DPUServiceTemplate/x", "spec", "unusual")])
        );
        findings.error("DPUServiceTemplate/x", "spec.a", "wrong");
        let failure = findings.or_fail("Wrong").unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.message.as_str()),
            ("Wrong", "[unusual, wrong]")
        );
    }
}

//! What Masterminds semver v3 and Kubernetes' resource.Quantity answer, case by case.

use serde_json::Value;
use version_check::constraint::{Constraint, parse_version};

#[test]
fn version_constraints() {
    let vectors: Value = serde_json::from_str(include_str!("version-constraints.json")).unwrap();
    let mut checks = 0;
    let mut wrong = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let text = case["constraint"].as_str().unwrap();
        let parsed = Constraint::parse(text);
        let Some(results) = case["results"].as_object() else {
            checks += 1;
            if parsed.is_ok() {
                wrong.push(format!("{text:?} should be improper"));
            }
            continue;
        };
        for (version, expected) in results {
            checks += 1;
            let got = match (&parsed, parse_version(version)) {
                (_, None) => "unparsable",
                (Ok(constraint), Some(version)) if constraint.allows(&version) => "satisfied",
                (Ok(_), Some(_)) => "not satisfied",
                (Err(_), _) => "improper",
            };
            if expected != got {
                wrong.push(format!(
                    "{text:?} with {version:?}: expected {expected}, got {got}"
                ));
            }
        }
    }
    assert!(checks > 900, "the vectors are complete, {checks} checks");
    assert!(
        wrong.is_empty(),
        "{} of {checks} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn more_improper_constraints() {
    for text in [
        ">=2.9<3",
        "2.9,",
        ",2.9",
        "1.2 -",
        "1.2 - ",
        "- 1.2",
        ">=",
        "1.",
        "1..2",
        "1x",
        "1.2.3-",
        "1.2.3+",
        ">= 1.2 - 2",
    ] {
        assert!(Constraint::parse(text).is_err(), "{text:?}");
    }
}

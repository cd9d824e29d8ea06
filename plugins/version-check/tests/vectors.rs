//! What Masterminds semver v3 and Kubernetes' resource.Quantity answer, case by case.

use serde_json::Value;
use version_check::constraint::{Constraint, parse_version};
use version_check::quantity::{Quantity, QuantityError};

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

#[test]
fn quantities_parse() {
    let vectors: Value = serde_json::from_str(include_str!("quantities.json")).unwrap();
    for case in vectors["parse"].as_array().unwrap() {
        let text = case["in"].as_str().unwrap();
        let quantity = Quantity::parse(text);
        if let Some(error) = case["error"].as_str() {
            let expected = if error.contains("suffix") {
                QuantityError::Suffix
            } else {
                QuantityError::Format
            };
            assert_eq!(quantity.unwrap_err(), expected, "{text:?}");
            continue;
        }
        let quantity = quantity.unwrap();
        assert_eq!(
            quantity.to_string(),
            case["canonical"].as_str().unwrap(),
            "{text:?}"
        );
        // Beyond 64 bits Go's numbers wrap; ours do not.
        if i64::try_from(quantity.value()).is_ok() {
            assert_eq!(
                quantity.value(),
                i128::from(case["value"].as_i64().unwrap()),
                "{text:?}"
            );
        }
        if i64::try_from(quantity.milli()).is_ok() && case["milli"] != "0" {
            assert_eq!(
                quantity.milli().to_string(),
                case["milli"].as_str().unwrap(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn quantities_add_and_compare() {
    let vectors: Value = serde_json::from_str(include_str!("quantities.json")).unwrap();
    for case in vectors["arithmetic"].as_array().unwrap() {
        let [left, right] =
            ["a", "b"].map(|side| Quantity::parse(case[side].as_str().unwrap()).unwrap());
        assert_eq!(
            left.cmp(&right) as i64,
            case["cmp"].as_i64().unwrap(),
            "{case}"
        );
        assert_eq!(
            left.plus(&right).to_string(),
            case["sum"].as_str().unwrap(),
            "{case}"
        );
        assert_eq!(
            left.minus(&right).to_string(),
            case["difference"].as_str().unwrap(),
            "{case}"
        );
    }
}

#[test]
fn a_quantity_beyond_counting_is_an_error() {
    for text in [
        "1e30",
        "99999999999999999999999999999999999999999",
        "1e99999999999",
    ] {
        assert!(Quantity::parse(text).is_err(), "{text}");
    }
    assert_eq!(Quantity::parse("1e-300").unwrap().to_string(), "1e-300");
}

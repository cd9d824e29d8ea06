//! What Kubernetes makes of the same texts.

use dpf_quantity::{Quantity, QuantityError};
use serde_json::Value;

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

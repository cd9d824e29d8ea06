//! What Go's text/template answers, case by case.

use dpf_go_template::{Options, Stage, render};
use serde_json::Value;

#[test]
fn go_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("go-template.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 182, "the vectors are complete");
    let mut wrong = Vec::new();
    for case in cases {
        let template = case["template"].as_str().unwrap();
        let data = if case["data"].is_null() {
            &vectors["data"]
        } else {
            &case["data"]
        };
        let mut options = Options::default();
        if let (Some(left), Some(right)) = (case["left"].as_str(), case["right"].as_str()) {
            options.left = left.to_owned();
            options.right = right.to_owned();
        }
        let expected = match case["stage"].as_str() {
            Some(stage) => Err(stage),
            None => Ok(case["output"].as_str().unwrap()),
        };
        let rendered = render(template, data, &options);
        let agrees = match (&rendered, &expected) {
            (Ok(text), Ok(expected)) => text == expected,
            (Err(error), Err(stage)) => {
                error.line == 1
                    && error.column >= 1
                    && *stage
                        == if error.stage == Stage::Parse {
                            "parse"
                        } else {
                            "execute"
                        }
            }
            _ => false,
        };
        if !agrees {
            wrong.push(format!(
                "{}: {template:?}\n  expected {expected:?}\n  got      {rendered:?}",
                case["name"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

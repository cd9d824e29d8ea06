//! Label selectors: one matcher for all kinds, and PCI addresses in both spellings.

use dpf_api::keys::labels::DPUDEVICE_PCI_ADDRESS;
use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// Whether labels match a selector; no selector and an empty one match everything.
#[must_use]
pub fn matches(selector: Option<&LabelSelector>, labels: Option<&Labels>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let empty = Labels::new();
    let labels = labels.unwrap_or(&empty);
    let by_label = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    by_label
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|requirement| {
                requirement_holds(
                    &requirement.key,
                    &requirement.operator,
                    requirement.values.as_deref(),
                    labels,
                )
            })
}

/// Whether labels match a node selector: its terms are alternatives, an empty term matches nothing.
#[must_use]
pub fn matches_node(selector: Option<&NodeSelector>, labels: Option<&Labels>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let empty = Labels::new();
    let labels = labels.unwrap_or(&empty);
    selector.node_selector_terms.iter().any(|term| {
        let requirements = term.match_expressions.as_deref().unwrap_or_default();
        !requirements.is_empty()
            && requirements
                .iter()
                .all(|r| requirement_holds(&r.key, &r.operator, r.values.as_deref(), labels))
    })
}

fn requirement_holds(
    key: &str,
    operator: &str,
    values: Option<&[String]>,
    labels: &Labels,
) -> bool {
    let values = values.unwrap_or_default();
    let label = labels.get(key);
    match operator {
        "In" => label.is_some_and(|value| values.contains(value)),
        "NotIn" => label.is_none_or(|value| !values.contains(value)),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        "Gt" | "Lt" => {
            let (Some(label), Some(bound)) = (number(label), number(values.first())) else {
                return false;
            };
            if operator == "Gt" {
                label > bound
            } else {
                label < bound
            }
        }
        _ => false,
    }
}

fn number(text: Option<&String>) -> Option<i64> {
    text.and_then(|t| t.parse().ok())
}

/// A device selector in which every PCI address has the form that labels have.
///
/// Users write `0000:0e:00.0`, which no Kubernetes label can hold; devices are labelled `0000-0e-00`. Both spellings
/// select the same device. Other keys stay as they are.
#[must_use]
pub fn with_canonical_pci(mut selector: LabelSelector) -> LabelSelector {
    if let Some(value) = selector
        .match_labels
        .as_mut()
        .and_then(|labels| labels.get_mut(DPUDEVICE_PCI_ADDRESS))
    {
        *value = canonical_pci(value);
    }
    for LabelSelectorRequirement { key, values, .. } in
        selector.match_expressions.iter_mut().flatten()
    {
        if key == DPUDEVICE_PCI_ADDRESS {
            values
                .iter_mut()
                .flatten()
                .for_each(|value| *value = canonical_pci(value));
        }
    }
    selector
}

/// `0000:0E:00.0`, `0000:0e:00` and `0000-0e-00` become `0000-0e-00`; anything else is returned unchanged.
#[must_use]
pub fn canonical_pci(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let without_function = match lower.split_once('.') {
        Some((address, function))
            if function.len() == 1 && function.bytes().all(|b| (b'0'..=b'7').contains(&b)) =>
        {
            address
        }
        Some(_) => return text.to_owned(),
        None => &lower,
    };
    let parts: Vec<&str> = without_function.split([':', '-']).collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    match parts.as_slice() {
        [domain, bus, device] if hex(domain, 4) && hex(bus, 2) && hex(device, 2) => {
            format!("{domain}-{bus}-{device}")
        }
        [bus, device] if hex(bus, 2) && hex(device, 2) => format!("{bus}-{device}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn pci_addresses_in_both_spellings() {
        for (written, label) in [
            ("0000:0e:00.0", "0000-0e-00"),
            ("0000:0E:00.1", "0000-0e-00"),
            ("0000:0e:00", "0000-0e-00"),
            ("0000-0e-00", "0000-0e-00"),
            ("0e:00.0", "0e-00"),
            ("rack:7", "rack:7"),
            ("0000:0e:00.9", "0000:0e:00.9"),
            ("", ""),
        ] {
            assert_eq!(canonical_pci(written), label, "{written}");
        }
    }

    #[test]
    fn only_the_pci_key_is_rewritten() {
        let selector = LabelSelector {
            match_labels: Some(labels(&[
                (DPUDEVICE_PCI_ADDRESS, "0000:0e:00.0"),
                ("other", "0000:0e:00.0"),
            ])),
            match_expressions: None,
        };
        let canonical = with_canonical_pci(selector).match_labels.unwrap();
        assert_eq!(canonical[DPUDEVICE_PCI_ADDRESS], "0000-0e-00");
        assert_eq!(canonical["other"], "0000:0e:00.0");
    }

    #[test]
    fn selector_table() {
        let node = labels(&[("rack", "b-100"), ("size", "7")]);
        let requirement = |key: &str, operator: &str, values: &[&str]| LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
        };
        for (selector, expected) in [
            (requirement("rack", "In", &["b-100", "b-101"]), true),
            (requirement("rack", "In", &["b-101"]), false),
            (requirement("rack", "NotIn", &["b-101"]), true),
            (requirement("absent", "NotIn", &["x"]), true),
            (requirement("absent", "Exists", &[]), false),
            (requirement("absent", "DoesNotExist", &[]), true),
            (requirement("size", "Gt", &["6"]), true),
            (requirement("size", "Lt", &["6"]), false),
            (requirement("rack", "Bogus", &[]), false),
        ] {
            assert_eq!(
                matches(Some(&selector), Some(&node)),
                expected,
                "{selector:?}"
            );
        }
        assert!(matches(None, None));
        assert!(matches(Some(&LabelSelector::default()), None));
    }

    #[test]
    fn an_empty_node_selector_term_matches_nothing() {
        let selector = NodeSelector {
            node_selector_terms: vec![Default::default()],
        };
        assert!(!matches_node(Some(&selector), Some(&labels(&[("a", "b")]))));
        assert!(matches_node(None, None));
    }
}

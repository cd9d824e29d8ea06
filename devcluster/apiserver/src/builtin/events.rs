//! Events have two faces: `v1` and `events.k8s.io/v1`. They are stored as the first.

use serde_json::Value;

/// Field names: in `v1`, in `events.k8s.io/v1`.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// From `events.k8s.io/v1` to `v1`.
pub fn to_core(event: &mut Value) {
    rename(event, |(core, new)| (new, core));
    if let Some(map) = event.as_object_mut() {
        map.insert("apiVersion".into(), "v1".into());
    }
}

/// From `v1` to `events.k8s.io/v1`.
pub fn to_events(event: &mut Value) {
    rename(event, |(core, new)| (core, new));
    if let Some(map) = event.as_object_mut() {
        map.insert("apiVersion".into(), "events.k8s.io/v1".into());
    }
}

fn rename(
    event: &mut Value,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(map) = event.as_object_mut() else {
        return;
    };
    for pair in NAMES {
        let (from, to) = direction(*pair);
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_ways() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": {"name": "x"}});
        let mut event = new.clone();
        to_core(&mut event);
        assert_eq!(event["message"], "n");
        assert_eq!(event["involvedObject"]["name"], "x");
        to_events(&mut event);
        assert_eq!(event, new);
    }
}

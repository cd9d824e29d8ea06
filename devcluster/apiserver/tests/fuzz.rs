//! The fuzz targets over a corpus and over generated input: no panic, no answer out of proportion.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests may be as blunt as the tests"
)]

use std::cell::RefCell;

use dpf_apiserver::fuzz::{Target, Victim};
use proptest::prelude::*;

/// No answer is larger: the largest is a list of everything, or the schemas of everything.
const LARGEST: usize = 16 * 1024 * 1024;

const PATHS: &[&str] = &[
    "",
    "api",
    "apis",
    "openapi/v2",
    "openapi/v3/api/v1",
    "api/v1/namespaces/default/pods/p/log",
    "api/v1/namespaces/default/pods?watch=true&resourceVersion=1&sendInitialEvents=true",
    "api/v1/pods?limit=1&continue=%ff%00",
    "api/v1/pods?limit=99999999999999999999&resourceVersion=-1",
    "apis/fuzz.example.com/v1/widgets?fieldSelector=%3d%3d",
    "apis/fuzz.example.com/v1/namespaces//widgets/../w",
    "api/v1/namespaces/default/serviceaccounts/x/token",
];
const SELECTORS: &[&str] = &[
    "a in (b,c),!d\nspec.nodeName=x",
    "a in (((((",
    ",,,,\n,,,,",
    "a>1,b<99999999999999999999999\nmetadata.name!=",
    "é=ü\n==",
];
const PATCHES: &[&str] = &[
    "0[{\"op\":\"move\",\"from\":\"/spec\",\"path\":\"/spec/any\"}]",
    "0[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/spec/any\"}]",
    "0[{\"op\":\"add\",\"path\":\"/spec/tags/99999999999\",\"value\":1}]",
    "1{\"spec\":{\"any\":{\"a\":[[[[[[[[]]]]]]]]},\"metadata\":null}}",
    "1null",
    "2{\"spec\":{\"$patch\":\"delete\",\"containers\":[{\"$patch\":\"replace\"}],\"$setElementOrder/containers\":[1,{}]}}",
    "2{\"$retainKeys\":[1],\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":{}}}",
];
const CONFIGS: &[&str] = &[
    "apiVersion: fuzz.example.com/v1\nkind: Widget\nspec: {ports: [{}, {name: 1}], tags: [a, a]}",
    "apiVersion: v1\nkind: Pod\nmetadata: {managedFields: [{}]}\nspec: {containers: [{name: c}, {name: c}]}",
    "&a [*a]",
    "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]",
    "{\"metadata\":{\"managedFields\":[{\"fieldsV1\":{\"k:{\":1}}]}}",
];

fn attack(target: Target, input: &[u8]) {
    thread_local! {
        static VICTIM: RefCell<Victim> = RefCell::new(Victim::new());
    }
    let size = VICTIM.with_borrow_mut(|victim| victim.attack(target, input));
    assert!(size < LARGEST, "{target:?} was answered with {size} bytes");
}

#[test]
fn the_corpus_is_survived() {
    let all = [
        (Target::Path, PATHS),
        (Target::Selector, SELECTORS),
        (Target::Patch, PATCHES),
        (Target::Apply, CONFIGS),
    ];
    for (target, corpus) in all {
        for input in corpus {
            attack(target, input.as_bytes());
            // Cut off anywhere, it is another input.
            for end in 0..input.len() {
                attack(target, input.as_bytes().get(..end).unwrap());
            }
        }
    }
}

/// Nested JSON of the names the schemas know, and of others.
fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let key = proptest::sample::select(vec![
        "spec",
        "metadata",
        "status",
        "ports",
        "tags",
        "containers",
        "name",
        "labels",
        "finalizers",
        "ownerReferences",
        "managedFields",
        "any",
        "size",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "apiVersion",
        "kind",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[a-z/.$]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(depth, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_path_is_answered(input in "(api|apis|openapi)?(/[a-z0-9.%]{0,12}){0,7}([?&][a-zA-Z]{1,12}=[ -~]{0,9}){0,3}") {
        attack(Target::Path, input.as_bytes());
    }

    #[test]
    fn any_selector_is_answered(input in "[a-z=!,()<> \n./-]{0,40}") {
        attack(Target::Selector, input.as_bytes());
    }

    #[test]
    fn any_patch_is_answered(kind in 1u8..3, patch in json(6)) {
        attack(Target::Patch, &[&[kind][..], patch.to_string().as_bytes()].concat());
    }

    #[test]
    fn any_operations_are_answered(
        operations in proptest::collection::vec(
            ("add|remove|replace|move|copy|test", "(/[a-z0-9-]{0,9}){0,4}", "(/(spec|any|tags|0|-)){0,4}", json(3)), 0..5)
    ) {
        let list: Vec<_> = operations
            .into_iter()
            .map(|(op, from, path, value)| serde_json::json!({"op": op, "from": from, "path": path, "value": value}))
            .collect();
        attack(Target::Patch, &[&[0][..], serde_json::Value::from(list).to_string().as_bytes()].concat());
    }

    #[test]
    fn any_configuration_is_answered(config in json(6)) {
        attack(Target::Apply, config.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_answered(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        for target in [Target::Path, Target::Selector, Target::Patch, Target::Apply] {
            attack(target, &input);
        }
    }
}

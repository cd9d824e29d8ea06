use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn selecting(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels(pairs)),
        ..LabelSelector::default()
    }
}

fn candidate(name: &str, stage: Stage, priority: i32, services: Option<&[&str]>) -> Candidate {
    Candidate {
        name: name.to_owned(),
        stage,
        priority,
        selector: services.map(|services| PluginSelector {
            services: Some(services.iter().map(|s| (*s).to_owned()).collect()),
            templates: None,
        }),
        namespaces: None,
    }
}

fn run(candidates: &[Candidate], services: &[(&str, ServiceFacts)]) -> Selection {
    let candidates = candidates
        .iter()
        .map(|c| (c.name.clone(), c.clone()))
        .collect();
    let facts = facts(services);
    select(&candidates, &labels(&[("team", "a")]), &facts)
}

fn facts(services: &[(&str, ServiceFacts)]) -> DeploymentFacts {
    DeploymentFacts {
        namespace: "ns".to_owned(),
        services: services
            .iter()
            .map(|(n, f)| ((*n).to_owned(), f.clone()))
            .collect(),
    }
}

fn named(stage: Stage, plugin: &str) -> ServiceFacts {
    ServiceFacts {
        template: "t".to_owned(),
        named: ServiceFacts::named(&labels(&[(&format!("{PLUGIN_PREFIX}{stage}"), plugin)])),
        ..ServiceFacts::default()
    }
}

fn plugin(name: &str) -> Choice {
    Choice::Plugin(name.to_owned())
}

#[test]
fn the_annotation_wins_over_priority_and_priority_over_the_default() {
    let all = [
        candidate("low", Stage::TemplateMerge, 1, Some(&["routing"])),
        candidate("high", Stage::TemplateMerge, 2, Some(&["routing"])),
        candidate("by-name", Stage::TemplateMerge, 0, None),
        candidate("other-stage", Stage::VersionCheck, 9, Some(&["routing"])),
    ];
    let selection = run(
        &all,
        &[
            ("routing", ServiceFacts::default()),
            ("other", ServiceFacts::default()),
        ],
    );
    assert_eq!(selection.merge["routing"], plugin("high"));
    assert_eq!(selection.merge["other"], Choice::Default);
    let selection = run(
        &all,
        &[("routing", named(Stage::TemplateMerge, " by-name "))],
    );
    assert_eq!(selection.merge["routing"], plugin("by-name"));
    let equal = [
        candidate("b", Stage::TemplateMerge, 0, Some(&["routing"])),
        candidate("a", Stage::TemplateMerge, 0, Some(&["routing"])),
    ];
    let selection = run(&equal, &[("routing", ServiceFacts::default())]);
    assert_eq!(selection.merge["routing"], plugin("a"), "names break ties");
}

#[test]
fn all_parts_of_a_selector_have_to_hold() {
    let mut by_label = candidate("p", Stage::TemplateMerge, 0, Some(&["routing"]));
    by_label.selector.as_mut().unwrap().templates = Some(selecting(&[("tier", "edge")]));
    let edge = ServiceFacts {
        labels: labels(&[("tier", "edge")]),
        ..ServiceFacts::default()
    };
    let all = [by_label];
    for (name, facts, expected) in [
        ("routing", edge.clone(), plugin("p")),
        ("routing", ServiceFacts::default(), Choice::Default),
        ("other", edge, Choice::Default),
    ] {
        assert_eq!(run(&all, &[(name, facts)]).merge[name], expected);
    }
}

#[test]
fn a_namespace_that_is_not_selected_gets_nothing() {
    let mut elsewhere = candidate("p", Stage::TemplateMerge, 0, Some(&["routing"]));
    elsewhere.namespaces = Some(selecting(&[("team", "b")]));
    let all = [elsewhere];
    let selection = run(&all, &[("routing", ServiceFacts::default())]);
    assert_eq!(selection.merge["routing"], Choice::Default);
    let selection = run(&all, &[("routing", named(Stage::TemplateMerge, "p"))]);
    let Choice::Refused(message) = &selection.merge["routing"] else {
        panic!("{selection:?}");
    };
    assert!(
        message.contains("may not be used in namespace ns"),
        "{message}"
    );
}

#[test]
fn what_does_not_exist_or_serves_another_stage_is_said() {
    let all = [candidate("check", Stage::VersionCheck, 0, None)];
    for (name, expected) in [
        ("none", "does not exist"),
        ("check", "serves stage version-check"),
    ] {
        let selection = run(&all, &[("routing", named(Stage::TemplateMerge, name))]);
        assert!(
            matches!(&selection.merge["routing"], Choice::Refused(m) if m.contains(expected)),
            "{selection:?}"
        );
    }
}

#[test]
fn checks_add_up_and_see_only_their_services() {
    let all = [
        candidate("low", Stage::VersionCheck, 0, Some(&["a", "b"])),
        candidate("high", Stage::VersionCheck, 5, Some(&["b"])),
        candidate("by-name", Stage::VersionCheck, 0, None),
    ];
    let selection = run(
        &all,
        &[
            ("a", named(Stage::VersionCheck, "by-name")),
            ("b", ServiceFacts::default()),
            ("c", ServiceFacts::default()),
        ],
    );
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|n| (*n).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        selection.checks,
        [
            (plugin("high"), set(&["b"])),
            (plugin("low"), set(&["a", "b"])),
            (plugin("by-name"), set(&["a"])),
        ]
    );
    // One that is both selected and named is asked once.
    let selection = run(&all, &[("b", named(Stage::VersionCheck, "high"))]);
    assert_eq!(selection.checks.len(), 2);
}

#[test]
fn services_of_a_chain_agree_on_its_builder() {
    let all = [
        candidate("x", Stage::ChainBuilder, 0, None),
        candidate("y", Stage::ChainBuilder, 0, Some(&["c"])),
    ];
    let ported = |facts: ServiceFacts| ServiceFacts {
        in_chain: true,
        ..facts
    };
    let plain = || ported(ServiceFacts::default());
    let x = || named(Stage::ChainBuilder, "x");
    assert_eq!(
        run(&all, &[("a", plain()), ("b", plain())]).chain,
        Choice::Default
    );
    assert_eq!(
        run(&all, &[("a", ported(x())), ("b", plain())]).chain,
        plugin("x")
    );
    assert_eq!(
        run(&all, &[("a", ported(x())), ("c", plain())]).chain,
        plugin("x")
    );
    assert_eq!(
        run(&all, &[("a", plain()), ("c", plain())]).chain,
        plugin("y")
    );
    // A service without a port has no say.
    assert_eq!(
        run(&all, &[("a", x()), ("b", plain())]).chain,
        Choice::Default
    );
    let y = ported(named(Stage::ChainBuilder, "y"));
    let selection = run(&all, &[("a", ported(x())), ("b", y)]);
    assert!(
        matches!(&selection.chain, Choice::Refused(m) if m.contains("services a and b")),
        "{selection:?}"
    );
}

#[test]
fn services_are_counted_once_per_plugin() {
    let all = [
        candidate("m", Stage::TemplateMerge, 0, Some(&["a", "b"])),
        candidate("c", Stage::ChainBuilder, 0, Some(&["a"])),
    ];
    let ported = ServiceFacts {
        in_chain: true,
        ..ServiceFacts::default()
    };
    let services = [("a", ported), ("b", ServiceFacts::default())];
    let served = run(&all, &services).served(&facts(&services));
    assert_eq!(served["m"].len(), 2);
    assert_eq!(served["c"].len(), 1);
}

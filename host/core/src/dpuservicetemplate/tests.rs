use super::*;
use dpf_api::conditions::READY;
use dpf_api::keys::annotations::DOCA_VERSION;
use dpf_api::svc::{DpuServiceTemplateStatus, VersionsFrom};
use serde_json::json;

fn template(repo_url: &str, chart: Option<&str>, path: Option<&str>) -> DpuServiceTemplate {
    let mut template = DpuServiceTemplate::default();
    let source = &mut template.spec.helm_chart.source;
    source.repo_url = repo_url.to_owned();
    source.chart = chart.map(str::to_owned);
    source.path = path.map(str::to_owned);
    source.version = "1.2.3+4".to_owned();
    template
}

#[test]
fn locations() {
    let index = |url: &str, chart: &str| Location::Index {
        url: url.to_owned(),
        chart: chart.to_owned(),
        version: "1.2.3+4".to_owned(),
    };
    let manifest = |url: &str| Location::Manifest {
        url: url.to_owned(),
    };
    for (repo_url, chart, path, expected) in [
        (
            "https://h/charts/",
            Some("c"),
            None,
            Ok(index("https://h/charts/index.yaml", "c")),
        ),
        (
            "https://h",
            Some(""),
            Some("a/b/"),
            Ok(index("https://h/index.yaml", "b")),
        ),
        (
            "oci://h/a/b",
            Some("c"),
            None,
            Ok(manifest("https://h/v2/a/b/c/manifests/1.2.3_4")),
        ),
        (
            "oci://h",
            Some("c"),
            None,
            Ok(manifest("https://h/v2/c/manifests/1.2.3_4")),
        ),
        (
            "https://h",
            None,
            None,
            Err(ChartError::NoChart {
                repository: "https://h".to_owned(),
            }),
        ),
        ("", Some("c"), None, Err(ChartError::NoRepository)),
        (
            "ftp://h",
            Some("c"),
            None,
            Err(ChartError::Scheme {
                repository: "ftp://h".to_owned(),
            }),
        ),
    ] {
        assert_eq!(
            locate(&template(repo_url, chart, path)),
            expected,
            "{repo_url}"
        );
    }
}

#[test]
fn an_annotation_on_the_template_needs_no_network() {
    let mut template = template("https://h", None, None);
    template.metadata.annotations = Some(
        [
            (DOCA_VERSION.to_owned(), ">= 3".to_owned()),
            ("other".to_owned(), "x".to_owned()),
        ]
        .into(),
    );
    let expected = Versions::from([(DOCA_VERSION.to_owned(), ">= 3".to_owned())]);
    assert_eq!(locate(&template), Ok(Location::Annotated(expected)));
}

#[test]
fn versions_in_an_index() {
    let index = json!({"entries": {
        "c": [
            {"version": "v1.0.0", "annotations": {DOCA_VERSION: ">= 1", "x": "y"}},
            {"version": "1.0.0", "annotations": {DOCA_VERSION: ">= 2"}},
            {"version": "2.0.0"}
        ],
        "empty": []
    }});
    let one = |text: &str| Ok(Versions::from([(DOCA_VERSION.to_owned(), text.to_owned())]));
    for (chart, version, expected) in [
        ("c", "1.0.0", one(">= 2")),
        ("c", "v1.0.0", one(">= 1")),
        ("c", "v2.0.0", Ok(Versions::new())),
        (
            "d",
            "1.0.0",
            Err(ChartError::ChartMissing {
                chart: "d".to_owned(),
            }),
        ),
        (
            "c",
            "3.0.0",
            Err(ChartError::VersionMissing {
                chart: "c".to_owned(),
                version: "3.0.0".to_owned(),
                known: "v1.0.0, 1.0.0, 2.0.0".to_owned(),
            }),
        ),
    ] {
        assert_eq!(
            in_index(&index, chart, version),
            expected,
            "{chart} {version}"
        );
    }
    assert_eq!(
        in_index(&json!("text"), "c", "1"),
        Err(ChartError::NotAnIndex)
    );
    assert_eq!(
        in_manifest(&json!({"annotations": {DOCA_VERSION: "~2"}}))[DOCA_VERSION],
        "~2"
    );
}

#[test]
fn repositories_are_compared_without_scheme_and_slash() {
    for (url, repository, same) in [
        ("h/a", "oci://h/a", true),
        ("oci://h/a/", "oci://h/a", true),
        ("https://h/a/", "https://h/a", true),
        ("https://h/a", "https://h/ab", false),
        ("", "", false),
    ] {
        assert_eq!(
            is_same_repository(url, repository),
            same,
            "{url} {repository}"
        );
    }
}

#[test]
fn challenges() {
    let bearer = |realm: &str, query: &[(&str, &str)]| {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            query: query
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        })
    };
    for (header, expected) in [
        ("Basic realm=\"x\"", Some(Challenge::Basic)),
        (
            "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
            bearer(
                "https://a/t",
                &[("service", "s"), ("scope", "repository:a/b:pull,push")],
            ),
        ),
        (
            "bearer realm=https://a, service=s",
            bearer("https://a", &[("service", "s")]),
        ),
        ("Bearer service=\"s\"", None),
        ("Negotiate", None),
        ("", None),
    ] {
        assert_eq!(parse_challenge(header), expected, "{header}");
    }
}

#[test]
fn what_the_status_knows_is_for_one_generation() {
    let now = Timestamp::UNIX_EPOCH;
    let mut template = template("https://h", Some("c"), None);
    template.metadata.generation = Some(3);
    assert_eq!(known(&template), None);
    let versions = Versions::from([(DOCA_VERSION.to_owned(), "1".to_owned())]);
    template.status = Some(DpuServiceTemplateStatus {
        versions: Some(versions.clone()),
        conditions: Some(conditions(&template, Ok(()), now)),
        observed_generation: Some(3),
        versions_from: None,
    });
    assert_eq!(known(&template), Some(&versions));
    template.metadata.generation = Some(4);
    assert_eq!(known(&template), None);

    let failed = conditions(&template, Err("no route"), now);
    let ready = failed.iter().find(|c| c.type_ == READY).unwrap();
    assert_eq!(ready.status, "False");
    assert!(
        failed
            .iter()
            .any(|c| c.message == "Error occurred: no route" && c.reason == "Error")
    );
}

#[test]
fn constraints_of_an_annotation_are_not_those_of_the_chart() {
    let annotation = |text: &str| [(DOCA_VERSION.to_owned(), text.to_owned())].into();
    let state = |annotated: Option<&str>, known: &str, from: Option<VersionsFrom>| {
        let mut template = template("https://h", Some("c"), None);
        template.metadata.annotations = annotated.map(annotation);
        template.status = Some(DpuServiceTemplateStatus {
            versions: Some(annotation(known)),
            versions_from: from,
            conditions: Some(conditions(&template, Ok(()), Timestamp::UNIX_EPOCH)),
            observed_generation: None,
        });
        template.metadata.generation = Some(0);
        template
    };
    let (annotations, chart) = (Some(VersionsFrom::Annotations), Some(VersionsFrom::Chart));
    for (template, follows, is_known) in [
        (state(Some("1"), "1", annotations), true, false),
        (state(Some("2"), "1", annotations), false, false),
        // It was taken away: what the chart says is not known.
        (state(None, "1", annotations), false, false),
        (state(Some("2"), "1", chart), false, true),
        (state(None, "1", chart), true, true),
        // Another controller reads charts only.
        (state(None, "1", None), true, true),
        (state(Some("2"), "1", None), false, true),
    ] {
        assert_eq!(follows_annotations(&template), follows, "{template:#?}");
        assert_eq!(known(&template).is_some(), is_known, "{template:#?}");
    }
}

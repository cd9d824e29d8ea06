//! Files this binary brings along, so that `new` needs nothing but itself.

use super::arguments::{Language, StageName};

/// A file by its path in the project that is made.
pub type File = (&'static str, &'static str);

/// The interface, as published.
pub const WIT: &[File] = &[
    ("chain.wit", include_str!("../../../wit/1.0.0/chain.wit")),
    ("check.wit", include_str!("../../../wit/1.0.0/check.wit")),
    ("log.wit", include_str!("../../../wit/1.0.0/log.wit")),
    ("plugin.wit", include_str!("../../../wit/1.0.0/plugin.wit")),
    ("types.wit", include_str!("../../../wit/1.0.0/types.wit")),
    ("values.wit", include_str!("../../../wit/1.0.0/values.wit")),
    ("worlds.wit", include_str!("../../../wit/1.0.0/worlds.wit")),
];

/// dpf-plugin-sdk, without the interface.
pub const SDK: &[File] = &[
    (
        "Cargo.toml",
        include_str!("../../../plugins/sdk/Cargo.toml"),
    ),
    (
        "src/bindings.rs",
        include_str!("../../../plugins/sdk/src/bindings.rs"),
    ),
    (
        "src/call.rs",
        include_str!("../../../plugins/sdk/src/call.rs"),
    ),
    (
        "src/export.rs",
        include_str!("../../../plugins/sdk/src/export.rs"),
    ),
    (
        "src/findings.rs",
        include_str!("../../../plugins/sdk/src/findings.rs"),
    ),
    (
        "src/json.rs",
        include_str!("../../../plugins/sdk/src/json.rs"),
    ),
    (
        "src/lib.rs",
        include_str!("../../../plugins/sdk/src/lib.rs"),
    ),
    (
        "src/log.rs",
        include_str!("../../../plugins/sdk/src/log.rs"),
    ),
    (
        "src/samples.rs",
        include_str!("../../../plugins/sdk/src/samples.rs"),
    ),
    (
        "src/settings.rs",
        include_str!("../../../plugins/sdk/src/settings.rs"),
    ),
];

/// The versions this binary was tested with. Cargo takes from it what a project needs and drops the rest.
pub const CARGO_LOCK: &str = include_str!("../../../Cargo.lock");

/// How componentize-js is called.
pub const COMPONENTIZE_JS: &str = include_str!("templates/js/componentize.mjs");

/// Files of every project.
pub const COMMON: &[File] = &[
    ("README.md", include_str!("templates/README.md.txt")),
    (".gitignore", include_str!("templates/gitignore.txt")),
];

/// The description of a project that is not a Rust crate.
pub const PLUGIN_YAML: File = ("plugin.yaml", include_str!("templates/plugin.yaml.txt"));

/// Files of a language, whatever the stage.
pub fn of_language(language: Language) -> File {
    match language {
        Language::Rust => ("Cargo.toml", include_str!("templates/rust/Cargo.toml.txt")),
        Language::Python => (
            "requirements.txt",
            include_str!("templates/python/requirements.txt"),
        ),
        Language::Js => ("package.json", include_str!("templates/js/package.json")),
    }
}

/// The source of a plugin.
pub fn source(language: Language, stage: StageName) -> File {
    use StageName::{ChainBuilder, TemplateMerge, VersionCheck};
    match (language, stage) {
        (Language::Rust, TemplateMerge) => (
            "src/lib.rs",
            include_str!("templates/rust/template-merge.rs"),
        ),
        (Language::Rust, VersionCheck) => (
            "src/lib.rs",
            include_str!("templates/rust/version-check.rs"),
        ),
        (Language::Rust, ChainBuilder) => (
            "src/lib.rs",
            include_str!("templates/rust/chain-builder.rs"),
        ),
        (Language::Python, TemplateMerge) => (
            "plugin.py",
            include_str!("templates/python/template_merge.py"),
        ),
        (Language::Python, VersionCheck) => (
            "plugin.py",
            include_str!("templates/python/version_check.py"),
        ),
        (Language::Python, ChainBuilder) => (
            "plugin.py",
            include_str!("templates/python/chain_builder.py"),
        ),
        (Language::Js, TemplateMerge) => {
            ("plugin.js", include_str!("templates/js/template-merge.js"))
        }
        (Language::Js, VersionCheck) => {
            ("plugin.js", include_str!("templates/js/version-check.js"))
        }
        (Language::Js, ChainBuilder) => {
            ("plugin.js", include_str!("templates/js/chain-builder.js"))
        }
    }
}

macro_rules! case {
    ($stage:literal, $case:literal, $($file:literal),+) => {
        [$((
            concat!("cases/", $case, "/", $file),
            include_str!(concat!("templates/cases/", $stage, "/", $case, "/", $file)),
        )),+]
    };
}

/// The golden cases of a stage, the same in every language.
pub fn cases(stage: StageName) -> Vec<File> {
    match stage {
        StageName::TemplateMerge => [
            &case!(
                "template-merge",
                "accepted",
                "request.yaml",
                "settings.yaml",
                "expected.json"
            )[..],
            &case!(
                "template-merge",
                "rejected",
                "request.yaml",
                "expected.json"
            )[..],
        ]
        .concat(),
        StageName::VersionCheck => [
            &case!(
                "version-check",
                "accepted",
                "request.yaml",
                "settings.yaml",
                "expected.json"
            )[..],
            &case!(
                "version-check",
                "rejected",
                "request.yaml",
                "settings.yaml",
                "expected.json"
            )[..],
        ]
        .concat(),
        StageName::ChainBuilder => [
            &case!(
                "chain-builder",
                "accepted",
                "request.yaml",
                "settings.yaml",
                "expected.json"
            )[..],
            &case!("chain-builder", "rejected", "request.yaml", "expected.json")[..],
        ]
        .concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The files of a directory below the repository.
    fn files(dir: &str) -> Vec<String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir);
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn no_file_of_sdk_or_interface_is_forgotten() {
        let embedded: Vec<&str> = WIT.iter().map(|(name, _)| *name).collect();
        assert_eq!(embedded, files("wit/1.0.0"));
        let mut sources: Vec<&str> = SDK
            .iter()
            .filter_map(|(name, _)| name.strip_prefix("src/"))
            .collect();
        sources.sort_unstable();
        assert_eq!(sources, files("plugins/sdk/src"));
    }

    #[test]
    fn the_sdk_needs_no_workspace() {
        for (name, text) in SDK {
            assert!(
                !text.contains("workspace = true") && !text.contains("../"),
                "{name}"
            );
        }
    }
}

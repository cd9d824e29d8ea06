//! `dpfctl plugin new`: a project that builds and passes its test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use dpf_engine::Stage;

use super::arguments::{Language, NewArgs};
use super::embedded;
use crate::say;

/// Makes the project.
///
/// # Errors
/// The name is not usable, the directory is not empty, or a file cannot be written.
pub fn new(arguments: &NewArgs) -> anyhow::Result<ExitCode> {
    let name = &arguments.name;
    if !is_label(name) {
        bail!(
            "{name:?} cannot be the name of a plugin: use at most 63 lower-case letters, digits and dashes, beginning with a letter"
        );
    }
    if arguments.sdk.is_some() && arguments.lang != Language::Rust {
        bail!("--sdk is for Rust; plugins in other languages use the interface in wit/ directly");
    }
    let dir = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    if dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        bail!(
            "{} is there and not empty; choose another name or --dir",
            dir.display()
        );
    }
    for (path, text) in files(arguments) {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("failed to make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    say(&format!(
        "{} is a plugin of stage {}. Next:\n\n    cd {}\n    dpfctl plugin build\n    dpfctl plugin test\n",
        dir.display(),
        Stage::from(arguments.stage),
        dir.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// All files of the project, by their paths in it.
fn files(arguments: &NewArgs) -> Vec<(String, String)> {
    let (source, source_text) = embedded::source(arguments.lang, arguments.stage);
    let vendored = arguments.lang == Language::Rust && arguments.sdk.is_none();
    let fill = |text: &str| {
        text.replace("@NAME@", &arguments.name)
            .replace("@STAGE@", Stage::from(arguments.stage).as_str())
            .replace("@LANGUAGE@", language_name(arguments.lang))
            .replace("@SOURCE@", source)
            .replace("@WIT@", if vendored { "sdk/wit/" } else { "wit/" })
            .replace("@SDK@", &sdk_dependency(arguments.sdk.as_deref()))
    };
    let mut templates = vec![(source, source_text), embedded::of_language(arguments.lang)];
    templates.extend(embedded::COMMON);
    templates.extend(embedded::cases(arguments.stage));
    if arguments.lang != Language::Rust {
        templates.push(embedded::PLUGIN_YAML);
    }
    let mut files: Vec<(String, String)> = templates
        .into_iter()
        .map(|(path, text)| (path.to_owned(), fill(text)))
        .collect();
    let wit = if vendored { "sdk/wit" } else { "wit" };
    files.extend(
        embedded::WIT
            .iter()
            .map(|(path, text)| (format!("{wit}/{path}"), (*text).to_owned())),
    );
    if vendored {
        files.extend(
            embedded::SDK
                .iter()
                .map(|(path, text)| (format!("sdk/{path}"), (*text).to_owned())),
        );
    }
    if arguments.lang == Language::Rust {
        files.push(("Cargo.lock".to_owned(), embedded::CARGO_LOCK.to_owned()));
    }
    files
}

fn language_name(language: Language) -> &'static str {
    match language {
        Language::Rust => "rust",
        Language::Python => "python",
        Language::Js => "js",
    }
}

/// The right side of the dependency in Cargo.toml.
fn sdk_dependency(sdk: Option<&str>) -> String {
    let Some(sdk) = sdk else {
        return r#"{ path = "sdk" }"#.to_owned();
    };
    // TOML's literal strings have no escapes, so a quote in it has no place.
    let quoted = sdk.replace('\'', "");
    if sdk.contains("://") || Path::new(sdk).extension().is_some_and(|it| it == "git") {
        format!("{{ git = '{quoted}' }}")
    } else {
        let path = fs::canonicalize(&quoted).map_or(quoted, |path| path.display().to_string());
        format!("{{ path = '{path}' }}")
    }
}

/// Whether hosts accept it as the name of a plugin, and cargo as that of a crate.
fn is_label(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::arguments::StageName;
    use clap::ValueEnum as _;

    #[test]
    fn nothing_is_left_to_fill_in() {
        for lang in Language::value_variants() {
            for stage in StageName::value_variants() {
                let arguments = NewArgs {
                    name: "thing".to_owned(),
                    stage: *stage,
                    lang: *lang,
                    dir: None,
                    sdk: None,
                };
                let files = files(&arguments);
                for (path, text) in &files {
                    for hole in [
                        "@NAME@",
                        "@STAGE@",
                        "@LANGUAGE@",
                        "@SOURCE@",
                        "@WIT@",
                        "@SDK@",
                    ] {
                        assert!(!text.contains(hole), "{lang:?} {stage:?} {path}: {hole}");
                    }
                }
                let cases = files
                    .iter()
                    .filter(|(path, _)| path.ends_with("expected.json"));
                assert_eq!(cases.count(), 2, "{lang:?} {stage:?}");
            }
        }
    }

    #[test]
    fn names_are_labels() {
        assert!(is_label("doca-required") && is_label("a1"));
        for name in ["", "1a", "A", "a_b", "a-", "../x", &"a".repeat(64)] {
            assert!(!is_label(name), "{name}");
        }
    }

    #[test]
    fn an_sdk_is_a_path_or_a_url() {
        assert_eq!(sdk_dependency(None), "{ path = \"sdk\" }");
        assert_eq!(
            sdk_dependency(Some("https://example.com/dpf")),
            "{ git = 'https://example.com/dpf' }"
        );
        assert_eq!(
            sdk_dependency(Some("/no/such/sdk")),
            "{ path = '/no/such/sdk' }"
        );
    }
}

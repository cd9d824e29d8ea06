//! Hostile templates end with an error that names a place, and soon.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use dpf_go_template::{Error, Limits, Options, Stage, render};
use serde_json::{Value, json};

fn failure(template: &str, limits: Limits) -> Error {
    let options = Options {
        limits,
        ..Options::default()
    };
    render(
        template,
        &json!({"list": [1, 2, 3], "text": "x".repeat(1000)}),
        &options,
    )
    .unwrap_err()
}

#[test]
fn errors_name_line_and_column() {
    let parse = failure("a: 1\nb: ä {{ frobnicate }}\n", Limits::default());
    assert_eq!(
        (parse.stage, parse.line, parse.column),
        (Stage::Parse, 2, 9),
        "{parse}"
    );
    let execute = failure("a: 1\n\n  b: {{ .text.x }}\n", Limits::default());
    assert_eq!(
        (execute.stage, execute.line, execute.column),
        (Stage::Execute, 3, 14),
        "{execute}"
    );
    let unclosed = failure("a: 1\n{{ if .list }}\n{{ .text ", Limits::default());
    assert_eq!(
        (unclosed.stage, unclosed.line, unclosed.column),
        (Stage::Parse, 3, 1),
        "{unclosed}"
    );
}

#[test]
fn a_missing_key_names_the_known_ones() {
    let error = failure("{{ .lost }}", Limits::default());
    assert_eq!(
        error.message,
        "map has no entry for key \"lost\"; it has: list, text"
    );
}

#[test]
fn steps_are_bounded() {
    let limits = Limits {
        steps: 1000,
        ..Limits::default()
    };
    let error = failure(
        "{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}",
        limits,
    );
    assert!(error.message.contains("1000 steps"), "{error}");
}

#[test]
fn output_is_bounded() {
    let limits = Limits {
        output_bytes: 10_000,
        ..Limits::default()
    };
    let error = failure(
        "{{ range 100 }}{{ .  }}{{ $.text }}{{ end }}",
        limits.clone(),
    );
    assert!(error.message.contains("10000 bytes"), "{error}");
    let doubling = "{{ $x := .text }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}";
    assert!(
        failure(doubling, limits.clone())
            .message
            .contains("10000 bytes")
    );
    assert!(
        failure("{{ printf \"%999999d\" 1 }}", limits)
            .message
            .contains("10000 bytes")
    );
}

#[test]
fn depth_is_bounded_in_text_and_in_execution() {
    for template in [
        "{{ (".to_owned() + &"(".repeat(100_000) + ".list",
        "{{ if true }}".repeat(100_000),
        "{{ if true }}{{ else if true }}".to_owned() + &"{{ else if true }}".repeat(100_000),
        "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}".to_owned(),
    ] {
        let error = failure(&template, Limits::default());
        assert!(
            error.message.contains("deep") || error.message.contains("depth"),
            "{error}"
        );
    }
}

#[test]
fn the_deepest_allowed_fits_a_small_stack() {
    let limits = Limits::default();
    let nested = "{{ if true }}".repeat(49) + "x" + &"{{ end }}".repeat(49);
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(90), ")".repeat(90));
    for (template, expected) in [(nested, "x"), (parens, "1")] {
        let options = Options {
            limits: limits.clone(),
            ..Options::default()
        };
        let run = move || render(&template, &Value::Null, &options);
        let thread = std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(run)
            .unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), expected);
    }
}

#[test]
fn no_prefix_or_mutation_of_a_template_panics() {
    let template = "{{- /* c */ -}}{{ define \"t\" }}{{ . }}{{ end }}{{ range $i, $e := .list }}{{ if eq $i 1 }}{{ break }}{{ else }}\
                    {{ printf \"%5.2f|%[1]*d|%x\" 1.5 `raw` '\\n' }}{{ end }}{{ end }}{{ template \"t\" (index .list 0) }}ü{{- 0x1p-2 }}";
    let data = json!({"list": [1, "zwei", null]});
    let mut errors = 0;
    for (at, _) in template.char_indices() {
        errors += usize::from(render(&template[..at], &data, &Options::default()).is_err());
        for replacement in ["", "\"", "{{", "}}", "$", "(", "%", ".", "\u{0}", "end"] {
            let mut mutated = template.to_owned();
            mutated.replace_range(
                at..at + template[at..].chars().next().map_or(0, char::len_utf8),
                replacement,
            );
            errors += usize::from(render(&mutated, &data, &Options::default()).is_err());
        }
    }
    assert!(
        errors > 100,
        "most of them are wrong, {errors} were found so"
    );
}

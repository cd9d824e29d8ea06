//! The language of the Go package text/template, without its host.
//!
//! Helm values and other configuration of the Go world are written in it, and they have to mean the same here. Lexer, grammar,
//! value rules and built-in functions are Go's, with the option `missingkey=error`; there is nothing of Sprig. Every template
//! is bounded in depth, steps and output, so that a hostile one ends with an error.
//!
//! ```text
//!   text --lex--> items --parse--> trees --execute with data--> text
//! ```
//!
//! ```
//! use dpf_go_template::{Options, render};
//! use serde_json::json;
//!
//! let data = json!({"Services": {"producer": {"Name": "producer-ln2kk"}}});
//! let text = render("name: {{ .Services.producer.Name }}", &data, &Options::default())?;
//! assert_eq!(text, "name: producer-ln2kk");
//! # Ok::<(), dpf_go_template::Error>(())
//! ```
//!
//! What differs from Go: strings are UTF-8 (a constant or slice that is not is an error), the wording of errors, and the
//! limits of [`Limits`], which Go does not have or has higher.

mod builtins;
mod compare;
mod constant;
mod error;
mod execute;
mod lex;
mod node;
mod number;
mod parse;
mod printf;
mod value;

pub use error::{Error, Stage};

use error::locate;

/// How a template is read and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The left delimiter.
    pub left: String,
    /// The right delimiter.
    pub right: String,
    /// The limits.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            left: "{{".to_owned(),
            right: "}}".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// What a template may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How deep actions may nest in the text, and templates and control structures in execution. What is deeper needs more
    /// stack than a plugin has.
    pub depth: usize,
    /// How many nodes may be executed, over all iterations.
    pub steps: usize,
    /// Bytes of output, and of all strings functions make on the way to it.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 100,
            steps: 1_000_000,
            output_bytes: 4 << 20,
        }
    }
}

/// Renders a template with its data.
///
/// # Errors
/// The text is no template, or does not fit the data, or exceeds a limit.
pub fn render(text: &str, data: &serde_json::Value, options: &Options) -> Result<String, Error> {
    let (items, lex_error) = lex::lex(text, &options.left, &options.right);
    let parsed = parse::parse(execute::MAIN, &items, options.limits.depth);
    let trees = match (parsed, lex_error) {
        // The parser came to the place where the lexer stopped, so that is the reason.
        (Err(at), Some(lex_error)) if items.last().is_some_and(|end| at.offset >= end.offset) => {
            Err(lex_error)
        }
        (Ok(_), Some(lex_error)) => Err(lex_error),
        (parsed, _) => parsed,
    }
    .map_err(|at| locate(Stage::Parse, text, at))?;
    execute::execute(&trees, data, &options.limits).map_err(|at| locate(Stage::Execute, text, at))
}

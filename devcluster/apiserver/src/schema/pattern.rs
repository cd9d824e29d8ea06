//! Compiled patterns, with the meaning Go gives them. CRDs repeat the same few patterns many times, and compiling
//! one is slow in a debug build.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;

/// Patterns remembered before the memory is emptied: more than any set of CRDs we know has.
const LIMIT: usize = 1024;

/// Compiles a pattern, or says why it cannot be.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, Regex>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = Regex::new(&translate(pattern)).map_err(|error| error.to_string())?;
    if known.len() >= LIMIT {
        known.clear();
    }
    known.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

/// Rewrites what Go and Rust read differently: Perl classes know only ASCII in Go, and inside a class an opening
/// bracket and doubled operators are ordinary characters.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    let mut first_in_class = false;
    while let Some(c) = chars.next() {
        let at_start = std::mem::take(&mut first_in_class);
        match c {
            '\\' => match chars.next() {
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('b') if !in_class => out.push_str("(?-u:\\b)"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                (in_class, first_in_class) = (true, true);
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            '[' if chars.peek() != Some(&':') => out.push_str("\\["),
            '[' => {
                // A named class like [:alpha:] is the same in both.
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if in_class && at_start => out.push_str("\\]"),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', c]),
            '-' if in_class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{compile, translate};

    #[test]
    fn classes_mean_what_they_mean_in_go() {
        assert_eq!(
            translate(r"^[\w.-]{0,127}\d$"),
            r"^[[0-9A-Za-z_].-]{0,127}[0-9]$"
        );
        assert_eq!(translate(r"[^]a[b&&c]"), r"[^\]a\[b\&\&c]");
        assert_eq!(translate(r"[[:alpha:]x]\["), r"[[:alpha:]x]\[");
        assert!(compile(r"^\w+$").is_ok_and(|r| r.is_match("aZ_9") && !r.is_match("é")));
        assert!(
            compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
                .is_ok_and(|r| r.is_match("a-b") && !r.is_match("-a"))
        );
    }

    #[test]
    fn good_patterns_are_kept_and_bad_ones_explained() {
        for _ in 0..2 {
            assert!(compile("^a+$").is_ok_and(|r| r.is_match("aa")));
            assert!(compile("(").is_err_and(|e| e.contains("unclosed")));
        }
    }
}

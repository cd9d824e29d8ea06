//! The forms names, label keys and label values must have.

/// What is wrong with a name that is no subdomain.
pub const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// What is wrong with a name that is no label.
pub const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// What is wrong with a name that is no label beginning with a letter.
pub const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
     '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
     used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
     with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_word(text: &str, inner: fn(u8) -> bool, edge: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let edges = bytes
        .first()
        .zip(bytes.last())
        .is_some_and(|(a, b)| edge(*a) && edge(*b));
    edges && bytes.iter().all(|b| inner(*b) || edge(*b))
}

/// True for a label of a DNS name.
pub fn is_label(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    is_word(text, |b| b == b'-', lower)
}

/// True for a DNS name.
pub fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

fn is_qualified_part(text: &str) -> bool {
    is_word(
        text,
        |b| matches!(b, b'-' | b'_' | b'.'),
        |b| b.is_ascii_alphanumeric(),
    )
}

/// What is wrong with a qualified name like `example.com/key`; None when nothing is.
pub fn qualified_name_fault(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".into()),
        Some(prefix) if !is_subdomain(prefix) => return Some(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!is_qualified_part(name)).then(|| NAME_PART.to_owned())
}

/// What is wrong with the value of a label; None when nothing is.
pub fn label_value_fault(text: &str) -> Option<&'static str> {
    if text.len() > 63 {
        return Some("must be no more than 63 bytes");
    }
    (!text.is_empty() && !is_qualified_part(text)).then_some(LABEL_VALUE)
}

/// What is wrong with a key of a ConfigMap or Secret; None when nothing is.
pub fn data_key_fault(key: &str) -> Option<&'static str> {
    const FORM: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', \
         or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    if key.len() > 253 {
        return Some("must be no more than 253 bytes");
    }
    if key == "." {
        return Some("must not be '.'");
    }
    if key.starts_with("..") {
        return Some(if key == ".." {
            "must not be '..'"
        } else {
            "must not start with '..'"
        });
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (key.is_empty() || !key.bytes().all(fits)).then_some(FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_subdomain("a.b-c.d") && is_subdomain("0"));
        for bad in ["", "A", "a..b", "-a", "a_b", "a."] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert_eq!(qualified_name_fault("example.com/Key_1"), None);
        for bad in ["/x", "a b", "X Y/z", "a/", "-x"] {
            assert!(qualified_name_fault(bad).is_some(), "{bad}");
        }
        assert!(data_key_fault("a/b").is_some() && data_key_fault(".a-b_C").is_none());
    }
}

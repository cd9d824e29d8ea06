//! What a registry asks for when it answers 401.

use std::collections::BTreeMap;

/// A `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token from this URL, for this service and scope.
    Bearer {
        /// URL that issues tokens.
        realm: String,
        /// Query parameters of the request for a token.
        query: Vec<(String, String)>,
    },
}

/// Reads the header; `None` when it asks for something else.
#[must_use]
pub fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = parameters(rest);
    let realm = parameters
        .remove("realm")
        .filter(|realm| !realm.is_empty())?;
    let query = ["service", "scope"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), parameters.remove(key)?)))
        .collect();
    Some(Challenge::Bearer { realm, query })
}

/// `key="value, with commas",key=value`.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        parameters.insert(key, value.trim().to_owned());
        rest = next;
    }
    parameters
}

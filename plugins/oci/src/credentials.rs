//! Credentials of registries, in the form Docker and Kubernetes keep them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// A document that is not a Docker configuration. Its content is not shown.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a Docker configuration ({{\"auths\": {{\"registry\": {{\"auth\": ...}}}}}}): {problem}"
)]
pub struct CredentialsError {
    /// Where it is wrong, without any value.
    problem: String,
}

/// User and password by registry, with or without a path.
#[derive(Clone, Default)]
pub struct Credentials {
    entries: Vec<(String, Login)>,
}

#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<&String> = self.entries.iter().map(|(place, _)| place).collect();
        f.debug_tuple("Credentials").field(&places).finish()
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// No credentials: everything is asked for as anybody.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// For one registry.
    #[must_use]
    pub fn basic(registry: &str, username: &str, password: &str) -> Self {
        let login = Login {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        Self {
            entries: vec![(place(registry), login)],
        }
    }

    /// Reads `~/.docker/config.json`, or the `.dockerconfigjson` of a Secret. Credential helpers are not asked.
    ///
    /// # Errors
    /// The document is not of that form.
    pub fn from_docker_config(document: &[u8]) -> Result<Self, CredentialsError> {
        // The text of serde's errors can quote values, so only the position is told.
        let config: Config = serde_json::from_slice(document).map_err(|e| CredentialsError {
            problem: format!("line {}, column {}", e.line(), e.column()),
        })?;
        let mut entries = Vec::new();
        for (key, auth) in config.auths {
            let login = match (auth.auth, auth.username, auth.password) {
                (_, Some(username), Some(password)) => Some(Login { username, password }),
                (Some(both), ..) if !both.is_empty() => {
                    Some(decode(&both).ok_or_else(|| CredentialsError {
                        problem: format!("the auth of {key} is not base64 of USER:PASSWORD"),
                    })?)
                }
                _ => None,
            };
            entries.extend(login.map(|login| (place(&key), login)));
        }
        Ok(Self { entries })
    }

    /// Both, the own ones first.
    #[must_use]
    pub fn and(mut self, others: Credentials) -> Self {
        self.entries.extend(others.entries);
        self
    }

    /// Those for this repository: the longest entry that is a prefix of it wins, as the kubelet decides.
    pub(crate) fn login(&self, registry: &str, repository: &str) -> Option<&Login> {
        let target = format!("{registry}/{repository}/");
        self.entries
            .iter()
            .filter(|(place, _)| target.starts_with(&format!("{place}/")))
            // The first of equally long ones.
            .rev()
            .max_by_key(|(place, _)| place.len())
            .map(|(_, login)| login)
    }
}

/// `https://host/v1/` and `host/` are the same place as `host`.
fn place(key: &str) -> String {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/');
    key.strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key)
        .to_owned()
}

fn decode(both: &str) -> Option<Login> {
    let text = String::from_utf8(STANDARD.decode(both.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Login {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(config: &str, registry: &str, repository: &str) -> Option<String> {
        let credentials = Credentials::from_docker_config(config.as_bytes()).unwrap();
        let login = credentials.login(registry, repository)?;
        Some(format!("{}:{}", login.username, login.password))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let config = r#"{"auths": {
            "https://r.example.com/v1/": {"auth": "YTpi"},
            "r.example.com/team": {"username": "t", "password": "p:q"},
            "empty.example.com": {}
        }, "credsStore": "desktop"}"#;
        assert_eq!(user(config, "r.example.com", "x").as_deref(), Some("a:b"));
        assert_eq!(
            user(config, "r.example.com", "team/x").as_deref(),
            Some("t:p:q")
        );
        assert_eq!(
            user(config, "r.example.com", "teamwork").as_deref(),
            Some("a:b")
        );
        assert_eq!(user(config, "r.example.com.evil.com", "x"), None);
        assert_eq!(user(config, "empty.example.com", "x"), None);
    }

    #[test]
    fn errors_and_debug_output_show_no_secret() {
        for wrong in [
            r#"{"auths": {"r": "hunter2"}}"#,
            r#"{"auths": {"r": {"auth": "hunter2"}}}"#,
            "hunter2",
        ] {
            let error = Credentials::from_docker_config(wrong.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", Credentials::basic("r.x", "u", "hunter2")).contains("hunter2"));
    }
}

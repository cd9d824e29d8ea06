//! Where an artifact lies.

use crate::digest::Digest;
use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// `registry[:port]/path[:tag][@sha256:...]`. The registry is always named: there is no default one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host and port.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, if the reference is pinned to one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether the registry is this machine; such a registry is spoken to without TLS.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self
            .registry
            .rsplit_once(':')
            .map_or(self.registry.as_str(), |(host, _)| host);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }

    /// The same artifact on each of these mirrors, and at last where it says.
    ///
    /// A mirror is a registry, with or without a path, that replaces the registry of the reference. A mirror is not trusted: what
    /// comes from it is checked like what comes from the original.
    ///
    /// # Errors
    /// A mirror that is not of this form.
    pub fn locations<'m>(
        &self,
        mirrors: impl IntoIterator<Item = &'m str>,
    ) -> Result<Vec<Reference>, Error> {
        let mut locations = mirrors
            .into_iter()
            .map(|mirror| {
                let mirror = mirror.trim_end_matches('/');
                let (registry, repository) = match mirror.split_once('/') {
                    Some((registry, path)) => (registry, format!("{path}/{}", self.repository)),
                    None => (mirror, self.repository.clone()),
                };
                let text = format!("{registry}/{repository}");
                let location: Reference = text.parse()?;
                Ok(Reference {
                    tag: self.tag.clone(),
                    digest: self.digest.clone(),
                    ..location
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        locations.push(self.clone());
        Ok(locations)
    }

    /// What follows `/manifests/` in the address of the manifest: the digest, else the tag, else `latest`.
    pub(crate) fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |problem: &'static str| Error::Reference {
            text: text.chars().take(300).collect(),
            problem,
        };
        let rest = text.strip_prefix("oci://").unwrap_or(text);
        if rest.len() > 512 {
            return Err(wrong("it is longer than 512 characters"));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (registry, path) = rest
            .split_once('/')
            .ok_or_else(|| wrong("it names no registry"))?;
        // Only what looks like a host is one: in `library/merge` the first part is a path.
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            return Err(wrong("its first part is not the host of a registry"));
        }
        if !registry
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
            || registry.starts_with(['.', ':', '-'])
        {
            return Err(wrong("the host of the registry is malformed"));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !repository.split('/').all(is_component) {
            return Err(wrong(
                "the path consists of lower-case letters and digits, separated by single `/`, `.`, `_` or `-`",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong(
                "a tag has up to 128 letters, digits, `_`, `.` and `-` and begins with a letter, a digit or `_`",
            ));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// One part of a path. It can be neither `.` nor `..`, so that no address leads elsewhere.
fn is_component(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        && !part.starts_with(['.', '_', '-'])
        && !part.ends_with(['.', '_', '-'])
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_reference() {
        let digest = Digest::of(b"x");
        let reference: Reference = format!("oci://registry.example.com:5000/a/b-c:1.0@{digest}")
            .parse()
            .unwrap();
        assert_eq!(reference.registry(), "registry.example.com:5000");
        assert_eq!(reference.repository(), "a/b-c");
        assert_eq!(reference.tag(), Some("1.0"));
        assert_eq!(reference.selector(), digest.to_string());
        let plain: Reference = "localhost/a".parse().unwrap();
        assert_eq!(plain.selector(), "latest");
        assert!(plain.is_loopback());
        assert!(
            !"127-0-0-1.example.com/a"
                .parse::<Reference>()
                .unwrap()
                .is_loopback()
        );
    }

    #[test]
    fn what_is_no_reference() {
        for wrong in [
            "",
            "merge",
            "library/merge",
            "r.example.com/",
            "r.example.com/../x",
            "r.example.com/a//b",
            "r.example.com/A",
            "r.example.com/a:",
            "r.example.com/a:b:c",
            "r.example.com/a@sha256:1",
            "user@r.example.com/a",
            "r.example.com/a?x=1",
            "-r.example.com/a",
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn mirrors_come_first_and_keep_tag_and_digest() {
        let reference: Reference = "r.example.com/a/b:1".parse().unwrap();
        let locations: Vec<String> = reference
            .locations(["mirror.local:5000", "other.local/cache/"])
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            locations,
            [
                "mirror.local:5000/a/b:1",
                "other.local/cache/a/b:1",
                "r.example.com/a/b:1"
            ]
        );
        assert!(reference.locations(["https://x"]).is_err());
    }
}

//! Which form of an answer the client wants.

use crate::error::ApiError;

/// The shape of an answer about objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The objects themselves.
    Plain,
    /// A table for people.
    Table,
    /// Only metadata.
    Partial,
}

/// Shape and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The shape.
    pub shape: Shape,
    /// YAML instead of JSON.
    pub yaml: bool,
}

impl Accepted {
    /// The first form of an `Accept` header the server can give. Protobuf is never given.
    pub fn parse(header: &str, custom: bool) -> Result<Self, ApiError> {
        if header.trim().is_empty() {
            return Ok(Self {
                shape: Shape::Plain,
                yaml: false,
            });
        }
        for range in header.split(',') {
            let range = MediaRange::parse(range);
            let yaml = match range.media {
                "application/json" | "*/*" | "application/*" => false,
                "application/yaml" => true,
                _ => continue,
            };
            let known_version = matches!(range.parameter("v"), "" | "v1");
            let shape = match range.parameter("as") {
                "" => Shape::Plain,
                "Table" if known_version => Shape::Table,
                "PartialObjectMetadata" | "PartialObjectMetadataList" if known_version => {
                    Shape::Partial
                }
                _ => continue,
            };
            return Ok(Self { shape, yaml });
        }
        Err(ApiError::not_acceptable(custom))
    }
}

/// True when the client understands aggregated discovery in this version.
pub fn wants_aggregated(header: &str) -> Option<&'static str> {
    for range in header.split(',') {
        let range = MediaRange::parse(range);
        if range.media != "application/json" {
            continue;
        }
        match (
            range.parameter("as"),
            range.parameter("g"),
            range.parameter("v"),
        ) {
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => return Some("v2"),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => return Some("v2beta1"),
            ("", _, _) => return None,
            _ => {}
        }
    }
    None
}

struct MediaRange<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> MediaRange<'a> {
    fn parse(range: &'a str) -> Self {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        Self {
            media,
            parameters: parts.filter_map(|p| p.split_once('=')).collect(),
        }
    }

    fn parameter(&self, name: &str) -> &'a str {
        self.parameters
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_form_wins() {
        let parse = |h| Accepted::parse(h, true).map(|a| a.shape);
        assert_eq!(
            parse("application/vnd.kubernetes.protobuf,application/json"),
            Ok(Shape::Plain)
        );
        assert_eq!(
            parse("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Ok(Shape::Table)
        );
        assert_eq!(
            parse("application/json;as=Table;v=v9,application/json"),
            Ok(Shape::Plain)
        );
        assert!(parse("application/xml").is_err());
        assert!(Accepted::parse("application/yaml", true).unwrap().yaml);
        let discovery =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(wants_aggregated(discovery), Some("v2"));
        assert_eq!(wants_aggregated("application/json"), None);
    }
}

//! Reads the software inventory out of an image while it streams by.

use dpf_api::provisioning::BfbVersions;
use serde::Deserialize;

/// Shortest run of printable characters that counts as text, as `strings` has it.
const RUN_MIN: usize = 4;
/// Longest run that is kept; the inventory has short lines.
const RUN_MAX: usize = 64 * 1024;
/// Longest inventory that is read.
const INVENTORY_MAX: usize = 1024 * 1024;
/// What stands in the text before the inventory.
const BEGIN: &str = "This JSON represents";
/// What stands in its last line.
const END: &str = "\"Members@odata.count\"";

/// An image whose versions cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionsError {
    /// There is no inventory.
    #[error("no software inventory was found in the file: it is no BFB, or set spec.versions")]
    Missing,
    /// There is one that is not JSON.
    #[error("the software inventory in the file cannot be read: {0}")]
    Malformed(String),
    /// The DOCA version is not three numbers.
    #[error("the software inventory names DOCA {0}, which is not a version like 3.2.0")]
    Doca(String),
}

#[derive(Debug)]
enum State {
    Searching,
    Collecting(String),
    Complete(String),
    TooLong,
}

/// Finds the inventory in a stream of bytes; uses bounded memory.
#[derive(Debug)]
pub struct VersionScanner {
    run: Vec<u8>,
    state: State,
}

impl Default for VersionScanner {
    fn default() -> Self {
        Self {
            run: Vec::new(),
            state: State::Searching,
        }
    }
}

impl VersionScanner {
    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Complete(_) | State::TooLong) {
            return;
        }
        for byte in bytes {
            if matches!(byte, b' '..=b'~' | b'\t') {
                if self.run.len() < RUN_MAX {
                    self.run.push(*byte);
                }
            } else {
                self.end_run();
            }
        }
    }

    fn end_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let run = String::from_utf8_lossy(&self.run).into_owned();
        self.run.clear();
        let begins = run.len() >= RUN_MIN && run.contains(BEGIN);
        match &mut self.state {
            State::Searching if begins => {
                // The line before it, with the opening brace, is too short to be text.
                let mut inventory = String::from("{");
                inventory.push_str(run.trim().trim_start_matches('{'));
                self.state = if run.contains(END) {
                    State::Complete(inventory)
                } else {
                    State::Collecting(inventory)
                };
            }
            State::Collecting(inventory) if run.len() >= RUN_MIN || is_punctuation(&run) => {
                if inventory.len().saturating_add(run.len()) > INVENTORY_MAX {
                    self.state = State::TooLong;
                    return;
                }
                inventory.push_str(run.trim());
                if run.contains(END) {
                    let complete = std::mem::take(inventory);
                    self.state = State::Complete(complete);
                }
            }
            State::Searching | State::Collecting(_) | State::Complete(_) | State::TooLong => {}
        }
    }

    /// What the inventory says.
    ///
    /// # Errors
    /// [`VersionsError`] when there is none or it cannot be read.
    pub fn finish(mut self) -> Result<BfbVersions, VersionsError> {
        self.end_run();
        match self.state {
            State::Complete(text) => parse(&text),
            State::Searching => Err(VersionsError::Missing),
            State::Collecting(_) => Err(VersionsError::Malformed("it has no end".to_owned())),
            State::TooLong => Err(VersionsError::Malformed(
                "it is longer than 1 MiB".to_owned(),
            )),
        }
    }
}

/// Lines such as `},` are shorter than what `strings` takes for text, and JSON needs them.
fn is_punctuation(run: &str) -> bool {
    let trimmed = run.trim();
    !trimmed.is_empty() && trimmed.chars().all(|c| "{}[],:".contains(c))
}

#[derive(Deserialize)]
struct Inventory {
    #[serde(rename = "Members", default)]
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Version", default)]
    version: String,
}

fn parse(text: &str) -> Result<BfbVersions, VersionsError> {
    let closed = format!("{}}}", text.trim_end().trim_end_matches(['}', ',']));
    let inventory: Inventory = serde_json::from_str(&closed)
        .or_else(|_| serde_json::from_str(text))
        .map_err(|error| VersionsError::Malformed(error.to_string()))?;
    let version = |name: &str| {
        inventory
            .members
            .iter()
            .find(|member| member.name == name && !member.version.is_empty())
            .map(|member| member.version.clone())
    };
    let doca = version("DOCA")
        .map(|text| normalised_doca(&text))
        .transpose()?;
    Ok(BfbVersions {
        bsp: version("BF3_BSP"),
        doca,
        uefi: version("BF3_UEFI"),
        atf: version("BF3_ATF"),
    })
}

/// `2.9.3008-1` becomes `2.9.3`: the part before the first dash, and of its third number the first digit.
///
/// # Errors
/// [`VersionsError::Doca`] when it does not have three parts.
pub fn normalised_doca(text: &str) -> Result<String, VersionsError> {
    let wrong = || VersionsError::Doca(text.to_owned());
    let head = text.split('-').next().unwrap_or_default();
    let parts: Vec<&str> = head.split('.').collect();
    let [major, minor, patch] = parts.as_slice() else {
        return Err(wrong());
    };
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let digit = patch.chars().next().filter(char::is_ascii_digit);
    match digit {
        Some(digit) if numeric(major) && numeric(minor) => Ok(format!("{major}.{minor}.{digit}")),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(pretty: bool) -> Vec<u8> {
        let inventory = serde_json::json!({
            "//": "This JSON represents the software in this image",
            "Members": [
                {"Name": "BF3_ATF", "Version": "v2.2(release):4.9.0"},
                {"Name": "BF3_BSP", "Version": "4.9.0.13378"},
                {"Name": "BF3_UEFI", "Version": "4.9.0-25"},
                {"Name": "DOCA", "Version": "3.2.0125-1"}
            ],
            "Members@odata.count": 4
        });
        let text = if pretty {
            serde_json::to_string_pretty(&inventory).unwrap()
        } else {
            inventory.to_string()
        };
        let mut image = vec![0, 1, 2, b'a', b'b', 0, 0xff];
        image.extend_from_slice(text.as_bytes());
        image.extend_from_slice(&[0, 9, 8, b'x', b'y', b'z', b'z', 0]);
        image
    }

    fn scan(image: &[u8], chunk: usize) -> Result<BfbVersions, VersionsError> {
        let mut scanner = VersionScanner::default();
        image.chunks(chunk).for_each(|c| scanner.feed(c));
        scanner.finish()
    }

    #[test]
    fn versions_in_any_layout_and_any_chunks() {
        for pretty in [true, false] {
            for chunk in [1, 3, 7, 4096] {
                let versions = scan(&image(pretty), chunk).unwrap();
                assert_eq!(versions.doca.as_deref(), Some("3.2.0"), "{pretty} {chunk}");
                assert_eq!(versions.bsp.as_deref(), Some("4.9.0.13378"));
                assert_eq!(versions.uefi.as_deref(), Some("4.9.0-25"));
                assert_eq!(versions.atf.as_deref(), Some("v2.2(release):4.9.0"));
            }
        }
    }

    #[test]
    fn doca_versions() {
        for (text, expected) in [
            ("2.9.3008", Some("2.9.3")),
            ("3.0.0058", Some("3.0.0")),
            ("3.2.0125-1", Some("3.2.0")),
            ("3.2", None),
            ("3.2.x", None),
            ("a.b.1", None),
            ("", None),
        ] {
            assert_eq!(normalised_doca(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn files_without_inventory() {
        assert_eq!(scan(b"just a file", 4), Err(VersionsError::Missing));
        let whole = image(true);
        let half = &whole[..whole.len() / 2];
        assert!(matches!(scan(half, 64), Err(VersionsError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = scan(&bytes, 13);
        }
    }
}

//! What an installed system knows: the machine-readable part of bf.cfg, which follows the image.

use std::collections::BTreeMap;

/// First line of the block.
const BEGIN: &[u8] = b"# dpf:begin";
/// Last line of the block.
const END: &str = "# dpf:end";
/// Beginning of every line of the block.
const PREFIX: &str = "# dpf:";

/// Where to join, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Name of the node to register.
    pub node_name: String,
    /// URL of the API server of the DPU cluster.
    pub api_server: String,
    /// Bootstrap token, `<id>.<secret>`.
    pub token: String,
    /// UID of the DPU object: every installation has another one.
    pub dpu_uid: String,
}

/// There is no usable bf.cfg behind the image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The block is not there or has no end.
    #[error("no complete `# dpf:begin` ... `# dpf:end` block follows the image")]
    Missing,
    /// A key is not in the block.
    #[error("the `# dpf:` block of bf.cfg has no {0}")]
    Key(&'static str),
}

impl Join {
    /// Reads the last block of an image.
    ///
    /// # Errors
    /// [`JoinError`] when the block or one of its keys is missing.
    pub fn read(image: &[u8]) -> Result<Self, JoinError> {
        let windows = image.windows(BEGIN.len());
        let start = windows
            .enumerate()
            .rev()
            .find(|(_, window)| *window == BEGIN)
            .map(|(index, _)| index);
        let block = start.and_then(|start| image.get(start..));
        let text = String::from_utf8_lossy(block.ok_or(JoinError::Missing)?);
        let mut values = BTreeMap::new();
        let mut ended = false;
        for line in text.lines().skip(1) {
            let line = line.trim();
            if line == END {
                ended = true;
                break;
            }
            if let Some((key, value)) = line.strip_prefix(PREFIX).and_then(|l| l.split_once('=')) {
                values.insert(key.to_owned(), value.to_owned());
            }
        }
        if !ended {
            return Err(JoinError::Missing);
        }
        let mut take = |key: &'static str| values.remove(key).ok_or(JoinError::Key(key));
        Ok(Self {
            node_name: take("node-name")?,
            api_server: take("api-server")?,
            token: take("token")?,
            dpu_uid: take("dpu-uid")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "# dpf:begin 1\n# dpf:node-name=n1\n# dpf:dpu-namespace=ns\n# dpf:dpu-name=n1\n\
        # dpf:dpu-uid=u\n# dpf:api-server=https://127.0.0.1:1\n# dpf:ca-cert-hash=sha256:aa\n\
        # dpf:token=abcdef.0123456789abcdef\n# dpf:flavor=f\n# dpf:new=x\n# dpf:end\nbfb_post_install() { :; }\n";

    #[test]
    fn the_last_block_counts() {
        let mut image = vec![0xffu8; 100];
        image.extend_from_slice(BLOCK.replace("n1", "older").as_bytes());
        image.extend_from_slice(BLOCK.as_bytes());
        let join = Join::read(&image).unwrap();
        assert_eq!(join.node_name, "n1");
        assert_eq!(join.token, "abcdef.0123456789abcdef");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(Join::read(b"no block"), Err(JoinError::Missing));
        let open = BLOCK.replace("# dpf:end", "");
        assert_eq!(Join::read(open.as_bytes()), Err(JoinError::Missing));
        let without = BLOCK.replace("# dpf:token", "# dpf:other");
        assert_eq!(Join::read(without.as_bytes()), Err(JoinError::Key("token")));
    }
}

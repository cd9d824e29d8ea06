//! Where a JSON message of an endless stream ends.
//!
//! OVSDB messages follow each other without a separator. Looking for the end of one needs no parser, only the depth of
//! brackets and whether one is inside a string; so size and depth are bounded before anything is built.

/// Bytes of a message that are taken. A database with ten thousand ports is a tenth of that.
pub const LARGEST: usize = 32 << 20;
/// Brackets inside each other that are taken; OVSDB needs nine.
pub const DEEPEST: usize = 32;

/// A stream that is not a sequence of JSON messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too large.
    #[error("the database sent a message of more than {} MiB", LARGEST >> 20)]
    TooLarge,
    /// Too deep.
    #[error("the database sent a message with more than {DEEPEST} levels")]
    TooDeep,
    /// Something between messages.
    #[error("the database sent byte {0:#04x} where a message begins with a brace")]
    NotAnObject(u8),
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    /// Bytes that were looked at.
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, or none until more was read.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be used any more.
    pub fn message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        while let Some(byte) = self.bytes.get(self.seen).copied() {
            if self.depth == 0 {
                if byte.is_ascii_whitespace() {
                    self.bytes.drain(..=self.seen);
                    continue;
                }
                if byte != b'{' {
                    return Err(FrameError::NotAnObject(byte));
                }
            }
            self.seen += 1;
            if self.seen > LARGEST {
                return Err(FrameError::TooLarge);
            }
            if self.look(byte)? {
                let rest = self.bytes.split_off(self.seen);
                self.seen = 0;
                return Ok(Some(std::mem::replace(&mut self.bytes, rest)));
            }
        }
        Ok(None)
    }

    /// Whether a message ends with this byte.
    fn look(&mut self, byte: u8) -> Result<bool, FrameError> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(FrameError::TooDeep);
                }
            }
            b'}' | b']' => {
                self.depth -= 1;
                return Ok(self.depth == 0);
            }
            _ => {}
        }
        Ok(false)
    }
}

//! Where uids and generated names come from: a counter and a seed, so that a run can be repeated.

use sha2::{Digest as _, Sha256};

/// Letters and digits Kubernetes uses in generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of ids.
#[derive(Debug, Clone)]
pub struct Ids {
    seed: u64,
    counter: u64,
}

impl Ids {
    /// The same seed gives the same ids.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    /// The same source further on: none of the ids it gave before `revision` comes again.
    pub fn resumed(seed: u64, revision: u64) -> Self {
        // No revision uses a million ids.
        Self {
            seed,
            counter: revision << 20,
        }
    }

    fn next(&mut self) -> [u8; 32] {
        self.counter += 1;
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_be_bytes());
        hasher.update(self.counter.to_be_bytes());
        hasher.finalize().into()
    }

    /// A secret of this source.
    pub fn secret(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"secret");
        hasher.update(self.seed.to_be_bytes());
        hasher.finalize().into()
    }

    /// A uid in the form of a random UUID.
    pub fn uid(&mut self) -> String {
        let text = hex::encode(self.next());
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-a{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    }

    /// Five characters to end a generated name with.
    pub fn suffix(&mut self) -> String {
        let bytes = self.next();
        let letter = |byte: &u8| {
            ALPHABET
                .get(usize::from(*byte) % ALPHABET.len())
                .copied()
                .unwrap_or(b'x')
        };
        bytes
            .iter()
            .take(5)
            .map(|b| char::from(letter(b)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn ids_differ_and_repeat() {
        let (mut a, mut b) = (Ids::new(7), Ids::new(7));
        let first = a.uid();
        assert_eq!(first, b.uid());
        assert_ne!(first, a.uid());
        assert_eq!(first.len(), 36);
        assert_eq!(a.suffix().len(), 5);
    }
}

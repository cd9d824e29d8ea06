//! A body of many pieces, sent in blocks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Pieces are gathered into blocks of about this size: large enough for few writes, small enough not to count.
const BLOCK: usize = 64 * 1024;

/// The rest of a body. What was not sent yet is not copied yet.
#[derive(Debug)]
pub struct Pieces {
    left: std::vec::IntoIter<Bytes>,
    length: u64,
}

impl Pieces {
    /// A body that is these pieces, one after the other.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(|p| p.len() as u64).sum();
        Self {
            left: pieces.into_iter(),
            length,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut block = BytesMut::new();
        while block.len() < BLOCK {
            let Some(piece) = self.left.next() else {
                break;
            };
            if block.is_empty() {
                block.reserve(BLOCK + piece.len());
            }
            block.extend_from_slice(&piece);
        }
        self.length -= block.len() as u64;
        let frame = (!block.is_empty()).then(|| Ok(Frame::data(block.freeze())));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn pieces_arrive_in_order_and_in_blocks() {
        let pieces: Vec<Bytes> = (0..100_000).map(|i| format!("{i},").into()).collect();
        let whole = pieces.concat();
        let mut body = Pieces::new(pieces);
        let mut got = Vec::new();
        let mut blocks = 0;
        while let Some(frame) = body.frame().await {
            got.extend(frame.unwrap().into_data().unwrap());
            blocks += 1;
        }
        assert_eq!(got, whole);
        assert!(blocks < 20, "{blocks} blocks");
    }
}

//! The content of a response on its way into DATA frames.
//!
//! Content stays where it is, in memory that is shared or in a file; a frame takes a range of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::driver::{Chain, File};
use crate::http::site::response::{Body, BodyPiece, Response};

/// Content that was not written yet. It is not empty.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What comes first.
    front: Content,
    /// What comes after it: only content of several ranges has more than one piece.
    rest: VecDeque<Content>,
    left: u64,
}

#[derive(Debug)]
enum Content {
    Memory(Rc<[u8]>, Range<usize>),
    File(Arc<File>, Range<u64>),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(_, range) => range.len() as u64,
            Self::File(_, range) => range.end - range.start,
        }
    }

    /// Moves up to `bytes` bytes from the front to a chain, and returns how many.
    fn write(&mut self, out: &mut Chain, bytes: u64) -> u64 {
        let bytes = bytes.min(self.len());
        match self {
            Self::Memory(memory, range) => {
                let end = range.start + bytes as usize;
                out.share_range(memory, range.start..end);
                range.start = end;
            }
            Self::File(file, range) => {
                let end = range.start + bytes;
                out.file(file, range.start..end);
                range.start = end;
            }
        }
        bytes
    }
}

impl Outgoing {
    /// The content of a response; `None` if there is none.
    pub(super) fn of(response: &Response) -> Option<Self> {
        let mut rest = VecDeque::new();
        let front = match &response.body {
            Body::Multipart(parts) => {
                rest = parts.pieces().filter_map(content_of_piece).collect();
                rest.pop_front()
            }
            Body::Prepared => response.fields.prepared().map(|prepared| {
                let bytes = prepared.bytes();
                Content::Memory(Rc::clone(bytes), prepared.head_len()..bytes.len())
            }),
            body => content_of(body),
        };
        let front = front.filter(|front| front.len() > 0)?;
        let left = front.len() + rest.iter().map(Content::len).sum::<u64>();
        Some(Self { front, rest, left })
    }

    /// Bytes that were not written.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Whether some of it is in a file, which stays open as long.
    pub(super) fn has_file(&self) -> bool {
        let mut all = std::iter::once(&self.front).chain(&self.rest);
        all.any(|content| matches!(content, Content::File(..)))
    }

    /// The memory that it keeps in use, in bytes, with that of what was written already.
    pub(super) fn memory(&self) -> u64 {
        let all = std::iter::once(&self.front).chain(&self.rest);
        let memory = all.map(|content| match content {
            Content::Memory(bytes, _) => bytes.len() as u64,
            Content::File(..) => 0,
        });
        memory.sum()
    }

    /// Moves `bytes` bytes to a chain.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub(super) fn write(&mut self, out: &mut Chain, bytes: u64) {
        assert!(bytes <= self.left, "{bytes} bytes are wanted of {}", self.left);
        self.left -= bytes;
        let mut todo = bytes;
        loop {
            todo -= self.front.write(out, todo);
            if self.front.len() == 0
                && let Some(next) = self.rest.pop_front()
            {
                self.front = next;
            }
            if todo == 0 {
                return;
            }
        }
    }
}

fn content_of(body: &Body) -> Option<Content> {
    match body {
        Body::None | Body::Prepared | Body::Multipart(_) => None,
        Body::Memory(bytes, range) => {
            Some(Content::Memory(Rc::clone(bytes), range.start as usize..range.end as usize))
        }
        Body::File(file, range) => Some(Content::File(Arc::clone(file), range.clone())),
    }
}

fn content_of_piece(piece: BodyPiece) -> Option<Content> {
    let content = match piece {
        BodyPiece::Bytes(bytes) => Some(Content::Memory(bytes.as_slice().into(), 0..bytes.len())),
        BodyPiece::Content(body) => content_of(&body),
    };
    content.filter(|content| content.len() > 0)
}

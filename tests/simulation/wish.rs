//! What a request of a simulated world asks of a file, besides all of it.

use fastrand::Rng;

use crate::answer::Answer;

/// A file that may be sent in another coding, and the file in that coding.
pub(crate) const PLAIN: &str = "a.txt";
pub(crate) const CODED: &str = "a.txt.gz";

/// The coding, range and condition of a request.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Wish {
    /// The first and the last byte that it asks for. At most one range, because the boundary of a
    /// multipart answer is random.
    pub(crate) range: Option<(usize, usize)>,
    /// Whether it accepts gzip.
    pub(crate) coded: bool,
    /// Whether it has `If-None-Match: *`.
    pub(crate) absent: bool,
}

impl Wish {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let mut wish = Self::default();
        match random.u8(..8) {
            0 => wish.absent = true,
            1 | 2 => {
                let first = [0, 1, 99, 5000, 100_000][random.usize(..5)];
                wish.range = Some((first, first + [0, 50, 50_000][random.usize(..3)]));
            }
            _ => {}
        }
        wish.coded = random.bool();
        wish
    }

    /// The field lines that express it.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        if let Some((first, last)) = self.range {
            lines.push_str(&format!("Range: bytes={first}-{last}\r\n"));
        }
        if self.coded {
            lines.push_str("Accept-Encoding: gzip\r\n");
        }
        if self.absent {
            lines.push_str("If-None-Match: *\r\n");
        }
        lines
    }
}

/// The name of the file that was sent for a name.
pub(crate) fn form<'a>(answer: &Answer, name: &'a str) -> &'a str {
    match answer.field("content-encoding") {
        None => name,
        Some(coding) => {
            assert_eq!((coding, name), ("gzip", PLAIN), "{answer:?}");
            CODED
        }
    }
}

//! What a request of a simulated world wants of a file, besides all of it.

use fastrand::Rng;

use crate::answer::Answer;

/// A file that may be sent in another form, and that form.
pub(crate) const PLAIN: &str = "a.txt";
pub(crate) const CODED: &str = "a.txt.gz";

/// In which form a request wants a file.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Wish {
    /// The first and the last byte that it wants; one range at most, so that no boundary, which is
    /// another one each time, is in the answer.
    pub(crate) range: Option<(usize, usize)>,
    /// Whether it takes gzip.
    pub(crate) coded: bool,
    /// Whether it wants nothing if there is something.
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

    /// The field lines that say so.
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

/// The name of what is sent for a name.
pub(crate) fn form<'a>(answer: &Answer, name: &'a str) -> &'a str {
    match answer.field("content-encoding") {
        None => name,
        Some(coding) => {
            assert_eq!((coding, name), ("gzip", PLAIN), "{answer:?}");
            CODED
        }
    }
}

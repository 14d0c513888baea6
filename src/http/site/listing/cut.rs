//! Where the pages of a listing begin: after so many entries, or so many bytes.
//!
//! The bytes of an entry are estimated from its name alone, and never too low. So the pages are the
//! same in both formats, and known without metadata.

use super::entries::ListedEntries;
use super::policy::Policy;
use super::query::PAGE_MAX;

/// What an entry takes at most besides its name and its reference, in bytes. In HTML these are the
/// elements of a row, a size of 64 bits and a time; JSON takes less.
const ROW_BYTES: usize = 188;

/// The most bytes for each byte of a name: in the text, and in the reference.
const BYTES: [u8; 256] = bytes();

const fn bytes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let plain = matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
            | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'(' | b')' | b'*' | b',' | b';' | b'='
            | b'@');
        let reference = if plain { 1 } else { 3 };
        let text = match byte as u8 {
            // `\u001f` in JSON, `&quot;` in HTML.
            0..=0x1f | b'"' => 6,
            b'&' | b'\'' => 5,
            b'<' | b'>' => 4,
            // The picture of a control character; U+FFFD for each byte that is not UTF-8.
            0x7f.. => 3,
            b'\\' => 2,
            _ => 1,
        };
        table[byte] = text + reference;
        byte += 1;
    }
    table
}

/// The bytes that an entry takes at most on a page, in either format.
pub(super) fn entry_bytes_max(name: &[u8]) -> usize {
    ROW_BYTES + name.iter().map(|byte| usize::from(BYTES[usize::from(*byte)])).sum::<usize>()
}

/// The place of the first entry of each page, for entries in the order of `places`. There is at
/// least one page, and at most [`PAGE_MAX`]: if there would be more, pages grow beyond the limits.
pub(super) fn starts(entries: &ListedEntries, places: &[u32], policy: &Policy) -> Box<[u32]> {
    let least = places.len().div_ceil(PAGE_MAX as usize).max(1);
    let most = policy.page_size.max(least);
    let (mut starts, mut count, mut bytes) = (vec![0], 0, 0);
    for (at, place) in (0..).zip(places) {
        let more = entry_bytes_max(entries.get(*place as usize).name);
        if count >= most || count >= least && bytes + more > policy.page_bytes {
            starts.push(at);
            (count, bytes) = (0, 0);
        }
        (count, bytes) = (count + 1, bytes + more);
    }
    starts.into()
}

#[cfg(test)]
mod tests {
    use super::super::entries::{Details, ListedEntry};
    use super::super::page::{Contents, ListingPage};
    use super::super::query::{Asked, Format};
    use super::super::{html, json};
    use super::*;

    /// The bytes of a page that has these names.
    fn length(format: Format, names: &[Vec<u8>], directory: bool) -> usize {
        let mut contents = Contents::default();
        let details = Details { len: u64::MAX, modified: (253_402_300_799, 0) };
        for name in names {
            let details = Some(details);
            contents.entries.push(ListedEntry { name, directory, details });
        }
        let policy = Policy::default();
        contents.prepare(&Asked::new(format), &policy);
        let page = ListingPage::of(b"", &contents, Asked::new(format));
        assert_eq!(page.items.len(), names.len());
        match format {
            Format::Html => html::render(&page).len(),
            Format::Json => json::render(&page).unwrap().len(),
        }
    }

    #[test]
    fn no_entry_takes_more_bytes_than_estimated() {
        let mut random = fastrand::Rng::with_seed(6);
        let mut names: Vec<Vec<u8>> = (1..=255).map(|byte| vec![byte; 255]).collect();
        names.extend(
            ["", "n", "\u{85}", "\u{2028}", "\u{fffe}", "\u{10ffff}"]
                .map(|unit| unit.as_bytes().repeat(255 / unit.len().max(1))),
        );
        for _ in 0..500 {
            names.push((0..random.usize(..256)).map(|_| random.u8(1..)).collect());
        }
        for format in Format::ALL {
            for directory in [false, true] {
                let none = length(format, &[Vec::new()], directory);
                let with_empty = entry_bytes_max(b"");
                for name in &names {
                    // The page of one empty name is the base, so no entry is the only one.
                    let taken = length(format, &[Vec::new(), name.clone()], directory) - none;
                    let most = entry_bytes_max(name);
                    assert!(taken <= most, "{}: {taken} > {most}", name.escape_ascii());
                    assert!(most - with_empty <= 9 * name.len());
                }
            }
        }
    }

    #[test]
    fn an_ordinary_page_has_as_many_entries_as_allowed() {
        let Policy { page_size, page_bytes, .. } = Policy::default();
        assert!(page_size * entry_bytes_max(&[b'x'; 32]) <= page_bytes);
    }
}

//! Sorts entries: directories before files, and both by name, size or time.
//!
//! Names are in natural order: runs of digits compare as numbers of any length, and ASCII letters
//! without regard to case. Names that are still equal compare by bytes, so the order is total, and
//! a page does not depend on the order in which the file system returns names.

use std::cmp::Ordering;

use super::entries::{ListedEntries, ListedEntry};
use super::query::{Order, Sort};

/// The indices of the entries in sorted order. Sizes and times without details count as zero.
pub(super) fn places(entries: &ListedEntries, by: Sort, order: Order) -> Box<[u32]> {
    let mut places: Box<[u32]> = (0..).take(entries.len()).collect();
    let entry = |place: u32| entries.get(place as usize);
    places.sort_unstable_by(|left, right| compare(&entry(*left), &entry(*right), by, order));
    places
}

/// Compares two entries. Directories come first in both orders. The size of a directory is
/// meaningless, so directories are sorted by name instead.
fn compare(left: &ListedEntry<'_>, right: &ListedEntry<'_>, by: Sort, order: Order) -> Ordering {
    right.directory.cmp(&left.directory).then_with(|| {
        let first = match by {
            Sort::Size if !left.directory => left.len().cmp(&right.len()),
            Sort::Time => left.modified().cmp(&right.modified()),
            Sort::Name | Sort::Size => Ordering::Equal,
        };
        let ascending = first.then_with(|| natural(left.name, right.name));
        match order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    })
}

/// The natural order of two names. Different names are never equal.
pub(super) fn natural(left: &[u8], right: &[u8]) -> Ordering {
    loosely(left, right).then_with(|| left.cmp(right))
}

/// The natural order without tie-breaking: `a01` and `A1` are equal.
fn loosely(mut left: &[u8], mut right: &[u8]) -> Ordering {
    loop {
        let (Some(&one), Some(&other)) = (left.first(), right.first()) else {
            return left.len().cmp(&right.len());
        };
        let ordering = if one.is_ascii_digit() && other.is_ascii_digit() {
            let (one, other) = (number(&mut left), number(&mut right));
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            one.to_ascii_lowercase().cmp(&other.to_ascii_lowercase())
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// Removes the digits at the front, and returns them without leading zeros.
fn number<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    *rest = tail;
    let start = digits.iter().position(|&byte| byte != b'0').unwrap_or(end);
    &digits[start..]
}

#[cfg(test)]
mod tests {
    use super::super::filter::tests::{directory, file, listed};
    use super::*;

    #[test]
    fn names_are_in_natural_order() {
        let sorted: [&[u8]; 24] = [
            b"",
            b" lead",
            b"-rf",
            b"0",
            b"00",
            b"1",
            b"1.txt",
            b"01a",
            b"1a",
            b"2",
            b"010",
            b"10",
            b"18446744073709551616",
            b"99999999999999999999999999999999",
            b"100000000000000000000000000000000",
            b"a",
            b"A2b9",
            b"a2B10",
            b"a10",
            b"ab",
            b"B",
            b"b",
            b"b!",
            b"\xff",
        ];
        for (at, left) in sorted.iter().enumerate() {
            for (than, right) in sorted.iter().enumerate() {
                let (shown, other) = (left.escape_ascii(), right.escape_ascii());
                assert_eq!(natural(left, right), at.cmp(&than), "{shown} and {other}");
            }
        }
    }

    fn name(random: &mut fastrand::Rng) -> Vec<u8> {
        (0..random.usize(1..6)).map(|_| random.choice(*b"0129aAbB._\xff").unwrap()).collect()
    }

    /// A naive sort key for natural order: a list of numbers and letters, then the bytes.
    fn oracle(name: &[u8]) -> (Vec<(u32, u128)>, Vec<u8>) {
        let mut parts: Vec<(u32, u128)> = Vec::new();
        let mut within = false;
        for &byte in name {
            match (byte.is_ascii_digit(), parts.last_mut()) {
                (true, Some(last)) if within => last.1 = last.1 * 10 + u128::from(byte - b'0'),
                (true, _) => parts.push((u32::from(b'0'), u128::from(byte - b'0'))),
                (false, _) => parts.push((u32::from(byte.to_ascii_lowercase()), 0)),
            }
            within = byte.is_ascii_digit();
        }
        (parts, name.to_vec())
    }

    #[test]
    fn the_order_is_total_and_agrees_with_the_naive_key() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let (a, b, c) = (name(&mut random), name(&mut random), name(&mut random));
            assert_eq!(natural(&a, &b), oracle(&a).cmp(&oracle(&b)), "{a:?} {b:?}");
            assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                assert!(natural(&a, &c).is_le(), "{a:?} {b:?} {c:?}");
            }
        }
    }

    fn sorted(items: &[ListedEntry<'_>], by: Sort, order: Order) -> Vec<Vec<u8>> {
        let places = places(&listed(items.iter().copied()), by, order);
        places.iter().map(|place| items[*place as usize].name.to_vec()).collect()
    }

    #[test]
    fn directories_come_first_in_both_orders() {
        let items = [
            file("b10", 5, (7, 1)),
            file("b9", 5, (7, 0)),
            file("a", 1, (9, 0)),
            file("z", 0, (-3, 0)),
            directory("y", 4096, (1, 0)),
            directory("x2", 9, (2, 0)),
            directory("x10", 8, (3, 0)),
        ];
        let table = [
            (Sort::Name, ["x2", "x10", "y"], ["a", "b9", "b10", "z"]),
            (Sort::Size, ["x2", "x10", "y"], ["z", "a", "b9", "b10"]),
            (Sort::Time, ["y", "x2", "x10"], ["z", "b9", "b10", "a"]),
        ];
        for (by, mut directories, mut files) in table {
            let expected = |directories: &[&str], files: &[&str]| -> Vec<Vec<u8>> {
                [directories, files].concat().iter().map(|name| name.as_bytes().to_vec()).collect()
            };
            let ascending = sorted(&items, by, Order::Ascending);
            assert_eq!(ascending, expected(&directories, &files));
            directories.reverse();
            files.reverse();
            let descending = sorted(&items, by, Order::Descending);
            assert_eq!(descending, expected(&directories, &files));
        }
    }

    #[test]
    fn sorting_does_not_depend_on_the_order_of_the_input() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..300 {
            let mut names: Vec<String> = Vec::new();
            for _ in 0..random.usize(..30) {
                names.push(String::from_utf8_lossy(&name(&mut random)).into_owned());
            }
            names.sort_unstable();
            names.dedup();
            let item = |name| {
                let (len, time) = (random.u64(..4), (random.i64(-2..2), random.u32(..2)));
                let make = if random.bool() { file } else { directory };
                make(name, len, time)
            };
            let mut items: Vec<ListedEntry<'_>> =
                names.iter().map(String::as_str).map(item).collect();
            for by in [Sort::Name, Sort::Size, Sort::Time] {
                let mut expected = items.clone();
                expected.sort_by_key(|item| oracle(item.name));
                match by {
                    Sort::Name => {}
                    Sort::Size => {
                        expected.sort_by_key(|item| if item.directory { 0 } else { item.len() });
                    }
                    Sort::Time => expected.sort_by_key(ListedEntry::modified),
                }
                let (mut first, mut rest): (Vec<ListedEntry<'_>>, Vec<ListedEntry<'_>>) =
                    expected.into_iter().partition(|item| item.directory);
                for order in [Order::Ascending, Order::Descending] {
                    random.shuffle(&mut items);
                    let names = |items: &[ListedEntry<'_>]| -> Vec<Vec<u8>> {
                        items.iter().map(|item| item.name.to_vec()).collect()
                    };
                    let expected = [names(&first), names(&rest)].concat();
                    assert_eq!(sorted(&items, by, order), expected, "{by:?}");
                    first.reverse();
                    rest.reverse();
                }
            }
        }
    }
}

//! What a chain holds, and what is left of it after a part was sent.

use super::*;
use crate::driver::sim::Files;

fn file(bytes: &[u8]) -> Arc<File> {
    let files = Files::default();
    files.write("file", bytes);
    files.open("file").unwrap()
}

#[test]
fn small_pieces_become_one_part() {
    let mut chain = Chain::new();
    chain.copy(b"head ");
    chain.copy(b"more ");
    chain.share(&Rc::from(&b"body"[..]));
    assert_eq!(chain.parts.len(), 1);
    assert_eq!(chain.remaining(), 14);
    assert_eq!(read_all(&mut chain), b"head more body");
    assert!(chain.is_empty());
}

#[test]
fn large_memory_is_referenced() {
    let body: Rc<[u8]> = vec![7; COPY_MAX + 1].into();
    let mut chain = Chain::new();
    chain.share(&body);
    assert_eq!(Rc::strong_count(&body), 2);
    chain.clear();
    assert_eq!(Rc::strong_count(&body), 1);
}

/// A chain may be the last owner of its memory and its files, so both fill it.
#[test]
fn memory_and_files_fill_a_chain() {
    let body: Rc<[u8]> = vec![7; MEMORY_FULL / 2].into();
    let on_disk = file(b"0123456789");
    for (fill, count) in [
        (&(|chain: &mut Chain| chain.share(&body)) as &dyn Fn(&mut Chain), 2),
        (&|chain| chain.copy(&body), 2),
        (&|chain| chain.file(&on_disk, 0..10), FILES_MAX),
    ] {
        let mut chain = Chain::new();
        for _ in 0..count {
            assert!(!chain.is_full());
            fill(&mut chain);
        }
        assert!(chain.is_full());
    }
}

#[test]
fn a_spare_chain_gives_most_of_its_memory_back() {
    let mut chain = Chain::new();
    chain.copy(&vec![0; 10 * KEEP_BYTES]);
    chain.clear();
    assert!(chain.capacity() < 2 * KEEP_BYTES, "{}", chain.capacity());
    chain.copy(&vec![0; MEMORY_FULL]);
    let kept = chain.capacity();
    chain.clear();
    assert_eq!(chain.capacity(), kept, "it is kept for the next answers");
}

#[test]
fn memory_before_a_file_says_that_more_follows() {
    let mut chain = Chain::new();
    chain.copy(b"head");
    chain.file(&file(b"0123456789"), 2..5);
    assert!(matches!(chain.next(), NextPart::Memory { more: true }));
    chain.advance(4);
    assert!(matches!(chain.next(), NextPart::File { range: Range { start: 2, end: 5 }, .. }));
    chain.advance(2);
    assert!(matches!(chain.next(), NextPart::File { range: Range { start: 4, end: 5 }, .. }));
    chain.advance(1);
    assert!(chain.is_empty());
}

#[test]
fn the_file_behind_some_memory_is_found() {
    let mut chain = Chain::new();
    chain.copy(b"head");
    chain.file(&file(b"0123456789"), 2..5);
    chain.copy(b"tail");
    chain.advance(1);
    for (bytes, seen) in [(0, None), (2, None), (3, Some(2..5)), (4, Some(3..5)), (6, None)] {
        assert_eq!(chain.file_after(bytes).map(|(_, range)| range), seen, "{bytes}");
    }
    assert!(chain.file_after(10).is_none());
}

#[test]
fn empty_pieces_leave_no_part() {
    let mut chain = Chain::new();
    chain.copy(b"");
    chain.file(&file(b"abc"), 1..1);
    assert!(chain.is_empty());
    assert_eq!(chain.remaining(), 0);
    chain.file(&file(b"abc"), 0..3);
    chain.copy(b"");
    assert_eq!(chain.parts.len(), 1);
    let mut sent = four();
    sent.advance(4);
    sent.copy(b"");
    assert!(sent.is_empty());
}

/// A chain of one part with four bytes.
fn four() -> Chain {
    let mut chain = Chain::new();
    chain.copy(b"four");
    chain
}

#[test]
#[should_panic = "more was sent than the chain holds"]
fn a_cursor_beyond_the_end_is_noticed() {
    four().advance(5);
}

#[test]
#[should_panic = "more was sent than the chain holds"]
fn a_cursor_that_overflows_is_noticed() {
    let mut chain = four();
    chain.advance(1);
    chain.advance(u64::MAX);
}

#[test]
#[should_panic = "offset 4 in a part of 4 bytes"]
fn a_cursor_at_the_end_of_its_part_is_noticed() {
    let mut chain = four();
    chain.offset = 4;
    chain.memory(usize::MAX).count();
}

#[test]
#[should_panic = "a part that was sent would grow"]
fn a_copy_to_a_part_that_was_sent_is_noticed() {
    let mut chain = four();
    chain.advance(4);
    chain.copy(b"more");
}

#[test]
#[should_panic = "copied parts have a gap: 4 to 5"]
fn a_gap_between_copies_is_noticed() {
    let mut chain = four();
    chain.copied.push(b'x');
    chain.copy(b"more");
}

/// Whatever amounts the peer takes, it gets the bytes of the parts, in order.
#[test]
fn any_partial_progress_sends_every_byte_once() {
    let mut random = fastrand::Rng::with_seed(11);
    let source: Vec<u8> =
        (0..if cfg!(miri) { 500 } else { 40_000u32 }).map(|i| (i % 251) as u8).collect();
    let on_disk = file(&source);
    for _ in 0..if cfg!(miri) { 3 } else { 200 } {
        let mut chain = Chain::new();
        let mut expected = Vec::new();
        for _ in 0..random.usize(1..12) {
            let from = random.usize(..source.len());
            let to = random.usize(from..=source.len());
            expected.extend_from_slice(&source[from..to]);
            match random.u8(..3) {
                0 => chain.copy(&source[from..to]),
                1 => chain.share(&Rc::from(&source[from..to])),
                _ => chain.file(&on_disk, from as u64..to as u64),
            }
        }
        let mut got = Vec::new();
        while !chain.is_empty() {
            assert_eq!(chain.remaining() as usize, expected.len() - got.len());
            let bytes_max = random.usize(1..=source.len());
            let chunk: Vec<u8> = match chain.next() {
                NextPart::Nothing => break,
                NextPart::Memory { .. } => {
                    let chunk: Vec<u8> = chain.memory(bytes_max).flatten().copied().collect();
                    assert!(chunk.len() <= bytes_max);
                    chunk
                }
                NextPart::File { range, .. } => {
                    source[range.start as usize..range.end as usize].to_vec()
                }
            };
            let sent = random.usize(1..=chunk.len());
            got.extend_from_slice(&chunk[..sent]);
            chain.advance(sent as u64);
        }
        assert!(got == expected);
    }
}

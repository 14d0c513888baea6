//! The fuzz entry of conversations in HTTP/2: for `fuzz.rs`, and for the fuzzer of `tests/fuzz/`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringd::driver::File;

use crate::h2::{Answer, code, opening};
use crate::talk::{MEMORY_MAX, Talk};

/// Fuzz entry: whatever a client sends, the server does not panic and breaks no rule, and the
/// answers do not depend on how the input is cut. The first two bytes say where. The third one says
/// whether an opening is put before the input, and whether the lookups of the second conversation
/// stay open until its input has arrived. The rest is the input.
///
/// # Panics
///
/// If a rule is broken.
pub(crate) fn fuzz_h2(root: &Arc<File>, data: &[u8]) {
    let [high, low, choices, input @ ..] = data else { return };
    let mut bytes = if choices & 1 == 0 { opening(&[]) } else { Vec::new() };
    bytes.extend_from_slice(input);
    let cut = usize::from(u16::from_be_bytes([*high, *low])) % (bytes.len() + 1);
    let (front, back) = bytes.split_at(cut);
    compare(root, &bytes, &[front, back], choices & 2 != 0);
}

/// Compares a conversation whose input arrives at once with one whose input arrives in pieces.
pub(crate) fn compare(root: &Arc<File>, whole: &[u8], pieces: &[&[u8]], is_patient: bool) {
    let one = converse(root, &[whole], false);
    let other = converse(root, pieces, is_patient);
    // The client, a window, a reset, or the end of a connection may cut an answer off at any place.
    let is_disturbed = is_disturbed(&one) || is_disturbed(&other);
    let (one, other) = (&one.peer.answers, &other.peer.answers);
    let none = Answer::default();
    let streams: BTreeSet<u32> = one.keys().chain(other.keys()).copied().collect();
    for stream in streams {
        let one = one.get(&stream).unwrap_or(&none);
        let other = other.get(&stream).unwrap_or(&none);
        if !is_disturbed {
            assert!(one == other, "stream {stream}: {one:?} and {other:?}");
        }
        if one.status != 0 && other.status != 0 {
            assert_eq!((one.status, &one.fields), (other.status, &other.fields), "{stream}");
        }
        let (one, other) = (&one.content[..], &other.content[..]);
        assert!(one.starts_with(other) || other.starts_with(one), "the content of {stream}");
    }
}

fn is_disturbed(talk: &Talk) -> bool {
    let is_error = talk.peer.goaway.is_some_and(|(_, code)| code != code::NO_ERROR);
    let has_resets = talk.peer.answers.values().any(|answer| answer.reset.is_some());
    // Which of the streams got the last of the window depends on the order of their answers.
    is_error || has_resets || talk.peer.may_cut || talk.peer.window <= 0
}

fn converse(root: &Arc<File>, pieces: &[&[u8]], is_patient: bool) -> Talk {
    let mut talk = Talk::new(root);
    talk.settles = !is_patient;
    for piece in pieces {
        talk.send(piece);
        if talk.is_over() {
            break;
        }
    }
    talk.settles = true;
    if !talk.is_over() {
        talk.run();
    }
    if !talk.is_over() {
        talk.end_with(b"");
        assert!(talk.is_over(), "a session waits for input after its end");
    }
    talk.harness.close(talk.session, talk.now);
    assert!(talk.memory_max < MEMORY_MAX, "{} bytes", talk.memory_max);
    talk
}

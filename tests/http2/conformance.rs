//! What RFC 9113 and RFC 9218 demand of a server, as a table.
//!
//! A row has the section (of RFC 9113 unless it says otherwise), the case, what the client sends,
//! and what must come of it. The client has sent its preface and SETTINGS before, except in rows
//! made by `raw`. Each row is run twice: with the input at once, and byte by byte. Both runs must
//! have the outcome of the row. In each, the [`Peer`](crate::h2::Peer) checks every frame of the
//! server. Unless the connection has to end, a PING at the end shows that it goes on.
//!
//! Inputs are concatenations of what [`crate::h2`] builds. `open()` opens stream 1, whose content
//! may follow; it gets its answer at once. `blocked()` opens stream 1 whose request is whole, and
//! whose answer waits for its window; `closed()` is stream 1 after a whole exchange.
//!
//! The cases of h2spec are among the rows, as RFC 9113 has them: the priorities of RFC 7540 are
//! ignored, so a stream may depend on itself. Rows of RFC 7541 are beside its code.

mod connection;
mod frames;
mod messages;
mod more_frames;
mod streams;

use std::sync::Arc;

use ringd::driver::File;
use ringd::session::Step;

use crate::h2::{Frame, code, data, get, opening, ping, post, setting, settings};
use crate::sample::root;
use crate::talk::Talk;

/// What must come of the input of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The connection ends with GOAWAY and this code.
    GoAway(u32),
    /// The stream is reset with this code, and the connection goes on.
    Reset(u32, u32),
    /// The stream gets a whole answer with this status, and the connection goes on.
    Status(u32, u16),
    /// The server sends no frame, and the connection goes on.
    Silence,
    /// The connection goes on, whatever was sent.
    GoesOn,
    /// SETTINGS are acknowledged so many times.
    Acks(usize),
    /// PING is acknowledged with these bytes.
    Pong([u8; 8]),
}

pub(super) struct Row {
    section: &'static str,
    case: &'static str,
    is_raw: bool,
    input: Vec<u8>,
    outcome: Outcome,
}

pub(super) fn row(
    section: &'static str,
    case: &'static str,
    input: &[&[u8]],
    outcome: Outcome,
) -> Row {
    Row { section, case, is_raw: false, input: input.concat(), outcome }
}

/// A row whose input is all that the client sends.
pub(super) fn raw(
    section: &'static str,
    case: &'static str,
    input: &[&[u8]],
    outcome: Outcome,
) -> Row {
    Row { is_raw: true, ..row(section, case, input, outcome) }
}

pub(super) fn open() -> Vec<u8> {
    post(1, &[])
}

pub(super) fn blocked() -> Vec<u8> {
    [settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]), get(1, "/over.bin")].concat()
}

pub(crate) fn closed() -> Vec<u8> {
    [post(1, &[]), data(1, b"x", true)].concat()
}

const ALIVE: [u8; 8] = *b"at least";

fn check(root: &Arc<File>, row: &Row, piece: usize) {
    let Row { section, case, is_raw, input, outcome } = row;
    let what = format!("section {section}: {case} (in pieces of {piece} bytes)");
    println!("{what}");
    let mut talk = Talk::new(root);
    if !is_raw {
        talk.send(&opening(&[]));
    }
    let mut frames = Vec::new();
    for bytes in input.chunks(piece) {
        frames.extend(talk.send(bytes));
        if talk.is_over() {
            break;
        }
    }
    if let Outcome::GoAway(code) = outcome {
        let goaway = talk.peer.goaway.map(|(_, code)| code);
        assert_eq!(goaway, Some(*code), "{what}: {frames:?}");
        assert!(matches!(talk.step, Step::Finish { .. }), "{what}: {:?}", talk.step);
        return;
    }
    assert!(!talk.is_over(), "{what}: {frames:?}");
    assert_eq!(talk.peer.goaway, None, "{what}: {frames:?}");
    match *outcome {
        Outcome::Reset(stream, code) => {
            let answer = talk.peer.answers.get(&stream);
            let reset = answer.and_then(|answer| answer.reset);
            assert_eq!(reset, Some(code), "{what}: {frames:?}");
        }
        Outcome::Status(stream, status) => {
            let answer = talk.peer.answers.get(&stream);
            let answer = answer.unwrap_or_else(|| panic!("{what}: {frames:?}"));
            assert_eq!((answer.status, answer.ended), (status, true), "{what}: {frames:?}");
            assert!(matches!(answer.reset, None | Some(code::NO_ERROR)), "{what}: {frames:?}");
        }
        Outcome::Silence => assert_eq!(frames, [], "{what}"),
        Outcome::Acks(count) => {
            let acks = frames.iter().filter(|frame| **frame == Frame::SettingsAck).count();
            assert_eq!(acks, count, "{what}: {frames:?}");
        }
        Outcome::Pong(opaque) => assert_eq!(frames, [Frame::Ping { ack: true, opaque }], "{what}"),
        Outcome::GoesOn | Outcome::GoAway(_) => {}
    }
    let frames = talk.send(&ping(ALIVE));
    let pong = Frame::Ping { ack: true, opaque: ALIVE };
    assert!(frames.contains(&pong), "{what}: the connection does not go on: {frames:?}");
}

fn check_all(rows: &[Row]) {
    let (_directory, root) = root();
    for row in rows {
        check(&root, row, row.input.len().max(1));
        check(&root, row, 1);
    }
}

#[test]
fn connections() {
    check_all(&connection::rows());
}

#[test]
fn streams() {
    check_all(&streams::rows());
}

#[test]
fn frames_of_streams() {
    check_all(&frames::rows());
}

#[test]
fn frames_of_connections() {
    check_all(&more_frames::rows());
}

#[test]
fn messages() {
    check_all(&messages::rows());
}

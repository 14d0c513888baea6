//! A request and its answer.

use crate::h2::{Frame, get, opening};
use crate::sample::root;
use crate::talk::Talk;

#[test]
fn a_file_is_sent() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    let frames = talk.send(&opening(&[]));
    assert!(matches!(frames[..], [Frame::Settings(_), Frame::SettingsAck]), "{frames:?}");
    let frames = talk.send(&get(1, "/small.txt"));
    let expected = [
        Frame::Headers { stream: 1, status: 200, end: false },
        Frame::Data { stream: 1, bytes: 100, end: true },
    ];
    assert_eq!(frames, expected);
    let answer = &talk.peer.answers[&1];
    assert_eq!(answer.content, [b'x'; 100]);
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
}

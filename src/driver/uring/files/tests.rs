//! Tests of completions that the kernel seldom returns.

use super::*;
use crate::driver::completions::Completions;
use crate::driver::op::is_cancelled;
use crate::driver::{Driver, Limits, Links};

const NAME: Token = Token(7);

/// A driver with an open in its table, as if the kernel had it; `None` if io_uring does not
/// work.
fn opening(retries: usize) -> Option<(Uring, Handle<RingFileOp>, tempfile::TempDir)> {
    let mut uring = match Uring::open(&Limits::default()) {
        Ok(uring) => uring,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page"), "a page").unwrap();
    let root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
    let how = Box::new(OpenHow::new().flags(sys::OPEN_FLAGS.bits().into()));
    let op =
        RingFileOp::Open { token: NAME, root, path: c"page".into(), how, retries, unwanted: false };
    let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
    uring.done.begin();
    Some((uring, handle, folder))
}

fn opened(uring: &mut Uring) -> io::Result<Arc<File>> {
    let mut all = Vec::new();
    while all.is_empty() {
        uring.wait(None, &mut all).unwrap();
    }
    assert_eq!((all.len(), all[0].token, uring.in_flight()), (1, NAME, 0));
    match all.remove(0).outcome {
        Outcome::Opened(opened) => opened,
        other => panic!("{other:?}"),
    }
}

/// The kernel cannot vouch for a path with `..` while anything on the machine is renamed
/// (`openat2(2)`, `EAGAIN`).
#[test]
fn an_open_that_was_disturbed_is_retried() {
    for disturbance in [libc::EAGAIN, libc::EINTR] {
        let Some((mut uring, handle, _folder)) = opening(OPEN_ATTEMPTS - 1) else { return };
        uring.complete_open(handle, -disturbance);
        assert_eq!(opened(&mut uring).unwrap().metadata().len, 6);
    }
}

#[test]
fn the_retries_of_an_open_are_bounded() {
    let Some((mut uring, handle, _folder)) = opening(0) else { return };
    uring.complete_open(handle, -libc::EAGAIN);
    assert_eq!(opened(&mut uring).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// As if the kernel had written beyond the end of the buffer.
#[test]
fn a_read_of_more_than_there_is_room_for_is_noticed() {
    let Some((mut uring, _, folder)) = opening(0) else { return };
    let file = std::fs::File::open(folder.path().join("page")).unwrap();
    let file = Arc::new(File::new(file.into()).unwrap());
    let buffer = Vec::with_capacity(10);
    let room = buffer.capacity() as i32;
    let op = RingFileOp::Read { token: NAME, file, offset: 0, buffer, read: 0, cancelled: false };
    let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
    let complete = || uring.complete_read(handle, room + 1);
    let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(complete));
    let message = noticed.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*message, format!("{} bytes were read into less room", room + 1));
}

/// After an error, or a cancel that left a part, the buffer is as it was before the read.
#[test]
fn a_partial_read_leaves_no_bytes() {
    let results = [(4, true, libc::ECANCELED), (-libc::EIO, false, libc::EIO)];
    for (result, was_cancelled, code) in results {
        let Some((mut uring, _, folder)) = opening(0) else { return };
        let file = std::fs::File::open(folder.path().join("page")).unwrap();
        let file = Arc::new(File::new(file.into()).unwrap());
        let mut buffer = Vec::with_capacity(100);
        buffer.extend_from_slice(b"before, and a part");
        let read = buffer.len() - b"before".len();
        let (token, cancelled) = (Token(77), was_cancelled);
        let op = RingFileOp::Read { token, file, offset: 0, buffer, read, cancelled };
        let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
        uring.done.begin();
        uring.complete_read(handle, result);
        let mut all = Vec::new();
        while !all.iter().any(|done: &crate::driver::Completion| done.token == token) {
            uring.wait(None, &mut all).unwrap();
        }
        all.retain(|done| done.token == token);
        let Outcome::FileRead(outcome, buffer) = all.remove(0).outcome else { panic!() };
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(code));
        assert_eq!(buffer, b"before");
    }
}

/// As if a completion came twice.
#[test]
fn a_completion_too_many_is_noticed() {
    let Some((mut uring, _, _folder)) = opening(0) else { return };
    uring.ring.outstanding = 0;
    let answered = || uring.ring.answered();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(answered)).is_err());
    uring.done = Completions::default();
    let finish = || uring.done.finish(NAME, Outcome::Closed);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(finish)).is_err());
}

#[test]
fn a_cancelled_open_is_not_retried() {
    let Some((mut uring, handle, _folder)) = opening(OPEN_ATTEMPTS - 1) else { return };
    uring.cancel(OpId(SubmissionKind::Open.name_only(handle)));
    uring.complete_open(handle, -libc::EAGAIN);
    let error = opened(&mut uring).unwrap_err();
    assert!(error.kind() == io::ErrorKind::WouldBlock || is_cancelled(&error), "{error}");
}

/// A driver with a read in its table, as if the kernel had it; and the content of the file.
fn reading() -> Option<(Uring, Handle<RingFileOp>, Vec<u8>)> {
    let (mut uring, opening, folder) = opening(0)?;
    drop(uring.files.ops.remove(opening));
    let content: Vec<u8> = (0..600_000u32).map(|at| (at * 31 / 8) as u8).collect();
    std::fs::write(folder.path().join("large"), &content).unwrap();
    let file = std::fs::File::open(folder.path().join("large")).unwrap();
    let file = Arc::new(File::new(file.into()).unwrap());
    let buffer = Vec::with_capacity(content.len() + 1);
    let token = NAME;
    let op = RingFileOp::Read { token, file, offset: 0, buffer, read: 0, cancelled: false };
    let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
    Some((uring, handle, content))
}

/// The kernel cancels what needs one of its threads if it can start none (`ulimit -u`).
#[test]
fn what_nobody_has_cancelled_is_done_inline() {
    let Some((mut uring, handle, _folder)) = opening(OPEN_ATTEMPTS - 1) else { return };
    uring.complete_open(handle, -libc::ECANCELED);
    assert_eq!(opened(&mut uring).unwrap().metadata().len, 6);
    let Some((mut uring, handle, content)) = reading() else { return };
    uring.complete_read(handle, -libc::ECANCELED);
    let mut all = Vec::new();
    while all.is_empty() {
        uring.wait(None, &mut all).unwrap();
    }
    let Outcome::FileRead(result, buffer) = all.remove(0).outcome else { panic!() };
    assert_eq!(result.unwrap(), content.len());
    assert!(buffer == content);
}

/// What the caller has cancelled stays cancelled.
#[test]
fn what_the_caller_has_cancelled_is_not_done_inline() {
    let Some((mut uring, handle, _folder)) = opening(OPEN_ATTEMPTS - 1) else { return };
    uring.cancel(OpId(SubmissionKind::Open.name_only(handle)));
    uring.complete_open(handle, -libc::ECANCELED);
    assert!(is_cancelled(&opened(&mut uring).unwrap_err()));
    let Some((mut uring, handle, _)) = reading() else { return };
    uring.cancel(OpId(SubmissionKind::Read.name_only(handle)));
    let calls = uring.stats.system_calls;
    uring.complete_read(handle, -libc::ECANCELED);
    assert_eq!(uring.stats.system_calls, calls, "the loop has read for nobody");
    let mut all = Vec::new();
    while all.is_empty() {
        uring.wait(None, &mut all).unwrap();
    }
    let Outcome::FileRead(result, buffer) = all.remove(0).outcome else { panic!() };
    assert!(is_cancelled(&result.unwrap_err()) && buffer.is_empty());
}

#[test]
fn a_piece_to_send_is_read_inline_if_the_kernel_has_no_thread() {
    let Some((_uring, _, folder)) = opening(0) else { return };
    let file = std::fs::File::open(folder.path().join("page")).unwrap();
    let file = Arc::new(File::new(file.into()).unwrap());
    let end = |result| PieceRead::new(Arc::clone(&file), &(2..6)).end(result, &mut 0);
    assert_eq!(end(-libc::ECANCELED).unwrap(), b"page");
    assert_eq!(end(-libc::EIO).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(end(3).unwrap().len(), 3);
}

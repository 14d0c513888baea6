//! Conversations without sockets: the harness of the chunking law, and its fuzz entry.
//!
//! [`converse`] does for a session what a connection of the server does, but at once: files are
//! opened and read on the spot, and what is written is collected. It waits for disks, so it is
//! for tests only.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::driver::chain::read_all;
use crate::driver::{Chain, File};
use crate::http::{Http, Settings, Site};
use crate::session::{Inbox, Now, Reply, Session, Step};

/// Has one conversation, whose input comes in `pieces` and then ends. Returns what the peer gets.
pub fn converse<'a>(
    site: &mut Site,
    now: Now,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut conversation =
        Conversation { session: Http::new(site), inbox: Vec::new(), answers: Vec::new() };
    for piece in pieces {
        conversation.inbox.extend_from_slice(piece);
        if conversation.go_on(site, now, false) {
            return conversation.answers;
        }
    }
    let over = conversation.go_on(site, now, true);
    assert!(over, "a session that waits for input after its end");
    conversation.answers
}

struct Conversation {
    session: Http,
    /// Input that the session has not taken.
    inbox: Vec<u8>,
    answers: Vec<u8>,
}

impl Conversation {
    /// Lets the session speak until it wants more input. Returns whether it has finished.
    fn go_on(&mut self, site: &mut Site, now: Now, ended: bool) -> bool {
        loop {
            let mut out = Chain::new();
            let mut inbox = Inbox::new(&self.inbox, ended);
            let step = self.session.advance(site, now, &mut inbox, &mut out);
            let taken = inbox.taken();
            self.inbox.drain(..taken);
            self.answers.extend(read_all(&mut out));
            let reply = match step {
                Step::Receive(_) => return false,
                Step::Finish { .. } | Step::Abort => return true,
                Step::Flush => continue,
                Step::Open { root, path } => {
                    Reply::Opened(File::open_beneath(&root, &path).map(Arc::new))
                }
                Step::Run { job } => Reply::Ran(job.perform()),
                Step::Read { file, offset, mut buffer } => {
                    let read = fill(&file, offset, &mut buffer);
                    Reply::Read(read, buffer)
                }
            };
            self.session.resume(site, now, reply);
        }
    }
}

/// Appends what a file has at `offset`, as much as fits into the buffer's spare capacity.
fn fill(file: &File, offset: u64, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let file = fs::File::from(file.as_fd().try_clone_to_owned()?);
    let start = buffer.len();
    let mut end = start;
    buffer.resize(buffer.capacity(), 0);
    while end < buffer.len() {
        match file.read_at(&mut buffer[end..], offset + (end - start) as u64)? {
            0 => break,
            read => end += read,
        }
    }
    buffer.truncate(end);
    Ok(end - start)
}

/// Fuzz entry: however a conversation is cut, the answers are the same. The first two bytes
/// choose the cut, the rest is what the client sends.
///
/// # Panics
///
/// If the chunking law does not hold.
pub fn fuzz_session(root: &Arc<File>, data: &[u8]) {
    let [high, low, stream @ ..] = data else { return };
    let mut site = Site::new(Settings::new(Arc::clone(root)));
    // A fixed time, so that two conversations about the same differ in nothing.
    let now = Now { instant: Instant::now(), system: UNIX_EPOCH + Duration::from_secs(1 << 32) };
    let whole = converse(&mut site, now, [stream]);
    let cut = usize::from(u16::from_be_bytes([*high, *low])) % (stream.len() + 1);
    let (front, back) = stream.split_at(cut);
    let pieces = converse(&mut site, now, [front, back]);
    assert!(pieces == whole, "cut at {cut}: {}", difference(&pieces, &whole));
}

/// Where two answers part, for the message of a failed test.
fn difference(left: &[u8], right: &[u8]) -> String {
    let at = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let around = |bytes: &[u8]| {
        let window = &bytes[at.saturating_sub(80).min(bytes.len())..bytes.len().min(at + 80)];
        String::from_utf8_lossy(window).into_owned()
    };
    format!("from byte {at} on: {:?} against {:?}", around(left), around(right))
}

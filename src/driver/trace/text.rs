//! Short texts for ops, outcomes and errors.

use std::io;

use super::{Caller, Calls, count};
use crate::driver::{FileKind, Op, Outcome, SendEnd};

/// The name of an op.
pub(super) fn op(op: &Op) -> &'static str {
    match op {
        Op::AcceptMany { .. } => "accept",
        Op::RecvMany { .. } => "recv",
        Op::Send { .. } => "send",
        Op::ReadFile { .. } => "read",
        Op::OpenFile { .. } => "open",
        Op::Run { .. } => "run",
        Op::Close { .. } => "close",
    }
}

/// The name of the op that an outcome is the result of.
pub(super) fn op_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accept",
        Outcome::Received(_) => "recv",
        Outcome::Sent(..) => "send",
        Outcome::FileRead(..) => "read",
        Outcome::Opened(_) => "open",
        Outcome::Ran(_) => "run",
        Outcome::Closed => "close",
        Outcome::Woken => "wake",
    }
}

/// The arguments of an op.
pub(super) fn request(op: &Op) -> String {
    match op {
        Op::AcceptMany { .. } | Op::RecvMany { .. } => String::new(),
        Op::Run { .. } => "a job".to_owned(),
        Op::Send { chain, end, .. } => {
            let file = if chain.has_file() { ", partly from a file" } else { "" };
            let end = match end {
                SendEnd::Open => "",
                SendEnd::HalfClose => ", then half-close",
                SendEnd::Close => ", then close",
            };
            format!("{}{file}{end}", bytes(chain.remaining()))
        }
        Op::ReadFile { offset, buffer, .. } => {
            let room = (buffer.capacity() - buffer.len()) as u64;
            format!("up to {} from {offset}", bytes(room))
        }
        Op::OpenFile { path, .. } => format!("{:?}", path.to_string_lossy()),
        Op::Close { reset, .. } => if *reset { "by reset" } else { "" }.to_owned(),
    }
}

/// The result of an op.
pub(super) fn result(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(Ok(_)) => "a connection".to_owned(),
        Outcome::Received(Ok(Some(lease))) => bytes(lease.len() as u64),
        Outcome::Received(Ok(None)) => "end of input".to_owned(),
        Outcome::Sent(Ok(()), chain) => bytes(chain.sent()),
        Outcome::Sent(Err(failed), chain) => {
            format!("{} after {}", error(failed), bytes(chain.sent()))
        }
        Outcome::FileRead(Ok(count), _) => bytes(*count as u64),
        Outcome::Ran(Ok(given)) => bytes(given.len() as u64),
        Outcome::Opened(Ok(file)) => match file.metadata().kind {
            FileKind::Regular => format!("a file of {}", bytes(file.metadata().len)),
            FileKind::Directory => "a directory".to_owned(),
            FileKind::Other => "neither a file nor a directory".to_owned(),
        },
        Outcome::Accepted(Err(failed))
        | Outcome::Received(Err(failed))
        | Outcome::FileRead(Err(failed), _)
        | Outcome::Opened(Err(failed))
        | Outcome::Ran(Err(failed)) => error(failed),
        Outcome::Closed | Outcome::Woken => String::new(),
    }
}

/// An error: its name in the manual pages, or the description of the library.
pub(super) fn error(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::ECANCELED) => "ECANCELED",
        Some(libc::ECONNRESET) => "ECONNRESET",
        Some(libc::ECONNABORTED) => "ECONNABORTED",
        Some(libc::EPIPE) => "EPIPE",
        Some(libc::ETIMEDOUT) => "ETIMEDOUT",
        Some(libc::EMFILE) => "EMFILE",
        Some(libc::ENFILE) => "ENFILE",
        Some(libc::ENOENT) => "ENOENT",
        Some(libc::ENOTDIR) => "ENOTDIR",
        Some(libc::EACCES) => "EACCES",
        Some(libc::EXDEV) => "EXDEV",
        Some(libc::ELOOP) => "ELOOP",
        _ => return error.to_string(),
    };
    name.to_owned()
}

fn bytes(count: u64) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

/// The names of system calls, each with its count; empty if there are none. `all` is how many calls
/// the driver has counted: the rarest ones, such as those of a drain, have no name here.
pub(super) fn names(calls: &Calls, all: u64) -> String {
    let mut counts: [(&str, Vec<(&'static str, u64)>); 3] =
        [("", calls.earlier.clone()), ("helper: ", Vec::new()), ("ring: ", Vec::new())];
    for call in &calls.last {
        let place = match call.by {
            Caller::Worker => 0,
            Caller::Helper => 1,
            Caller::Ring => 2,
        };
        count(&mut counts[place].1, call.name, 1);
    }
    let named: u64 =
        counts[..2].iter().flat_map(|(_, counts)| counts).map(|(_, count)| count).sum();
    if named > 0 && all > named {
        counts[0].1.push(("others", all - named));
    }
    let listed = counts.iter().filter(|(_, counts)| !counts.is_empty()).map(|(who, counts)| {
        let names: Vec<_> = counts.iter().map(|(name, count)| times(name, *count)).collect();
        format!("{who}{}", names.join(" "))
    });
    let listed: Vec<_> = listed.collect();
    if listed.is_empty() { String::new() } else { format!("  [{}]", listed.join("; ")) }
}

fn times(name: &str, count: u64) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}*{count}") }
}

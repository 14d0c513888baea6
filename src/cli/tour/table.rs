//! The tour as text: a table for each step, with a column for each driver.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::exchange::{Observed, STEPS, StepSeen};
use crate::driver::{Caller, DriverKind};

/// Columns of the names of calls, if nothing explains them.
const NAME_COLUMNS: usize = 18;

/// What a call is for, in few words; they fit beside its name in [`WIDE`] columns.
const MEANINGS: [(&str, &str); 24] = [
    ("accept4", "take a connection"),
    ("close", "close a socket"),
    ("epoll_ctl", "register a socket"),
    ("epoll_pwait", "wait; who is ready?"),
    ("fcntl", "set flags"),
    ("futex", "sleep until a thread answers"),
    ("getsockopt", "ask for a setting"),
    ("io_uring_enter", "submit, wait, get results"),
    ("ioctl", "signals on or off"),
    ("openat2", "open beneath the root"),
    ("poll", "is it ready already?"),
    ("ppoll", "wait; who is ready?"),
    ("pread64", "read the file"),
    ("preadv2", "read it if in memory"),
    ("pselect6", "wait; who is ready?"),
    ("read", "take signals, or a wake"),
    ("recvfrom", "copy what has arrived"),
    ("sched_yield", "let other threads run"),
    ("sendfile", "send out of the page cache"),
    ("sendmsg", "copy pieces to send"),
    ("sendto", "copy what is to be sent"),
    ("setsockopt", "limit how long sends block"),
    ("shutdown", "end a direction"),
    ("statx", "size and time of the file"),
];

/// From this width on, there is room for meanings.
const WIDE: usize = 110;

const LESSON: &str = "\
Each driver got the same ops, and returned the same completions. What differs
is who waits, and who copies. A blocking call does both, in a thread of its own.
A reactor waits for all sockets in one call, and then makes one for each. With a
ring, the kernel does both, and one call submits, waits and brings the results.
Some stay calls: the ring would pass openat2 to a thread, and has no sendfile.
";

/// Prints what the drivers did. `width` is at least 80.
pub(super) fn print(seen: &[Observed], width: usize, mut out: impl Write) -> io::Result<()> {
    let layout = Layout::of(seen, width);
    let mut text =
        String::from("One exchange on every driver: system calls by name, '.' is none.\n");
    for (number, title) in STEPS.iter().enumerate() {
        text += &layout.step(number, title);
    }
    text += &waits(seen);
    for Observed { kind, result } in seen {
        if let Err(error) = result {
            text += &wrapped(&format!("{kind} does not work here: {error}"), width);
        }
    }
    text.push('\n');
    text += LESSON;
    out.write_all(text.as_bytes())?;
    out.flush()
}

struct Layout<'a> {
    seen: Vec<(&'static str, &'a [StepSeen])>,
    label: usize,
    gap: usize,
    is_wide: bool,
}

impl<'a> Layout<'a> {
    fn of(seen: &'a [Observed], width: usize) -> Self {
        let works = |seen: &'a Observed| Some((seen.kind.name(), seen.result.as_deref().ok()?));
        let seen: Vec<_> = seen.iter().filter_map(works).collect();
        let names: usize = seen.iter().map(|(name, _)| name.len()).sum();
        let is_wide = width >= WIDE;
        let room = width - names;
        let gap = if is_wide { 3 } else { 2 };
        let label = (room - gap * seen.len()).min(if is_wide { 46 } else { NAME_COLUMNS + 2 });
        Self { seen, label, gap, is_wide }
    }

    /// The table of a step.
    fn step(&self, number: usize, title: &str) -> String {
        let mut text = format!("\n{}. {title}\n", number + 1);
        text += &self.line("", |name, _| name.to_owned());
        let steps = || self.seen.iter().map(|(_, steps)| &steps[number]);
        // Ops are the same for all drivers: the contract.
        if let Some(first) = steps().next() {
            let names = if first.ops.is_empty() { "none".to_owned() } else { listed(&first.ops) };
            let _ = writeln!(text, "  ops submitted: {names}");
        }
        for (name, is_of_ring) in names_in(steps()) {
            let label = self.label_of(name, is_of_ring);
            text += &self.line(&label, |_, steps| number_of(steps[number].count(name, is_of_ring)));
        }
        let calls =
            |step: &StepSeen| step.calls.iter().filter(|call| call.by != Caller::Ring).count();
        text += &self.line("all system calls", |_, steps| number_of(calls(&steps[number])));
        let blocked = |step: &StepSeen| step.calls.iter().filter(|call| call.would_block).count();
        if steps().any(|step| blocked(step) > 0) {
            let label =
                if self.is_wide { "of these, EAGAIN: nothing there" } else { "of these, EAGAIN" };
            text += &self.line(label, |_, steps| number_of(blocked(&steps[number])));
        }
        text
    }

    fn label_of(&self, name: &str, is_of_ring: bool) -> String {
        if is_of_ring {
            let label = format!("ring: {name}");
            return match self.is_wide {
                true => format!("{label:<NAME_COLUMNS$}no call: the kernel does it"),
                false => label,
            };
        }
        let meaning = MEANINGS.iter().find(|(other, _)| *other == name);
        match meaning.filter(|_| self.is_wide) {
            Some((_, meaning)) => format!("{name:<NAME_COLUMNS$}{meaning}"),
            None => name.to_owned(),
        }
    }

    /// A line of a table, with a cell for each driver.
    fn line(&self, label: &str, cell: impl Fn(&str, &[StepSeen]) -> String) -> String {
        let mut line = format!("  {label:<width$}", width = self.label - 2);
        for (name, steps) in &self.seen {
            let _ = write!(
                line,
                "{:gap$}{:>width$}",
                "",
                cell(name, steps),
                gap = self.gap,
                width = name.len()
            );
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// The calls that any driver made, each once: in the order in which the drivers made them first,
/// and what was submitted to the ring behind them.
fn names_in<'a>(steps: impl Iterator<Item = &'a StepSeen>) -> Vec<(&'static str, bool)> {
    let mut names = Vec::new();
    for call in steps.flat_map(|step| &step.calls) {
        let name = (call.name, call.by == Caller::Ring);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort_by_key(|(_, is_of_ring)| *is_of_ring);
    names
}

/// Ops in their order; several of one kind in a row are one word.
fn listed(ops: &[&str]) -> String {
    let words = ops.chunk_by(|one, next| one == next).map(|same| match same {
        [one] => (*one).to_owned(),
        many => format!("{}*{}", many[0], many.len()),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn number_of(count: usize) -> String {
    if count == 0 { ".".to_owned() } else { count.to_string() }
}

/// A sentence in lines of at most `width` columns; only a longer word is in a longer line.
fn wrapped(sentence: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in sentence.split_whitespace() {
        let length = word.chars().count();
        if column > 0 {
            let fits = column + 1 + length <= width;
            text.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

/// In which calls the threads of each driver waited for the client.
fn waits(seen: &[Observed]) -> String {
    let mut text = String::from("\nWho waits while the client does nothing, and in which call\n");
    for Observed { kind, result } in seen {
        let Ok(steps) = result else { continue };
        let mut who = [("threads of its own in ", Vec::new()), ("the worker in ", Vec::new())];
        // A call of a driver that spins lasts long only if its thread has lost the CPU.
        let spins = *kind == DriverKind::Spin;
        for call in steps.iter().filter(|_| !spins).flat_map(StepSeen::waits) {
            let calls = match call.by {
                Caller::Helper => &mut who[0].1,
                Caller::Worker => &mut who[1].1,
                Caller::Ring => continue,
            };
            if !calls.contains(&call.name) {
                calls.push(call.name);
            }
        }
        let places = who.iter().filter(|(_, calls)| !calls.is_empty());
        let mut places: Vec<_> =
            places.map(|(who, calls)| format!("{who}{}", calls.join(", "))).collect();
        if places.is_empty() {
            places.push("nobody: it tries every socket again and again".to_owned());
        }
        let _ = writeln!(text, "  {:<10}{}", kind.name(), places.join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::exchange;
    use super::*;
    use crate::driver::DriverSelection;

    /// Drivers that need no privilege, so that the test works everywhere.
    fn seen() -> Vec<Observed> {
        let site = exchange::Site::make().unwrap();
        let kinds =
            [DriverKind::Threads, DriverKind::Spin, DriverKind::Poll, DriverKind::EpollLevel];
        let ring = DriverSelection::make(Some(DriverKind::Uring)).is_ok();
        let kinds = kinds.into_iter().chain(ring.then_some(DriverKind::Uring));
        kinds.map(|kind| exchange::observe(kind, &site, 1)).collect()
    }

    #[test]
    fn each_model_shows_its_own_calls_within_the_width() {
        let seen = seen();
        for width in [80, 120] {
            let mut out = Vec::new();
            print(&seen, width, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            let tables = text.split("\nWho waits").next().unwrap();
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            let waits = text.split("Who waits").nth(1).unwrap();
            for expected in [
                "threads of its own in ppoll, recvfrom",
                "nobody: it tries every socket",
                "the worker in ppoll",
                "the worker in epoll_pwait",
            ] {
                assert!(waits.contains(expected), "no {expected} in\n{text}");
            }
            for name in ["openat2", "sendfile", "recvfrom", "sendto", "close"] {
                assert!(tables.contains(name), "no {name} in\n{text}");
            }
        }
    }

    /// The error of io_uring in a container is longer than a line.
    #[test]
    fn an_error_is_wrapped_between_words() {
        let error = io::Error::other("a word, ".repeat(40) + "and an end");
        let seen = [Observed { kind: DriverKind::Uring, result: Err(error) }];
        let mut out = Vec::new();
        print(&seen, 80, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("\nuring does not work here: a word, a word,"), "{text}");
        assert_eq!(wrapped("one two three", 7), "one two\nthree\n");
    }

    /// The page is in memory the second time: nothing opens or reads a file.
    #[test]
    fn the_steps_are_told_apart() {
        let mut first = None;
        for Observed { kind, result } in seen() {
            let steps = result.unwrap();
            let ops: Vec<_> = steps.iter().map(|step| step.ops.clone()).collect();
            assert_eq!(first.get_or_insert_with(|| ops.clone()), &ops, "{kind}");
            assert_eq!(steps.len(), STEPS.len());
            assert_eq!(steps[0].ops, ["recv"], "{kind}");
            assert!(steps[1].ops.contains(&"open") && !steps[2].ops.contains(&"open"), "{kind}");
            assert_eq!(steps[2].count("openat2", false), 0, "{kind}: {:?}", steps[2]);
            assert!(steps[3].count("sendfile", false) > 0, "{kind}: {:?}", steps[3]);
            assert!(steps[4].count("close", false) > 0, "{kind}: {:?}", steps[4]);
        }
    }
}

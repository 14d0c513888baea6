//! A line that a user types, and that the terminal does not show.
//!
//! While the terminal shows nothing, signals wait. When one comes, the terminal is reset first, and
//! then the signal acts: `Ctrl+C` and `Ctrl+\` end the program, and `Ctrl+Z` suspends it. If the
//! program goes on after that, the user is asked again.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{read, retry_on_intr};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::signal_mask::HeldSignals;

/// The signals of the keys of a terminal, and others that usually end or suspend a program.
///
/// `SIGCONT` is among them, because a shell changes the terminal while the program is suspended,
/// even if `SIGSTOP` has done that. `SIGTTOU` is, because the call that resets the terminal must
/// not suspend the program. `SIGTTIN` is not: a program in the background waits for its turn.
const HELD: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGCONT,
    libc::SIGTTOU,
];

/// A terminal that shows nothing. The drop resets it, and then lets signals act.
struct HiddenInput<'a> {
    before: &'a Termios,
    signals: HeldSignals,
}

impl<'a> HiddenInput<'a> {
    fn begin(before: &'a Termios) -> io::Result<Self> {
        // In the background, this call suspends the program until it is in the foreground. Here,
        // signals still act.
        tcsetattr(io::stdin(), OptionalActions::Now, before)?;
        let this = Self { before, signals: HeldSignals::hold(&HELD)? };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(this)
    }

    /// Reads a line up to its newline or the end of input, or this many bytes; `None` if a signal
    /// waits.
    fn read(&self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let (stdin, mut line) = (io::stdin(), Vec::new());
        loop {
            let mut waits = [stdin.as_fd(), self.signals.as_fd()]
                .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
            retry_on_intr(|| poll(&mut waits, None))?;
            if !waits[1].revents().is_empty() {
                return Ok(None);
            }
            // Not by `Stdin`, which would wait for more than there is.
            let mut buffer = [0; 256];
            let count = retry_on_intr(|| read(&stdin, &mut buffer))?;
            line.extend_from_slice(&buffer[..count]);
            if count == 0 || buffer[..count].contains(&b'\n') || line.len() >= most {
                return Ok(Some(line));
            }
        }
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to reset. The signals act after this.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, self.before);
    }
}

/// Asks for a line. It may be longer than `most` bytes, by less than the buffer of a read.
///
/// # Errors
///
/// When standard input is no terminal, or cannot be read.
pub(super) fn ask_hidden(prompt: &str, most: usize) -> io::Result<Vec<u8>> {
    let before = tcgetattr(io::stdin())?;
    loop {
        let input = HiddenInput::begin(&before)?;
        let _ = write!(io::stderr(), "{prompt}");
        if let Some(line) = input.read(most)? {
            return Ok(line);
        }
        // What follows begins a line of its own.
        let _ = writeln!(io::stderr());
    }
}

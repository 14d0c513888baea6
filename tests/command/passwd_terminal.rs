//! `ringd passwd` at a terminal, which shows nothing while a password is typed, and is as before
//! whatever ends the program.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use ringd::passwords::Users;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::common::eventually;
use crate::process::ringd;
use crate::{jail, terminal};

/// A shell that runs the program as a job, and continues it when a line was typed. The key that
/// ends the job would end it too. A core file would be left in the directory of the tests.
const SHELL: &str = "ulimit -c 0; trap : INT; set -m; \"$0\" passwd anna; echo \"status $?\"; \
                     read -r line; fg >/dev/null; echo \"status $?\"";

/// Whether a terminal shows what is typed, has keys for signals, and passes lines on.
fn modes(terminal: &File) -> [bool; 3] {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    [LocalModes::ECHO, LocalModes::ISIG, LocalModes::ICANON].map(|mode| modes.contains(mode))
}

/// A program at a terminal.
struct AtTerminal {
    keyboard: File,
    terminal: File,
    child: Child,
}

impl AtTerminal {
    /// `ringd passwd`, without a session of its own: keys send it no signals.
    fn program() -> Self {
        let (keyboard, terminal) = terminal::open();
        let mut command = ringd();
        command.args(["passwd", "anna"]).stdin(terminal.try_clone().unwrap());
        Self::start(&mut command, keyboard, terminal)
    }

    /// [`SHELL`].
    fn shell() -> Self {
        let (keyboard, terminal) = terminal::open();
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, env!("CARGO_BIN_EXE_ringd")]);
        Self::start(terminal::control(&mut command, &terminal), keyboard, terminal)
    }

    fn start(command: &mut Command, keyboard: File, terminal: File) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { keyboard, terminal, child: command.spawn().unwrap() }
    }

    /// Reads standard error up to this text.
    fn told(&mut self, end: &str) -> String {
        read_up_to(self.child.stderr.as_mut().unwrap(), end)
    }

    /// Reads standard output up to the next status that the shell prints.
    fn status(&mut self) -> (String, i32) {
        let output = self.child.stdout.as_mut().unwrap();
        let before = read_up_to(output, "status ");
        (before, read_up_to(output, "\n").trim_end().parse().unwrap())
    }

    /// Waits for a prompt, and types.
    fn answer(&mut self, typed: &[u8]) {
        self.told(": ");
        let terminal = &self.terminal;
        eventually("nothing is shown", || modes(terminal) == [false, true, true]);
        self.keyboard.write_all(typed).unwrap();
    }

    /// Asserts that the terminal is as before.
    #[track_caller]
    fn assert_reset(&self) {
        assert_eq!(modes(&self.terminal), [true; 3]);
    }

    /// Waits for the end of the program: the number of its exit or of the signal, what it has
    /// printed, and the rest of what it has told.
    fn end(mut self) -> (Result<i32, i32>, String, String) {
        use std::os::unix::process::ExitStatusExt;
        eventually("it ends", || self.child.try_wait().unwrap().is_some());
        self.assert_reset();
        let [mut output, mut errors] = [String::new(), String::new()];
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap();
        let code = status.code().ok_or_else(|| status.signal().unwrap());
        (code, output, errors)
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // Both fail only if it has already ended. The jobs of a shell end with their terminal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_up_to(from: &mut impl Read, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let result = from.read_exact(&mut byte);
        assert!(result.is_ok(), "no {end:?} in {:?}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Whether this is a line for a file of users, with the password of anna.
#[track_caller]
fn assert_fits(line: &str, password: &str) {
    let users = Users::parse(line).unwrap();
    assert!(users.get(b"anna").unwrap().fits(password.as_bytes()), "{line}");
}

#[test]
fn a_password_is_typed_twice() {
    for (again, code, told) in [("secret", 0, ""), ("other", 1, "the passwords differ")] {
        let mut at = AtTerminal::program();
        at.answer(b"secret\n");
        at.answer(format!("{again}\n").as_bytes());
        let (ended, output, errors) = at.end();
        assert!(ended == Ok(code) && errors.contains(told), "{ended:?} {errors}");
        match code {
            0 => assert_fits(&output, "secret"),
            _ => assert_eq!(output, ""),
        }
    }
}

#[test]
fn keys_end_the_program() {
    for (key, signal) in [(b"\x03", libc::SIGINT), (b"\x1c", libc::SIGQUIT)] {
        for typed in [&[&b""[..]][..], &[b"half"], &[b"secret\n", b""]] {
            let mut at = AtTerminal::shell();
            let (last, lines) = typed.split_last().unwrap();
            lines.iter().for_each(|line| at.answer(line));
            at.answer(&[last, &key[..]].concat());
            assert_eq!(at.status(), ("status ".to_owned(), 128 + signal), "{typed:?}");
            at.assert_reset();
        }
    }
}

#[test]
fn a_key_suspends_the_program() {
    for typed in [&[&b"half"[..]][..], &[b"secret\n", b"half"]] {
        let mut at = AtTerminal::shell();
        let (last, lines) = typed.split_last().unwrap();
        lines.iter().for_each(|line| at.answer(line));
        at.answer(&[last, &b"\x1a"[..]].concat());
        assert_eq!(at.status(), ("status ".to_owned(), 128 + libc::SIGTSTP));
        at.assert_reset();
        at.keyboard.write_all(b"\n").unwrap();
        // The question that was left open is asked again.
        (lines.len()..2).for_each(|_| at.answer(b"secret\n"));
        let (output, code) = at.status();
        assert_eq!(code, 0);
        assert_fits(output.trim_end_matches("status "), "secret");
    }
}

#[test]
fn other_signals_leave_the_terminal_as_it_was() {
    for signal in [libc::SIGTERM, libc::SIGUSR1] {
        let mut at = AtTerminal::program();
        at.answer(b"half");
        jail::kill(at.child.id(), signal);
        let (ended, output, _) = at.end();
        assert_eq!((ended, &*output), (Err(signal), ""));
    }
}

/// A shell lets the terminal show what is typed while the program is suspended.
#[test]
fn a_program_that_is_continued_hides_the_password_again() {
    let mut at = AtTerminal::program();
    at.answer(b"half");
    jail::kill(at.child.id(), libc::SIGSTOP);
    let mut shown = tcgetattr(&at.terminal).unwrap();
    shown.local_modes.insert(LocalModes::ECHO);
    tcsetattr(&at.terminal, OptionalActions::Now, &shown).unwrap();
    jail::kill(at.child.id(), libc::SIGCONT);
    at.answer(b"secret\n");
    at.answer(b"secret\n");
    let (ended, output, errors) = at.end();
    assert_eq!(ended, Ok(0), "{errors}");
    assert_fits(&output, "secret");
}

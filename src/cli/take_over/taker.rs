//! The new server of a take-over: gets the listening sockets of the one that runs, and tells it
//! when it accepts.

use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::wire::{self, Manifest, ManifestEntry, Role};
use crate::admin::TAKE_OVER;
use crate::cli::CommandError;
use crate::cli::console::Console;
use crate::events::EventKind;
use crate::server::{Endpoint, HandOver, PassedEndpoint, PassedSockets};
use crate::signal_mask::block_signals;

/// How long the old server may take for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// What the old server has passed, and the connection with it.
#[derive(Debug)]
pub(in crate::cli) struct Taker {
    stream: Socket,
    /// All addresses, in the order of the manifest.
    endpoints: Vec<Endpoint>,
    /// The sockets of the clients that no place has claimed yet.
    pub(super) passed: PassedSockets,
    /// The same for the administration.
    pub(super) administration: Vec<PassedEndpoint>,
}

impl Taker {
    /// Asks the server behind this Unix socket for its listening sockets.
    pub(in crate::cli) fn ask(path: &Path) -> Result<Self, CommandError> {
        let failed = |cause: String| {
            CommandError(format!(
                "--take-over: the server at unix:{} does not pass its sockets on: {cause}",
                path.display()
            ))
        };
        let mut stream = connect(path)?;
        match wire::is_trusted(&stream) {
            Ok(true) => {}
            Ok(false) if wire::is_root() => {}
            Ok(false) => {
                let cause = "it runs as another user; run this as its user, or as root";
                return Err(failed(cause.to_owned()));
            }
            Err(error) => return Err(failed(error.to_string())),
        }
        let asked = ask_for_sockets(&mut stream);
        let (endpoints, passed, administration) = asked.map_err(failed)?;
        Ok(Self { stream, endpoints, passed: passed.into(), administration })
    }

    /// Tells the old server that this one accepts, and waits for its answer. Then the old one
    /// drains, and a thread waits until it has closed its sockets. Returns the Unix sockets whose
    /// files are gone.
    ///
    /// # Errors
    ///
    /// If the old server goes on: it does not take the answer any more. If it has ended instead,
    /// that is only noted.
    pub(in crate::cli) fn confirm(
        self,
        hand_over: HandOver,
        console: &Console,
    ) -> Result<Vec<Endpoint>, CommandError> {
        let Self { mut stream, endpoints, passed, administration } = self;
        let of_clients = passed.left().into_iter().map(|(endpoint, _)| endpoint);
        let of_administration = administration.into_iter().map(|passed| passed.endpoint);
        let unclaimed: Vec<Endpoint> = of_clients.chain(of_administration).collect();
        passed.close_left();
        let is_left = |endpoint: &&Endpoint| unclaimed.contains(endpoint);
        let mut line = wire::SERVING.to_owned();
        for (number, _) in endpoints.iter().enumerate().filter(|(_, it)| is_left(it)) {
            line += &format!(" {number}");
        }
        line.push('\n');
        // If it has closed the connection, its last line is still there.
        let _ = stream.write_all(line.as_bytes());
        match wire::read_line(&mut stream, Instant::now() + ANSWER_WAIT) {
            Ok(Some(answer)) if answer == wire::OK => {}
            Ok(Some(answer)) if answer == wire::GOES_ON => {
                let remedy = "the old server has not waited for so long, and goes on; look for \
                              what has made this start slow, and try again";
                return Err(CommandError(format!("--take-over: {remedy}")));
            }
            Err(error) if is_late(&error) => {
                return Err(CommandError(format!(
                    "--take-over: the old server does not answer for {ANSWER_WAIT:?}, so it may \
                     go on; end it with SIGTERM, and start ringd without --take-over"
                )));
            }
            // It has closed the connection without a word.
            Ok(None) => console.tell(EventKind::Note, "--take-over: the old server has ended"),
            Err(error) if wire::is_gone(&error) => {
                console.tell(EventKind::Note, "--take-over: the old server has ended");
            }
            Ok(Some(answer)) => {
                return Err(CommandError(format!(
                    "--take-over: the old server says {answer:?}, so it may go on; end it with \
                     SIGTERM, and start ringd without --take-over"
                )));
            }
            Err(error) => {
                return Err(CommandError(format!(
                    "--take-over: the answer of the old server cannot be read: {error}; end it \
                     with SIGTERM, and start ringd without --take-over"
                )));
            }
        }
        let gone = hand_over.own_files();
        let end_joint = hand_over.joined();
        let wait = move || {
            block_signals();
            let _ = stream.set_read_timeout(None);
            // It says once that it has closed the listeners, or ends.
            let _ = stream.read(&mut [0; 64]);
            end_joint();
        };
        // The old server drains already, so this one goes on in any case.
        if let Err(error) = thread::Builder::new().name("take-over".into()).spawn(wait) {
            let note = format!(
                "--take-over: cannot wait for the old server: {error}; restart ringd \
                 before the next take-over"
            );
            console.tell(EventKind::Note, note);
        }
        Ok(gone)
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn connect(path: &Path) -> Result<Socket, CommandError> {
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // It is also how long connect(2) waits if the backlog is full.
        socket.set_write_timeout(Some(ANSWER_WAIT))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(socket)
    });
    connected.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "no server runs with this file; start ringd without --take-over"
            }
            io::ErrorKind::PermissionDenied => "run this as the user of the server, or as root",
            _ => "check [admin] in the file",
        };
        CommandError(format!("--take-over: unix:{}: {error}; {remedy}", path.display()))
    })
}

/// All addresses, and the sockets of clients and of the administration.
type Asked = (Vec<Endpoint>, Vec<PassedEndpoint>, Vec<PassedEndpoint>);

/// What is wrong is a text.
fn ask_for_sockets(stream: &mut Socket) -> Result<Asked, String> {
    let text = |error: io::Error| match is_late(&error) {
        true => format!("it does not answer for {ANSWER_WAIT:?}; see its messages"),
        false => format!("{error}; see its messages"),
    };
    let until = Instant::now() + ANSWER_WAIT;
    let request =
        format!("POST {TAKE_OVER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(text)?;
    let (is_ok, body) = wire::read_answer(stream, until).map_err(text)?;
    if !is_ok {
        return Err(String::from_utf8_lossy(&body).trim_end().to_owned());
    }
    let manifest: Manifest = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if manifest.version != wire::VERSION {
        return Err(format!(
            "it is ringd {}, which passes sockets in another way; stop it, and start ringd without \
             --take-over",
            manifest.program
        ));
    }
    let counts = manifest.endpoints.iter().map(|entry| entry.sockets);
    let count = counts.fold(0, usize::saturating_add);
    let mut sockets = wire::receive_descriptors(stream, count, until).map_err(text)?.into_iter();
    let (mut endpoints, mut passed, mut administration) = (Vec::new(), Vec::new(), Vec::new());
    for entry in manifest.endpoints {
        let endpoint = entry.endpoint()?;
        endpoints.push(endpoint.clone());
        let sockets = sockets.by_ref().take(entry.sockets).collect();
        let ManifestEntry { role, name, number, is_shared, file, .. } = entry;
        let of_role = match role {
            Role::Clients => &mut passed,
            Role::Administration => &mut administration,
        };
        of_role.push(PassedEndpoint { endpoint, name, number, sockets, is_shared, file });
    }
    Ok((endpoints, passed, administration))
}

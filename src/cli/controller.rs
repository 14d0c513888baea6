//! The thread that reloads: signals and the administration ask it, so neither has to wait for a
//! slow disk, and reloads come one after another.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::thread;

use super::CommandError;
use super::console::Console;
use super::reloader::Reloader;
use crate::events::EventKind;
use crate::signal_mask::block_signals;
use crate::tls::CertificateWatch;

/// How many requests wait. One more would read the same file again. Whoever waits takes a place of
/// the administration, and most of these have to stay free for probes.
const REQUESTS_MAX: usize = 4;

/// The result of a reload: a line, or what is wrong.
pub(super) type ReloadResult = Result<String, String>;

/// The answer if the thread has ended, which only a bug can cause.
const NO_CONTROLLER: &str =
    "the thread that reloads has ended; restart ringd, and please report it";

/// What the thread is asked for.
enum Request {
    /// A reload, whose result goes to the console.
    Reload,
    /// A reload whose result somebody waits for.
    Answered(Asked),
    /// To load the certificates again, because their files have changed.
    Certificates,
}

/// A request whose result somebody waits for.
struct Asked {
    /// The file that is meant.
    config: Option<PathBuf>,
    result: Sender<ReloadResult>,
}

/// Asks for reloads; see the module documentation.
#[derive(Clone)]
pub(super) struct Controller {
    requests: SyncSender<Request>,
    /// Whether a request waits whose result goes to the console. One is enough, and more would take
    /// the room of those that somebody waits for.
    is_requested: Arc<AtomicBool>,
}

impl Controller {
    /// Starts the thread.
    pub(super) fn start(reloader: Reloader, console: Console) -> Result<Self, CommandError> {
        let (requests, waiting) = mpsc::sync_channel(REQUESTS_MAX);
        let is_requested = Arc::<AtomicBool>::default();
        let watch = watch(&reloader, requests.clone())?;
        let its = Arc::clone(&is_requested);
        let run = move || {
            block_signals();
            serve(reloader, &console, &waiting, &its, watch.as_ref());
        };
        thread::Builder::new()
            .name("controller".into())
            .spawn(run)
            .map_err(|error| CommandError::no_thread("reloads", &error))?;
        Ok(Self { requests, is_requested })
    }

    /// Asks for a reload, whose result goes to the console.
    pub(super) fn request(&self) {
        if !self.is_requested.swap(true, Ordering::Relaxed)
            && self.requests.try_send(Request::Reload).is_err()
        {
            // Those that wait will read the file.
            self.is_requested.store(false, Ordering::Relaxed);
        }
    }

    /// Reloads, and waits for the result.
    ///
    /// With a file, only a server of that file reloads.
    pub(super) fn reload(&self, config: Option<PathBuf>) -> ReloadResult {
        let (result, wait_result) = mpsc::channel();
        match self.requests.try_send(Request::Answered(Asked { config, result })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err("too many reloads wait; try again later".to_owned());
            }
            Err(TrySendError::Disconnected(_)) => return Err(NO_CONTROLLER.to_owned()),
        }
        wait_result.recv().unwrap_or_else(|_| Err(NO_CONTROLLER.to_owned()))
    }
}

/// Watches the files of certificates. A server without TLS may get some by a reload.
fn watch(
    reloader: &Reloader,
    requests: SyncSender<Request>,
) -> Result<Option<CertificateWatch>, CommandError> {
    let on_change = Box::new(move || {
        // If the queue is full, a reload that waits loads them.
        let _ = requests.try_send(Request::Certificates);
    });
    let watch = CertificateWatch::start(reloader.certificate_files(), on_change);
    watch.map(Some).map_err(|error| CommandError::no_thread("certificates", &error))
}

/// Loads the certificates again.
fn renew(reloader: &mut Reloader, console: &Console) {
    match reloader.renew_certificates() {
        Ok(None) => {}
        Ok(Some(text)) => {
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            console.tell(EventKind::CertificatesRenewed, first);
            lines.for_each(|note| console.note(note));
        }
        Err(error) => {
            let line = format!("the certificates stay as they are: {}", error.reason());
            console.tell(EventKind::CertificatesRefused, line);
        }
    }
}

/// Reloads on request, until the process ends.
fn serve(
    mut reloader: Reloader,
    console: &Console,
    waiting: &Receiver<Request>,
    is_requested: &AtomicBool,
    watch: Option<&CertificateWatch>,
) {
    for request in waiting {
        let asked = match request {
            Request::Certificates => {
                renew(&mut reloader, console);
                continue;
            }
            Request::Reload => {
                // Before the file is read: it may change afterwards.
                is_requested.store(false, Ordering::Relaxed);
                None
            }
            Request::Answered(asked) => Some(asked),
        };
        let config = asked.as_ref().and_then(|asked| asked.config.as_deref());
        let is_meant = config.map_or(Ok(()), |config| reloader.check_file(config));
        let result = is_meant.and_then(|()| reloader.reload()).map_err(|error| error.to_string());
        // The operator of the server sees each result, whoever has asked, but for refusals of a
        // server that stops, which follow from the signal.
        let (Ok(text) | Err(text)) = &result;
        if result.is_ok() || !reloader.is_stopping.load(Ordering::Relaxed) {
            match &result {
                Ok(_) => {
                    let mut lines = text.lines();
                    lines.next().into_iter().for_each(|it| console.tell(EventKind::Reloaded, it));
                    lines.for_each(|note| console.note(note));
                }
                Err(_) => console.tell(EventKind::ReloadFailed, text),
            }
        }
        if let Some(watch) = watch {
            watch.set_files(reloader.certificate_files());
        }
        if let Some(asked) = asked {
            let _ = asked.result.send(result);
        }
    }
}

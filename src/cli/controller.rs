//! The thread that reloads: signals and the administration ask it, so neither has to wait for a
//! slow disk, and reloads come one after another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use super::CommandError;
use super::console::Console;
use super::notify::Notify;
use super::reloader::Reloader;
use crate::events::EventKind;
use crate::signal_mask::block_signals;
use crate::tls::CertificateWatch;

/// How many requests wait. One more would read the same file again. Whoever waits takes a place of
/// the administration, and most of these have to stay free for probes.
const REQUESTS_MAX: usize = 4;

/// When a renewal of certificates that has failed is tried again.
const RENEW_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// When the thread looks at the files of hosting services, if no site has any: never.
const NEVER: u64 = 0;

/// The result of a reload: a line, or what is wrong.
pub(super) type ReloadResult = Result<String, String>;

/// The answer if the thread has ended, which only a bug can cause.
const NO_CONTROLLER: &str =
    "the thread that reloads has ended; restart ringd, and please report it";

/// A request whose result somebody waits for.
struct Asked {
    /// The file that is meant.
    config: Option<PathBuf>,
    result: Sender<ReloadResult>,
}

/// What is requested with a result that goes to the console. One of each is enough, and more would
/// take the room of those that somebody waits for.
#[derive(Default)]
struct Requested {
    reload: AtomicBool,
    certificates: AtomicBool,
    /// How often to look at the files of hosting services, in milliseconds, or [`NEVER`].
    look_every: AtomicU64,
}

impl Requested {
    fn set_interval(&self, interval: Option<Duration>) {
        let milliseconds = interval.map_or(NEVER, |interval| interval.as_millis() as u64);
        self.look_every.store(milliseconds, Ordering::Relaxed);
    }

    fn interval(&self) -> Option<Duration> {
        let milliseconds = self.look_every.load(Ordering::Relaxed);
        (milliseconds != NEVER).then(|| Duration::from_millis(milliseconds))
    }
}

/// What the thread is to do.
#[derive(Clone, Copy)]
enum Order<'a> {
    /// Reload. With a file, only if it is that of the server.
    Reload(Option<&'a Path>),
    /// Load the certificates again, because their files have changed.
    Certificates,
    /// Read the files of hosting services again, if they have changed.
    SiteFiles,
}

/// Asks for reloads; see the module documentation.
#[derive(Clone)]
pub(super) struct Controller {
    /// `None` wakes the thread for what is requested.
    requests: SyncSender<Option<Asked>>,
    requested: Arc<Requested>,
}

impl Controller {
    /// Starts the thread.
    pub(super) fn start(
        mut reloader: Reloader,
        console: Console,
        notify: Notify,
    ) -> Result<Self, CommandError> {
        let (controller, waiting) = Self::new();
        let requested = Arc::clone(&controller.requested);
        let watch = controller.watch(reloader.certificate_files())?;
        reloader.show_certificates();
        // A file may have changed between its reading and its watching.
        controller.wake_for(&requested.certificates);
        let at_work = Arc::clone(&requested);
        requested.set_interval(reloader.site_files_interval());
        let (mut told, mut told_of_files) = (String::new(), String::new());
        let run = move || {
            block_signals();
            serve(&waiting, &requested, |order| match order {
                Order::Reload(config) => {
                    notify.reloading();
                    let result = reload(&mut reloader, &console, config);
                    let (Ok(line) | Err(line)) = &result;
                    notify.reloaded(line);
                    watch.set_files(reloader.certificate_files());
                    at_work.set_interval(reloader.site_files_interval());
                    // A file may have changed between its reading and its watching.
                    at_work.certificates.store(true, Ordering::Release);
                    result
                }
                Order::Certificates => renew(&mut reloader, &console, &mut told),
                Order::SiteFiles => look(&mut reloader, &console, &mut told_of_files),
            });
        };
        thread::Builder::new()
            .name("controller".into())
            .spawn(run)
            .map_err(|error| CommandError::no_thread("reloads", &error))?;
        Ok(controller)
    }

    /// A controller, and where its requests wait for the thread.
    fn new() -> (Self, Receiver<Option<Asked>>) {
        let (requests, waiting) = mpsc::sync_channel(REQUESTS_MAX);
        (Self { requests, requested: Arc::default() }, waiting)
    }

    /// Asks for a reload, whose result goes to the console.
    pub(super) fn request(&self) {
        self.wake_for(&self.requested.reload);
    }

    fn wake_for(&self, requested: &AtomicBool) {
        if !requested.swap(true, Ordering::AcqRel) {
            // If there is no room, the thread is not idle: it sees the request when it has answered
            // the next one of those that wait.
            let _ = self.requests.try_send(None);
        }
    }

    /// Watches the files of certificates. A server without any may get some by a reload.
    fn watch(&self, files: Vec<PathBuf>) -> Result<CertificateWatch, CommandError> {
        let controller = self.clone();
        let on_change = move || controller.wake_for(&controller.requested.certificates);
        CertificateWatch::start(files, Box::new(on_change))
            .map_err(|error| CommandError::no_thread("certificates", &error))
    }

    /// Reloads, and waits for the result.
    ///
    /// With a file, only a server of that file reloads.
    pub(super) fn reload(&self, config: Option<PathBuf>) -> ReloadResult {
        let (result, wait_result) = mpsc::channel();
        match self.requests.try_send(Some(Asked { config, result })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err("too many reloads wait; try again later".to_owned());
            }
            Err(TrySendError::Disconnected(_)) => return Err(NO_CONTROLLER.to_owned()),
        }
        wait_result.recv().unwrap_or_else(|_| Err(NO_CONTROLLER.to_owned()))
    }
}

/// Reloads on request, until the process ends.
fn serve(
    waiting: &Receiver<Option<Asked>>,
    requested: &Requested,
    mut act: impl FnMut(Order<'_>) -> ReloadResult,
) {
    // Whether the last renewal has failed, perhaps for a reason that passes.
    let mut has_failed = false;
    let (mut renewed, mut looked) = (Instant::now(), Instant::now());
    loop {
        let renew_at = has_failed.then(|| renewed + RENEW_AGAIN_AFTER);
        let look_at = requested.interval().map(|interval| looked + interval);
        let asked = match [renew_at, look_at].into_iter().flatten().min() {
            Some(at) => waiting.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let now = Instant::now();
        if renew_at.is_some_and(|at| at <= now) {
            requested.certificates.store(true, Ordering::Release);
        }
        if let Some(Asked { config, result }) = asked {
            // Whoever waits may have given up.
            let _ = result.send(act(Order::Reload(config.as_deref())));
        }
        // Before the file is read: it may change afterwards. After each request that somebody waits
        // for, so neither kind holds up the other.
        if requested.reload.swap(false, Ordering::AcqRel) {
            let _ = act(Order::Reload(None));
        }
        if requested.certificates.swap(false, Ordering::AcqRel) {
            has_failed = act(Order::Certificates).is_err();
            renewed = Instant::now();
        }
        if look_at.is_some_and(|at| at <= now) {
            let _ = act(Order::SiteFiles);
            // From the end of the look, so that a slow disk does not take all of the time.
            looked = Instant::now();
        }
    }
}

/// Loads the certificates again, and tells the result if there is any. `told` is the last error.
fn renew(reloader: &mut Reloader, console: &Console, told: &mut String) -> ReloadResult {
    match reloader.renew_certificates() {
        Ok(text) => {
            told.clear();
            let text = text.unwrap_or_default();
            let mut lines = text.lines();
            let first = lines.next().into_iter();
            first.for_each(|it| console.tell(EventKind::CertificatesRenewed, it));
            lines.for_each(|note| console.note(note));
            Ok(text)
        }
        Err(error) => {
            let line = error.of_renewal();
            // A renewal is tried again from time to time, and one line is enough.
            if *told != line {
                console.tell(EventKind::CertificatesRefused, &line);
                told.clone_from(&line);
            }
            Err(line)
        }
    }
}

/// Looks at the files of hosting services, and tells what has changed. `told` is the last error.
fn look(reloader: &mut Reloader, console: &Console, told: &mut String) -> ReloadResult {
    match reloader.renew_site_files() {
        Ok(text) => {
            told.clear();
            let text = text.unwrap_or_default();
            text.lines().for_each(|line| console.note(line));
            Ok(text)
        }
        Err(error) => {
            let line = error.of_site_files();
            if *told != line {
                console.note(&line);
                told.clone_from(&line);
            }
            Err(line)
        }
    }
}

/// Reloads, if this is the file of the server or none is named. Tells the result.
fn reload(reloader: &mut Reloader, console: &Console, config: Option<&Path>) -> ReloadResult {
    let is_meant = config.map_or(Ok(()), |config| reloader.check_file(config));
    let result = is_meant.and_then(|()| reloader.reload()).map_err(|error| error.to_string());
    // The operator of the server sees each result, whoever has asked, but for refusals of a server
    // that stops, which follow from the signal.
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
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that wait may mean another file, which the server refuses to read.
    #[test]
    fn a_signal_that_finds_the_queue_full_reloads_once() {
        let (controller, waiting) = Controller::new();
        let (result, results) = mpsc::channel();
        for _ in 0..REQUESTS_MAX {
            let asked = Asked { config: Some("other.toml".into()), result: result.clone() };
            assert!(controller.requests.try_send(Some(asked)).is_ok());
        }
        controller.request();
        controller.request();
        let requested = Arc::clone(&controller.requested);
        drop((controller, result));
        let mut files = Vec::new();
        serve(&waiting, &requested, |order| {
            let Order::Reload(config) = order else { unreachable!("no certificate has changed") };
            files.push(config.map(Path::to_owned));
            Ok(String::new())
        });
        assert_eq!(files.iter().filter(|config| config.is_none()).count(), 1, "{files:?}");
        assert_eq!((files.len(), results.iter().count()), (REQUESTS_MAX + 1, REQUESTS_MAX));
    }
}

//! A server in this process, with a root of its own.

use std::cell::Cell;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ringd::cli::{Cli, Command};
use ringd::clients::Door;
use ringd::driver::{DriverKind, DriverSelection, File, Links};
use ringd::http::compress::Compressor;
use ringd::http::site::CacheStats;
use ringd::http::{HttpSettings, ListenerRole, ListenerRoles, SiteSettings, SiteTable};
use ringd::sandbox::{Sandbox, SandboxNeeds};
use ringd::serve::{self, CacheMonitor, HttpServer, HttpUpdate, HttpUpdater};
use ringd::server::{
    Endpoint, ListenSpec, Server, ServerSettings, ServerTimeouts, Stopper, UnixAddress, WorkerStats,
};
use tempfile::TempDir;

use super::client::{Client, Response};
use super::{root, tls};
use crate::common::ports::KeptPort;
use crate::common::{WAIT_MAX, eventually, settings};

thread_local! {
    static OVER_UNIX: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose servers listen on Unix sockets.
pub(crate) fn over_unix(test: impl FnOnce()) {
    OVER_UNIX.set(true);
    test();
}

/// A server and its root.
pub(crate) struct Fixture {
    server: Server,
    caches: CacheMonitor,
    /// Compresses files on the fly.
    pub(crate) compressor: Arc<Compressor>,
    /// Changes the server; see the methods of [`HttpUpdater`].
    pub(crate) updater: HttpUpdater,
    /// The timeouts at the start.
    pub(crate) timeouts: ServerTimeouts,
    workers: usize,
    path: PathBuf,
    /// The port that it listens on, unless the test says otherwise, is that of nobody else.
    _port: KeptPort,
    /// Removed with the fixture; `None` for the shared root.
    _root: Option<TempDir>,
    /// The directory of the Unix socket, if there is one.
    _socket: Option<TempDir>,
}

/// The settings that a test may change; see the documentation of the fields.
pub(crate) struct Setup {
    pub(crate) server: ServerSettings,
    pub(crate) http: HttpSettings,
    /// The only site; it replaces that of `http`.
    pub(crate) site: SiteSettings,
    /// What listeners know of proxies, by their numbers.
    pub(crate) doors: Vec<(u32, Arc<Door>)>,
}

impl Setup {
    /// Applies options of `ringd serve` about content.
    pub(crate) fn content(&mut self, root: &Path, options: &[&str]) {
        let SiteSettings { content, root, .. } = site(root, options);
        (self.site.content, self.site.root) = (content, root);
    }
}

/// The settings of a site from options of `ringd serve` about content.
pub(crate) fn site(root: &Path, options: &[&str]) -> SiteSettings {
    let arguments = ["ringd", "serve"].iter().chain(options);
    let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}"));
    let Command::Serve(args) = cli.into_command() else { unreachable!("the command is `serve`") };
    let links = args.content.symlinks.into();
    let root = Arc::new(File::open_root(root, links).unwrap());
    SiteSettings { content: args.content.content().unwrap(), ..SiteSettings::new(root) }
}

/// With this variable set to `require`, the servers of all tests run in a sandbox.
const SANDBOX: &str = "RINGD_TEST_SANDBOX";

/// Starts a server, in a sandbox if the tests run in one. Only its own threads are confined: the
/// thread that starts them, which ends, and those that it starts.
fn serve(mut setup: Setup, selection: DriverSelection) -> HttpServer {
    // The setting of a thread.
    let is_tls = tls::is_on();
    match std::env::var(SANDBOX).as_deref() {
        Err(_) => return serve_freely(setup, selection, is_tls),
        Ok("require") => {}
        Ok(other) => panic!("{SANDBOX}={other}: it must be require"),
    }
    setup.server.limits.restricted = true;
    let selection = DriverSelection::make_for(Some(selection.kind), true).unwrap();
    let listen = setup.server.listen.iter();
    let socket = |place: &ListenSpec| match place {
        ListenSpec::Unix(UnixAddress::Path(path), _) => Some(path.clone()),
        _ => None,
    };
    let needs = SandboxNeeds {
        // All roots of tests are beside each other.
        reads: vec![std::env::temp_dir().join("root")],
        logs: Vec::new(),
        sockets: listen.clone().filter_map(socket).collect(),
        ports: listen.clone().filter_map(ListenSpec::port).collect(),
        has_unix: true,
    };
    let confined = || {
        Sandbox::of_thread(&needs, selection.kind).unwrap();
        serve_freely(setup, selection.clone(), is_tls)
    };
    std::thread::scope(|scope| scope.spawn(confined).join()).unwrap()
}

/// Starts a server, with TLS if the tests run over TLS.
fn serve_freely(setup: Setup, selection: DriverSelection, is_tls: bool) -> HttpServer {
    let Setup { server, http, site, doors } = setup;
    if !is_tls && doors.is_empty() {
        return serve::http(&server, http.with_site(site), selection).unwrap();
    }
    let site = SiteSettings { listeners: None, is_default: true, ..site };
    let table = SiteTable::new(1, vec![Arc::new(site)]).unwrap();
    let usual = if is_tls { ListenerRole::Secure } else { ListenerRole::Plain };
    let roles = ListenerRoles { doors, ..ListenerRoles::all(usual) };
    let http = HttpSettings { sites: Arc::new(table.with_roles(roles)), ..http };
    if !is_tls {
        return serve::http(&server, http, selection).unwrap();
    }
    let config = tls::server_config(server.timeouts.header);
    serve::https(&server, http, &config, selection).unwrap()
}

/// What a server of these tests is to serve from now on.
pub(crate) fn update(sites: Vec<Arc<SiteSettings>>) -> HttpUpdate {
    let role = if tls::is_on() { ListenerRole::Secure } else { ListenerRole::Plain };
    HttpUpdate { roles: Some(ListenerRoles::all(role)), ..sites.into() }
}

impl Fixture {
    /// A server with one worker and long timeouts.
    pub(crate) fn start(kind: DriverKind) -> Self {
        Self::start_with(kind, |_| {})
    }

    /// A server with settings that `change` modifies.
    pub(crate) fn start_with(kind: DriverKind, change: impl FnOnce(&mut Setup)) -> Self {
        let root = root::make();
        let path = root.path().to_owned();
        Self { _root: Some(root), ..Self::start_over(kind, &path, change) }
    }

    /// A server with an existing root.
    pub(crate) fn start_over(
        kind: DriverKind,
        path: &Path,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let root = Arc::new(File::open_root(path, Links::Beneath).unwrap());
        let mut setup = Setup {
            server: ServerSettings { connections_max: 4096, ..settings() },
            http: HttpSettings::of_root(Arc::clone(&root)),
            site: SiteSettings::new(root),
            doors: Vec::new(),
        };
        let port = KeptPort::new();
        setup.server.listen = vec![port.address().into()];
        let socket = OVER_UNIX.get().then(|| tempfile::tempdir().unwrap());
        if let Some(folder) = &socket {
            setup.server.listen = vec![UnixAddress::Path(folder.path().join("socket")).into()];
        }
        change(&mut setup);
        let selection = DriverSelection::make(Some(kind)).unwrap();
        let (workers, timeouts) = (setup.server.workers, setup.server.timeouts);
        let HttpServer { server, caches, compressor, updater, .. } = serve(setup, selection);
        Self {
            server,
            caches,
            compressor,
            updater,
            timeouts,
            workers,
            path: path.to_owned(),
            _port: port,
            _root: None,
            _socket: socket,
        }
    }

    /// A server with an existing root, and with options of `ringd serve` about content.
    pub(crate) fn start_as(kind: DriverKind, path: &Path, options: &[&str]) -> Self {
        Self::start_over(kind, path, |setup| setup.content(path, options))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0].socket_addr().expect("it listens on TCP")
    }

    /// The address of a listener, by its number.
    pub(crate) fn address_of(&self, listener: usize) -> SocketAddr {
        self.server.addresses()[listener].socket_addr().expect("it listens on TCP")
    }

    /// The path of a name in the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.server.addresses()[0], Endpoint::Unix(_))
    }

    pub(crate) fn connect(&self) -> Client {
        match &self.server.addresses()[0] {
            Endpoint::Unix(address) => Client::connect_unix(address.as_path().unwrap()),
            _ => Client::connect(self.address()),
        }
    }

    /// A client whose kernel buffers little. For a Unix socket, the server's buffer decides, which
    /// has 208 KiB by default.
    pub(crate) fn connect_narrow(&self) -> Client {
        if self.is_unix() { self.connect() } else { Client::connect_narrow(self.address()) }
    }

    /// Whether a client can connect.
    pub(crate) fn accepts(&self) -> bool {
        match &self.server.addresses()[0] {
            Endpoint::Unix(address) => UnixStream::connect(address.as_path().unwrap()).is_ok(),
            _ => TcpStream::connect(self.address()).is_ok(),
        }
    }

    pub(crate) fn stats(&self) -> WorkerStats {
        self.server.worker_stats()
    }

    /// The statistics of the server's cache.
    pub(crate) fn cache(&self) -> CacheStats {
        self.caches.stats()
    }

    pub(crate) fn stopper(&self) -> Stopper {
        self.server.stopper()
    }

    /// One GET on its own connection.
    pub(crate) fn get(&self, target: &str) -> Response {
        let mut client = self.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let response = client.read_response();
        client.expect_close();
        response
    }

    /// Whether nothing is open but the listeners.
    pub(crate) fn is_at_rest(&self) -> bool {
        let WorkerStats { connections, leased, in_flight } = self.stats();
        let accepts = self.workers * self.server.addresses().len();
        connections == 0 && leased == 0 && in_flight as usize <= accepts
    }

    /// The end of a test: the server still answers, holds nothing, and stops without an error.
    pub(crate) fn finish(self) {
        self.get("/small.txt").expect_ok(&root::content(20));
        self.come_to_rest();
        self.server.stop().expect("the server drains");
    }

    /// Waits until everything that was opened is closed.
    pub(crate) fn come_to_rest(&self) {
        let mut stats = self.stats();
        let deadline = std::time::Instant::now() + WAIT_MAX;
        while !self.is_at_rest() {
            assert!(
                std::time::Instant::now() < deadline,
                "the server still holds something: {stats:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
            stats = self.stats();
        }
    }

    /// Waits until the server has this many connections.
    pub(crate) fn wait_for_connections(&self, count: u32) {
        eventually("the server accepts", || self.stats().connections == count);
    }

    /// The server, and what changes it.
    pub(crate) fn split(self) -> (Server, HttpUpdater) {
        (self.server, self.updater)
    }

    /// Waits for the end of a server that was stopped. What changes it stays.
    pub(crate) fn join_with_updater(self) -> HttpUpdater {
        let (server, updater) = self.split();
        server.join().expect("the server drains");
        updater
    }

    /// Waits for the end of a server that was stopped.
    pub(crate) fn join(self) -> std::io::Result<()> {
        self.server.join()
    }
}

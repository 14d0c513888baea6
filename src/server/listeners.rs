//! The listeners of a server. Each place of the settings is a listener with a number, and has one
//! endpoint or several; all of them are listened on, or there is an error.

mod handed_over;

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::listener::{self, BoundSockets};
use super::mailbox::{Closing, WorkerSocket};
use super::passed::{PassedEndpoint, PassedSockets};
use super::settings::LISTENERS_MAX;
use super::start_error::StartError;
use super::unix_address::UnixOptions;
use super::unix_listener::{BoundUnixSocket, SocketFile, UnixListenError, UnixPlan};

/// The sockets of one endpoint, one for each worker. Those of TCP are bound to the same port; those
/// of a Unix socket are duplicates of one, because `SO_REUSEPORT` means nothing there.
#[derive(Debug)]
pub(super) struct Group {
    /// The number of the listener.
    pub(super) number: u32,
    spec: ListenSpec,
    /// The endpoint. If port 0 was requested, this has the port that the kernel picked.
    pub(super) endpoint: Endpoint,
    sockets: Vec<OwnedFd>,
    /// Sockets that join those of another process, and do not listen yet.
    joining: Option<BoundSockets>,
    /// The file of a Unix socket with a path.
    file: Option<SocketFile>,
    origin: Origin,
}

/// Where the sockets of an endpoint come from.
#[derive(Clone, Default, Debug)]
struct Origin {
    /// Another process has them too, at least at first.
    joint: bool,
    /// All workers share one socket.
    shared: bool,
    /// The name that the program which started the server has given it.
    name: Option<String>,
    /// The number of its descriptor then.
    number: Option<u32>,
    /// The file of a Unix socket, which another server has made and may still own.
    file: Option<(u64, u64)>,
}

/// What a server listens on.
#[derive(Debug)]
pub(super) struct Listening {
    open: Vec<OpenEndpoint>,
    /// Endpoints that the workers are closing, or have closed just now.
    closing: Vec<ClosingEndpoint>,
    /// The number of the next listener.
    next: u32,
    workers: usize,
    endpoints_max: usize,
    /// Sockets that nobody has claimed.
    passed: PassedSockets,
    /// How many other servers have the sockets: one that is replaced, and one that takes over.
    joint_with: u32,
    /// Whether another process is taking over.
    is_handed_over: bool,
    /// Whether workers are taking other listeners, so that it is not known yet which ones stay.
    is_changing: bool,
    /// How many changes were applied.
    version: u64,
    /// Whether the server has ended, so that nothing may be added.
    ended: bool,
}

#[derive(Debug)]
struct OpenEndpoint {
    number: u32,
    spec: ListenSpec,
    endpoint: Endpoint,
    /// Removed on request only: if the handles of a server are dropped, it goes on.
    file: ManuallyDrop<Option<SocketFile>>,
    origin: Origin,
}

#[derive(Debug)]
struct ClosingEndpoint {
    endpoint: Endpoint,
    /// Refers to something as long as a worker may have a socket.
    mark: Weak<()>,
    since: Instant,
}

impl ClosingEndpoint {
    fn is_open(&self) -> bool {
        self.mark.strong_count() > 0
    }
}

/// How long the kernel may keep an address that a listener had: a ring may refer to a socket a
/// little longer than its accept lasts, and a process that is being forked has copies of all
/// descriptors until it executes another program.
pub(super) const RELEASE_MAX: Duration = Duration::from_secs(2);

/// The sockets of each worker.
pub(super) type WorkerSockets = Vec<Vec<WorkerSocket>>;

/// The difference between what a server listens on and what it should listen on. Nothing is bound
/// yet.
#[derive(Debug)]
pub(super) struct ListenPlan {
    /// The number of the listener of each place.
    pub(super) numbers: Vec<u32>,
    added: Vec<PlannedEndpoint>,
    pub(super) dropped: Vec<u32>,
    /// The version of [`Listening`] with which this was compared.
    version: u64,
}

/// An endpoint that can be listened on, as far as that is known before it is bound.
#[derive(Debug)]
struct PlannedEndpoint {
    number: u32,
    spec: ListenSpec,
    endpoint: Endpoint,
    /// `None` for TCP.
    unix: Option<UnixPlan>,
}

/// Sockets that no client can reach yet.
enum Bound {
    Tcp(BoundSockets),
    Unix(BoundUnixSocket, Vec<OwnedFd>),
    /// Those of another process, and those that join them.
    Passed(PassedEndpoint, Option<BoundSockets>),
}

/// Endpoints that are listened on, but not accepted from, besides sockets that join others and do
/// not listen yet. If this is dropped, all of them are closed again.
#[derive(Debug)]
pub(super) struct BoundListeners(Vec<Group>);

impl BoundListeners {
    /// How many sockets each worker gets.
    pub(super) fn counts(&self, workers: usize) -> Vec<u32> {
        let mut counts = vec![0; workers];
        for Group { sockets, joining, .. } in &self.0 {
            let all = sockets.len() + joining.as_ref().map_or(0, BoundSockets::len);
            (0..all).for_each(|place| counts[place % workers] += 1);
        }
        counts
    }

    /// Takes the sockets out, for each worker. From now on clients can connect to all of them:
    /// those that join others do not listen before, because a start that fails would reset their
    /// clients. They are bound, so hardly anything can fail here.
    pub(super) fn sockets(&mut self, workers: usize) -> Result<WorkerSockets, StartError> {
        let mut all: WorkerSockets = (0..workers).map(|_| Vec::new()).collect();
        for Group { number, sockets, joining, origin, .. } in &mut self.0 {
            let own =
                joining.take().map_or(Ok(Vec::new()), |it| it.listen().map(|(_, own)| own))?;
            let first = sockets.drain(..).map(|socket| (socket, origin.joint));
            // Those that were passed may be more than there are workers.
            for (place, (socket, joint)) in
                first.chain(own.into_iter().map(|it| (it, false))).enumerate()
            {
                all[place % workers].push(WorkerSocket { number: *number, socket, joint });
            }
        }
        Ok(all)
    }
}

impl Listening {
    /// Nothing, for a server that may have `endpoints_max` endpoints.
    pub(super) fn new(workers: usize, endpoints_max: usize, passed: PassedSockets) -> Self {
        Self {
            open: Vec::new(),
            closing: Vec::new(),
            next: 0,
            workers,
            endpoints_max,
            passed,
            joint_with: 0,
            is_handed_over: false,
            is_changing: false,
            version: 0,
            ended: false,
        }
    }

    /// Whether a place is listened on.
    pub(super) fn has(&self, spec: &ListenSpec) -> bool {
        self.open.iter().any(|open| open.spec == *spec)
    }

    /// Finds out what has to be bound and what has to be closed, so that these places are listened
    /// on, at these endpoints. Tries what can be tried without a client noticing it, and changes
    /// nothing.
    pub(super) fn plan(
        &mut self,
        places: &[(&ListenSpec, Vec<Endpoint>)],
    ) -> Result<ListenPlan, StartError> {
        let (mut numbers, mut new) = (Vec::new(), Vec::new());
        for (spec, endpoints) in places {
            let known = self.open.iter().find(|open| open.spec == **spec);
            if let Some(known) = known.filter(|known| !numbers.contains(&known.number)) {
                numbers.push(known.number);
                continue;
            }
            let number = self.new_number(&numbers);
            numbers.push(number);
            new.extend(endpoints.iter().map(|endpoint| (number, *spec, endpoint)));
        }
        let is_left = |open: &&OpenEndpoint| !numbers.contains(&open.number);
        let mut dropped: Vec<u32> =
            self.open.iter().filter(is_left).map(|open| open.number).collect();
        dropped.dedup();
        let kept = self.open.iter().filter(|open| !is_left(open));
        let mut kept: Vec<&Endpoint> = kept.map(|open| &open.endpoint).collect();
        let endpoints_max = LISTENERS_MAX.min(self.endpoints_max);
        if kept.len() + new.len() > endpoints_max {
            return Err(StartError::TooManyAddresses(endpoints_max));
        }
        let mut added = Vec::with_capacity(new.len());
        for (number, spec, endpoint) in new {
            let unix = self.check(spec, endpoint, &kept)?;
            let (spec, endpoint_of_plan) = (spec.clone(), endpoint.clone());
            added.push(PlannedEndpoint { number, spec, endpoint: endpoint_of_plan, unix });
            kept.push(endpoint);
        }
        Ok(ListenPlan { numbers, added, dropped, version: self.version })
    }

    /// Finds out whether an endpoint can be listened on besides `others`.
    fn check(
        &self,
        spec: &ListenSpec,
        endpoint: &Endpoint,
        others: &[&Endpoint],
    ) -> Result<Option<UnixPlan>, StartError> {
        if self.passed.has(spec, endpoint) {
            // Two places may mean it by its name and by its number.
            return match others.contains(&endpoint) {
                true => Err(StartError::PassedTwice((spec.clone(), endpoint.clone()).into())),
                false => Ok(None),
            };
        }
        let Endpoint::Unix(address) = endpoint else {
            let picks_port = endpoint.socket_addr().is_some_and(|address| address.port() == 0);
            if picks_port {
                return Ok(None);
            }
            if let Some(other) = others.iter().find(|other| other.overlaps(endpoint)) {
                return Err(listener::overlaps(endpoint, other).into());
            }
            if !self.has_or_had(endpoint) {
                listener::check(endpoint)?;
            }
            return Ok(None);
        };
        if self.open.iter().any(|open| open.endpoint == *endpoint && open.spec != *spec) {
            return Err(StartError::UnixSocket(UnixListenError::other_rights(address)));
        }
        let options = match spec {
            ListenSpec::Unix(_, options) => options.clone(),
            _ => UnixOptions::default(),
        };
        let plan = UnixPlan::make(address, &options, self.files());
        plan.map(Some).map_err(StartError::UnixSocket)
    }

    /// Whether this server listens on an address that includes this one or is included in it, or
    /// has not closed all sockets that did. Sockets of its own can be bound to such an address,
    /// since all of them have `SO_REUSEPORT`: the kernel prefers the address that fits best.
    fn has_or_had(&self, endpoint: &Endpoint) -> bool {
        self.open.iter().any(|open| open.endpoint.overlaps(endpoint))
            || self.closing_at(endpoint).any(ClosingEndpoint::is_open)
    }

    /// Whether an address that is in use may be in use by a socket that this server has closed just
    /// now, or is closing: names of abstract Unix sockets cannot be shared.
    pub(super) fn may_become_free(&self, endpoint: &Endpoint) -> bool {
        self.closing_at(endpoint).next().is_some()
    }

    fn closing_at(&self, endpoint: &Endpoint) -> impl Iterator<Item = &ClosingEndpoint> {
        let is_recent =
            |closing: &&ClosingEndpoint| closing.is_open() || closing.since.elapsed() < RELEASE_MAX;
        self.closing.iter().filter(|it| it.endpoint.overlaps(endpoint)).filter(is_recent)
    }

    /// The files of the sockets that are listened on.
    fn files(&self) -> impl Iterator<Item = &SocketFile> {
        self.open.iter().filter_map(|open| open.file.as_ref())
    }

    /// Binds what a plan adds. First all sockets are made, so that hardly anything can fail when
    /// they begin to listen; files get their names last.
    pub(super) fn bind(&self, plan: &ListenPlan) -> Result<BoundListeners, StartError> {
        let (mut bound, mut at_last) = (Vec::with_capacity(plan.added.len()), Vec::new());
        for (place, planned) in plan.added.iter().enumerate() {
            if let Some(passed) = self.passed.take(&planned.spec, &planned.endpoint) {
                bound.push((place, self.bind_passed(passed)?));
                continue;
            }
            match &planned.unix {
                None => {
                    let is_own = self.has_or_had(&planned.endpoint);
                    let sockets = listener::bind(&planned.endpoint, self.workers, is_own)?;
                    bound.push((place, Bound::Tcp(sockets)));
                }
                Some(unix) => at_last.push((place, unix)),
            }
        }
        for (place, unix) in at_last {
            bound.push((place, self.bind_unix(unix, &plan.added[place].endpoint)?));
        }
        let mut groups: Vec<(usize, Group)> = Vec::with_capacity(bound.len());
        for (place, bound) in bound {
            let PlannedEndpoint { number, spec, endpoint, .. } = &plan.added[place];
            let (mut origin, mut joining) = (Origin::default(), None);
            let (endpoint, sockets, file) = match bound {
                Bound::Tcp(sockets) => {
                    let (endpoint, sockets) = sockets.listen()?;
                    (endpoint, sockets, None)
                }
                Bound::Passed(passed, more) => {
                    let PassedEndpoint { name, number, sockets, file, .. } = passed;
                    joining = more;
                    origin = Origin { joint: true, shared: passed.is_shared, name, number, file };
                    (endpoint.clone(), sockets, None)
                }
                Bound::Unix(socket, mut sockets) => {
                    let made = groups.iter().filter_map(|(_, group)| group.file.as_ref());
                    let published = socket.publish(self.files().chain(made));
                    let (socket, file) = published.map_err(StartError::UnixSocket)?;
                    sockets.push(socket);
                    origin.shared = true;
                    (endpoint.clone(), sockets, file)
                }
            };
            let (number, spec) = (*number, spec.clone());
            groups.push((place, Group { number, spec, endpoint, sockets, joining, file, origin }));
        }
        groups.sort_by_key(|(place, _)| *place);
        Ok(BoundListeners(groups.into_iter().map(|(_, group)| group).collect()))
    }

    /// Makes a Unix socket, and the duplicates of it for the other workers.
    fn bind_unix(&self, unix: &UnixPlan, endpoint: &Endpoint) -> Result<Bound, StartError> {
        let bound = unix.bind().map_err(|error| match self.may_become_free(endpoint) {
            true => error.while_closing(),
            false => error,
        });
        let bound = bound.map_err(StartError::UnixSocket)?;
        let others = (1..self.workers).map(|_| bound.socket.try_clone());
        let others = others.collect::<Result<_, _>>().map_err(StartError::Descriptors)?;
        Ok(Bound::Unix(bound, others))
    }

    /// A number that no listener has, nor one of `others`. Connections keep the number of their
    /// listener, but no connection lasts until all 32 bits have been counted through.
    fn new_number(&mut self, others: &[u32]) -> u32 {
        loop {
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            let is_used = self.open.iter().any(|open| open.number == number);
            if !is_used && !others.contains(&number) {
                return number;
            }
        }
    }

    /// Whether nothing has changed since a plan was made, or is changing.
    pub(super) fn is_current(&self, plan: &ListenPlan) -> bool {
        plan.version == self.version && !self.is_changing && !self.ended
    }

    /// Whether another process has the sockets and is about to take over. Then nothing may change.
    pub(super) fn is_handed_over(&self) -> bool {
        self.is_handed_over
    }

    /// Whether workers are taking other listeners. Then no other process may get these.
    pub(super) fn is_changing(&self) -> bool {
        self.is_changing
    }

    /// Notes whether workers are taking other listeners.
    pub(super) fn set_changing(&mut self, is_changing: bool) {
        self.is_changing = is_changing;
    }

    /// Records that the workers close listeners, and removes the files of their sockets. The
    /// workers hold the result until they have closed them.
    pub(super) fn forget(&mut self, numbers: &[u32]) -> Closing {
        self.version += 1;
        let closing = Closing::default();
        self.closing.retain(|closing| closing.is_open() || closing.since.elapsed() < RELEASE_MAX);
        for open in self.open.extract_if(.., |open| numbers.contains(&open.number)) {
            drop(ManuallyDrop::into_inner(open.file));
            let (mark, since) = (closing.mark(), Instant::now());
            self.closing.push(ClosingEndpoint { endpoint: open.endpoint, mark, since });
        }
        closing
    }

    /// Records that the workers get what was bound for a plan. Returns the numbers of the new
    /// listeners, and what the workers hold until they have closed those that the plan drops.
    pub(super) fn apply(
        &mut self,
        plan: &ListenPlan,
        bound: BoundListeners,
    ) -> (Vec<u32>, Closing) {
        let new = bound.0.iter().map(|group| group.number).collect();
        let closing = self.forget(&plan.dropped);
        let added = bound.0.into_iter().map(|group| {
            let Group { number, spec, endpoint, file, origin, .. } = group;
            OpenEndpoint { number, spec, endpoint, file: ManuallyDrop::new(file), origin }
        });
        self.open.extend(added);
        (new, closing)
    }

    /// Lets so many more endpoints be added.
    pub(super) fn allow_more(&mut self, spare: usize) {
        self.endpoints_max = self.open.len() + spare;
    }

    /// The endpoints, in the order in which they were opened.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.open.iter().map(|open| open.endpoint.clone()).collect()
    }

    /// The numbers of the listeners of these endpoints.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.open.iter().map(|open| open.number).collect()
    }

    /// Removes the files of Unix sockets, because the server has ended.
    pub(super) fn remove_files(&mut self) {
        self.ended = true;
        for open in self.open.drain(..) {
            drop(ManuallyDrop::into_inner(open.file));
        }
    }
}

#[cfg(test)]
mod tests;

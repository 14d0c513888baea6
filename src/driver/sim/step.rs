//! Steps: what an op of the simulated machine does when its step is due.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::sync::Arc;

use super::files;
use super::network::{Dialer, Moved, Network, SimConnection};
use super::{OpPlace, Sim, SimOp, SimSocket, SimWork, SocketEnd};
use crate::driver::chain::NextPart;
use crate::driver::drain::ListenerDrain;
use crate::driver::op::cancelled;
use crate::driver::slot_map::Handle;
use crate::driver::transfer::turn_share;
use crate::driver::{
    ACCEPT_RETRY, ACCEPTS_PER_WAIT, Chain, File, Job, Outcome, RECEIVE_BYTES_MAX, SendEnd, Sock,
    Token,
};

/// The most bytes of a chain that one attempt copies.
const COPY_BYTES: usize = 16 * 1024;

/// How a step ended.
enum StepEnd {
    /// The op has ended.
    Over(io::Result<()>),
    /// The op waits until a peer touches the socket.
    Blocked,
    /// The close waits until the socket's other ops have ended.
    Joins,
    /// The op continues in this wait.
    Again,
    /// The op has used up its turn, and continues in the next wait.
    Spent,
    /// There is no free buffer.
    WaitsForBuffer,
    /// No descriptor is free: the accept pauses.
    Backoff,
}

impl Sim {
    /// Takes a step of an op, if it is still in flight.
    pub(super) fn step(&mut self, network: &mut Network, op: Handle<SimOp>) {
        let Some(pending) = self.ops.get(op) else { return };
        // A cancel races with the step that the op was about to take.
        let lost = pending.cancelled && (self.faults.latency_max.is_zero() || self.random.bool());
        let end = if lost { StepEnd::Over(Err(cancelled())) } else { self.attempt(network, op) };
        let Some(pending) = self.ops.get_mut(op) else { return };
        let end = match end {
            StepEnd::Over(_) => end,
            _ if pending.cancelled => StepEnd::Over(Err(cancelled())),
            _ => end,
        };
        pending.place = match end {
            StepEnd::Blocked | StepEnd::Joins => OpPlace::Blocked,
            StepEnd::WaitsForBuffer => OpPlace::WaitsForBuffer,
            _ => OpPlace::Planned,
        };
        match end {
            StepEnd::Over(result) => self.end(op, result),
            StepEnd::Blocked => self.stats.would_block += 1,
            StepEnd::Joins => {}
            StepEnd::Again => self.plan(op),
            StepEnd::Spent => self.spent.push(op),
            StepEnd::WaitsForBuffer => {
                self.stats.buffer_waits += 1;
                self.waits_for_buffer.push_back(op);
            }
            StepEnd::Backoff => self.plan_after(op, ACCEPT_RETRY),
        }
    }

    fn attempt(&mut self, network: &mut Network, op: Handle<SimOp>) -> StepEnd {
        let pending = self.ops.get_mut(op).expect("it is the op's step");
        if pending.turn.0 != self.waits {
            pending.turn = (self.waits, 0);
        }
        let (token, moved) = (pending.token, pending.turn.1);
        match &mut pending.work {
            SimWork::Accept { sock } => {
                let sock = *sock;
                let end = self.accept(network, op, sock, token);
                self.limit_drain(sock, end)
            }
            SimWork::Receive { sock } => {
                let sock = *sock;
                self.receive(network, op, sock, token, moved)
            }
            SimWork::Send { sock, chain, end: follows } => {
                let (sock, follows) = (*sock, *follows);
                let mut chain = mem::take(chain);
                let end = self.send(network, op, sock, &mut chain, moved);
                let connection = self.connection_of(sock);
                if follows == SendEnd::HalfClose && matches!(end, StepEnd::Over(Ok(()))) {
                    network.end(connection);
                }
                self.give_back(op, chain);
                end
            }
            SimWork::Read { .. } => self.read(op),
            SimWork::Open { root, path } => {
                let (root, path) = (Arc::clone(root), mem::take(path));
                let opened = self.open_file(&root, &path);
                self.finish(op, Outcome::Opened(opened));
                StepEnd::Spent
            }
            SimWork::Run { job } => {
                let busy = || Err(io::ErrorKind::ResourceBusy.into());
                let ran = job.take().map_or_else(busy, Job::perform);
                self.finish(op, Outcome::Ran(ran));
                StepEnd::Spent
            }
            SimWork::Close { sock, .. } => {
                let sock = *sock;
                self.close(network, op, sock)
            }
        }
    }

    fn give_back(&mut self, op: Handle<SimOp>, back: Box<Chain>) {
        if let Some(SimOp { work: SimWork::Send { chain, .. }, .. }) = self.ops.get_mut(op) {
            *chain = back;
        }
    }

    /// Ends an op with its last completion.
    fn end(&mut self, op: Handle<SimOp>, result: io::Result<()>) {
        let work = &mut self.ops.get_mut(op).expect("the op is in flight").work;
        let outcome = work.end(result);
        self.finish(op, outcome);
    }

    fn finish(&mut self, op: Handle<SimOp>, outcome: Outcome) {
        let pending = self.ops.remove(op).expect("the op is in flight");
        if matches!(pending.work, SimWork::Run { .. }) {
            assert!(self.jobs > 0, "a job ends that was not counted");
            self.jobs -= 1;
        }
        if matches!(pending.work, SimWork::Read { .. } | SimWork::Open { .. }) {
            assert!(self.file_ops > 0, "an op on a file ends that was not counted");
            self.file_ops -= 1;
        }
        if let SimWork::Accept { sock } | SimWork::Receive { sock } | SimWork::Send { sock, .. } =
            pending.work
            && let Some(socket) = self.sockets.get_mut(sock)
        {
            for side in [&mut socket.read, &mut socket.write] {
                if *side == Some(op) {
                    *side = None;
                }
            }
            if let (None, None, Some(close)) = (socket.read, socket.write, socket.close) {
                self.plan(close);
            }
        }
        self.waits_for_buffer.retain(|other| *other != op);
        self.done.finish(pending.token, outcome);
    }

    fn progress(&mut self, op: Handle<SimOp>, token: Token, amount: u64, outcome: Outcome) {
        self.ops.get_mut(op).expect("the op is in flight").turn.1 += amount;
        self.done.progress(token, outcome);
    }

    /// Begins a close: cancels the other ops of the socket, but lets an accept deliver the backlog
    /// first.
    pub(super) fn begin_close(&mut self, sock: Handle<Sock>, close: Handle<SimOp>) {
        let socket = self.sockets.get_mut(sock).expect("its close was just submitted");
        socket.close = Some(close);
        if let (SocketEnd::Listener(listener), Some(_), false) =
            (socket.end, socket.read, socket.joint)
        {
            socket.drain = Some(ListenerDrain::new());
            self.net.lock().hold_off(listener);
        }
        let drains = socket.drain.is_some();
        for op in [socket.read, socket.write].into_iter().flatten() {
            let pending = self.ops.get_mut(op).expect("a side names an op in flight");
            pending.cancelled |= !drains;
            self.plan(op);
        }
    }

    /// Ends the accept of a listener that is being closed when the backlog is empty or the bounds
    /// of the drain are reached. Returns `end` unchanged for other accepts.
    fn limit_drain(&mut self, sock: Handle<Sock>, end: StepEnd) -> StepEnd {
        let socket = self.sockets.get_mut(sock).expect("its op is in flight");
        let Some(drain) = &mut socket.drain else { return end };
        let may_go_on = drain.may_accept();
        match end {
            StepEnd::Backoff if may_go_on && drain.may_pause() => StepEnd::Backoff,
            StepEnd::Again | StepEnd::Spent if may_go_on => end,
            _ => StepEnd::Over(Err(cancelled())),
        }
    }

    fn connection_of(&self, sock: Handle<Sock>) -> Handle<SimConnection> {
        match self.sockets.get(sock).expect("its op is in flight").end {
            SocketEnd::Connection(connection) => connection,
            SocketEnd::Listener(_) => panic!("a listener neither receives nor sends"),
        }
    }
}

impl SimWork {
    /// The outcome of the op's last completion; takes the buffer or the chain out of the op.
    pub(super) fn end(&mut self, result: io::Result<()>) -> Outcome {
        match self {
            Self::Accept { .. } => Outcome::Accepted(Err(result.err().unwrap_or_else(cancelled))),
            Self::Receive { .. } => Outcome::Received(result.map(|()| None)),
            Self::Send { chain, .. } => Outcome::Sent(result, mem::take(chain)),
            Self::Read { buffer, .. } => Outcome::FileRead(result.map(|()| 0), mem::take(buffer)),
            Self::Open { .. } => Outcome::Opened(Err(result.err().unwrap_or_else(cancelled))),
            Self::Run { .. } => Outcome::Ran(Err(result.err().unwrap_or_else(cancelled))),
            Self::Close { .. } => Outcome::Closed,
        }
    }
}

/// Sockets.
impl Sim {
    /// Creates a listener, and the dialer that connects to it.
    ///
    /// # Errors
    ///
    /// When the table of sockets is full.
    pub fn listen(&mut self) -> io::Result<(Sock, Dialer)> {
        let net = Arc::clone(&self.net);
        let handle = self.sockets.insert_with(|handle| {
            let end = SocketEnd::Listener(net.lock().listen(handle));
            SimSocket::new(end)
        });
        let handle = handle.ok_or(io::ErrorKind::QuotaExceeded)?;
        let SocketEnd::Listener(listener) = self.sockets.get(handle).expect("just inserted").end
        else {
            unreachable!("the socket was created as a listener")
        };
        Ok((Sock(handle), Dialer::new(net, listener)))
    }

    /// Holds the listener of a dialer once more, as another process would. It is told of
    /// connections that come from now on, and of those that wait.
    ///
    /// # Errors
    ///
    /// When the table of sockets is full.
    pub fn listen_again(&mut self, dialer: &Dialer) -> io::Result<Sock> {
        let (net, listener) = (Arc::clone(&self.net), dialer.listener());
        let handle = self.sockets.insert(SimSocket::new(SocketEnd::Listener(listener)));
        let handle = handle.map_err(|_| io::ErrorKind::QuotaExceeded)?;
        net.lock().own_listener(listener, handle);
        Ok(Sock(handle))
    }

    fn accept(
        &mut self,
        network: &mut Network,
        op: Handle<SimOp>,
        sock: Handle<Sock>,
        token: Token,
    ) -> StepEnd {
        let SocketEnd::Listener(listener) =
            self.sockets.get(sock).expect("its op is in flight").end
        else {
            panic!("only listeners accept")
        };
        loop {
            let accepted = self.ops.get(op).expect("it is the op's step").turn.1;
            if accepted >= u64::from(ACCEPTS_PER_WAIT) {
                return StepEnd::Spent;
            }
            if !network.has_backlog(listener) {
                return StepEnd::Blocked;
            }
            if self.lacks_descriptor() {
                return StepEnd::Backoff;
            }
            let Some(connection) = network.accept(listener) else { return StepEnd::Blocked };
            match self.insert(SocketEnd::Connection(connection)) {
                Some(handle) => {
                    network.own(connection, handle);
                    self.progress(op, token, 1, Outcome::Accepted(Ok(Sock(handle))));
                }
                None => {
                    self.stats.refused += 1;
                    network.close(connection, false, |len| len);
                }
            }
            if !self.faults.latency_max.is_zero() {
                return StepEnd::Again;
            }
        }
    }

    /// Whether descriptors have run out, by the limit or by a fault.
    fn lacks_descriptor(&mut self) -> bool {
        let open = u64::from(self.sockets.len()) + self.files.open_count();
        self.happens(self.faults.descriptors)
            || self.descriptors_max.is_some_and(|max| open >= u64::from(max))
    }

    fn receive(
        &mut self,
        network: &mut Network,
        op: Handle<SimOp>,
        sock: Handle<Sock>,
        token: Token,
        moved: u64,
    ) -> StepEnd {
        let connection = self.connection_of(sock);
        self.perhaps_reset(network, connection);
        let most = self.limits.turn_bytes_max.min(RECEIVE_BYTES_MAX);
        let mut left = most.saturating_sub(moved);
        loop {
            if left == 0 {
                return StepEnd::Spent;
            }
            let Some(mut lease) = self.pool.take() else { return StepEnd::WaitsForBuffer };
            let piece_max = self.piece(lease.len().min(left.try_into().unwrap_or(usize::MAX)));
            match network.receive(connection, &mut lease.spare_mut()[..piece_max]) {
                Moved::Bytes(count) => {
                    lease.truncate(count);
                    left -= count as u64;
                    self.progress(op, token, count as u64, Outcome::Received(Ok(Some(lease))));
                }
                Moved::End => return StepEnd::Over(Ok(())),
                Moved::Broken => return StepEnd::Over(Err(io::ErrorKind::ConnectionReset.into())),
                Moved::Blocked => return StepEnd::Blocked,
            }
            if !self.waits_for_buffer.is_empty() {
                return StepEnd::Spent;
            }
            if !self.faults.latency_max.is_zero() {
                return StepEnd::Again;
            }
        }
    }

    fn send(
        &mut self,
        network: &mut Network,
        op: Handle<SimOp>,
        sock: Handle<Sock>,
        chain: &mut Chain,
        moved: u64,
    ) -> StepEnd {
        let connection = self.connection_of(sock);
        self.perhaps_reset(network, connection);
        let share = turn_share(moved + chain.remaining(), self.limits.turn_bytes_max);
        let mut left = share.saturating_sub(moved);
        let mut buffer = vec![0; self.piece(COPY_BYTES)];
        loop {
            if chain.is_empty() {
                return StepEnd::Over(Ok(()));
            }
            if left == 0 {
                return StepEnd::Spent;
            }
            let room = buffer.len().min(left.try_into().unwrap_or(usize::MAX));
            let count = match self.copy(chain, &mut buffer[..room]) {
                Ok(count) => count,
                Err(error) => return StepEnd::Over(Err(error)),
            };
            match network.send(connection, &buffer[..count]) {
                Moved::Bytes(count) => {
                    chain.advance(count as u64);
                    left -= count as u64;
                    self.ops.get_mut(op).expect("it is the op's step").turn.1 += count as u64;
                }
                Moved::Blocked => return StepEnd::Blocked,
                Moved::Broken | Moved::End => {
                    return StepEnd::Over(Err(io::ErrorKind::BrokenPipe.into()));
                }
            }
            if !self.faults.latency_max.is_zero() {
                return StepEnd::Again;
            }
        }
    }

    /// Copies the next bytes of a chain.
    fn copy(&mut self, chain: &Chain, buffer: &mut [u8]) -> io::Result<usize> {
        match chain.next() {
            NextPart::Nothing => Ok(0),
            NextPart::Memory { .. } => {
                let bytes = chain.memory(buffer.len()).next().unwrap_or_default();
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
            NextPart::File { file, range } => {
                let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let len = len.min(buffer.len());
                match self.read_file(file, &mut buffer[..len], range.start)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    count => Ok(count),
                }
            }
        }
    }

    /// Closes a socket, once its other ops have ended.
    fn close(&mut self, network: &mut Network, op: Handle<SimOp>, sock: Handle<Sock>) -> StepEnd {
        let socket = self.sockets.get(sock).expect("a socket is closed once");
        if socket.read.is_some() || socket.write.is_some() {
            return StepEnd::Joins;
        }
        let Some(SimOp { work: SimWork::Close { reset, .. }, .. }) = self.ops.get(op) else {
            unreachable!("callers pass a close")
        };
        match socket.end {
            SocketEnd::Listener(_) if socket.joint => {}
            SocketEnd::Listener(listener) => network.close_listener(listener),
            SocketEnd::Connection(connection) => {
                let (reset, lost) = (*reset, self.lost());
                network.close(connection, reset, |len| len - len.min(lost));
            }
        }
        self.sockets.remove(sock);
        StepEnd::Over(Ok(()))
    }

    fn perhaps_reset(&mut self, network: &mut Network, connection: Handle<SimConnection>) {
        if self.happens(self.faults.reset) {
            let lost = self.lost();
            network.reset(connection, |len| len - len.min(lost));
        }
    }

    /// Draws how many bytes in transit a reset destroys.
    fn lost(&mut self) -> usize {
        if self.faults.loses { self.random.usize(..100_000) } else { 0 }
    }

    /// Draws how many bytes this step moves, at most `max`.
    fn piece(&mut self, max: usize) -> usize {
        match self.faults.piece_max.min(max) {
            piece if self.faults.latency_max.is_zero() => piece,
            piece => self.random.usize(1..=piece),
        }
    }
}

/// Files.
impl Sim {
    fn open_file(&mut self, root: &File, path: &CStr) -> io::Result<Arc<File>> {
        if self.lacks_descriptor() {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        files::open_beneath(root, path)
    }

    fn read_file(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.happens(self.faults.disk) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        file.read_at(buffer, offset)
    }

    fn read(&mut self, op: Handle<SimOp>) -> StepEnd {
        let Some(SimOp { work: SimWork::Read { file, offset, buffer }, .. }) = self.ops.get_mut(op)
        else {
            unreachable!("callers pass a read")
        };
        let (file, offset, mut buffer) = (file.clone(), *offset, mem::take(buffer));
        let len = buffer.len();
        buffer.resize(buffer.capacity(), 0);
        let result = self.read_file(&file, &mut buffer[len..], offset);
        buffer.truncate(len + *result.as_ref().unwrap_or(&0));
        drop(file);
        self.finish(op, Outcome::FileRead(result, buffer));
        StepEnd::Spent
    }
}

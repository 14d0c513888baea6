//! The steps of a wait, but for the last, which is in `perform.rs`.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::poller::{Event, Interest, KEYS_RESERVED, Poller};
use super::source::{OpStage, Readiness, requeue};
use super::{KEY_NOTIFIER, KEY_WAKER, Ready, key};
use crate::driver::name::Direction;

impl<P: Poller> Ready<P> {
    /// Queues receives that waited for a buffer, as far as there are buffers, before all others and
    /// in their order, and accepts that have rested.
    pub(super) fn revive(&mut self, now: Instant) {
        self.scarce = !self.waits_for_buffer.is_empty();
        let count = self.pool.available().min(self.waits_for_buffer.len());
        for op in self.waits_for_buffer.drain(..count).rev() {
            let found = requeue(&mut self.sources, op, OpStage::WaitsForBuffer);
            assert!(found, "{op:?} is in line for a buffer, but does not wait for one");
            self.runnable.push_front(op);
        }
        let (sources, runnable) = (&mut self.sources, &mut self.runnable);
        self.backoff.retain(|(until, op)| {
            let rested = *until <= now;
            if rested {
                let found = requeue(sources, *op, OpStage::Backoff);
                assert!(found, "{op:?} is among those that rest, but does not");
                runnable.push_back(*op);
            }
            !rested
        });
    }

    /// Tells the poller what has changed. When it cannot watch a source, the ops that wait for a
    /// report fail, since none would come.
    pub(super) fn apply_changes(&mut self) {
        while let Some(handle) = self.rearm.pop() {
            let Some(source) = self.sources.get_mut(handle) else { continue };
            source.changing = false;
            let (armed, want) = (source.armed, source.want());
            if armed.contains(want) && !source.spurious {
                continue;
            }
            source.spurious = false;
            let (socket, key) = (source.descriptor.as_fd(), key(handle));
            let result = match (armed, want) {
                _ if armed == want => Ok(()),
                (_, Interest::NONE) => {
                    // It fails only for a source that is not there, which is what is wanted.
                    let _ = self.poller.remove(socket, key);
                    Ok(())
                }
                (Interest::NONE, _) => self.poller.add(socket, key, want),
                _ => self.poller.modify(socket, key, want),
            };
            match result {
                Ok(()) => source.armed = want,
                Err(error) => self.fail(handle, want, &error),
            }
        }
    }

    /// Asks the poller, for as long as there is nothing else to do.
    pub(super) fn poll(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<()> {
        let rested = self.backoff.iter().map(|(until, _)| *until);
        let until = deadline.into_iter().chain(rested).min();
        let timeout = if self.runnable.is_empty() && self.done.is_empty() {
            until.map(|until| until.saturating_duration_since(now))
        } else {
            Some(Duration::ZERO)
        };
        match self.poller.wait(timeout, &mut self.events) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Queues what was waited for. Nothing is performed here, so no slot changes its owner while
    /// a report may still name it. And should a report be wrong all the same, for a duplicate in
    /// a child process that has not executed its program yet: it costs an attempt, no more.
    pub(super) fn collect(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event.key {
                KEY_WAKER => {
                    self.stats.system_calls += 1;
                    if self.waker.reset() {
                        self.done.wake();
                    }
                }
                KEY_NOTIFIER => {
                    self.stats.system_calls += 1;
                    // First the notifier, then the answers: one that comes between notifies again.
                    self.helpers.notifier().reset();
                    while let Some(answer) = self.helpers.next_answer() {
                        self.receive_answer(answer);
                    }
                    self.jobs.collect(&mut self.done);
                }
                _ => self.report(event),
            }
        }
        self.events = events;
    }

    fn report(&mut self, event: Event) {
        let Some(handle) = self.sources.handle_at(event.key - KEYS_RESERVED) else { return };
        let source = self.sources.get_mut(handle).expect("the slot is in use");
        source.hangup |= event.hangup;
        let mut spurious = false;
        for (direction, ready) in
            [(Direction::Read, event.readable), (Direction::Write, event.writable)]
        {
            if !ready {
                continue;
            }
            let side = source.side_mut(direction);
            match side.report() {
                Readiness::Awaited => self.runnable.extend(side.op.name(handle, direction)),
                Readiness::Known => {}
                Readiness::Unwanted => spurious = true,
            }
        }
        if spurious {
            source.spurious = true;
            self.change(handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::ready::Epoll;
    use crate::driver::slot_map::Handle;
    use crate::driver::{Driver, Limits, Op, OpId, Outcome, Sock, Token};
    use std::os::unix::net::UnixStream;

    fn wait(driver: &mut Epoll) {
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    }

    /// A driver whose only op is a receive, and the name of that.
    fn receiving() -> (Epoll, Handle<Sock>, OpId, UnixStream) {
        let mut driver = Epoll::open(&Limits::default()).unwrap();
        let (ours, peer) = UnixStream::pair().unwrap();
        let sock = driver.adopt(ours.into()).unwrap();
        let op = driver.submit(Token(1), Op::RecvMany { sock });
        (driver, sock.0, op, peer)
    }

    #[test]
    #[should_panic = "an op ends that is not in flight"]
    fn an_end_too_many_is_noticed() {
        let mut driver = Epoll::open(&Limits::default()).unwrap();
        driver.done.finish(Token(1), Outcome::Closed);
    }

    #[test]
    #[should_panic = "is in line for a buffer, but does not wait for one"]
    fn a_place_in_line_that_nobody_has_is_noticed() {
        let (mut driver, _, op, _peer) = receiving();
        driver.waits_for_buffer.push_back(op);
        wait(&mut driver);
    }

    #[test]
    #[should_panic = "is among those that rest, but does not"]
    fn a_rest_that_nobody_takes_is_noticed() {
        let (mut driver, _, op, _peer) = receiving();
        driver.backoff.push((Instant::now(), op));
        wait(&mut driver);
    }

    #[test]
    #[should_panic = "WaitsForBuffer, was listed 0 times"]
    fn an_op_that_waits_in_no_line_is_noticed() {
        let (mut driver, handle, op, _peer) = receiving();
        let source = driver.sources.get_mut(handle).unwrap();
        source.read.op.get_mut().unwrap().stage = OpStage::WaitsForBuffer;
        driver.cancel(op);
    }
}

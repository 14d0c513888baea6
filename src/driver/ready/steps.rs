//! The steps of a wait, except the last, which is in `perform.rs`.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::poller::{Event, Interest, KEYS_RESERVED, Poller};
use super::source::{OpStage, Readiness, requeue};
use super::{KEY_NOTIFIER, KEY_WAKER, Ready, key};
use crate::driver::name::Direction;
use crate::driver::setup::step_failed;

impl<P: Poller> Ready<P> {
    /// Queues as many of the receives that wait for a buffer as there are free buffers, in order
    /// and before all other ops; and the accepts whose backoff is over.
    pub(super) fn revive(&mut self, now: Instant) {
        self.scarce = !self.waits_for_buffer.is_empty();
        let count = self.pool.available().min(self.waits_for_buffer.len());
        for op in self.waits_for_buffer.drain(..count).rev() {
            let found = requeue(&mut self.sources, op, OpStage::WaitsForBuffer);
            assert!(found, "{op:?} is in `waits_for_buffer`, but does not wait for one");
            self.runnable.push_front(op);
        }
        let (sources, runnable) = (&mut self.sources, &mut self.runnable);
        self.backoff.retain(|(until, op)| {
            let rested = *until <= now;
            if rested {
                let found = requeue(sources, *op, OpStage::Backoff);
                assert!(found, "{op:?} is in `backoff`, but does not back off");
                runnable.push_back(*op);
            }
            !rested
        });
    }

    /// Passes changes of interest to the poller. If the poller cannot watch a source, fails the ops
    /// that wait for a report, because none would arrive.
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
                    // Fails only if the poller does not have the source, which is the goal.
                    let _ = self.poller.remove(socket, key);
                    Ok(())
                }
                (Interest::NONE, _) if source.shared => self.poller.add_shared(socket, key),
                (Interest::NONE, _) => self.poller.add(socket, key, want),
                _ => self.poller.modify(socket, key, want),
            };
            match result {
                Ok(()) => source.armed = want,
                Err(error) => self.fail(handle, want, &error),
            }
        }
    }

    /// Polls: without waiting if there is other work, otherwise until an event or the timeout.
    pub(super) fn poll(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<()> {
        let rested = self.backoff.iter().map(|(until, _)| *until);
        let until = deadline.into_iter().chain(rested).min();
        let timeout = if self.runnable.is_empty() && self.done.is_empty() {
            until.map(|until| until.saturating_duration_since(now))
        } else {
            Some(Duration::ZERO)
        };
        match self.poller.wait(timeout, &mut self.events) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(step_failed(P::CALLS.1, &error))
            }
            _ => Ok(()),
        }
    }

    /// Queues the ops that waited for a report or an answer. Performs no op, so no slot is reused
    /// while a report may still name it. A report may still be wrong: between fork and exec, a
    /// child process holds duplicates, which keep closed sources in an epoll instance. A wrong
    /// report costs one attempt.
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
                    let notifier = self.helpers.notifier().clone();
                    notifier.take_all(|| self.take_answer());
                }
                _ => self.report(event),
            }
        }
        self.events = events;
    }

    /// Takes the next answer of a helper; once there is none, those of the job thread. Returns
    /// whether there may be more.
    fn take_answer(&mut self) -> bool {
        match self.helpers.next_answer() {
            Some(answer) => {
                self.receive_answer(answer);
                true
            }
            None => {
                self.jobs.collect(&mut self.done);
                false
            }
        }
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

    /// A driver whose only op is a receive, and the name of that op.
    fn receiving() -> (Epoll, Handle<Sock>, OpId, UnixStream) {
        let mut driver = Epoll::open(&Limits::default()).unwrap();
        let (ours, peer) = UnixStream::pair().unwrap();
        let sock = driver.adopt(ours.into()).unwrap();
        let op = driver.submit(Token(1), Op::RecvMany { sock });
        (driver, sock.0, op, peer)
    }

    #[test]
    #[should_panic = "an op ends that is not in flight"]
    fn ending_an_op_that_is_not_in_flight_panics() {
        let mut driver = Epoll::open(&Limits::default()).unwrap();
        driver.done.finish(Token(1), Outcome::Closed);
    }

    #[test]
    #[should_panic = "is in `waits_for_buffer`, but does not wait for one"]
    fn a_wrong_entry_in_waits_for_buffer_panics() {
        let (mut driver, _, op, _peer) = receiving();
        driver.waits_for_buffer.push_back(op);
        wait(&mut driver);
    }

    #[test]
    #[should_panic = "is in `backoff`, but does not back off"]
    fn a_wrong_entry_in_backoff_panics() {
        let (mut driver, _, op, _peer) = receiving();
        driver.backoff.push((Instant::now(), op));
        wait(&mut driver);
    }

    #[test]
    #[should_panic = "WaitsForBuffer, was listed 0 times"]
    fn an_op_missing_from_its_queue_panics() {
        let (mut driver, handle, op, _peer) = receiving();
        let source = driver.sources.get_mut(handle).unwrap();
        source.read.op.get_mut().unwrap().stage = OpStage::WaitsForBuffer;
        driver.cancel(op);
    }
}

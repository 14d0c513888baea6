//! The parts of a wait: which ops take a step, and when.

use std::mem;

use super::network::Network;
use super::{OpPlace, Sim};

impl Sim {
    /// Gives the receives that wait for a buffer a step, before all other ops and while buffers are
    /// free. A receive without input leaves its buffer to the next.
    pub(super) fn revive(&mut self, network: &mut Network) {
        while self.pool.available() > 0 {
            let Some(op) = self.waits_for_buffer.pop_front() else { break };
            let place = self.ops.get(op).map(|pending| pending.place);
            assert!(
                place == Some(OpPlace::WaitsForBuffer),
                "{op:?} is in `waits_for_buffer`, but its place is {place:?}"
            );
            self.step(network, op);
        }
    }

    /// Schedules the blocked ops on sockets that peers have touched.
    pub(super) fn listen_to_peers(&mut self, network: &mut Network) {
        for sock in mem::take(&mut network.touched) {
            let Some(socket) = self.sockets.get(sock) else { continue };
            for op in [socket.read, socket.write].into_iter().flatten() {
                let pending = self.ops.get_mut(op).expect("a side names an op in flight");
                if pending.place == OpPlace::Blocked {
                    pending.place = OpPlace::Planned;
                    self.plan(op);
                }
            }
        }
    }

    /// Takes the steps that are due.
    pub(super) fn run(&mut self, network: &mut Network) {
        let now = self.clock.elapsed();
        while let Some(entry) = self.steps.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let op = entry.remove();
            let place = self.ops.get(op).map(|pending| (pending.place, pending.cancelled));
            // `revive` serves the receives that wait for a buffer, in order, unless cancelled.
            if place != Some((OpPlace::WaitsForBuffer, false)) {
                self.step(network, op);
            }
        }
    }
}

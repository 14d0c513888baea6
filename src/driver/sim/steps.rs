//! The parts of a wait: who takes a step, and when.

use std::mem;

use super::network::Network;
use super::{OpPlace, Sim};

impl Sim {
    /// Gives receives that found no buffer a step while there are buffers, and before everybody
    /// else. One that has nothing to receive leaves its buffer to the next.
    pub(super) fn revive(&mut self, network: &mut Network) {
        while self.pool.available() > 0 {
            let Some(op) = self.waits_for_buffer.pop_front() else { break };
            let place = self.ops.get(op).map(|pending| pending.place);
            assert!(
                place == Some(OpPlace::WaitsForBuffer),
                "{op:?} is in line for a buffer, but {place:?}"
            );
            self.step(network, op);
        }
    }

    /// What peers have done may be what ops wait for.
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
            // Who waits for a buffer is served in order, unless it does not want one any more.
            if place != Some((OpPlace::WaitsForBuffer, false)) {
                self.step(network, op);
            }
        }
    }
}

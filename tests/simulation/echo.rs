//! Worlds of echo, for any session that echoes: each client receives what it sent, and after an
//! orderly end all of it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::sim::{Dialer, Files, Sim};
use ringd::server::mailbox::Mailbox;
use ringd::session::Session;

use crate::client::{Client, Ending, Leaving};
use crate::security::{Bare, Message, Security, Shared};
use crate::world::{self, Conditions, Run, Scene};

struct EchoScene<P, S> {
    clients: Vec<Client>,
    security: P,
    handshake: Duration,
    session: PhantomData<S>,
}

pub(crate) fn run<S: Session<Shared = ()>>(seed: u64) -> Run {
    run_within::<Bare, S>(seed)
}

/// The same within a layer.
pub(crate) fn run_within<P: Security, S: Session<Shared = ()>>(seed: u64) -> Run {
    let mut random = Rng::with_seed(seed);
    let conditions = world::conditions(&mut random);
    let size_max = conditions.faults.piece_max.saturating_mul(100).min(500_000);
    let security = P::new(&mut random);
    let clients = (0..random.usize(1..20))
        .map(|_| world::dress(&security, &mut random, |random| client(random, size_max)))
        .collect();
    let handshake = conditions.handshake_timeout();
    let scene = EchoScene::<P, S> { clients, security, handshake, session: PhantomData };
    world::play(random, &conditions, scene, |_, _| {})
}

fn client(random: &mut Rng, size_max: usize) -> Client {
    let mut script = vec![0; random.usize(..size_max)];
    random.fill(&mut script);
    let some = random.usize(..=script.len());
    let leaving = match random.u8(..8) {
        0 => Leaving::ResetAfter(some),
        1 => Leaving::VanishAfter(some),
        2 => Leaving::Deaf,
        3..6 => Leaving::HalfClose,
        _ => Leaving::CloseWhenServed,
    };
    Client::new(random, script, leaving)
}

impl<P: Security, S: Session<Shared = ()>> Scene for EchoScene<P, S> {
    type Session = P::Session<S>;

    fn shared(
        &self,
        _: &mut Sim,
        _: &Arc<Mailbox<Message<P::Session<S>>>>,
    ) -> Shared<P::Session<S>> {
        self.security.shared::<S>((), self.handshake)
    }

    fn clients(&mut self) -> &mut Vec<Client> {
        &mut self.clients
    }

    fn act(&mut self, random: &mut Rng, client: usize, now: Duration, dialer: &Dialer) {
        let client = &mut self.clients[client];
        let length = client.script.len();
        client.act(random, now, dialer, |received| received.len() == length);
    }

    fn disturb(&mut self, _: &mut Rng, _: Duration, _: &Files) -> Duration {
        Duration::MAX
    }

    fn judge(&mut self, conditions: &Conditions, run: &mut Run) {
        for client in &self.clients {
            let sent = &client.script[..client.sent];
            assert!(sent.starts_with(&client.received), "the echo differs from what was sent");
            let all = client.received.len() == client.script.len();
            run.answers += u64::from(all);
            run.cut += u64::from(!all);
            let calm = conditions.faults.reset == 0 && conditions.patient;
            if client.is_kind() && calm && !conditions.early_drain {
                assert!(all, "not everything was echoed: {client:?}");
                assert!(matches!(client.ending, Some(Ending::Ended | Ending::Left)), "{client:?}");
                run.complete += 1;
            }
        }
    }
}

//! The clients of worlds of HTTP.

use fastrand::Rng;

use crate::client::{Client, Leaving};
use crate::requests::{Request, burst, conversation, flood};

/// What some of the clients do, besides all that clients usually do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crowd {
    Usual,
    /// They stop in the middle of a head or a body, and stay until the server ends the connection.
    Stalling,
    /// They read none of their answers, and stay as long.
    Stuck,
    /// They send many requests at once, and read nothing.
    Flooding,
}

/// A client of a crowd.
pub(crate) fn visitor(
    random: &mut Rng,
    crowd: Crowd,
    number: usize,
    names: &[&'static str],
) -> (Client, Vec<Request>) {
    match crowd {
        Crowd::Usual => usual(random, names),
        // Another half is usual, also if there is only one client.
        _ if random.bool() => usual(random, names),
        Crowd::Stalling => stalling(random, names),
        Crowd::Stuck => stuck(random, names),
        Crowd::Flooding if number < 3 => flooding(random, names),
        Crowd::Flooding => usual(random, names),
    }
}

fn usual(random: &mut Rng, names: &[&'static str]) -> (Client, Vec<Request>) {
    let requests = conversation(random, names);
    let script = script(&requests);
    let some = random.usize(..=script.len());
    let leaving = match random.u8(..12) {
        0 => Leaving::ResetAfter(some),
        1 => Leaving::VanishAfter(some),
        2 => Leaving::Deaf,
        3..6 => Leaving::HalfClose,
        6..9 => Leaving::Wait,
        _ => Leaving::CloseWhenServed,
    };
    (Client::new(random, script, leaving), requests)
}

fn stalling(random: &mut Rng, names: &[&'static str]) -> (Client, Vec<Request>) {
    let requests = conversation(random, names);
    let script = script(&requests);
    let some = random.usize(..script.len());
    (Client::new(random, script, Leaving::Stall(some)), requests)
}

/// The answers may be too long for the buffers of both sockets.
fn stuck(random: &mut Rng, names: &[&'static str]) -> (Client, Vec<Request>) {
    let name = names[random.usize(..names.len())];
    let requests = burst(random, name);
    (Client::new(random, script(&requests), Leaving::Stuck), requests)
}

fn flooding(random: &mut Rng, names: &[&'static str]) -> (Client, Vec<Request>) {
    let requests = flood(names[random.usize(..names.len())]);
    let leaving = if random.bool() { Leaving::Deaf } else { Leaving::Stuck };
    (Client::new(random, script(&requests), leaving), requests)
}

fn script(requests: &[Request]) -> Vec<u8> {
    requests.iter().flat_map(|request| request.wire.clone()).collect()
}

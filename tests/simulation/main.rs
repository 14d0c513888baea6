//! The production worker in simulated worlds: seeded clients, seeded faults, virtual time.
//!
//! A seed decides everything: the limits, the files, what each client sends and when, what goes
//! wrong. After each run nothing is in flight, every lease and file is returned, every connection
//! is closed, and every byte that a client received was allowed by an oracle, which shares no
//! code with the server.
//!
//! * `RINGD_TEST_SEEDS=10000 cargo test --release --test simulation` runs that many worlds of each
//!   sort, from a seed of the day unless `RINGD_TEST_SEED` says where to begin.
//! * A failure prints the one command that replays it.

mod answer;
mod client;
mod common;
mod connection;
mod crowd;
mod echo;
mod h2;
mod h2_talk;
mod h2_turns;
mod http;
mod jobs;
mod memory;
mod requests;
mod security;
#[path = "../common/sessions.rs"]
mod sessions;
mod site;
mod tables;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_layer;
mod wish;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use jobs::Scribe;
use ringd::echo::Echo;
use security::{Bare, InToy, InToyForHttp2};
use sessions::{Duplex, Late, ORDERS, Quartet, TAKEN_WHILE_SENDING};
use world::Run;

/// The number of worlds of each sort that run by default, always with the same seeds.
const SEEDS: u64 = 300;

/// Runs one sort of world on many seeds.
fn seeds(sort: &str, run: impl Fn(u64) -> Run) -> Run {
    let count = variable("RINGD_TEST_SEEDS");
    let first = variable("RINGD_TEST_SEED");
    let count = count.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let mut total = Run::default();
    for seed in first..first + count {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(run) => total.add(&run),
            Err(_) => panic!(
                "the world above failed; replay it with\n  \
                 RINGD_TEST_SEED={seed} cargo test --test simulation {sort}"
            ),
        }
    }
    println!("{count} worlds from seed {first}: {total:?}");
    if count >= SEEDS {
        total.assert_telling();
    }
    total
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

#[test]
fn http_worlds() {
    let total = seeds("http_worlds", http::run);
    let some = variable("RINGD_TEST_SEED").is_some();
    assert!(some || total.renewed > 0, "no answer is by later settings: {total:?}");
}

/// The server drains while clients stall in a head or a body, or do not read their answers.
#[test]
fn stalling_worlds() {
    let total = seeds("stalling_worlds", http::run_stalling);
    let some = variable("RINGD_TEST_SEED").is_some();
    assert!(some || (total.stalled > 0 && total.drained_late > 0), "{total:?}");
}

/// Clients pipeline much more than the server takes from one that does not read.
#[test]
fn flooding_worlds() {
    let total = seeds("flooding_worlds", http::run_flooding);
    let some = variable("RINGD_TEST_SEED").is_some();
    assert!(some || total.flooded > 0, "no client has filled an inbox: {total:?}");
}

#[test]
fn echo_worlds() {
    seeds("echo_worlds", echo::run::<Echo>);
}

#[test]
fn job_worlds() {
    seeds("job_worlds", echo::run::<Scribe>);
}

/// Four questions at once: over all worlds, the replies come in every possible order.
#[test]
fn question_worlds() {
    seeds("question_worlds", echo::run::<Quartet>);
    let orders = ORDERS.lock().unwrap().len();
    assert!(variable("RINGD_TEST_SEED").is_some() || orders == 24, "{orders} of 24 orders");
}

#[test]
fn duplex_worlds() {
    seeds("duplex_worlds", echo::run::<Duplex>);
    assert!(TAKEN_WHILE_SENDING.load(Ordering::Relaxed) > 0, "no input was taken during a send");
}

#[test]
fn deadline_worlds() {
    seeds("deadline_worlds", echo::run::<Late>);
}

/// The worlds of echo within a layer. Some clients do not finish their handshake, and an end
/// without the layer's end of output counts as broken.
#[test]
fn secured_echo_worlds() {
    seeds("secured_echo_worlds", echo::run_within::<InToy, Echo>);
}

#[test]
fn secured_duplex_worlds() {
    seeds("secured_duplex_worlds", echo::run_within::<InToy, Duplex>);
}

#[test]
fn secured_question_worlds() {
    seeds("secured_question_worlds", echo::run_within::<InToy, Quartet>);
}

#[test]
fn secured_deadline_worlds() {
    seeds("secured_deadline_worlds", echo::run_within::<InToy, Late>);
}

#[test]
fn secured_http_worlds() {
    seeds("secured_http_worlds", http::run_within::<InToy>);
}

/// HTTP/2 without a layer: the clients know beforehand that the server speaks it.
#[test]
fn http2_worlds() {
    let total = seeds("http2_worlds", h2::run::<Bare>);
    let some = variable("RINGD_TEST_SEED").is_some();
    assert!(some || (total.resets > 0 && total.renewed > 0), "{total:?}");
}

#[test]
fn secured_http2_worlds() {
    seeds("secured_http2_worlds", h2::run::<InToyForHttp2>);
}

#[cfg(feature = "tls")]
#[test]
fn tls_http2_worlds() {
    seeds("tls_http2_worlds", h2::run::<tls::InTlsForHttp2>);
}

#[cfg(feature = "tls")]
#[test]
fn tls_worlds() {
    seeds("tls_worlds", http::run_within::<tls::InTls>);
}

#[cfg(feature = "tls")]
#[test]
fn tls_echo_worlds() {
    seeds("tls_echo_worlds", echo::run_within::<tls::InTls, Duplex>);
}

#[test]
fn a_seed_replays() {
    for seed in 0..20 {
        for run in [http::run, http::run_stalling, http::run_flooding] {
            assert_eq!(run(seed), run(seed), "seed {seed}");
        }
        assert_eq!(echo::run::<Echo>(seed), echo::run::<Echo>(seed), "seed {seed}");
        assert_eq!(echo::run::<Scribe>(seed), echo::run::<Scribe>(seed), "seed {seed}");
        assert_eq!(h2::run::<Bare>(seed), h2::run::<Bare>(seed), "seed {seed}");
        let secured = http::run_within::<InToy>;
        assert_eq!(secured(seed), secured(seed), "seed {seed}");
        #[cfg(feature = "tls")]
        {
            let secured = http::run_within::<tls::InTls>;
            assert_eq!(secured(seed), secured(seed), "seed {seed}");
        }
    }
}

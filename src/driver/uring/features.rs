//! The features of io_uring that the driver needs, each tried on a ring of its own.
//!
//! Using the driver is the better test (`probe.rs`); this shows which feature is missing.

use std::io;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Timespec};
use io_uring::{Builder, IoUring, Parameters};

use super::super::pool::Pool;
use super::super::trial::{Need, TIME_MAX, Trial};
use super::buffers::BufferRing;
use super::ring::{FLAGS, Ring};

/// Whether io_uring exists at all; without it, no other feature can be tried.
pub const SETUP: Trial = Trial {
    id: "setup",
    title: "io_uring_setup",
    call: "io_uring_setup",
    since: (5, 1),
    need: Need::Uring,
    without: NO_URING,
    attempt: || small(|builder| builder).map(drop),
};

/// All features but [`SETUP`].
pub const TRIALS: [Trial; 16] = [
    flag::<0>(),
    flag::<1>(),
    flag::<2>(),
    flag::<3>(),
    flag::<4>(),
    setup("flag.cqsize", "flag CQSIZE", (5, 5), Need::Uring, || {
        small(|builder| builder.setup_cqsize(32)).map(drop)
    }),
    setup("flag.no_sqarray", "flag NO_SQARRAY", (6, 6), Need::Extra, || {
        small(Builder::setup_no_sqarray).map(drop)
    }),
    setup("flags", "all flags together", (6, 1), Need::Uring, || Ring::open(false).map(drop)),
    setup("feature.nodrop", "feature NODROP", (5, 5), Need::Uring, || {
        feature(Parameters::is_feature_nodrop)
    }),
    setup("feature.fast_poll", "feature FAST_POLL", (5, 7), Need::Uring, || {
        feature(Parameters::is_feature_fast_poll)
    }),
    setup("feature.ext_arg", "feature EXT_ARG", (5, 11), Need::Uring, || {
        feature(Parameters::is_feature_ext_arg)
    }),
    setup("feature.no_iowait", "feature NO_IOWAIT", (6, 15), Need::Extra, || {
        feature(Parameters::is_feature_no_iowait)
    }),
    Trial {
        id: "enter",
        title: "io_uring_enter with a timeout",
        call: "io_uring_enter",
        since: (5, 11),
        need: Need::Uring,
        without: NO_URING,
        attempt: wait_a_little,
    },
    Trial {
        id: "buffer_ring",
        title: "provided-buffer ring",
        call: "io_uring_register",
        since: (5, 19),
        need: Need::Uring,
        without: NO_URING,
        attempt: register_buffers,
    },
    Trial {
        id: "sync_cancel",
        title: "synchronous cancel",
        call: "io_uring_register",
        since: (6, 0),
        need: Need::Extra,
        without: "a worker may take a second longer to end",
        attempt: cancel_all,
    },
    Trial {
        id: "restrictions",
        title: "restricted ring",
        call: "io_uring_register",
        since: (5, 10),
        need: Need::Extra,
        without: "--sandbox takes epoll",
        attempt: restrict,
    },
];

const NO_URING: &str = "auto takes epoll, which serves the same";

/// A feature of `io_uring_setup(2)`.
const fn setup(
    id: &'static str,
    title: &'static str,
    since: (u32, u32),
    need: Need,
    attempt: fn() -> io::Result<()>,
) -> Trial {
    let without = match need {
        Need::Extra => "ringd is slightly slower",
        _ => NO_URING,
    };
    Trial { id, title, call: "io_uring_setup", since, need, without, attempt }
}

/// A flag of [`FLAGS`]: tried alone or, because some need others, with those before it.
const fn flag<const AT: usize>() -> Trial {
    let flag = &FLAGS[AT];
    setup(flag.id, flag.title, flag.since, Need::Uring, || {
        small(FLAGS[AT].set).or_else(|_| small(with_those_before::<AT>)).map(drop)
    })
}

fn with_those_before<const AT: usize>(builder: &mut Builder) -> &mut Builder {
    FLAGS[..=AT].iter().fold(builder, |builder, flag| (flag.set)(builder))
}

/// A ring with few entries.
fn small(set: impl FnOnce(&mut Builder) -> &mut Builder) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    set(&mut builder);
    builder.build(8)
}

fn feature(is_there: fn(&Parameters) -> bool) -> io::Result<()> {
    let there = is_there(small(|builder| builder)?.params());
    if there { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
}

fn wait_a_little() -> io::Result<()> {
    const WAIT: Duration = Duration::from_millis(2);
    let mut none = Vec::new();
    let mut ring = Ring::open(false)?;
    let begin = Instant::now();
    ring.enter(true, Some(WAIT), &mut none)?;
    // A signal may end the wait early.
    match begin.elapsed() < TIME_MAX / 2 && none.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other("the timeout does not work")),
    }
}

fn register_buffers() -> io::Result<()> {
    let ring = Ring::open(false)?;
    let buffers = BufferRing::register(&ring.submitter(), &Pool::new(4, 4096));
    // The ring is dropped before the buffers that are registered with it.
    drop(ring);
    buffers.map(drop)
}

fn cancel_all() -> io::Result<()> {
    let ring = Ring::open(false)?;
    let wait = Timespec::from(Duration::from_millis(10));
    match ring.submitter().register_sync_cancel(Some(wait), CancelBuilder::any()) {
        // There is nothing to cancel.
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Takes an op of the driver, and refuses another one.
fn restrict() -> io::Result<()> {
    let mut ring = Ring::open(true)?;
    ring.enable()?;
    match ring.takes_others()? {
        true => Err(io::Error::other("a restricted ring takes any op")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_driver_works_no_required_feature_is_missing() {
        if let Err(error) = Ring::open(false) {
            return println!("skipped: io_uring does not work here: {error}");
        }
        for trial in TRIALS.iter().filter(|trial| trial.need == Need::Uring) {
            trial.run().unwrap_or_else(|error| panic!("{}: {error}", trial.id));
        }
    }

    #[test]
    fn every_feature_has_its_own_id() {
        let mut names: Vec<_> = TRIALS.iter().map(|trial| trial.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TRIALS.len());
    }
}

//! The checks of limits of the process and the machine: descriptors, locked memory, backlog, open
//! files, CPUs.

use super::facts::{Fact, System};
use super::remedies::{DESCRIPTORS_WANTED, ROOT, bytes, more_descriptors, more_locked_memory};
use super::report::{Area, Check, CheckStatus, Remedy};
use crate::descriptors::{CONNECTIONS_DEFAULT, Descriptors};

/// The backlog that ringd requests for its listening sockets.
const BACKLOG_WANTED: u64 = 4096;

/// Locked memory for the ring of one worker at full size, with a margin.
const RING_BYTES: u64 = 128 * 1024;

/// More connections at a time than most servers have.
const CONNECTIONS_USUAL: u64 = 10_000;

/// All checks of limits.
pub(super) fn checks(system: &System) -> Vec<Check> {
    let workers = *system.cpus.as_ref().unwrap_or(&1) as u64;
    vec![
        descriptors(&system.nofile, workers),
        locked_memory(system, workers),
        backlog(&system.somaxconn),
        open_files(&system.file_max),
        cpus(&system.cpus),
    ]
}

fn descriptors(nofile: &Fact<(u64, u64)>, workers: u64) -> Check {
    check("nofile", "descriptors (nofile)", nofile, |(soft, hard), check| {
        let check = check(format!("soft limit {}, hard limit {}", count(*soft), count(*hard)));
        match Descriptors::left_by_default(*hard, workers) {
            0 => {
                let cause = format!(
                    "{workers} workers and their open files leave no descriptors for connections"
                );
                check.but(CheckStatus::Fatal, cause, more_descriptors())
            }
            left if left < CONNECTIONS_DEFAULT => {
                let cause = format!(
                    "they suffice for {left} connections; `ulimit -n {DESCRIPTORS_WANTED}` \
                     suffices for the default of {CONNECTIONS_DEFAULT} connections and the files \
                     that they keep open"
                );
                let status = match left < CONNECTIONS_USUAL {
                    true => CheckStatus::Shortcoming,
                    false => CheckStatus::Note,
                };
                check.but(status, cause, more_descriptors())
            }
            _ => check,
        }
    })
}

fn locked_memory(system: &System, workers: u64) -> Check {
    check("memlock", "locked memory (memlock)", &system.memlock, |(soft, _), check| {
        let check = check(bytes(*soft));
        let wanted = RING_BYTES * workers;
        if !system.locks_memory_for_rings() || *soft >= wanted {
            return check;
        }
        let cause = format!(
            "the rings of {workers} workers need up to {}; with less, their queues are made \
             smaller, and in the end auto takes epoll",
            bytes(wanted)
        );
        check.but(CheckStatus::Shortcoming, cause, more_locked_memory())
    })
}

fn backlog(somaxconn: &Fact<u64>) -> Check {
    check("somaxconn", "backlog (somaxconn)", somaxconn, |most, check| {
        let check = check(most.to_string());
        if *most >= BACKLOG_WANTED {
            return check;
        }
        let cause = format!(
            "ringd requests a backlog of {BACKLOG_WANTED}; with less, connections of a burst may \
             be dropped"
        );
        let place = "as root, in the network namespace of ringd";
        let line = format!("sysctl -w net.core.somaxconn={BACKLOG_WANTED}");
        check.but(CheckStatus::Shortcoming, cause, vec![Remedy::new(line, place)])
    })
}

fn open_files(file_max: &Fact<u64>) -> Check {
    check("file_max", "open files of the machine", file_max, |most, check| {
        let check = check(count(*most));
        if *most >= DESCRIPTORS_WANTED {
            return check;
        }
        let line = format!("sysctl -w fs.file-max={}", 4 * DESCRIPTORS_WANTED);
        let cause = "all processes of the machine share this number".to_owned();
        check.but(CheckStatus::Shortcoming, cause, vec![Remedy::new(line, ROOT)])
    })
}

fn cpus(cpus: &Fact<usize>) -> Check {
    check("cpus", "CPUs (default number of workers)", cpus, |cpus, check| check(cpus.to_string()))
}

/// Makes a check of a fact, or a note if the fact could not be read.
fn check<T>(
    id: &str,
    title: &str,
    fact: &Fact<T>,
    judge: impl FnOnce(&T, &dyn Fn(String) -> Check) -> Check,
) -> Check {
    let found = |found: String| Check::ok(Area::Limits, format!("limits.{id}"), title, found);
    match fact {
        Ok(value) => judge(value, &found),
        Err(reason) => found("unknown".into()).but(
            CheckStatus::Note,
            format!("could not be read: {reason}"),
            vec![],
        ),
    }
}

fn count(number: u64) -> String {
    if number >= i64::MAX as u64 { "unlimited".into() } else { number.to_string() }
}

//! Limits of the process and the machine: descriptors, locked memory, backlog, CPUs.

use super::facts::{Reading, System};
use super::remedies::{DESCRIPTORS_WANTED, ROOT, bytes, more_descriptors, more_locked_memory};
use super::report::{Area, Check, CheckStatus, Remedy};
use crate::descriptors::{CONNECTIONS_DEFAULT, Descriptors};

/// What ringd asks for when it listens.
const BACKLOG_WANTED: u64 = 4096;

/// Locked memory that a worker's ring of full size takes, with some room.
const RING_BYTES: u64 = 128 * 1024;

/// Judges all of them.
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

fn descriptors(nofile: &Reading<(u64, u64)>, workers: u64) -> Check {
    check("nofile", "descriptors (nofile)", nofile, |(soft, hard), check| {
        let check = check(format!("{}, {} at most", count(*soft), count(*hard)));
        match Descriptors::left_by_default(*hard, workers) {
            0 => {
                let cause = format!("{workers} workers and their files leave none for connections");
                check.but(CheckStatus::Fatal, cause, more_descriptors())
            }
            left if left < CONNECTIONS_DEFAULT => {
                let cause = format!(
                    "enough for {left} connections; ringd would take {CONNECTIONS_DEFAULT}"
                );
                check.but(CheckStatus::Shortcoming, cause, more_descriptors())
            }
            _ => check,
        }
    })
}

fn locked_memory(system: &System, workers: u64) -> Check {
    check("memlock", "locked memory (memlock)", &system.memlock, |(soft, _), check| {
        let check = check(bytes(*soft));
        let wanted = RING_BYTES * workers;
        if !system.pays_for_rings() || *soft >= wanted {
            return check;
        }
        let cause = format!(
            "the rings of {workers} workers take up to {}; with less, their queues shrink, and \
             at the end auto takes epoll",
            bytes(wanted)
        );
        check.but(CheckStatus::Shortcoming, cause, more_locked_memory())
    })
}

fn backlog(somaxconn: &Reading<u64>) -> Check {
    check("somaxconn", "backlog (somaxconn)", somaxconn, |most, check| {
        let check = check(most.to_string());
        if *most >= BACKLOG_WANTED {
            return check;
        }
        let cause = format!("ringd asks for {BACKLOG_WANTED}; a burst of connections may be lost");
        let place = "as root, in the network namespace of ringd";
        let line = format!("sysctl -w net.core.somaxconn={BACKLOG_WANTED}");
        check.but(CheckStatus::Shortcoming, cause, vec![Remedy::new(line, place)])
    })
}

fn open_files(file_max: &Reading<u64>) -> Check {
    check("file_max", "open files of the machine", file_max, |most, check| {
        let check = check(count(*most));
        if *most >= DESCRIPTORS_WANTED {
            return check;
        }
        let line = format!("sysctl -w fs.file-max={}", 4 * DESCRIPTORS_WANTED);
        let cause = "all processes share them".to_owned();
        check.but(CheckStatus::Shortcoming, cause, vec![Remedy::new(line, ROOT)])
    })
}

fn cpus(cpus: &Reading<usize>) -> Check {
    check("cpus", "CPUs, as many workers", cpus, |cpus, check| check(cpus.to_string()))
}

/// A check of something that may not have been readable.
fn check<T>(
    id: &str,
    title: &str,
    reading: &Reading<T>,
    judge: impl FnOnce(&T, &dyn Fn(String) -> Check) -> Check,
) -> Check {
    let found = |found: String| Check::ok(Area::Limits, format!("limits.{id}"), title, found);
    match reading {
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

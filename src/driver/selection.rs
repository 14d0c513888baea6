//! The choice of a driver.

use std::io;

use super::kind::DriverKind;
use super::probe;
use super::replaced;
use super::setup::code_of;

/// A driver, and why it was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriverSelection {
    /// The driver.
    pub kind: DriverKind,
    /// The reason, in a few words.
    pub why: String,
    /// Whether another driver may take its place.
    pub replaceable: bool,
    /// What the self-test has found that an operator should know: system calls that are denied, and
    /// what the driver does instead.
    pub notes: Vec<String>,
}

impl DriverSelection {
    /// Chooses a driver: the requested one, or the best one that works. The driver has passed a
    /// self-test, which takes tens of milliseconds.
    ///
    /// # Errors
    ///
    /// If the requested driver does not work here, if neither `uring` nor `epoll` does, or if
    /// descriptors have run out. The error names the system call that failed.
    pub fn make(wish: Option<DriverKind>) -> io::Result<Self> {
        Self::make_for(wish, false)
    }

    /// The same for a server in a sandbox, whose rings are `restricted`
    /// ([`Limits::restricted`](super::Limits::restricted)).
    ///
    /// # Errors
    ///
    /// As for [`DriverSelection::make`].
    pub fn make_for(wish: Option<DriverKind>, restricted: bool) -> io::Result<Self> {
        let chosen = match wish {
            Some(kind) => {
                probe::self_test(kind, restricted)?;
                Self::new(kind, "as asked", false)
            }
            None => {
                let best = Self::new(DriverKind::Uring, "io_uring passed its self-test", true);
                match probe::self_test(best.kind, restricted) {
                    Ok(()) => best,
                    Err(error) => best.tested_fall_back(error, restricted)?,
                }
            }
        };
        Ok(Self { notes: replaced::notes(), ..chosen })
    }

    /// The driver that [`DriverSelection::make`] tries first, untested: the test follows when the
    /// process has what it will run with.
    #[must_use]
    pub fn untested(wish: Option<DriverKind>) -> Self {
        Self::new(wish.unwrap_or(DriverKind::Uring), "", wish.is_none())
    }

    fn new(kind: DriverKind, why: impl Into<String>, replaceable: bool) -> Self {
        Self { kind, why: why.into(), replaceable, notes: Vec::new() }
    }

    /// The driver to use when the self-test of this one failed, which has passed its own.
    fn tested_fall_back(&self, error: io::Error, restricted: bool) -> io::Result<Self> {
        let Some(next) = self.fall_back(&error) else { return Err(error) };
        match probe::self_test(next.kind, restricted) {
            Ok(()) => Ok(next),
            Err(second) => {
                let both = format!("{error}; nor does {}: {second}", next.kind);
                Err(io::Error::new(second.kind(), both))
            }
        }
    }

    /// The driver to use when this one fails with `error`. `None` if this one was requested, if it
    /// is the last one, or if descriptors have run out: then no driver works.
    pub fn fall_back(&self, error: &io::Error) -> Option<Self> {
        if !self.replaceable || matches!(code_of(error), Some(libc::EMFILE | libc::ENFILE)) {
            return None;
        }
        let notes = self.notes.clone();
        Some(Self { notes, ..Self::new(DriverKind::Epoll, error.to_string(), false) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::setup::step_failed;

    fn selection(replaceable: bool) -> DriverSelection {
        DriverSelection::new(DriverKind::Uring, "", replaceable)
    }

    #[test]
    fn a_requested_driver_is_never_replaced() {
        let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(selection(false).fall_back(&error), None);
    }

    #[test]
    fn a_fallback_says_which_step_failed_and_why() {
        let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(libc::EPERM));
        let fallback = selection(true).fall_back(&error).unwrap();
        assert_eq!(fallback.kind, DriverKind::Epoll);
        assert_eq!(
            fallback.why,
            "io_uring_setup: EPERM; blocked by seccomp or kernel.io_uring_disabled, \
             see ringd doctor"
        );
    }

    #[test]
    fn running_out_of_descriptors_causes_no_fallback() {
        for code in [libc::EMFILE, libc::ENFILE] {
            let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(code));
            assert_eq!(selection(true).fall_back(&error), None);
        }
    }
}

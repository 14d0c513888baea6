//! The choice of a driver.

use std::io;

use super::kind::DriverKind;
use super::probe;
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
}

impl DriverSelection {
    /// Chooses a driver: the requested one, or the best one that works.
    ///
    /// # Errors
    ///
    /// If the requested driver does not work here, or if descriptors have run out.
    pub fn make(wish: Option<DriverKind>) -> io::Result<Self> {
        match wish {
            Some(kind) => {
                if kind == DriverKind::Uring {
                    probe::self_test(kind)?;
                }
                Ok(Self { kind, why: "as asked".into(), replaceable: false })
            }
            None => {
                let why = "io_uring passed its self-test".into();
                let best = Self { kind: DriverKind::Uring, why, replaceable: true };
                match probe::self_test(best.kind) {
                    Ok(()) => Ok(best),
                    Err(error) => match best.fall_back(&error) {
                        Some(selection) => Ok(selection),
                        None => Err(error),
                    },
                }
            }
        }
    }

    /// The driver to use when this one fails with `error`. `None` if this one was requested, if it
    /// is the last one, or if descriptors have run out: then no driver works.
    pub fn fall_back(&self, error: &io::Error) -> Option<Self> {
        if !self.replaceable || matches!(code_of(error), Some(libc::EMFILE | libc::ENFILE)) {
            return None;
        }
        Some(Self { kind: DriverKind::Epoll, why: error.to_string(), replaceable: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::setup::step_failed;

    fn selection(replaceable: bool) -> DriverSelection {
        DriverSelection { kind: DriverKind::Uring, why: String::new(), replaceable }
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

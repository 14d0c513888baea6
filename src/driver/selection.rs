//! Which driver to take.

use std::io;

use super::kind::DriverKind;
use super::probe;
use super::setup::code_of;

/// A driver, and why it is this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriverSelection {
    /// The driver.
    pub kind: DriverKind,
    /// Why, in a few words.
    pub why: String,
    /// Whether another driver may take its place.
    pub replaceable: bool,
}

impl DriverSelection {
    /// Chooses a driver: the one that is asked for, or the best that works.
    ///
    /// # Errors
    ///
    /// When the driver that is asked for does not work here.
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

    /// What to take instead when this driver fails with `error`; `None` when it was asked for,
    /// when it is the last one, or when the error is not the driver's: without descriptors
    /// nothing works.
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
    fn a_driver_that_was_asked_for_is_never_replaced() {
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
    fn short_descriptors_are_an_error_and_no_reason_to_fall_back() {
        for code in [libc::EMFILE, libc::ENFILE] {
            let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(code));
            assert_eq!(selection(true).fall_back(&error), None);
        }
    }
}

//! Finds out who denies a call on a socket, instead of guessing it from the error number.
//!
//! `EPERM` and `EACCES` have several causes: the kernel's own checks, a security module, a BPF
//! program of the control group, and a seccomp filter, which may return any other number as well. A
//! filter runs before the kernel looks at the arguments. So the call is repeated with an argument
//! that the kernel refuses with another error before all other checks: if the error is the same
//! again, a filter has denied the call.

use std::fs::File;
use std::io;

use socket2::{Domain, SockRef, Socket, Type};

/// Who denied a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Denial {
    /// A seccomp filter.
    Filter,
    /// A security module, or a BPF program of the control group.
    Policy,
}

impl Denial {
    /// Finds out who denied `call`, which has failed with `error` on a socket; `None` if the error
    /// is no denial.
    pub(crate) fn of(
        error: &io::Error,
        call: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Option<Self> {
        // The kernel returns ENOTSOCK for a descriptor that is no socket. Without the file, it is
        // not known whether there is a filter.
        let again = File::open("/dev/null").and_then(|file| call(&SockRef::from(&file)));
        Self::judge(error, again)
    }

    /// Finds out who denied the creation of a socket, which has failed with `error`.
    pub(crate) fn of_socket(error: &io::Error, domain: Domain) -> Option<Self> {
        // The kernel has no such type, and returns EINVAL.
        let again = Socket::new_raw(domain, Type::from(15), None);
        Self::judge(error, again.map(drop))
    }

    fn judge(error: &io::Error, again: io::Result<()>) -> Option<Self> {
        let again = again.err().and_then(|error| error.raw_os_error());
        match error.raw_os_error() {
            // No filter, but the same error: the family is checked before the type.
            Some(libc::EAFNOSUPPORT) | None => None,
            code if code == again => Some(Self::Filter),
            Some(libc::EPERM | libc::EACCES) => Some(Self::Policy),
            Some(_) => None,
        }
    }

    /// The cause and the remedy.
    pub(crate) fn explain(self) -> &'static str {
        match self {
            Self::Filter => {
                "a seccomp filter denies the call; allow it in the profile of the container \
                 (`--security-opt seccomp=profile.json`) or in the SystemCallFilter of the unit"
            }
            Self::Policy => {
                "a security module or a BPF program denies the call; look for the rule with \
                 `journalctl -k --grep 'avc|apparmor'`, and at SocketBindDeny and IPAddressDeny of \
                 the unit"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_denies_shows_when_the_call_is_repeated() {
        let code = io::Error::from_raw_os_error;
        for (first, again, denial) in [
            (libc::EPERM, libc::EPERM, Some(Denial::Filter)),
            (libc::ENOSYS, libc::ENOSYS, Some(Denial::Filter)),
            (libc::EPERM, libc::ENOTSOCK, Some(Denial::Policy)),
            (libc::EACCES, libc::EINVAL, Some(Denial::Policy)),
            (libc::EADDRINUSE, libc::ENOTSOCK, None),
            (libc::EAFNOSUPPORT, libc::EAFNOSUPPORT, None),
        ] {
            assert_eq!(Denial::judge(&code(first), Err(code(again))), denial, "{first} {again}");
        }
    }

    /// Without a filter, the kernel names the argument that it was given on purpose.
    #[test]
    fn a_call_that_nobody_denies_is_not_denied() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let denial = Denial::of(&error, |socket| socket.set_reuse_address(true));
        assert_eq!(denial, Some(Denial::Policy));
        assert_eq!(Denial::of_socket(&error, Domain::IPV4), Some(Denial::Policy));
    }
}

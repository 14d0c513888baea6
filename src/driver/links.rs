//! Which symbolic links are followed beneath a root.

use rustix::fs::ResolveFlags;

/// What a root directory says of the symbolic links on the way to what is opened beneath it
/// (`openat2(2)`). The magic links of `proc(5)` are followed in no case.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Links {
    /// Those that stay beneath the root are followed; the others, and absolute ones, fail with
    /// `EXDEV` (`RESOLVE_BENEATH`).
    #[default]
    Beneath,
    /// None is followed: each fails with `ELOOP` (`RESOLVE_NO_SYMLINKS`). Nothing leaves the root.
    Never,
    /// All are followed, wherever they lead. Who sets the links decides what can be reached. The
    /// path may be absolute, and then begins at `/`; that is how such a root is opened anew.
    Follow,
}

impl Links {
    /// The flags of `struct open_how`.
    pub(super) fn resolve(self) -> ResolveFlags {
        ResolveFlags::NO_MAGICLINKS
            | match self {
                Self::Beneath => ResolveFlags::BENEATH,
                Self::Never => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                Self::Follow => ResolveFlags::empty(),
            }
    }
}

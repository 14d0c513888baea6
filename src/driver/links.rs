//! Which symbolic links are followed beneath a root.

use rustix::fs::ResolveFlags;

/// How the symbolic links in a path beneath a root directory are treated (`openat2(2)`). Magic
/// links (`proc(5)`) are never followed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Links {
    /// Links that stay beneath the root are followed; all others, and absolute ones, fail with
    /// `EXDEV` (`RESOLVE_BENEATH`).
    #[default]
    Beneath,
    /// No link is followed: each fails with `ELOOP` (`RESOLVE_NO_SYMLINKS`). No path leaves the
    /// root.
    Never,
    /// All links are followed, wherever they lead, so those who create links decide what can be
    /// reached. The path may be absolute, and then starts at `/`; such a root is opened again in
    /// this way.
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

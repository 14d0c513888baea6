//! The entries of a directory.

/// The entries of a directory; see [`File::entries`](super::File::entries).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Entries {
    /// The entries, without `.` and `..`, in the order of the file system.
    pub entries: Vec<Entry>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// The name: any bytes but `/` and zero; at most 255 on the file systems of Linux.
    pub name: Vec<u8>,
    /// The kind, according to the directory.
    pub kind: EntryKind,
}

/// The kind of an [`Entry`], `d_type` of `readdir(3)`. A link is not followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// FIFO, socket, device.
    Other,
    /// The file system does not tell; [`File::describe`](super::File::describe) does.
    Unknown,
}

//! How many sockets and threads there may be.

/// Sockets that one driver takes, whatever
/// [`Limits::sockets_max`](crate::driver::Limits::sockets_max) says. Each may need two threads.
pub const SOCKETS_MAX: u32 = 2048;

/// Threads of one driver that open and read files.
pub const FILE_THREADS: u32 = 8;

/// Threads of one driver: two for each socket, and those for files.
pub const THREADS_MAX: u32 = 2 * SOCKETS_MAX + FILE_THREADS;

/// Threads of all drivers of the process, if it may have memory maps enough: each takes four, and
/// all of them together a quarter of `vm.max_map_count` at most.
pub const PROCESS_THREADS_MAX: u32 = 2 * THREADS_MAX;

//! Limits of sockets and threads.

/// Sockets of one driver, even if [`Limits::sockets_max`](crate::driver::Limits::sockets_max) is
/// higher. Each may need two threads.
pub const SOCKETS_MAX: u32 = 2048;

/// Threads of one driver that open and read files.
pub const FILE_THREADS: u32 = 8;

/// Threads of one driver: two per socket, and those for files.
pub const THREADS_MAX: u32 = 2 * SOCKETS_MAX + FILE_THREADS;

/// Threads of all drivers of the process. Fewer if memory maps are short: each thread uses four,
/// and all threads together at most a quarter of `vm.max_map_count`.
pub const PROCESS_THREADS_MAX: u32 = 2 * THREADS_MAX;

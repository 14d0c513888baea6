//! What the kernel says of this process and of its threads.

use std::time::Duration;

use procfs::ProcResult;
use procfs::process::{LimitValue, Process};

/// The state of the process.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct ProcessStatus {
    /// CPU time in user and kernel mode.
    pub(super) cpu: Duration,
    /// Bytes.
    pub(super) resident: u64,
    /// Bytes.
    pub(super) virtual_memory: u64,
    pub(super) open_files: u64,
    /// The soft limit; `u64::MAX` for none.
    pub(super) files_max: u64,
    pub(super) threads: u64,
}

impl ProcessStatus {
    /// The state at this moment; `None` if the kernel does not tell, as without `/proc`.
    pub(super) fn read() -> Option<Self> {
        let read = || -> ProcResult<Self> {
            let process = Process::myself()?;
            let stat = process.stat()?;
            let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            Ok(Self {
                cpu: Duration::from_secs_f64(ticks),
                resident: stat.rss * procfs::page_size(),
                virtual_memory: stat.vsize,
                open_files: process.fd_count()? as u64,
                files_max: match process.limits()?.max_open_files.soft_limit {
                    LimitValue::Value(value) => value,
                    LimitValue::Unlimited => u64::MAX,
                },
                threads: u64::try_from(stat.num_threads).unwrap_or(0),
            })
        };
        read().ok()
    }
}

/// The CPU time of a thread of this process. It is read here rather than measured by the thread,
/// because two more looks at the clock per turn would cost more than all other counters together.
pub(super) fn cpu_of_thread(id: u32) -> Option<Duration> {
    let task = Process::myself().ok()?.task_from_tid(i32::try_from(id).ok()?).ok()?;
    Some(Duration::from_nanos(task.schedstat().ok()?.sum_exec_runtime))
}

/// The name of the machine.
pub(super) fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The release of the kernel, such as `6.12.9`.
pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let status = ProcessStatus::read().expect("there is /proc");
        assert!(status.resident > 100_000 && status.virtual_memory >= status.resident);
        assert!(status.open_files >= 3 && status.files_max >= status.open_files);
        assert!(status.threads >= 1);
        let id = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let before = cpu_of_thread(id).expect("this thread runs");
        let mut spin = 0_u64;
        while cpu_of_thread(id).unwrap() < before + Duration::from_millis(5) {
            spin = std::hint::black_box(spin + 1);
        }
        assert_eq!(cpu_of_thread(u32::MAX), None);
        assert!(!kernel().is_empty());
    }
}

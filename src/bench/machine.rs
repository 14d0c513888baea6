//! The machine on which a report was measured, and reasons to doubt the measurements.

use std::fs;

use rustix::thread::sched_getaffinity;
use serde::Serialize;

/// A load average above this at the start of a run is reported, because other work disturbs the
/// measurements.
const LOAD_MAX: f64 = 0.5;

/// A description of the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The model of the CPU.
    pub cpu: String,
    /// The numbers of the cores that this process may use.
    pub cores: Vec<usize>,
    /// The frequency governor of the first of these cores (`cpufreq`).
    pub governor: Option<String>,
    /// The release of the kernel.
    pub kernel: String,
    /// The load average of the last minute, at the start of the run.
    pub load: Option<f64>,
    /// The version of ringd.
    pub ringd: &'static str,
}

impl Machine {
    /// Reads the description from `/proc` and `/sys`.
    pub fn read() -> Self {
        let line = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let unknown = || "unknown".to_owned();
        let cores = cores();
        let first = cores.first().copied().unwrap_or_default();
        let governor = format!("/sys/devices/system/cpu/cpu{first}/cpufreq/scaling_governor");
        Self {
            cpu: line("/proc/cpuinfo").as_deref().and_then(cpu_model).unwrap_or_else(unknown),
            cores,
            governor: line(&governor),
            kernel: line("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            load: line("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            ringd: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The description in one line.
    pub fn describe(&self) -> String {
        let Self { cpu, cores, kernel, ringd, .. } = self;
        let governor = self.governor.as_deref().map_or_else(String::new, |it| format!(", {it}"));
        let plural = if cores.len() == 1 { "" } else { "s" };
        format!("{cpu}, {} core{plural}{governor}, Linux {kernel}; ringd {ringd}", cores.len())
    }

    /// Reasons to doubt measurements on this machine, each with advice.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.cores.len() < 2 {
            doubts.push(
                "server and client share one core, so rates and latencies depend on both; \
                 compare only CPU times"
                    .to_owned(),
            );
        }
        if let Some(load) = self.load.filter(|load| *load > LOAD_MAX) {
            doubts.push(format!(
                "other work was running on this machine at the start (load average {load}); it \
                 affects CPU times less than rates and latencies"
            ));
        }
        if cfg!(debug_assertions) {
            doubts.push(
                "this is a debug build, which is slower; use `cargo run --release -- bench`"
                    .to_owned(),
            );
        }
        doubts
    }
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// The model of the CPU; `None` on architectures whose `/proc/cpuinfo` has another format.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_the_cores_are_read() {
        let machine = Machine::read();
        assert!(!machine.cores.is_empty());
        assert!(machine.describe().contains("Linux "), "{}", machine.describe());
    }

    #[test]
    fn one_core_and_other_work_are_reasons_to_doubt() {
        let machine = Machine { cores: vec![3], load: Some(4.0), ..Machine::read() };
        let doubts = machine.doubts().join("\n");
        assert!(doubts.contains("share one core") && doubts.contains("load average 4"), "{doubts}");
    }

    #[test]
    fn the_cpu_model_is_found() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast CPU @ 3GHz\nmodel name\t: other\n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("Fast CPU @ 3GHz"));
        assert_eq!(cpu_model("processor\t: 0"), None);
    }
}

//! What the figures were taken on: without it, they say nothing.

use std::fs;

use rustix::thread::sched_getaffinity;
use serde::Serialize;

/// More than this is running besides, on average, when a run begins: the figures will suffer.
const LOAD_MAX: f64 = 0.5;

/// The machine, as far as it says what it is.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The model of its CPU.
    pub cpu: String,
    /// The cores that this process may use, by number.
    pub cores: Vec<usize>,
    /// What decides the clock of the first of these (`cpufreq`).
    pub governor: Option<String>,
    /// The release of its kernel.
    pub kernel: String,
    /// Processes that ran or wanted to, on average over the last minute, before the run.
    pub load: Option<f64>,
    /// The version of ringd.
    pub ringd: &'static str,
}

impl Machine {
    /// Looks at it.
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

    /// The machine in one line.
    pub fn describe(&self) -> String {
        let Self { cpu, cores, kernel, ringd, .. } = self;
        let governor = self.governor.as_deref().map_or_else(String::new, |it| format!(", {it}"));
        let plural = if cores.len() == 1 { "" } else { "s" };
        format!("{cpu}, {} core{plural}{governor}, Linux {kernel}; ringd {ringd}", cores.len())
    }

    /// What makes figures of this machine doubtful, in words.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.cores.len() < 2 {
            doubts.push(
                "server and client share one core: rates and latencies are those of both together"
                    .to_owned(),
            );
        }
        if let Some(load) = self.load.filter(|load| *load > LOAD_MAX) {
            doubts.push(format!(
                "other work was running on this machine when this began (load {load}): \
                 prefer CPU times to rates and latencies"
            ));
        }
        if cfg!(debug_assertions) {
            doubts.push("this is a debug build: use `cargo run --release -- bench`".to_owned());
        }
        doubts
    }
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// The name of the CPU; not every architecture tells it in this way.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_kernel_and_cores() {
        let machine = Machine::read();
        assert!(!machine.cores.is_empty());
        assert!(machine.describe().contains("Linux "), "{}", machine.describe());
    }

    #[test]
    fn doubts_are_told() {
        let machine = Machine { cores: vec![3], load: Some(4.0), ..Machine::read() };
        let doubts = machine.doubts().join("\n");
        assert!(doubts.contains("share one core") && doubts.contains("load 4"), "{doubts}");
    }

    #[test]
    fn the_model_is_found() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast CPU @ 3GHz\nmodel name\t: other\n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("Fast CPU @ 3GHz"));
        assert_eq!(cpu_model("processor\t: 0"), None);
    }
}

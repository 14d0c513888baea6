//! The statistics of trials: medians, spreads, and comparisons of two servers.
//!
//! Other work on the machine disturbs every trial, so each value is the median over the rounds. Two
//! servers are compared within each round, where their trials follow each other directly. If the
//! rounds do not agree on which server is better, or if the servers differ by less than 2 %, the
//! result is a tie.

use serde::Serialize;

/// Ratios that differ from 1 by less than this are a tie, even if all rounds agree.
const TIE: f64 = 0.02;

/// A thread that uses at least this share of a core counts as fully busy.
const SATURATED: f64 = 0.95;

/// The measurements of one trial: one server in one cell in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BenchTrial {
    /// Answers per second.
    pub requests_per_second: f64,
    /// CPU time of the server per answer, in microseconds; `None` if it cannot be read.
    pub cpu_microseconds: Option<f64>,
    /// CPU time of the server as a share of one core; `None` if it cannot be read.
    pub server_busy: Option<f64>,
    /// CPU time of the client as a share of one core.
    pub client_busy: f64,
    /// Median latency, in microseconds.
    pub p50_microseconds: f64,
    /// 99th percentile of the latency, in microseconds.
    pub p99_microseconds: f64,
    /// 99.9th percentile of the latency, in microseconds.
    pub p999_microseconds: f64,
    /// System calls of the server per answer; `None` if it does not count them.
    pub system_calls: Option<f64>,
    /// Submissions to io_uring per answer; `None` if the server does not count them.
    pub submissions: Option<f64>,
}

/// The statistics of one server in one cell over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct BenchStats {
    /// The median of each measurement.
    pub median: BenchTrial,
    /// The measurements of each round.
    pub rounds: Vec<BenchTrial>,
    /// Whether the client was fully busy and the server was not, so the client limits the rate.
    pub client_bound: bool,
}

/// How a server compares with the first one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The cost of this server divided by the cost of the first one: the median over the rounds.
    pub ratio: f64,
    /// The smallest and the largest ratio of a round.
    pub range: (f64, f64),
    /// Whether the rounds do not agree, or the difference is less than 2 %.
    pub tie: bool,
}

impl BenchStats {
    /// Makes the statistics of the rounds, of which there must be at least one.
    pub fn new(rounds: Vec<BenchTrial>) -> Self {
        let of = |value: fn(&BenchTrial) -> f64| median(rounds.iter().map(value).collect());
        let maybe = |value: fn(&BenchTrial) -> Option<f64>| {
            let all: Option<Vec<f64>> = rounds.iter().map(value).collect();
            all.map(median)
        };
        let median = BenchTrial {
            requests_per_second: of(|trial| trial.requests_per_second),
            cpu_microseconds: maybe(|trial| trial.cpu_microseconds),
            server_busy: maybe(|trial| trial.server_busy),
            client_busy: of(|trial| trial.client_busy),
            p50_microseconds: of(|trial| trial.p50_microseconds),
            p99_microseconds: of(|trial| trial.p99_microseconds),
            p999_microseconds: of(|trial| trial.p999_microseconds),
            system_calls: maybe(|trial| trial.system_calls),
            submissions: maybe(|trial| trial.submissions),
        };
        let server_idles = median.server_busy.is_some_and(|busy| busy < SATURATED);
        let client_bound = median.client_busy >= SATURATED && server_idles;
        Self { median, rounds, client_bound }
    }

    /// Half of the difference between the largest and the smallest CPU time of a round, relative to
    /// the median; `None` if the CPU time is not known.
    pub fn spread(&self) -> Option<f64> {
        let all: Option<Vec<f64>> =
            self.rounds.iter().map(|trial| trial.cpu_microseconds).collect();
        let (low, high) = bounds(&all?)?;
        Some((high - low) / 2.0 / self.median.cpu_microseconds?)
    }

    /// Compares this server with the first one by CPU time, or by rate if one CPU time is not
    /// known.
    pub fn against(&self, first: &Self) -> Comparison {
        let pairs = || self.rounds.iter().zip(&first.rounds);
        let cpu: Option<Vec<f64>> = pairs()
            .map(|(own, first)| Some(own.cpu_microseconds? / first.cpu_microseconds?))
            .collect();
        let time = || {
            let ratio = |(own, first): (&BenchTrial, &BenchTrial)| {
                first.requests_per_second / own.requests_per_second
            };
            pairs().map(ratio).collect()
        };
        compare(cpu.unwrap_or_else(time))
    }
}

fn compare(ratios: Vec<f64>) -> Comparison {
    let range = bounds(&ratios).unwrap_or((1.0, 1.0));
    let ratio = median(ratios);
    let tie = (range.0 <= 1.0 && range.1 >= 1.0) || (ratio - 1.0).abs() < TIE;
    Comparison { ratio, range, tie }
}

fn bounds(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    Some((low, high))
}

/// The median; 0 if there are no values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        even if even.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(cpu: Option<f64>, rate: f64) -> BenchTrial {
        BenchTrial {
            requests_per_second: rate,
            cpu_microseconds: cpu,
            server_busy: cpu.map(|_| 0.5),
            client_busy: 0.99,
            p50_microseconds: 1.0,
            p99_microseconds: 2.0,
            p999_microseconds: 3.0,
            system_calls: None,
            submissions: None,
        }
    }

    fn stats(cpu: &[f64]) -> BenchStats {
        BenchStats::new(cpu.iter().map(|cpu| trial(Some(*cpu), 1000.0)).collect())
    }

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        for (values, middle) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![4.0, 1.0], 2.5),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![1.0, 100.0, 2.0, 3.0], 2.5),
        ] {
            assert!((median(values.clone()) - middle).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn rounds_that_disagree_are_a_tie() {
        let first = stats(&[10.0, 20.0, 30.0]);
        let worse = stats(&[12.0, 24.0, 33.0]).against(&first);
        assert!(!worse.tie && (worse.ratio - 1.2).abs() < 1e-9, "{worse:?}");
        assert!((worse.range.0 - 1.1).abs() < 1e-9 && (worse.range.1 - 1.2).abs() < 1e-9);
        assert!(stats(&[12.0, 19.0, 40.0]).against(&first).tie);
        // All rounds agree, but the difference is below the threshold.
        assert!(stats(&[10.1, 20.2, 30.3]).against(&first).tie);
        assert!(!stats(&[8.0, 15.0, 20.0]).against(&first).tie);
        assert!(first.against(&first).tie);
    }

    #[test]
    fn without_cpu_time_the_rates_are_compared() {
        let first = BenchStats::new(vec![trial(Some(1.0), 1000.0), trial(Some(1.0), 2000.0)]);
        let other = BenchStats::new(vec![trial(None, 500.0), trial(None, 1000.0)]);
        let comparison = other.against(&first);
        assert!(!comparison.tie && (comparison.ratio - 2.0).abs() < 1e-9, "{comparison:?}");
        assert_eq!(other.spread(), None);
        assert_eq!(other.median.cpu_microseconds, None);
    }

    #[test]
    fn a_client_that_limits_the_rate_is_detected() {
        assert!(stats(&[1.0]).client_bound);
        let busy = BenchTrial { server_busy: Some(0.99), ..trial(Some(1.0), 1.0) };
        assert!(!BenchStats::new(vec![busy]).client_bound);
        assert!(
            !BenchStats::new(vec![trial(None, 1.0)]).client_bound,
            "the server's load is not known"
        );
    }

    #[test]
    fn the_spread_is_half_of_the_range() {
        assert!((stats(&[9.0, 10.0, 12.0]).spread().unwrap() - 0.15).abs() < 1e-9);
        assert!(stats(&[9.0]).spread().unwrap() < 1e-9);
    }
}

//! From trials to figures: the middle, the spread, and whether a difference is one.
//!
//! The machine is never quiet, so nothing is said by one trial. A figure is the median over the
//! rounds. Two servers are compared within each round, where they ran one after the other, and
//! the ratios of all rounds must agree on who is better; else it is a tie.

use serde::Serialize;

/// Ratios nearer to 1 than this are a tie, however well the rounds agree.
const TIE: f64 = 0.02;

/// The share of a core from which on it is taken to be busy all the time.
const SATURATED: f64 = 0.95;

/// One server in one cell in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BenchTrial {
    /// Answers in a second.
    pub requests_per_second: f64,
    /// CPU time of the server for each answer, in microseconds.
    pub cpu_microseconds: Option<f64>,
    /// The share of one core that the server took.
    pub server_busy: Option<f64>,
    /// The share of one core that the client took.
    pub client_busy: f64,
    /// Half of all answers took no longer, in microseconds.
    pub p50_microseconds: f64,
    /// 99 of a hundred took no longer.
    pub p99_microseconds: f64,
    /// 999 of a thousand took no longer.
    pub p999_microseconds: f64,
    /// System calls of the server for each answer.
    pub system_calls: Option<f64>,
    /// Submissions to io_uring for each answer.
    pub submissions: Option<f64>,
}

/// The same over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// The median of each figure.
    pub median: BenchTrial,
    /// Each round by itself.
    pub rounds: Vec<BenchTrial>,
    /// Whether the client was at its limit and the server was not: then the rate is the
    /// client's.
    pub client_bound: bool,
}

/// How a server compares with the first one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// What it needs, in multiples of what the first one needs: the median over the rounds.
    pub ratio: f64,
    /// The smallest ratio of a round, and the largest.
    pub range: (f64, f64),
    /// Whether the rounds do not agree that there is a difference.
    pub tie: bool,
}

impl Figures {
    /// Puts rounds together; there is at least one.
    pub fn new(rounds: Vec<BenchTrial>) -> Self {
        let of = |figure: fn(&BenchTrial) -> f64| median(rounds.iter().map(figure).collect());
        let maybe = |figure: fn(&BenchTrial) -> Option<f64>| {
            let all: Option<Vec<f64>> = rounds.iter().map(figure).collect();
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
        let server_rests = median.server_busy.is_some_and(|busy| busy < SATURATED);
        let client_bound = median.client_busy >= SATURATED && server_rests;
        Self { median, rounds, client_bound }
    }

    /// Half of the distance between the smallest and the largest CPU time of a round, as a share
    /// of the median.
    pub fn spread(&self) -> Option<f64> {
        let all: Option<Vec<f64>> =
            self.rounds.iter().map(|trial| trial.cpu_microseconds).collect();
        let (low, high) = bounds(&all?)?;
        Some((high - low) / 2.0 / self.median.cpu_microseconds?)
    }

    /// Compares with the first server, by CPU time; by time where that is not known of both.
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

/// The one in the middle, or the mean of the two that are; nothing has the median 0.
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

    fn figures(cpu: &[f64]) -> Figures {
        Figures::new(cpu.iter().map(|cpu| trial(Some(*cpu), 1000.0)).collect())
    }

    #[test]
    fn the_median_is_in_the_middle() {
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
        let first = figures(&[10.0, 20.0, 30.0]);
        let worse = figures(&[12.0, 24.0, 33.0]).against(&first);
        assert!(!worse.tie && (worse.ratio - 1.2).abs() < 1e-9, "{worse:?}");
        assert!((worse.range.0 - 1.1).abs() < 1e-9 && (worse.range.1 - 1.2).abs() < 1e-9);
        assert!(figures(&[12.0, 19.0, 40.0]).against(&first).tie);
        // They agree, on next to nothing.
        assert!(figures(&[10.1, 20.2, 30.3]).against(&first).tie);
        assert!(!figures(&[8.0, 15.0, 20.0]).against(&first).tie);
        assert!(first.against(&first).tie);
    }

    #[test]
    fn without_cpu_time_the_rates_are_compared() {
        let first = Figures::new(vec![trial(Some(1.0), 1000.0), trial(Some(1.0), 2000.0)]);
        let other = Figures::new(vec![trial(None, 500.0), trial(None, 1000.0)]);
        let comparison = other.against(&first);
        assert!(!comparison.tie && (comparison.ratio - 2.0).abs() < 1e-9, "{comparison:?}");
        assert_eq!(other.spread(), None);
        assert_eq!(other.median.cpu_microseconds, None);
    }

    #[test]
    fn a_client_at_its_limit_is_noticed() {
        assert!(figures(&[1.0]).client_bound);
        let busy = BenchTrial { server_busy: Some(0.99), ..trial(Some(1.0), 1.0) };
        assert!(!Figures::new(vec![busy]).client_bound);
        assert!(!Figures::new(vec![trial(None, 1.0)]).client_bound, "nobody knows");
    }

    #[test]
    fn the_spread_is_half_of_the_range() {
        assert!((figures(&[9.0, 10.0, 12.0]).spread().unwrap() - 0.15).abs() < 1e-9);
        assert!(figures(&[9.0]).spread().unwrap() < 1e-9);
    }
}

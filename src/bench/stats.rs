//! The statistics of trials: means, intervals, and comparisons of two servers.
//!
//! There is one estimator, so a ratio follows from the numbers beside it. In each cell, the rounds
//! that were disturbed most (a quarter) are left out, for all servers alike. Every number is the
//! mean of the other rounds, and a ratio is the quotient of two such means. Servers are measured
//! one right after the other in each round, so what disturbs all of them alike cancels in it.
//!
//! The interval of a ratio is that of the ratio estimator (the residuals `own - ratio * first`,
//! Student's t), widened because the disturbed rounds are not in it. Simulated rounds in the tests
//! show how often two equal servers are called equal, and how often a difference of 5 % is found.

use serde::Serialize;

/// A difference below this is of no interest: an interval that reaches it is a tie.
pub(super) const BAND: f64 = 0.01;

/// One round of so many is left out.
const LEFT_OUT: usize = 4;

/// The factor of an interval for the rounds that are left out: without their residuals, the others
/// scatter less than all rounds do. From simulations with 5 to 25 rounds and 2 to 8 servers.
const WIDER: f64 = 1.5;

/// Fewer rounds than this give no interval, and so no verdict.
const ROUNDS_MIN: usize = 3;

/// The quantiles of 97.5 % of Student's t with 1, 2, ... degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// A thread that uses at least this share of a core counts as fully busy.
const SATURATED: f64 = 0.95;

/// The measurements of one trial: one server in one cell in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BenchTrial {
    /// Answers per second.
    pub requests_per_second: f64,
    /// CPU time of the server per answer, in microseconds; `None` if it cannot be read.
    pub cpu_microseconds: Option<f64>,
    /// CPU time of the client per answer, in microseconds, without its waits that found nothing.
    pub client_cpu_microseconds: f64,
    /// The sum of both; `None` if that of the server cannot be read.
    pub both_cpu_microseconds: Option<f64>,
    /// CPU time of the server as a share of one core; `None` if it cannot be read.
    pub server_busy: Option<f64>,
    /// CPU time of the client as a share of one core, without its waits that found nothing.
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

impl BenchTrial {
    /// The cost by which rounds are judged: CPU time, or time if that is not known.
    fn cost(&self) -> f64 {
        self.cpu_microseconds.unwrap_or(1e6 / self.requests_per_second)
    }
}

/// The statistics of one server in one cell over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct BenchStats {
    /// The mean of each measurement over the rounds that count.
    pub mean: BenchTrial,
    /// The measurements of each round.
    pub rounds: Vec<BenchTrial>,
    /// Which rounds count.
    pub counts: Vec<bool>,
    /// Whether the client was fully busy and the server was not, so the client limits the rate.
    pub client_bound: bool,
}

/// What a comparison says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BenchVerdict {
    /// The first server has more.
    Less,
    /// The first server has less.
    More,
    /// A difference is not shown, or it is below 1 %.
    Tie,
    /// There are too few rounds.
    Unknown,
}

/// How a number of a server compares with that of another one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The mean of this server divided by the mean of the other one.
    pub ratio: f64,
    /// The interval of the ratio, with a confidence of about 95 %; `None` with too few rounds.
    pub interval: Option<(f64, f64)>,
    /// What it says.
    pub verdict: BenchVerdict,
}

/// How a server compares with the first one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Comparisons {
    /// CPU time of the server per answer; `None` if one is not known.
    pub cpu: Option<Comparison>,
    /// CPU time of both sides per answer; `None` if one is not known.
    pub both: Option<Comparison>,
    /// Answers per second.
    pub rate: Comparison,
}

impl Comparisons {
    /// Whether the CPU time of the server alone shows an order that both sides together do not
    /// show.
    pub fn disagree(&self) -> bool {
        let shown = |it: &Comparison| matches!(it.verdict, BenchVerdict::Less | BenchVerdict::More);
        match (&self.cpu, &self.both) {
            (Some(cpu), Some(both)) => shown(cpu) && cpu.verdict != both.verdict,
            _ => false,
        }
    }
}

impl BenchStats {
    /// Makes the statistics of the servers of a cell, each with at least one round and so many
    /// workers.
    pub fn of_cell(servers: Vec<Vec<BenchTrial>>, workers: usize) -> Vec<Self> {
        let costs: Vec<Vec<f64>> =
            servers.iter().map(|rounds| rounds.iter().map(BenchTrial::cost).collect()).collect();
        let counts = undisturbed(&costs);
        servers.into_iter().map(|rounds| Self::new(rounds, counts.clone(), workers)).collect()
    }

    fn new(rounds: Vec<BenchTrial>, counts: Vec<bool>, workers: usize) -> Self {
        let used = || rounds.iter().zip(&counts).filter(|(_, counts)| **counts);
        let of = |value: fn(&BenchTrial) -> f64| mean(used().map(|(trial, _)| value(trial)));
        let maybe = |value: fn(&BenchTrial) -> Option<f64>| {
            let all: Option<Vec<f64>> = used().map(|(trial, _)| value(trial)).collect();
            all.map(|all| mean(all.into_iter()))
        };
        let mean = BenchTrial {
            requests_per_second: of(|trial| trial.requests_per_second),
            cpu_microseconds: maybe(|trial| trial.cpu_microseconds),
            client_cpu_microseconds: of(|trial| trial.client_cpu_microseconds),
            both_cpu_microseconds: maybe(|trial| trial.both_cpu_microseconds),
            server_busy: maybe(|trial| trial.server_busy),
            client_busy: of(|trial| trial.client_busy),
            p50_microseconds: of(|trial| trial.p50_microseconds),
            p99_microseconds: of(|trial| trial.p99_microseconds),
            p999_microseconds: of(|trial| trial.p999_microseconds),
            system_calls: maybe(|trial| trial.system_calls),
            submissions: maybe(|trial| trial.submissions),
        };
        let saturated = SATURATED * workers as f64;
        let server_idles = mean.server_busy.is_some_and(|busy| busy < saturated);
        let client_bound = mean.client_busy >= SATURATED && server_idles;
        Self { mean, rounds, counts, client_bound }
    }

    /// Compares this server with another one, or this row with another one of the same server.
    pub fn against(&self, first: &Self) -> Comparisons {
        Comparisons {
            cpu: self.compare(first, |trial| trial.cpu_microseconds),
            both: self.compare(first, |trial| trial.both_cpu_microseconds),
            rate: self.compare(first, |trial| Some(trial.requests_per_second)).unwrap_or(
                Comparison { ratio: 1.0, interval: None, verdict: BenchVerdict::Unknown },
            ),
        }
    }

    fn compare(&self, first: &Self, of: fn(&BenchTrial) -> Option<f64>) -> Option<Comparison> {
        // The rounds that count in one row may not count in another one; the ratio is that of the
        // means that are shown in any case.
        let ratio = of(&self.mean)? / of(&first.mean)?;
        let counts = self.counts.iter().zip(&first.counts).map(|(own, first)| *own && *first);
        let pairs = self.rounds.iter().zip(&first.rounds).zip(counts).filter(|(_, counts)| *counts);
        let pairs: Option<Vec<(f64, f64)>> =
            pairs.map(|((own, first), _)| Some((of(own)?, of(first)?))).collect();
        Some(comparison(ratio, &pairs?))
    }
}

fn comparison(ratio: f64, pairs: &[(f64, f64)]) -> Comparison {
    let interval = half_width(ratio, pairs).map(|half| ((ratio - half).max(0.0), ratio + half));
    let verdict = match interval {
        None => BenchVerdict::Unknown,
        Some((low, _)) if low > 1.0 + BAND => BenchVerdict::More,
        Some((_, high)) if high < 1.0 - BAND => BenchVerdict::Less,
        Some(_) => BenchVerdict::Tie,
    };
    Comparison { ratio, interval, verdict }
}

/// Half of the interval of a quotient of means; `None` with too few rounds.
fn half_width(ratio: f64, pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len();
    if count < ROUNDS_MIN {
        return None;
    }
    let squares: f64 = pairs.iter().map(|(own, first)| (own - ratio * first).powi(2)).sum();
    let deviation = (squares / (count - 1) as f64 / count as f64).sqrt();
    let freedom = count - 1;
    let student = STUDENT.get(freedom - 1).copied().unwrap_or(1.96 + 2.5 / freedom as f64);
    Some(WIDER * student * deviation / mean(pairs.iter().map(|(_, first)| *first)))
}

/// Which rounds count: all but the quarter in which a server is farthest from what the round and
/// the server make one expect. `costs` is by server and round.
fn undisturbed(costs: &[Vec<f64>]) -> Vec<bool> {
    let rounds = costs.first().map_or(0, Vec::len);
    let relative: Vec<Vec<f64>> = costs
        .iter()
        .map(|costs| {
            let logs: Vec<f64> =
                costs.iter().map(|cost| cost.max(f64::MIN_POSITIVE).ln()).collect();
            let middle = median(logs.clone());
            logs.into_iter().map(|log| log - middle).collect()
        })
        .collect();
    let disturbance = |round: usize| {
        let here: Vec<f64> = relative.iter().map(|server| server[round]).collect();
        // A lone server has nothing to share its disturbance with.
        let shared = if here.len() > 1 { median(here.clone()) } else { 0.0 };
        here.iter().map(|it| (it - shared).abs()).fold(0.0, f64::max)
    };
    let mut order: Vec<(f64, usize)> =
        (0..rounds).map(|round| (disturbance(round), round)).collect();
    order.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut counts = vec![false; rounds];
    order.iter().take(rounds - rounds / LEFT_OUT).for_each(|(_, round)| counts[*round] = true);
    counts
}

/// The mean; 0 if there are no values.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
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
mod tests;

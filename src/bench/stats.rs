//! The statistics of trials: typical figures, intervals, and comparisons of two servers.
//!
//! There is one estimator, so a ratio follows from the numbers beside it. In each round, servers
//! are measured one right after the other, so what disturbs the machine then cancels in the ratio
//! of two trials of a round. The ratio of two servers is the median of these ratios over all
//! rounds. The figure of the first server of a cell is the median of its trials, and that of
//! another server is the figure of the first one times its ratio.
//!
//! The interval of a ratio is that of a median by order statistics (the inversion of the sign
//! test). It assumes nothing about the noise, which in a virtual machine is neither normal nor
//! symmetric. Simulated rounds in the tests show how often two equal servers are called equal, and
//! how often a difference of 5 % is found.

use serde::Serialize;

/// A ratio that differs from 1 by less than this is of no interest, whatever its interval is.
pub(super) const BAND: f64 = 0.01;

/// The probability that the true ratio is below an interval, and that it is above it, at most. Two
/// equal servers are thus called different in at most 4 % of the rows.
const BESIDE: f64 = 0.02;

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

/// The statistics of one server in one cell over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct BenchStats {
    /// The figures of a typical trial; see the module documentation.
    pub typical: BenchTrial,
    /// The measurements of each round.
    pub rounds: Vec<BenchTrial>,
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
    /// A difference is not shown, because the interval contains 1, or it is below 1 %.
    Tie,
    /// There are too few rounds.
    Unknown,
}

/// How a number of a server compares with that of another one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The figure of this server divided by that of the other one.
    pub ratio: f64,
    /// The interval of the ratio, with a confidence of at least 95 %; `None` with fewer than six
    /// rounds, which is too few for one.
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

/// A measurement that servers are compared by.
type Measure = fn(&BenchTrial) -> Option<f64>;

const CPU: Measure = |trial| trial.cpu_microseconds;
const BOTH: Measure = |trial| trial.both_cpu_microseconds;
const RATE: Measure = |trial| Some(trial.requests_per_second);

impl BenchStats {
    /// Makes the statistics of the servers of a cell, each with at least one round and so many
    /// workers.
    pub fn of_cell(servers: Vec<Vec<BenchTrial>>, workers: usize) -> Vec<Self> {
        let mut made: Vec<Self> = Vec::new();
        for rounds in servers {
            let mut typical = medians(&rounds);
            if let Some(first) = made.first() {
                let scaled = |of: Measure| Some(of(&first.typical)? * middle(&rounds, first, of)?);
                typical.cpu_microseconds = scaled(CPU);
                typical.both_cpu_microseconds = scaled(BOTH);
                if let Some(rate) = scaled(RATE) {
                    typical.requests_per_second = rate;
                }
            }
            let saturated = SATURATED * workers as f64;
            let server_idles = typical.server_busy.is_some_and(|busy| busy < saturated);
            let client_bound = typical.client_busy >= SATURATED && server_idles;
            made.push(Self { typical, rounds, client_bound });
        }
        made
    }

    /// Compares this server with another one, or this row with another one of the same server.
    pub fn against(&self, first: &Self) -> Comparisons {
        Comparisons {
            cpu: self.compare(first, CPU),
            both: self.compare(first, BOTH),
            rate: self.compare(first, RATE).unwrap_or(Comparison {
                ratio: 1.0,
                interval: None,
                verdict: BenchVerdict::Unknown,
            }),
        }
    }

    fn compare(&self, first: &Self, of: Measure) -> Option<Comparison> {
        let ratio = of(&self.typical)? / of(&first.typical)?;
        let ratios = ratios(&self.rounds, &first.rounds, of)?;
        // Unless one of them is the first server, the figures are not made from each other. Then
        // their quotient may differ a little from the median of the ratios, and the interval is
        // moved by as much.
        let shift = ratio / median(&ratios);
        let interval = interval(&ratios).map(|(low, high)| (low * shift, high * shift));
        Some(Comparison { ratio, interval, verdict: BenchVerdict::of(ratio, interval) })
    }
}

impl BenchVerdict {
    /// If the interval had to be beyond 1 %, differences of 2 to 4 % would be shown by one run and
    /// not by the next one, because the ends of an interval vary more than the ratio itself.
    fn of(ratio: f64, interval: Option<(f64, f64)>) -> Self {
        match interval {
            None => Self::Unknown,
            Some((low, _)) if low > 1.0 && ratio > 1.0 + BAND => Self::More,
            Some((_, high)) if high < 1.0 && ratio < 1.0 - BAND => Self::Less,
            Some(_) => Self::Tie,
        }
    }
}

/// The ratio of each round, in order of size; `None` if a measurement is not known.
fn ratios(own: &[BenchTrial], first: &[BenchTrial], of: Measure) -> Option<Vec<f64>> {
    let pairs = own.iter().zip(first);
    let ratios: Option<Vec<f64>> = pairs.map(|(own, first)| Some(of(own)? / of(first)?)).collect();
    // A server that was not measured in a round has no ratio there.
    let mut ratios: Vec<f64> = ratios?.into_iter().filter(|ratio| ratio.is_finite()).collect();
    ratios.sort_by(f64::total_cmp);
    (!ratios.is_empty()).then_some(ratios)
}

/// The median of the ratios to the first server.
fn middle(rounds: &[BenchTrial], first: &BenchStats, of: Measure) -> Option<f64> {
    ratios(rounds, &first.rounds, of).map(|ratios| median(&ratios))
}

/// The interval of the median of sorted values; `None` if they are too few for one.
fn interval(sorted: &[f64]) -> Option<(f64, f64)> {
    let rank = rank(sorted.len());
    (rank > 0).then(|| (sorted[rank - 1], sorted[sorted.len() - rank]))
}

/// The largest `rank` for which the true median is below the value of that rank with a probability
/// of at most [`BESIDE`]; 0 if there is none. The number of values below the median has a binomial
/// distribution.
fn rank(count: usize) -> usize {
    // In logarithms, because the probabilities of many rounds are too small for a number.
    let mut log = count as f64 * 0.5f64.ln();
    let mut below = log.exp();
    let mut rank = 0;
    while below <= BESIDE && rank < count {
        rank += 1;
        log += ((count - rank + 1) as f64 / rank as f64).ln();
        below += log.exp();
    }
    rank
}

/// The median of each measurement.
fn medians(rounds: &[BenchTrial]) -> BenchTrial {
    let maybe = |of: Measure| {
        let all: Option<Vec<f64>> = rounds.iter().map(of).collect();
        all.map(|mut all| {
            all.sort_by(f64::total_cmp);
            median(&all)
        })
    };
    let of = |of: Measure| maybe(of).unwrap_or_default();
    BenchTrial {
        requests_per_second: of(RATE),
        cpu_microseconds: maybe(CPU),
        client_cpu_microseconds: of(|trial| Some(trial.client_cpu_microseconds)),
        both_cpu_microseconds: maybe(BOTH),
        server_busy: maybe(|trial| trial.server_busy),
        client_busy: of(|trial| Some(trial.client_busy)),
        p50_microseconds: of(|trial| Some(trial.p50_microseconds)),
        p99_microseconds: of(|trial| Some(trial.p99_microseconds)),
        p999_microseconds: of(|trial| Some(trial.p999_microseconds)),
        system_calls: maybe(|trial| trial.system_calls),
        submissions: maybe(|trial| trial.submissions),
    }
}

/// The median of sorted values; 0 if there are none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        even if even.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests;

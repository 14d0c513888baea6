//! The statistics, with rounds that are simulated.

use fastrand::Rng;

use super::*;

fn trial(cpu: Option<f64>, rate: f64) -> BenchTrial {
    BenchTrial {
        requests_per_second: rate,
        cpu_microseconds: cpu,
        client_cpu_microseconds: 10.0,
        both_cpu_microseconds: cpu.map(|cpu| cpu + 10.0),
        server_busy: cpu.map(|_| 0.5),
        client_busy: 0.99,
        p50_microseconds: 1.0,
        p99_microseconds: 2.0,
        p999_microseconds: 3.0,
        system_calls: None,
        submissions: None,
    }
}

fn cell(servers: &[&[f64]]) -> Vec<BenchStats> {
    let rounds = |cpu: &&[f64]| cpu.iter().map(|cpu| trial(Some(*cpu), 1000.0)).collect();
    BenchStats::of_cell(servers.iter().map(rounds).collect(), 1)
}

fn cpu(own: &BenchStats, first: &BenchStats) -> Comparison {
    own.against(first).cpu.unwrap()
}

/// A value of a normal distribution: the sum of twelve uniform ones, less six.
fn normal(random: &mut Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

/// A cell with two servers, the second one dearer by `effect`. Rounds differ by 15 %, trials by
/// 3 %, and one trial of 20 is disturbed by other work.
fn simulated(rounds: usize, effect: f64, random: &mut Rng) -> Comparison {
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let round = 1.0 + 0.15 * normal(random);
        for (costs, effect) in costs.iter_mut().zip([0.0, effect]) {
            let disturbed = if random.f64() < 0.05 { 0.3 * random.f64() } else { 0.0 };
            let trial = 1.0 + 0.03 * normal(random) + disturbed;
            costs.push(8.0 * round.max(0.5) * trial * (1.0 + effect));
        }
    }
    let stats = cell(&[&costs[0], &costs[1]]);
    cpu(&stats[1], &stats[0])
}

/// The share of 10,000 simulated cells with this verdict.
fn share(rounds: usize, effect: f64, verdict: BenchVerdict) -> f64 {
    let mut random = Rng::with_seed(7);
    let found = (0..10_000).filter(|_| simulated(rounds, effect, &mut random).verdict == verdict);
    found.count() as f64 / 10_000.0
}

#[test]
fn two_equal_servers_are_a_tie() {
    for rounds in [6, 8, 15, 25, 60] {
        let ties = share(rounds, 0.0, BenchVerdict::Tie);
        assert!(ties >= 0.96, "{rounds} rounds: {ties}");
    }
}

#[test]
fn a_difference_of_five_percent_is_found() {
    let (few, many) = (share(15, 0.05, BenchVerdict::More), share(40, 0.05, BenchVerdict::More));
    assert!(few >= 0.6 && many >= 0.94, "{few}, {many}");
    let wrong = share(15, 0.05, BenchVerdict::Less);
    assert!(wrong <= 0.001, "{wrong}");
}

#[test]
fn a_ratio_is_the_quotient_of_the_figures() {
    let stats =
        cell(&[&[10.0, 20.0, 31.0, 11.0, 12.0], &[12.0, 25.0, 33.0, 90.0, 14.0], &[5.0; 5]]);
    let figure = |stats: &BenchStats| stats.typical.cpu_microseconds.unwrap();
    assert!((figure(&stats[0]) - 12.0).abs() < 1e-12, "the median");
    let ratio = cpu(&stats[1], &stats[0]).ratio;
    assert!((ratio - 1.2).abs() < 1e-12, "of 1.06, 1.17, 1.2, 1.25 and 8.2: {ratio}");
    for own in &stats[1..] {
        let ratio = cpu(own, &stats[0]).ratio;
        assert!((ratio - figure(own) / figure(&stats[0])).abs() < 1e-12, "{ratio}");
    }
}

/// A row that is compared with another one has figures of its own.
#[test]
fn the_interval_of_two_rows_is_around_the_quotient_of_their_figures() {
    let row = |costs: [f64; 7]| cell(&[&costs])[0].clone();
    let (first, own) = (
        row([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0]),
        row([30.0, 11.0, 12.0, 26.0, 14.0, 15.0, 16.0]),
    );
    let comparison = cpu(&own, &first);
    let (low, high) = comparison.interval.unwrap();
    assert!((comparison.ratio - 15.0 / 13.0).abs() < 1e-12, "{comparison:?}");
    assert!(low <= comparison.ratio && comparison.ratio <= high, "{comparison:?}");
}

#[test]
fn what_affects_all_servers_of_a_round_alike_disturbs_nothing() {
    let stats =
        cell(&[&[10.0, 50.0, 10.0, 10.0, 10.5, 90.0], &[12.0, 60.0, 12.0, 12.0, 12.6, 108.0]]);
    let comparison = cpu(&stats[1], &stats[0]);
    assert_eq!(comparison.verdict, BenchVerdict::More);
    let (low, high) = comparison.interval.unwrap();
    assert!((low - 1.2).abs() < 1e-9 && (high - 1.2).abs() < 1e-9, "{comparison:?}");
}

/// From tables of the sign test: 96 % of 15 rounds are between the fourth smallest and the fourth
/// largest value (96.5 %).
#[test]
fn an_interval_has_the_ranks_of_the_sign_test() {
    for (count, expected) in [
        (0, 0),
        (5, 0),
        (6, 1),
        (8, 1),
        (9, 2),
        (12, 3),
        (15, 4),
        (20, 5),
        (25, 7),
        (50, 18),
        (100, 40),
    ] {
        assert_eq!(rank(count), expected, "{count} rounds");
    }
    // About half less the square root, also where one probability is too small for a number.
    assert!((4_890..4_920).contains(&rank(10_000)), "{}", rank(10_000));
}

/// The true median is within the interval as often as it says, also if the noise is not symmetric.
#[test]
fn an_interval_contains_the_median_as_often_as_it_says() {
    let mut random = Rng::with_seed(5);
    for rounds in [6, 15, 60] {
        let contained = (0..2000).filter(|_| {
            let mut values: Vec<f64> = (0..rounds).map(|_| -random.f64().ln()).collect();
            values.sort_by(f64::total_cmp);
            let (low, high) = interval(&values).unwrap();
            (low..=high).contains(&std::f64::consts::LN_2)
        });
        let share = contained.count() as f64 / 2000.0;
        assert!(share >= 0.94, "{rounds} rounds: {share}");
    }
}

#[test]
fn a_verdict_needs_six_rounds_an_interval_without_1_and_a_ratio_beyond_the_band() {
    let verdict = |first: &[f64], own: &[f64]| {
        let stats = cell(&[first, own]);
        cpu(&stats[1], &stats[0]).verdict
    };
    assert_eq!(verdict(&[1.0; 5], &[2.0; 5]), BenchVerdict::Unknown);
    assert_eq!(verdict(&[1.0; 6], &[2.0; 6]), BenchVerdict::More);
    assert_eq!(verdict(&[2.0; 6], &[1.0; 6]), BenchVerdict::Less);
    assert_eq!(verdict(&[1.0; 6], &[1.009; 6]), BenchVerdict::Tie, "less than 1 %");
    assert_eq!(verdict(&[1.0; 6], &[1.011; 6]), BenchVerdict::More);
    // The interval ends within 1 %, and leaves out 1.
    let close = [1.005, 1.02, 1.02, 1.02, 1.02, 1.02];
    assert_eq!(verdict(&[1.0; 6], &close), BenchVerdict::More);
    let mixed = [1.1, 1.0, 1.4, 1.1, 1.2, 1.3];
    assert_eq!(verdict(&[1.0, 1.2, 1.1, 1.0, 1.0, 1.0], &mixed), BenchVerdict::Tie);
}

#[test]
fn sides_that_show_another_order_disagree() {
    let rounds = |server: f64, client: f64| {
        let own = BenchTrial {
            client_cpu_microseconds: client,
            both_cpu_microseconds: Some(server + client),
            ..trial(Some(server), 1000.0)
        };
        vec![own; 6]
    };
    let disagree = |own, first| {
        let stats = BenchStats::of_cell(vec![first, own], 1);
        stats[1].against(&stats[0]).disagree()
    };
    assert!(disagree(rounds(10.0, 30.0), rounds(20.0, 10.0)), "the order is reversed");
    assert!(disagree(rounds(10.0, 20.0), rounds(20.0, 10.0)), "there is no order");
    assert!(!disagree(rounds(10.0, 10.0), rounds(20.0, 10.0)));
    assert!(!disagree(rounds(10.0, 10.0), rounds(10.0, 20.0)), "the server's CPU shows no order");
}

#[test]
fn without_cpu_time_there_is_the_rate() {
    let rounds = |cpu, rates: [f64; 6]| rates.map(|rate| trial(cpu, rate)).to_vec();
    let servers = vec![
        rounds(Some(1.0), [1000.0, 2000.0, 1000.0, 1000.0, 1000.0, 1000.0]),
        rounds(None, [500.0, 1000.0, 500.0, 500.0, 500.0, 500.0]),
    ];
    let stats = BenchStats::of_cell(servers, 1);
    let comparisons = stats[1].against(&stats[0]);
    assert_eq!((comparisons.cpu, comparisons.both), (None, None));
    assert!((comparisons.rate.ratio - 0.5).abs() < 1e-9, "{comparisons:?}");
    assert_eq!(comparisons.rate.verdict, BenchVerdict::Less);
    assert_eq!(stats[1].typical.cpu_microseconds, None);
}

#[test]
fn a_client_that_limits_the_rate_is_detected() {
    let bound_of = |workers, trial| BenchStats::of_cell(vec![vec![trial]], workers)[0].client_bound;
    let bound = |trial| bound_of(1, trial);
    assert!(bound(trial(Some(1.0), 1.0)));
    assert!(!bound(BenchTrial { server_busy: Some(0.99), ..trial(Some(1.0), 1.0) }));
    assert!(!bound(trial(None, 1.0)), "the server's load is not known");
    // Two workers may use two cores.
    let busy = |share| BenchTrial { server_busy: Some(share), ..trial(Some(1.0), 1.0) };
    assert!(bound_of(2, busy(1.2)) && !bound_of(2, busy(1.98)));
}

#[test]
fn the_median_is_the_middle_value_or_the_mean_of_two() {
    for (values, middle) in [
        (vec![], 0.0),
        (vec![3.0], 3.0),
        (vec![1.0, 4.0], 2.5),
        (vec![1.0, 2.0, 9.0], 2.0),
        (vec![1.0, 2.0, 3.0, 100.0], 2.5),
    ] {
        assert!((median(&values) - middle).abs() < 1e-9, "{values:?}");
    }
}

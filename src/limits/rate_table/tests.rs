//! Tests of the table of rates, in simulated time.

use std::thread;

use super::super::rate::Rate;
use super::*;

const SCOPE: Scope = Scope(7);

fn client(number: u32) -> ClientKey {
    ClientKey::V4(number.to_be_bytes())
}

fn limit(per_second: u32, burst: u32) -> RateLimit {
    RateLimit::new(Rate::per_second(per_second).unwrap(), burst).unwrap()
}

/// A bucket as it is usually explained: its content grows with time.
struct NaiveBucket {
    content: u64,
    full: u64,
    at: u64,
}

impl NaiveBucket {
    fn new(limit: RateLimit) -> Self {
        let full = limit.tolerance + limit.interval;
        Self { content: full, full, at: 0 }
    }

    fn take(&mut self, limit: RateLimit, now: u64) -> bool {
        self.content = (self.content + now - self.at).min(self.full);
        self.at = now;
        let has_one = self.content >= limit.interval;
        self.content -= if has_one { limit.interval } else { 0 };
        has_one
    }
}

#[test]
fn the_table_agrees_with_naive_buckets() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let begun = Instant::now();
        let table = RateTable::new(SLOTS_DEFAULT, begun);
        let limit = limit(random.u32(1..=10_000), random.u32(1..50));
        let mut buckets: Vec<NaiveBucket> = (0..5).map(|_| NaiveBucket::new(limit)).collect();
        let mut now = 0;
        for step in 0..2000 {
            now += match random.u8(..20) {
                0 => random.u64(..60_000_000),
                1..10 => random.u64(..2 * limit.interval),
                _ => random.u64(..=limit.interval / 4),
            };
            let number = random.u32(..5);
            let at = begun + Duration::from_micros(now);
            let taken = table.take(SCOPE, client(number), limit, at);
            let expected = buckets[number as usize].take(limit, now);
            assert_eq!(taken.is_ok(), expected, "{step} {limit:?}");
            if let Err(TooMany(wait)) = taken {
                let bucket = &buckets[number as usize];
                let missing = Duration::from_micros(limit.interval - bucket.content);
                assert_eq!(wait, missing, "the wait is what is missing");
            }
            if taken.is_ok() && random.u8(..10) == 0 {
                table.put_back(SCOPE, client(number), limit, at);
                buckets[number as usize].content += limit.interval;
            }
        }
        assert_eq!(table.evicted(), 0);
    }
}

#[test]
fn scopes_have_buckets_of_their_own() {
    let (table, now) = (RateTable::default(), Instant::now());
    let limit = limit(1, 1);
    let [one, two] = ["one", "two"].map(Scope::named);
    assert_eq!(table.take(one, client(1), limit, now), Ok(()));
    assert_eq!(table.take(two, client(1), limit, now), Ok(()));
    let refused = table.take(one, client(1), limit, now).unwrap_err();
    assert_eq!(refused.seconds(), 1);
    assert_eq!(TooMany(Duration::from_micros(1_000_001)).seconds(), 2);
}

/// A limit may change while clients have used it up.
#[test]
fn a_client_is_not_held_to_an_earlier_limit() {
    let (table, begun) = (RateTable::default(), Instant::now());
    let hourly = RateLimit::new("1/h".parse().unwrap(), 10).unwrap();
    for _ in 0..10 {
        assert_eq!(table.take(SCOPE, client(1), hourly, begun), Ok(()));
    }
    assert_eq!(table.take(SCOPE, client(1), hourly, begun).unwrap_err().seconds(), 3600);
    let raised = limit(1, 5);
    let refused = table.take(SCOPE, client(1), raised, begun).unwrap_err();
    assert_eq!(refused.seconds(), 1, "the bucket is empty, and fills at the new rate");
    let later = begun + Duration::from_secs(1);
    assert_eq!(table.take(SCOPE, client(1), raised, later), Ok(()));
    assert!(table.take(SCOPE, client(1), raised, later).is_err());
    let rested = begun + Duration::from_secs(7);
    for _ in 0..5 {
        assert_eq!(table.take(SCOPE, client(1), raised, rested), Ok(()));
    }
    assert!(table.take(SCOPE, client(1), raised, rested).is_err());
}

/// Also if they would have to wait for a few seconds only.
#[test]
fn a_client_is_not_held_to_a_limit_that_was_a_little_lower() {
    let (table, begun) = (RateTable::default(), Instant::now());
    for _ in 0..10 {
        assert_eq!(table.take(SCOPE, client(1), limit(1, 10), begun), Ok(()));
    }
    let raised = limit(50, 100);
    let refused = table.take(SCOPE, client(1), raised, begun).unwrap_err();
    assert_eq!(refused, TooMany(Duration::from_millis(20)));
    let later = begun + Duration::from_millis(20);
    assert_eq!(table.take(SCOPE, client(1), raised, later), Ok(()));
}

/// A worker that was busy for long with other requests has an old time. The bucket is as empty for
/// it as for others, and stays so.
#[test]
fn a_worker_that_is_behind_fills_no_bucket() {
    let (table, begun) = (RateTable::default(), Instant::now());
    let limit = limit(1, 5);
    let (now, behind) = (begun + Duration::from_secs(60), begun + Duration::from_secs(30));
    for _ in 0..5 {
        assert_eq!(table.take(SCOPE, client(1), limit, now), Ok(()));
    }
    for time in [behind, now, behind, now] {
        let refused = table.take(SCOPE, client(1), limit, time).unwrap_err();
        assert_eq!(refused.seconds(), 1);
    }
    table.put_back(SCOPE, client(1), limit, behind);
    assert_eq!(table.take(SCOPE, client(1), limit, behind), Ok(()));
    assert!(table.take(SCOPE, client(1), limit, now).is_err());
}

/// However many clients there are, four times the words as sets let through what four clients may.
#[test]
fn a_full_table_lets_no_more_through_than_its_words_allow() {
    let begun = Instant::now();
    let table = RateTable::new(SLOTS_MIN, begun);
    let (limit, seconds) = (limit(10, 5), 20);
    let mut random = fastrand::Rng::with_seed(3);
    let mut through = 0_u64;
    for step in 0..seconds * 10 {
        let now = begun + Duration::from_millis(100 * step);
        for _ in 0..4000 {
            let client = client(random.u32(..100_000));
            through += u64::from(table.take(SCOPE, client, limit, now).is_ok());
        }
    }
    let of_word = 5 + 10 * seconds;
    assert!(through <= u64::from(SLOTS_MIN) * of_word, "{through}");
    assert!(through > u64::from(SLOTS_MIN) * of_word / 2, "{through}: the table is used");
    assert!(table.evicted() > 0);
}

/// Others that come in crowds do not make the table forget one that was refused.
#[test]
fn an_offender_is_not_forgotten_because_the_table_is_full() {
    let begun = Instant::now();
    let table = RateTable::new(SLOTS_MIN, begun);
    let limit = limit(10, 10);
    let mut crowd = 1000;
    let mut through = 0;
    for step in 0..1000_u64 {
        let now = begun + Duration::from_millis(10 * step);
        // Ten times of what is allowed.
        through += u32::from(table.take(SCOPE, client(1), limit, now).is_ok());
        for _ in 0..500 {
            crowd += 1;
            let _ = table.take(SCOPE, client(crowd), limit, now);
        }
    }
    let allowed = 10 + 10 * 10;
    assert!(through <= allowed + allowed / 20, "{through} of {allowed}");
    assert!(table.evicted() > 1000, "{}", table.evicted());
}

/// A client that has rested costs nobody anything.
#[test]
fn clients_whose_bucket_is_full_are_replaced_without_loss() {
    let begun = Instant::now();
    let table = RateTable::new(SLOTS_MIN, begun);
    let limit = limit(100, 2);
    for number in 0..100_000 {
        // One every 20 ms, which is all that their buckets need to be full.
        let now = begun + Duration::from_millis(20 * u64::from(number));
        assert_eq!(table.take(SCOPE, client(number), limit, now), Ok(()));
    }
    assert_eq!(table.evicted(), 0);
}

/// The clock of a word goes round every 12 days.
#[test]
fn words_of_long_ago_are_full() {
    let begun = Instant::now();
    let table = RateTable::new(SLOTS_MIN, begun);
    let limit = limit(1, 1);
    let mut now = begun;
    for hours in [1, 24, 24 * 7, 24 * 12, 24 * 13, 24 * 300] {
        assert_eq!(table.take(SCOPE, client(1), limit, now), Ok(()));
        let soon = now + Duration::from_millis(999);
        assert!(table.take(SCOPE, client(1), limit, soon).is_err());
        now += Duration::from_secs(3600 * hours);
    }
    // Words that nobody uses again do not lie ahead at some time, whether the table is used or not.
    let half_day = Duration::from_secs(12 * 3600);
    for is_used in [true, false] {
        let table = RateTable::new(SLOTS_MIN, begun);
        for number in 0..5000 {
            let _ = table.take(SCOPE, client(number), limit, begun);
        }
        let mut now = begun;
        for step in 0..60 {
            now += half_day;
            if is_used || step % 25 == 24 {
                assert_eq!(table.take(SCOPE, client(1_000_000 + step), limit, now), Ok(()));
            }
        }
        assert!(table.evicted() < 5000, "only of those at the beginning");
    }
}

/// Several workers share the bucket of a client: together they let through what it may.
#[test]
fn workers_share_the_bucket_of_a_client() {
    let begun = Instant::now();
    let table = RateTable::new(SLOTS_MIN, begun);
    let limit = limit(1000, 1);
    let worker = || {
        let mut through = 0_u64;
        for step in 0..20_000_u64 {
            // 10 s, in steps of 0.5 ms.
            let now = begun + Duration::from_micros(500 * step);
            through += u64::from(table.take(SCOPE, client(1), limit, now).is_ok());
        }
        through
    };
    let through: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    // Their clocks differ here, since each runs as fast as it can, so the one that is behind gets
    // nothing that the one ahead has taken.
    assert!((9_500..=10_500).contains(&through), "{through}");
}

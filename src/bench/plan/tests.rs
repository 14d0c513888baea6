//! Grids, and the times of trials.

use super::*;

#[test]
fn a_grid_has_every_combination_once() {
    let cells = grid(&[0, 1024], &[1, 64], &[Shape::KeepAlive, Shape::Close]);
    assert_eq!(cells.len(), 8);
    for (number, cell) in cells.iter().enumerate() {
        assert!(!cells[..number].contains(cell), "{cell}");
    }
    assert_eq!(cells[2].to_string(), "1 KiB, 1 connection, keep-alive");
    assert_eq!(cells[5].to_string(), "0 B, 64 connections, close");
}

#[test]
fn a_grid_with_tls_has_the_largest_file_once() {
    let names = |sizes: &[u64], connections: &[u32]| {
        let cells = tls_grid(sizes, connections);
        cells.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let small = [
        "1 KiB, 2 connections, close, TLS full",
        "1 KiB, 2 connections, close, TLS resumed",
        "1 KiB, 2 connections, keep-alive, TLS",
    ];
    assert_eq!(names(&[1024], &[2]), small);
    let all = [&small[..], &["64 KiB, 2 connections, keep-alive, TLS"]].concat();
    assert_eq!(names(&[0, 64 << 10, 1024], &[2]), all);
    assert_eq!(tls_grid(&[4096], &[1, 64]).len(), 8);
}

#[test]
fn a_grid_with_http2_has_one_stream_and_many() {
    let names = |sizes: &[u64], connections: &[u32], streams, has_tls| {
        let cells = http2_grid(sizes, connections, streams, has_tls);
        cells.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&[0, 1 << 20], &[1, 64], 32, false),
        [
            "1 KiB, 1 × 1 stream, HTTP/2",
            "1 KiB, 64 × 1 stream, HTTP/2",
            "1 MiB, 1 × 1 stream, HTTP/2",
            "1 MiB, 64 × 1 stream, HTTP/2",
            "1 KiB, 8 × 32 streams, HTTP/2",
            "1 MiB, 8 × 8 streams, HTTP/2",
        ]
    );
    let small = ["1 KiB, 3 × 1 stream, HTTP/2, TLS", "1 KiB, 1 × 4 streams, HTTP/2, TLS"];
    assert_eq!(names(&[1024], &[3], 4, true), small);
    assert_eq!(names(&[1024], &[1], 1, true), ["1 KiB, 1 × 1 stream, HTTP/2, TLS"]);
}

#[test]
fn a_trial_is_filed_under_its_server_and_each_server_begins_a_round() {
    let mut order = Vec::new();
    let trials = in_rounds(3, &[3, 3], |cell, server| {
        order.push(server);
        Ok::<_, ()>((cell, server))
    });
    for (cell, trials) in trials.unwrap().iter().enumerate() {
        for (server, trials) in trials.iter().enumerate() {
            assert_eq!(trials, &[(cell, server); 3]);
        }
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 1, 2, 0, 1, 2, 0, 2, 0, 1, 2, 0, 1]);
    assert_eq!(in_rounds(1, &[2], |_, server| Err::<(), _>(server)), Err(0));
    let uneven = in_rounds(2, &[2, 1, 0], |_, server| Ok::<_, ()>(server)).unwrap();
    assert_eq!(uneven, [vec![vec![0, 0], vec![1, 1]], vec![vec![0, 0]], vec![]]);
}

#[test]
fn bytes_are_displayed_with_the_largest_unit_that_divides_them() {
    for (bytes, text) in [
        (0, "0 B"),
        (1000, "1000 B"),
        (1024, "1 KiB"),
        (1536, "1536 B"),
        (100 << 10, "100 KiB"),
        (3 << 20, "3 MiB"),
        (1 << 30, "1 GiB"),
    ] {
        assert_eq!(Bytes(bytes).to_string(), text);
    }
}

#[test]
fn the_time_is_divided_among_the_trials_or_too_short() {
    let cells = grid(&[0; 9], &[1], &[Shape::Close, Shape::KeepAlive]);
    let pace = |time, rounds| Pace::new(time, rounds, &cells, &[2; 18]);
    let total = Duration::from_secs(90);
    let five = pace(Some(total), Some(5)).unwrap();
    assert!((five.time + five.warm_up + START) * (5 * 18 * 2) <= total);
    assert!(five.time > five.warm_up);
    let error = pace(Some(Duration::from_secs(1)), Some(5)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("--time {}s", error.needed.as_secs())), "{text}");
    assert!(pace(Some(error.needed), Some(5)).is_ok(), "{text}");
}

#[test]
fn without_a_time_or_rounds_they_follow_from_the_trials() {
    let cells = grid(&[0; 9], &[1], &[Shape::Close, Shape::KeepAlive]);
    let pace = |time, rounds, servers| Pace::new(time, rounds, &cells, &[servers; 18]).unwrap();
    let length =
        |pace: Pace, servers| (pace.time + pace.warm_up + START) * (pace.rounds * 18 * servers);
    let (two, eight) = (pace(None, None, 2), pace(None, None, 8));
    assert_eq!(two.rounds, 60);
    assert!(length(two, 2) < Duration::from_secs(360), "{two:?}");
    assert!((15..60).contains(&eight.rounds), "{eight:?}");
    assert!(length(eight, 8) <= RUN_MAX, "{eight:?}");
    assert_eq!(pace(Some(Duration::from_secs(40)), None, 2).rounds, 6);
    assert_eq!(pace(Some(Duration::from_secs(3600)), None, 2).rounds, 100);
    assert_eq!(pace(None, Some(40), 2).rounds, 40);
    // Opening ten thousand connections takes longer than the trial.
    let idle = idle_grid(&[10_000]);
    let pace = Pace::new(Some(Duration::from_secs(10)), Some(3), &idle, &[2]).unwrap();
    assert!((pace.time + pace.warm_up) * 6 < Duration::from_secs(7), "{pace:?}");
}

#[test]
fn idle_connections_and_a_sleeping_client_are_named() {
    let cells = with_clients(&idle_grid(&[1, 100]), &[ClientWait::Awake, ClientWait::Asleep]);
    let names: Vec<String> = cells.iter().map(ToString::to_string).collect();
    let name =
        |idle, client| format!("1 KiB, 1 connection, keep-alive, beside {idle} idle{client}");
    let sleeping = ", sleeping client";
    assert_eq!(names, [name(1, ""), name(1, sleeping), name(100, ""), name(100, sleeping)]);
}

//! The line of receives whose bytes wait for a buffer.

use super::*;

/// Receives whose bytes wait for a buffer get one each, in turn, however often the driver looks for
/// buffers in vain.
#[test]
fn receives_wait_for_a_buffer_in_line() {
    let limits = Limits { buffers: 1, ..limits() };
    let mut driver = Threads::with_threads(&limits, THREADS_MAX, Budget::of_process());
    let look = |driver: &mut Threads, times: usize| {
        let mut all = Vec::new();
        (0..times).for_each(|_| driver.wait(Some(Duration::ZERO), &mut all).unwrap());
        all
    };
    let mut peers = Vec::new();
    let mut held = None;
    for number in 0..4u64 {
        let (sock, mut peer) = connect(&mut driver);
        driver.submit(Token(number), Op::RecvMany { sock });
        look(&mut driver, 1);
        // More than two buffers.
        peer.write_all(&[number as u8; 3000]).unwrap();
        peers.push(peer);
        if number == 0 {
            // The other receives are begun while this one has the only buffer.
            let all = run_until(&mut driver, |all, _| !all.is_empty());
            held = Some(all);
        }
    }
    let mut order = Vec::new();
    while order.len() < 8 {
        look(&mut driver, 3);
        drop(held.take());
        let all = run_until(&mut driver, |all, _| !all.is_empty());
        order.push(all[0].token.0);
        held = Some(all);
    }
    for four in order.windows(4).skip(1) {
        let mut turns = four.to_vec();
        turns.sort_unstable();
        assert_eq!(turns, [0, 1, 2, 3], "{order:?}");
    }
}

/// One call may have brought more bytes than one buffer holds. The rest waits at the end of the
/// line, so it does not delay the bytes of other receives.
#[test]
fn a_receive_with_bytes_left_goes_to_the_end_of_the_line() {
    const BUFFERS: usize = 2;
    let limits = Limits { buffers: BUFFERS as u16, ..limits() };
    let mut driver = Threads::with_threads(&limits, THREADS_MAX, Budget::of_process());
    let bytes = vec![b'x'; BUFFERS * limits.buffer_bytes as usize];
    let mut peers = Vec::new();
    for number in 0..2 {
        let (sock, peer) = connect(&mut driver);
        driver.submit(Token(number), Op::RecvMany { sock });
        peers.push(peer);
    }
    // Both calls begin while all buffers are free, so each may fill them all.
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    let mut taken: Vec<_> = (0..BUFFERS).map(|_| driver.pool.take().unwrap()).collect();
    peers.iter_mut().for_each(|peer| peer.write_all(&bytes).unwrap());
    run_until(&mut driver, |all, driver| {
        assert!(all.is_empty(), "a receive has got bytes without a buffer");
        driver.waits_for_buffer.len() == peers.len()
    });
    let mut order = Vec::new();
    for _ in 0..2 * BUFFERS {
        drop(taken.pop());
        let mut all = run_until(&mut driver, |all, _| !all.is_empty());
        let Some(Completion { token, outcome: Outcome::Received(Ok(Some(lease))), .. }) = all.pop()
        else {
            panic!("no bytes")
        };
        assert!(all.is_empty(), "one buffer was free");
        order.push(token.0);
        taken.push(lease);
    }
    assert!(order[..2] == order[2..] && order[0] != order[1], "{order:?}");
}

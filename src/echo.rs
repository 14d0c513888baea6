//! Echo: sends its input back. It is the smallest [`Session`], and the one to read first.
//!
//! A session is one conversation, written as a function: it gets the bytes that have arrived,
//! writes its answer, and returns what it waits for next. Other code moves the bytes.
//!
//! ```text
//!  peer --> [ inbox ] --> Echo::advance --> [ out ] --> peer
//!                              |
//!                              `--> a Step: wait for input, for room, or finish
//! ```
//!
//! The difficult parts of network code are elsewhere, in the connection
//! (`src/server/connection.rs`) and the driver:
//!
//! - *Partial sends*: the driver sends all of `out`. What the session writes meanwhile goes into
//!   the next chain, which is sent afterwards.
//! - *Backpressure*: input that the session does not take waits in the inbox. When 64 KiB wait, the
//!   connection stops receiving, and TCP flow control stops the peer. A peer that sends but does
//!   not read blocks only itself, and occupies at most the inbox and two chains.
//! - *Timeouts*: the session names a timeout of the server, [`ReceiveTimeout::KeepAlive`] between
//!   two exchanges and [`ReceiveTimeout::Header`] within one. The deadline restarts after each
//!   send.
//! - *Sockets, drivers and threads*: a session knows none of them. The same code runs on every
//!   driver, and in a test as a plain function call (see the tests below).
//!
//! A session must keep two rules. The *chunking law*: the output does not depend on how the input
//! is split into pieces. The *bound*: a session writes no more at a time than a [`Chain`] should
//! hold, and returns [`Step::Flush`] when the chain is [full](Chain::is_full).
//!
//! `src/http/h1/session.rs` is the session of HTTP/1.1. It parses its input, and an answer may need
//! a file first. Then it waits for the service that all sessions share ([`Step::Wait`], then
//! [`Session::answered`]).

use crate::driver::Chain;
use crate::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Session, Step, Timer};

/// The number of bytes copied before the next check whether the chain is full.
const PIECE: usize = 4096;

/// A conversation that sends its input back; see the module documentation.
#[derive(Debug)]
pub struct Echo;

impl Session for Echo {
    /// Sessions of a worker may share settings or a cache. Echo sessions share nothing.
    type Shared = ();

    fn new((): &mut (), _: &ConnectionInfo<'_>) -> Self {
        Self
    }

    fn advance(&mut self, _: &mut Context<'_, ()>, inbox: &mut Inbox<'_>, out: &mut Chain) -> Step {
        for piece in inbox.bytes().chunks(PIECE) {
            if out.is_full() {
                return Step::Flush;
            }
            out.copy(piece);
            inbox.take(piece.len());
        }
        if inbox.ended() {
            // The output is sent before the connection closes. The peer sends no more, so lingering
            // is not needed.
            return Step::Finish { linger: false };
        }
        Step::Receive(ReceiveTimeout::KeepAlive)
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Finish { linger: false }
    }

    /// Continues to echo during a drain, because a stream has no boundary at which it could end.
    /// The connection ends when the peer closes or idles, or when the drain timeout is over.
    fn drain(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::chain::read_all;
    use crate::service::SessionId;
    use crate::session::Now;

    /// Calls the session once; returns how many bytes it takes, its output, and its step.
    fn advance(echo: &mut Echo, input: &[u8], ended: bool) -> (usize, Vec<u8>, Step) {
        let (mut inbox, mut out) = (Inbox::new(input, ended), Chain::new());
        let (mut shared, mut asks) = ((), Vec::new());
        let session = SessionId::detached(0);
        let mut cx = Context::new(&mut shared, Now::read(), session, false, &mut asks);
        let step = echo.advance(&mut cx, &mut inbox, &mut out);
        (inbox.taken(), read_all(&mut out), step)
    }

    #[test]
    fn the_output_does_not_depend_on_how_the_input_is_split() {
        let mut random = fastrand::Rng::with_seed(3);
        let len = if cfg!(miri) { 3_000 } else { 300_000 };
        let input: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        for piece_max in [7, 5000, 200_000] {
            let mut echo = Echo;
            let (mut output, mut arrived, mut taken) = (Vec::new(), 0, 0);
            while taken < input.len() {
                arrived = (arrived + random.usize(1..=piece_max)).min(input.len());
                let (count, written, _) = advance(&mut echo, &input[taken..arrived], false);
                assert_eq!(count, written.len());
                taken += count;
                output.extend(written);
            }
            assert!(output == input, "pieces of up to {piece_max}");
        }
    }

    #[test]
    fn one_call_writes_a_bounded_number_of_bytes() {
        let flood = vec![b'x'; 1 << 18];
        let (taken, written, step) = advance(&mut Echo, &flood, true);
        assert!(matches!(step, Step::Flush), "{step:?}");
        assert_eq!((taken, written.len()), (64 * 1024, 64 * 1024));
    }

    #[test]
    fn the_session_finishes_after_the_last_byte() {
        let (_, written, step) = advance(&mut Echo, b"the last words", true);
        assert_eq!(written, b"the last words");
        assert!(matches!(step, Step::Finish { linger: false }), "{step:?}");
    }

    #[test]
    fn input_is_echoed_during_a_drain() {
        let mut echo = Echo;
        echo.drain();
        let (_, written, step) = advance(&mut echo, b"in flight", false);
        assert_eq!(written, b"in flight");
        assert!(matches!(step, Step::Receive(ReceiveTimeout::KeepAlive)), "{step:?}");
    }
}

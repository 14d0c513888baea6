//! Echo: what comes in goes out. The smallest [`Session`], and the one to read first.
//!
//! A session is one conversation, written as a function: it is given what has arrived, it writes
//! its answer, and it says what it needs next. Somebody else moves the bytes.
//!
//! ```text
//!  peer --> [ inbox ] --> Echo::advance --> [ out ] --> peer
//!                              |
//!                              `--> a Step: more input, room, or the end
//! ```
//!
//! Everything that makes network code hard is missing here, because the connection
//! (`src/server/connection.rs`) has done it before [`Session::advance`] is called:
//!
//! - *A send that takes only a part* is the driver's work. What is in `out` is sent as a whole.
//!   What the session writes meanwhile goes into the next chain, and is sent after it.
//! - *Input that the session cannot take* waits in the inbox. When 64 KiB wait, the connection
//!   stops receiving; then the peer's own sends stop, which is how TCP says "not so fast". A peer
//!   that sends and does not read stalls only itself, and holds at most the inbox and two chains.
//! - *Time* is the server's. The session names one of its timeouts: [`ReceiveTimeout::KeepAlive`]
//!   between two exchanges, [`ReceiveTimeout::Header`] within one. The deadline is set anew
//!   whenever something was sent.
//! - *Sockets, drivers and threads* do not occur. The same code runs on every driver, and in a
//!   test as a plain function call (see the tests below).
//!
//! What is left for a session to keep are two rules. The *chunking law*: however the input is cut
//! into pieces, the output is the same bytes; so it decides nothing by what happens to have come
//! together. And a *bound*: it writes no more at a time than a [`Chain`] should hold, and asks for
//! a [`Step::Flush`] when that is [full](Chain::is_full).
//!
//! `src/http/h1/session.rs` is the same with more to say: there the input is parsed, and an answer
//! may need a file first. It waits for a service that all sessions share ([`Step::Wait`], and then
//! [`Session::answered`]).

use crate::driver::Chain;
use crate::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Session, Step, Timer};

/// Bytes copied between two looks at how full the chain is.
const PIECE: usize = 4096;

/// A conversation that repeats what it hears; see the module documentation.
#[derive(Debug)]
pub struct Echo;

impl Session for Echo {
    /// Sessions of one worker could share settings or a cache here. An echo needs nothing.
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
            // The peer has said all, and hears the last of it before the connection closes.
            return Step::Finish { linger: false };
        }
        Step::Receive(ReceiveTimeout::KeepAlive)
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Finish { linger: false }
    }

    /// The server stops. A stream has no place where it may be cut: what still comes is echoed
    /// until the peer ends, or is quiet for a while, or the server's patience is over; the
    /// connection sees to that.
    fn drain(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::chain::read_all;
    use crate::service::SessionId;
    use crate::session::Now;

    /// One call of the session: what it takes, what it says, and what it needs.
    fn advance(echo: &mut Echo, input: &[u8], ended: bool) -> (usize, Vec<u8>, Step) {
        let (mut inbox, mut out) = (Inbox::new(input, ended), Chain::new());
        let (mut shared, mut asks) = ((), Vec::new());
        let session = SessionId::detached(0);
        let mut cx = Context::new(&mut shared, Now::read(), session, false, &mut asks);
        let step = echo.advance(&mut cx, &mut inbox, &mut out);
        (inbox.taken(), read_all(&mut out), step)
    }

    #[test]
    fn any_split_comes_back_as_the_same_bytes() {
        let mut random = fastrand::Rng::with_seed(3);
        let len = if cfg!(miri) { 3_000 } else { 300_000 };
        let input: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        for piece_max in [7, 5000, 200_000] {
            let mut echo = Echo;
            let (mut output, mut arrived, mut taken) = (Vec::new(), 0, 0);
            while taken < input.len() {
                arrived = (arrived + random.usize(1..=piece_max)).min(input.len());
                let (count, said, _) = advance(&mut echo, &input[taken..arrived], false);
                assert_eq!(count, said.len());
                taken += count;
                output.extend(said);
            }
            assert!(output == input, "pieces of up to {piece_max}");
        }
    }

    #[test]
    fn a_flood_is_echoed_in_turns_of_bounded_size() {
        let flood = vec![b'x'; 1 << 18];
        let (taken, said, step) = advance(&mut Echo, &flood, true);
        assert!(matches!(step, Step::Flush), "{step:?}");
        assert_eq!((taken, said.len()), (64 * 1024, 64 * 1024));
    }

    #[test]
    fn the_end_of_the_input_is_the_end_after_the_last_byte() {
        let (_, said, step) = advance(&mut Echo, b"the last words", true);
        assert_eq!(said, b"the last words");
        assert!(matches!(step, Step::Finish { linger: false }), "{step:?}");
    }

    #[test]
    fn a_drain_cuts_nothing_off() {
        let mut echo = Echo;
        echo.drain();
        let (_, said, step) = advance(&mut echo, b"in hand", false);
        assert_eq!(said, b"in hand");
        assert!(matches!(step, Step::Receive(ReceiveTimeout::KeepAlive)), "{step:?}");
    }
}

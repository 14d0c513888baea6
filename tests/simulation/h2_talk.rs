//! What a client of a world of HTTP/2 says: many requests at once, windows that it opens in its own
//! behaviour, uploads, resets, priorities, pings.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::client::{Client, Leaving};
use crate::common::hpack::Coding;
use crate::common::http2::{Http2Client, request_block};
use crate::common::http2_exchange::{FRAME_MAX, WINDOW, code};
use crate::requests::{Request, request};

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// More than all answers of a world.
const PLENTY: u32 = 1 << 24;

/// The points of the server's budget that a client uses up for its tricks.
const COST_MAX: u64 = 100;

/// How a client opens windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opening {
    /// At the beginning, for all answers.
    Plenty,
    /// Whenever half of it is used.
    Prompt,
    /// Some time after it is closed.
    Late,
    /// The same, in small steps.
    Tiny,
    Never,
}

/// What a client does besides its requests.
#[derive(Debug)]
struct ClientBehaviour {
    opening: Opening,
    /// How many requests it has open at most.
    together: usize,
    cancels: bool,
    resizes: bool,
    prioritises: bool,
    pings: bool,
    /// It sends all at once, and waits for nothing.
    is_eager: bool,
    /// It says GOAWAY when it has begun so many streams.
    leaves_after: usize,
    /// The longest piece of a header block.
    piece: usize,
    scheme: &'static str,
}

/// One side of a conversation; see the module documentation.
pub(crate) struct Talk {
    pub(crate) http: Http2Client,
    pub(crate) requests: Vec<Request>,
    behaviour: ClientBehaviour,
    /// How much of each upload is left.
    uploads: BTreeMap<u32, usize>,
    /// How much of the script's answers was taken.
    heard: usize,
    /// The most streams that were open at once.
    pub(crate) most_open: usize,
    is_leaving: bool,
}

impl Talk {
    /// A client of a crowd, and what it says.
    pub(crate) fn visitor(
        random: &mut Rng,
        names: &[&'static str],
        is_secured: bool,
    ) -> (Client, Self) {
        let count = match random.u8(..10) {
            0 => random.usize(100..180),
            1..4 => random.usize(12..40),
            _ => random.usize(1..12),
        };
        let requests: Vec<Request> = (0..count)
            .map(|_| {
                let name = names[random.usize(..names.len())];
                request(random, name)
            })
            .collect();
        let bytes = 60 * count + requests.iter().map(|request| request.body).sum::<usize>();
        let some = random.usize(..bytes);
        let leaving = match random.u8(..14) {
            0 => Leaving::ResetAfter(some),
            1 => Leaving::VanishAfter(some),
            2 => Leaving::Deaf,
            3 => Leaving::Stall(some),
            4 => Leaving::Stall(usize::MAX),
            5..8 => Leaving::HalfClose,
            8..11 => Leaving::Wait,
            _ => Leaving::CloseWhenServed,
        };
        let behaviour = ClientBehaviour::draw(random, leaving, bytes, count, is_secured);
        let talk = Self::begin(random, behaviour, requests);
        let mut client = Client::new(random, Vec::new(), leaving);
        client.goes_on = true;
        let opening = talk.behaviour.opening;
        client.starves = match leaving {
            Leaving::Stall(_) => opening != Opening::Plenty,
            _ => false,
        };
        (client.fast_enough_for(bytes), talk)
    }

    fn begin(random: &mut Rng, behaviour: ClientBehaviour, requests: Vec<Request>) -> Self {
        let mut settings = Vec::new();
        match behaviour.opening {
            Opening::Plenty => settings.push((INITIAL_WINDOW_SIZE, PLENTY)),
            _ if random.bool() => settings.push((INITIAL_WINDOW_SIZE, size(random))),
            _ => {}
        }
        for setting in [(1, 0), (1, 100_000), (2, 0), (3, 7), (5, 1 << 20), (6, 5000), (99, 99)] {
            if random.u8(..4) == 0 {
                settings.push(setting);
            }
        }
        let mut http = Http2Client::new(&settings);
        if behaviour.opening == Opening::Plenty {
            http.open(0, PLENTY);
        }
        Self {
            http,
            requests,
            behaviour,
            uploads: BTreeMap::new(),
            heard: 0,
            most_open: 0,
            is_leaving: false,
        }
    }

    /// Says the next words.
    pub(crate) fn go_on(&mut self, random: &mut Rng, client: &mut Client) {
        self.hear(client);
        if !client.goes_on {
            return;
        }
        // What waits to be sent is bounded.
        if client.script.len() - client.sent < FRAME_MAX || self.behaviour.is_eager {
            self.ask(random);
            self.upload(random);
            self.open_windows(random);
            self.do_tricks(random);
        }
        let is_complete = self.is_complete();
        if is_complete {
            self.say_farewell(random, client);
        }
        let words = std::mem::take(&mut self.http.out);
        client.extend(&words);
        if is_complete {
            client.goes_on = false;
            let all = client.script.len();
            match &mut client.leaving {
                Leaving::ResetAfter(count) | Leaving::VanishAfter(count) => {
                    *count = all.min(*count);
                }
                _ => {}
            }
        }
    }

    /// Takes what the client has received.
    pub(crate) fn hear(&mut self, client: &Client) {
        self.http.receive(&client.received[self.heard..]);
        self.heard = client.received.len();
    }

    /// Whether the client has said that it begins no more streams.
    pub(crate) fn has_said_goaway(&self) -> bool {
        self.is_leaving
    }

    /// Whether the client has all that it wants.
    pub(crate) fn is_served(&self) -> bool {
        self.has_asked_all() && self.http.is_served() && self.http.has_all_pings()
    }

    /// Whether an answer to the client is not complete.
    pub(crate) fn is_owed(&self) -> bool {
        !self.http.is_served()
    }

    fn has_asked_all(&self) -> bool {
        let all = self.http.exchanges.len() == self.requests.len();
        all || self.is_leaving || !self.http.goaways.is_empty()
    }

    fn is_complete(&self) -> bool {
        let has_asked = self.has_asked_all() && self.uploads.is_empty();
        has_asked && (self.behaviour.is_eager || self.http.is_served())
    }

    /// The last words, after which a client may end its output.
    fn say_farewell(&mut self, random: &mut Rng, client: &Client) {
        match random.u8(..3) {
            0 => {
                self.is_leaving = true;
                self.http.goaway(code::NO_ERROR);
            }
            1 => self.http.ping(),
            _ if client.leaving == Leaving::HalfClose => self.http.ping(),
            _ => {}
        }
    }

    fn open_count(&self) -> usize {
        let is_open = |id: &u32| {
            let exchange = &self.http.exchanges[id];
            !exchange.is_over() || self.uploads.contains_key(id)
        };
        self.http.exchanges.keys().filter(|id| is_open(id)).count()
    }

    fn ask(&mut self, random: &mut Rng) {
        while !self.has_asked_all() && self.open_count() < self.behaviour.together {
            let number = self.http.exchanges.len();
            if number >= self.behaviour.leaves_after {
                self.is_leaving = true;
                return self.http.goaway(code::NO_ERROR);
            }
            self.begin_stream(random, number);
            self.most_open = self.most_open.max(self.open_count());
            if !self.behaviour.is_eager && random.u8(..4) == 0 {
                return;
            }
        }
    }

    fn begin_stream(&mut self, random: &mut Rng, number: usize) {
        let request = &self.requests[number];
        let length = request.body.to_string();
        let priority = priority(random);
        let mut fields = vec![(":method", request.method), (":path", &request.path)];
        fields.insert(random.usize(..3), (":scheme", self.behaviour.scheme));
        fields.push(if random.bool() { (":authority", "h") } else { ("host", "h") });
        let lines = request.wish.lines().to_lowercase();
        fields.extend(lines.lines().filter_map(|line| line.split_once(": ")));
        if self.behaviour.prioritises {
            fields.push(("priority", &priority));
        }
        if request.body > 0 && random.bool() {
            fields.push(("content-length", &length));
        }
        if random.u8(..10) == 0 {
            fields.extend([("te", "trailers"), ("cookie", "a=b"), ("cookie", "c=d")]);
        }
        let coding = [Coding::Plain, Coding::Indexing, Coding::Never][random.usize(..3)];
        let block = request_block(&fields, |_| coding);
        let ends = request.body == 0 && random.u8(..8) > 0;
        let is_head = request.method == "HEAD";
        let id = self.http.request(&block, self.behaviour.piece, ends, is_head);
        if !ends {
            self.uploads.insert(id, request.body);
        }
    }

    fn upload(&mut self, random: &mut Rng) {
        let ids: Vec<u32> = self.uploads.keys().copied().collect();
        for id in ids {
            let exchange = &self.http.exchanges[&id];
            if exchange.reset.is_some() || exchange.cancelled.is_some() {
                self.uploads.remove(&id);
                continue;
            }
            while let Some(left) = self.uploads.get_mut(&id) {
                if !self.behaviour.is_eager && random.bool() {
                    break;
                }
                let room = self.http.room(id);
                let bytes = (*left).min(room).min(random.usize(1..3000));
                let padding = (random.u8(..4) == 0 && room > bytes + 256).then(|| random.u8(..));
                let with_trailers = random.u8(..4) == 0;
                if *left == 0 && with_trailers {
                    self.http.trailers(id, &[("checksum", "none")]);
                    self.uploads.remove(&id);
                    break;
                }
                if bytes == 0 && *left > 0 {
                    break;
                }
                *left -= bytes;
                let ends = *left == 0 && (bytes == 0 || random.bool());
                self.http.upload(id, &vec![b'u'; bytes], padding, ends);
                if ends {
                    self.uploads.remove(&id);
                }
            }
        }
    }

    fn open_windows(&mut self, random: &mut Rng) {
        let low = match self.behaviour.opening {
            Opening::Never => return,
            _ if self.behaviour.is_eager => return,
            Opening::Plenty | Opening::Prompt => WINDOW / 2,
            Opening::Late | Opening::Tiny => 0,
        };
        let is_tiny = self.behaviour.opening == Opening::Tiny;
        let is_open = |id: &u32| !self.http.exchanges[id].is_over();
        let ids: Vec<u32> = self.http.exchanges.keys().copied().filter(is_open).collect();
        for id in ids.into_iter().chain([0]) {
            let granted = self.http.granted(id);
            if granted > low || (low == 0 && random.u8(..3) > 0) {
                continue;
            }
            let step = match self.http.cost < COST_MAX && is_tiny {
                true => random.i64(1..2000),
                false => random.i64(10_000..100_000),
            };
            // A window may be far below zero.
            let bytes = step + if random.bool() { (-granted).max(0) } else { 0 };
            self.http.open(id, bytes as u32);
        }
    }

    fn do_tricks(&mut self, random: &mut Rng) {
        if self.http.cost >= COST_MAX || self.behaviour.is_eager {
            return;
        }
        let behaviour = &self.behaviour;
        let resizes = behaviour.resizes && random.u8(..30) == 0;
        let prioritises = behaviour.prioritises && random.u8(..20) == 0;
        let pings = behaviour.pings && random.u8(..20) == 0;
        let cancels = behaviour.cancels && random.u8(..20) == 0;
        if resizes {
            self.http.settings(&[(INITIAL_WINDOW_SIZE, size(random))]);
        }
        if prioritises {
            let id = random.u32(..self.http.next_id() + 20) | 1;
            self.http.prioritise(id, &priority(random));
        }
        if cancels && self.http.next_id() > 1 {
            let id = random.u32(..self.http.next_id() - 1) | 1;
            self.uploads.remove(&id);
            self.http.reset(id, code::CANCEL);
        }
        if pings {
            self.http.ping();
        }
    }
}

impl ClientBehaviour {
    fn draw(
        random: &mut Rng,
        leaving: Leaving,
        bytes: usize,
        count: usize,
        is_secured: bool,
    ) -> Self {
        let opening = match random.u8(..8) {
            0 | 1 => Opening::Plenty,
            2 | 3 => Opening::Prompt,
            4 | 5 => Opening::Late,
            _ => Opening::Tiny,
        };
        let stays = leaving == Leaving::Stall(usize::MAX);
        let opening = if stays { Opening::Never } else { opening };
        let together = if stays && random.bool() { 200 } else { [1, 3, 10, 30][random.usize(..4)] };
        // Its uploads fit into the first window.
        let could_hurry = leaving == Leaving::HalfClose && bytes < 60_000 && count < 60;
        let is_eager = could_hurry && random.bool();
        Self {
            opening: if is_eager { Opening::Plenty } else { opening },
            together: if is_eager { count } else { together },
            cancels: random.u8(..3) == 0,
            resizes: random.bool(),
            prioritises: random.bool(),
            pings: random.bool(),
            is_eager,
            leaves_after: if random.u8(..10) == 0 { random.usize(..=count) } else { count },
            piece: [1, 10, FRAME_MAX, FRAME_MAX][random.usize(..4)],
            scheme: if is_secured { "https" } else { "http" },
        }
    }
}

/// An initial window.
fn size(random: &mut Rng) -> u32 {
    [0, 1, 100, 5000, 65_535, 1 << 20][random.usize(..6)]
}

fn priority(random: &mut Rng) -> String {
    let incremental = ["", ", i", ", i=?0"][random.usize(..3)];
    format!("u={}{incremental}", random.u8(..8))
}

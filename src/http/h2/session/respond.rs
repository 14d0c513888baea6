//! Responses: they are decided, and written as HEADERS and DATA.

use super::Http2;
use super::receive::SMALL_WINDOW;
use crate::ask::AskId;
use crate::driver::Chain;
use crate::driver::chain::FILES_MAX;
use crate::http::h2::body::Outgoing;
use crate::http::h2::calm::Anomaly;
use crate::http::h2::frame::{
    ConnectionError, ErrorCode, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, write_data_head, write_headers,
    write_reset,
};
use crate::http::h2::hpack::{encode_empty_table, encode_field, encode_status};
use crate::http::h2::request::RequestHead;
use crate::http::h2::stream::{
    AnswerState, Needs, Room, SendingAnswer, Stream, Turn, Upload, WaitingRequest, WaitsFor,
};
use crate::http::h2::window::SendWindow;
use crate::http::records::RequestNote;
use crate::http::semantics::request::Refusal;
use crate::http::site::Sites;
use crate::http::site::access::AccessRefusal;
use crate::http::site::answer::{ResolvedNames, Undecided};
use crate::http::site::decide::{Asker, decide, misdirected};
use crate::http::site::origin::Origin;
use crate::http::site::response::Response;
use crate::http::site::templates::Problem;
use crate::session::Context;

/// The most content of a DATA frame: with its head it fits into a record of TLS.
const DATA_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_HEAD_BYTES;

/// How much content, with the heads of its frames, is written into a chain. It is what a layer
/// protects at a time, and how long an urgent answer waits for others at most.
const CONTENT_BYTES_MAX: usize = 3 * FRAME_BYTES_MAX;

/// How many answers of a connection may keep a file open: as many as a connection of HTTP/1.1
/// ([`FILES_MAX`]), and more as long as the worker has descriptors to spare. Other requests wait.
const FILES_TO_SPARE_MAX: usize = 32;

/// How many requests of a connection may have a lookup running, or keep in use what one has found.
/// Other requests wait, so that one client does not fill the line of all.
const LOOKUPS_MAX: usize = 8;

/// The memory that the content of answers may keep in use, in bytes, beyond that of one answer.
const CONTENT_MEMORY_MAX: u64 = 512 * 1024;

/// What became of a request.
enum Reaction {
    /// Its head is written, and its content too unless some is left.
    Written(Option<Box<SendingAnswer>>),
    /// It waits. It may be known already that it is refused.
    Waits(WaitsFor, Option<AccessRefusal>),
}

impl Http2 {
    /// Answers a request whose head has just arrived.
    pub(super) fn take_request(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        id: u32,
        mut upload: Upload,
        expects_continue: bool,
    ) -> Result<(), ConnectionError> {
        cx.shared.begin_stream();
        if let Upload::Open { announced, is_unwanted, .. } = &mut upload {
            let body_bytes_max = cx.shared.settings.limits.body_bytes_max;
            // A client that waits for 100 gets the final response instead.
            *is_unwanted = expects_continue || announced.is_some_and(|len| len > body_bytes_max);
        }
        let mut stream = self.new_stream(cx, id, upload);
        let mut head = std::mem::take(&mut self.head);
        match self.react(cx, out, &mut stream, &head, None) {
            Reaction::Written(rest) => {
                self.head = head;
                self.written(out, stream, rest);
            }
            Reaction::Waits(waits_for, refusal) => {
                head.shrink_to_fit();
                let mut names = ResolvedNames::default();
                names.keep_refusal(refusal);
                let waiting = Box::new(WaitingRequest { head, names, waits_for });
                stream.answer = AnswerState::Waiting(waiting);
                self.streams.add(stream);
            }
        }
        Ok(())
    }

    /// Answers a request whose fields are too many or too long.
    pub(super) fn refuse_large(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        id: u32,
        upload: Upload,
        refusal: Refusal,
    ) -> Result<(), ConnectionError> {
        cx.shared.begin_stream();
        let mut stream = self.new_stream(cx, id, upload);
        let head = std::mem::take(&mut self.head);
        let rest = self.refuse(cx, out, &mut stream, &head, refusal);
        self.head = head;
        self.written(out, stream, rest);
        self.pay(cx, Anomaly::Fault)
    }

    fn new_stream(&mut self, cx: &Context<'_, Sites>, id: u32, upload: Upload) -> Stream {
        self.was_active = true;
        Stream {
            id,
            answer: AnswerState::Done,
            upload,
            window: SendWindow::new(self.window_of_streams),
            priority: self.first_priority(id),
            began: cx.now.instant,
            progressed: cx.now.instant,
            is_in_chain: false,
            is_reset: false,
        }
    }

    /// Keeps what is left of a stream whose head was written.
    fn written(&mut self, out: &mut Chain, mut stream: Stream, rest: Option<Box<SendingAnswer>>) {
        let id = stream.id;
        let is_sending = rest.is_some();
        stream.answer = rest.map_or(AnswerState::Done, AnswerState::Sending);
        if !is_sending && matches!(stream.upload, Upload::Ended) {
            self.calm.earn();
            self.streams.note_closed(id, false);
            return;
        }
        self.streams.add(stream);
        if !is_sending {
            self.answer_ended(out, id);
        }
    }

    /// Answers requests that have waited and need not wait any more, the most urgent ones first.
    pub(super) fn respond_to_waiting(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        let mut after = Turn::default();
        while !out.is_full() && self.streams.has_waiting() {
            let room = self.room(cx);
            let Some(turn) = self.streams.next_decidable(after, room) else { return Ok(()) };
            after = turn;
            let Some(mut stream) = self.streams.take(turn.id) else { return Ok(()) };
            let AnswerState::Waiting(mut waiting) =
                std::mem::replace(&mut stream.answer, AnswerState::Done)
            else {
                unreachable!("only a request that waits is decidable")
            };
            let names = Some(&waiting.names);
            match self.react(cx, out, &mut stream, &waiting.head, names) {
                Reaction::Written(rest) => {
                    self.written(out, stream, rest);
                    continue;
                }
                Reaction::Waits(waits_for, refusal) => {
                    waiting.names.keep_refusal(refusal);
                    match waits_for {
                        WaitsFor::Lookup(_) => stream.progressed = cx.now.instant,
                        WaitsFor::Turn | WaitsFor::Nothing => {}
                        // What was found is not kept open meanwhile, and is found again.
                        WaitsFor::Room(_) => waiting.names.forget(),
                    }
                    waiting.waits_for = waits_for;
                }
            }
            stream.answer = AnswerState::Waiting(waiting);
            self.streams.add(stream);
        }
        Ok(())
    }

    /// Decides the response to a request, and writes it.
    fn react(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        stream: &mut Stream,
        head: &RequestHead,
        names: Option<&ResolvedNames>,
    ) -> Reaction {
        let limits = cx.shared.settings.limits;
        let understood = match head.understand(&limits) {
            Ok(understood) => understood,
            Err(refusal) => {
                return Reaction::Written(self.refuse(cx, out, stream, head, refusal));
            }
        };
        let request = &understood.request;
        let room = self.room(cx);
        let has_names = names.is_some_and(|names| !names.is_empty());
        let asker = Asker {
            listener: self.listener,
            protection: self.protection.as_ref(),
            draining: self.is_draining(),
            pace: &self.pace,
            head: head.text(),
            // A request that keeps names in use may go on with the next one.
            lookup: (room.lookup || has_names).then_some(AskId(stream.id)),
        };
        let mut origin = Origin::SERVER;
        let response = match decide(cx, &asker, request, names, &mut origin) {
            Ok(response) => response,
            Err(Undecided::Lookup(pending)) => {
                return Reaction::Waits(WaitsFor::Lookup(pending), origin.refusal);
            }
            Err(Undecided::NoTurn) => return Reaction::Waits(WaitsFor::Turn, origin.refusal),
            Err(Undecided::Misdirected(detail)) => misdirected(cx.shared, request.method, detail),
        };
        let content = Outgoing::of(&response);
        if let Some(content) = &content {
            let (has_file, length) = (content.has_file(), content.left());
            let needs = Needs { has_file, bytes: content.memory(), length };
            if !self.streams.may_begin(stream, needs, room) {
                return Reaction::Waits(WaitsFor::Room(needs), origin.refusal);
            }
        }
        let asked = RequestNote {
            line: head.line(),
            head: head.text(),
            host: Some(request.host),
            referer: understood.referer,
            agent: understood.user_agent,
            authorization: request.authorization.single().filter(|_| origin.is_authenticated),
        };
        Reaction::Written(self.write(cx, out, stream, &asked, &response, content, origin))
    }

    fn refuse(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        stream: &mut Stream,
        head: &RequestHead,
        refusal: Refusal,
    ) -> Option<Box<SendingAnswer>> {
        let Refusal { status, reason } = refusal;
        let response = cx.shared.error(Problem { status, detail: reason }).to(head.method());
        let asked = RequestNote { line: head.line(), head: head.text(), ..RequestNote::default() };
        let content = Outgoing::of(&response);
        self.write(cx, out, stream, &asked, &response, content, Origin::SERVER)
    }

    /// Writes the head of a response, and its content if that is short. Returns the rest.
    #[expect(clippy::too_many_arguments, reason = "the log needs all that is known")]
    fn write(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        stream: &mut Stream,
        asked: &RequestNote<'_>,
        response: &Response,
        content: Option<Outgoing>,
        origin: Origin,
    ) -> Option<Box<SendingAnswer>> {
        let start = out.remaining();
        let says_table_size = std::mem::take(&mut self.must_say_table_size);
        self.has_said_table_size |= says_table_size;
        let is_secure = origin.is_secure(self.protection.is_some());
        let common = cx.shared.fields_of_all(cx.now, is_secure, origin.place, response);
        out.copy_with(|out| {
            write_headers(out, stream.id, content.is_none(), |out| {
                if says_table_size {
                    encode_empty_table(out);
                }
                encode_status(out, response.status.code());
                let common = common.into_iter().flat_map(|fields| fields.all().iter());
                for (name, value) in common.chain(response.fields.iter()) {
                    encode_field(out, name, value);
                }
            });
        });
        let content = content.and_then(|content| self.write_short(cx, out, stream, content));
        let record = self.records.as_deref_mut().and_then(|records| {
            let began = stream.began;
            match content {
                None => {
                    let place = [start, out.remaining()];
                    cx.shared.note_stream(records, began, cx.now, asked, response, origin, place);
                    None
                }
                Some(_) => {
                    let head_bytes = out.remaining() - start;
                    cx.shared.pend(records, began, asked, response, origin, head_bytes)
                }
            }
        });
        content.map(|content| {
            let in_chain = out.remaining() - start;
            Box::new(SendingAnswer { content, in_chain, record })
        })
    }

    /// Writes content that is short, if the windows are open for it and nothing more urgent is to
    /// be sent. Returns it if not. The chain may have become full by the head.
    fn write_short(
        &mut self,
        cx: &Context<'_, Sites>,
        out: &mut Chain,
        stream: &mut Stream,
        mut content: Outgoing,
    ) -> Option<Outgoing> {
        let left = content.left();
        if !self.streams.goes_at_once(stream, left, self.at_once()) {
            return Some(content);
        }
        self.streams.note_sending(cx.now.instant);
        let bytes = left as usize;
        out.copy_with(|out| write_data_head(out, stream.id, bytes, true));
        content.write(out, left);
        stream.window.use_up(bytes);
        self.window.use_up(bytes);
        self.unreturned += left;
        None
    }

    /// Writes content of the streams, by their priority.
    pub(super) fn write_content(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        let mut budget = CONTENT_BYTES_MAX;
        while !out.is_full() && self.window.bytes() > 0 && budget > FRAME_HEAD_BYTES {
            let Some(id) = self.streams.next_sender() else { return Ok(()) };
            let Some(stream) = self.streams.get(id) else { return Ok(()) };
            let AnswerState::Sending(answer) = &mut stream.answer else { return Ok(()) };
            let left = answer.content.left();
            let room = stream.window.bytes().min(self.window.bytes());
            let size = DATA_BYTES_MAX.min(budget - FRAME_HEAD_BYTES);
            let bytes = left.min(room.min(size) as u64);
            let is_last = bytes == left;
            out.copy_with(|out| write_data_head(out, id, bytes as usize, is_last));
            let start = out.remaining();
            answer.content.write(out, bytes);
            let earlier = answer.in_chain;
            answer.in_chain += bytes;
            budget -= FRAME_HEAD_BYTES + bytes as usize;
            stream.window.use_up(bytes as usize);
            self.window.use_up(bytes as usize);
            self.unreturned += bytes;
            self.streams.note_served(id, cx.now.instant);
            if bytes as usize == DATA_BYTES_MAX {
                // At its end, a window of any size leaves a remainder, which may be tiny.
                self.calm.earn();
            }
            if is_last {
                self.content_ended(cx, out, id, [start, bytes, earlier]);
            } else if bytes as usize == room && room < SMALL_WINDOW {
                // The client lets only tiny frames through (CVE-2019-9511).
                self.pay(cx, Anomaly::Small)?;
            }
        }
        Ok(())
    }

    /// The last frame of a stream is written: where its content begins in the chain, its bytes, and
    /// how many bytes of the answer come earlier in the chain.
    fn content_ended(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        id: u32,
        place: [u64; 3],
    ) {
        let Some(stream) = self.streams.get(id) else { return };
        let answer = std::mem::replace(&mut stream.answer, AnswerState::Done);
        if let (AnswerState::Sending(answer), Some(records)) = (answer, &mut self.records)
            && let Some(record) = answer.record
        {
            cx.shared.end_pending(records, record, place);
        }
        self.answer_ended(out, id);
    }

    /// An answer is written. Its stream ends, unless the client has more to send.
    pub(super) fn answer_ended(&mut self, out: &mut Chain, id: u32) {
        self.calm.earn();
        let is_ending = self.has_announced_last();
        let Some(stream) = self.streams.get(id) else { return };
        match stream.upload {
            Upload::Ended => {
                self.streams.remove(id, false);
            }
            Upload::Open { .. } if is_ending => self.stop_upload(out, id),
            Upload::Open { .. } => {}
        }
    }

    /// Removes a stream whose answer is written and whose client has nothing more to send.
    pub(super) fn remove_if_done(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        if matches!((&stream.answer, stream.upload), (AnswerState::Done, Upload::Ended)) {
            self.streams.remove(id, false);
        }
    }

    /// The connection is about to end, and what comes for streams that are answered is discarded,
    /// so nobody has to wait for it.
    pub(super) fn stop_answered_uploads(&mut self, out: &mut Chain) {
        while let Some(id) = self.streams.next_answered() {
            self.stop_upload(out, id);
        }
    }

    /// The client is told to stop (RFC 9113 section 8.1).
    fn stop_upload(&mut self, out: &mut Chain, id: u32) {
        out.copy_with(|out| write_reset(out, id, ErrorCode::NoError));
        if let Some(stream) = self.streams.remove(id, true) {
            self.note_on_the_way(stream.upload);
        }
    }

    /// What one more request may take.
    pub(super) fn room(&self, cx: &Context<'_, Sites>) -> Room {
        let (files, bytes) = (self.streams.files(), self.streams.content_bytes());
        let may_spare = files < FILES_TO_SPARE_MAX && cx.shared.has_files_to_spare();
        Room {
            lookup: self.streams.lookups() < LOOKUPS_MAX,
            file: files < FILES_MAX as usize || may_spare,
            bytes: match bytes {
                0 => u64::MAX,
                bytes => CONTENT_MEMORY_MAX.saturating_sub(bytes),
            },
            at_once: self.at_once(),
        }
    }

    /// How long content may be that is written in one go, if the window of its stream allows it.
    fn at_once(&self) -> u64 {
        self.window.bytes().min(DATA_BYTES_MAX) as u64
    }
}

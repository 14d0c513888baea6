//! The frames of the client (RFC 9113 section 6).

use super::late::LateData;
use super::{Http2, Http2State};
use crate::driver::Chain;
use crate::http::h2::calm::Anomaly;
use crate::http::h2::frame::{
    ConnectionError, ErrorCode, FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameHead, PREFACE, flag, kind,
    setting, word, write_ping, write_settings_ack, write_window_update,
};
use crate::http::h2::priority::Priority;
use crate::http::h2::stream::{NotOpen, Upload};
use crate::http::h2::window::SendWindow;
use crate::http::site::Sites;
use crate::session::{Context, Inbox};

/// A WINDOW_UPDATE of fewer bytes only makes work if nothing of the window is used. So does a
/// window that lets only fewer bytes through.
pub(super) const SMALL_WINDOW: usize = 1024;

/// The size of the table of an encoder whose peer says nothing about it (section 6.5.2).
const TABLE_BYTES_DEFAULT: u32 = 4096;

impl Http2 {
    /// Takes frames until none is complete, or the chain is full.
    pub(super) fn take_frames(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        if self.state == Http2State::Preface && !self.take_preface(inbox)? {
            return Ok(());
        }
        while !out.is_full() {
            let bytes = inbox.bytes();
            let Some(head) = FrameHead::parse(bytes) else { return Ok(()) };
            if head.length > FRAME_BYTES_MAX {
                let reason = "A frame is longer than SETTINGS_MAX_FRAME_SIZE allows.";
                return Err(ConnectionError::size(reason));
            }
            let end = FRAME_HEAD_BYTES + head.length;
            let Some(payload) = bytes.get(FRAME_HEAD_BYTES..end) else { return Ok(()) };
            self.take_frame(cx, head, payload, out)?;
            inbox.take(end);
        }
        Ok(())
    }

    /// Whether the preface has arrived (section 3.4).
    fn take_preface(&mut self, inbox: &mut Inbox<'_>) -> Result<bool, ConnectionError> {
        let bytes = inbox.bytes();
        let length = bytes.len().min(PREFACE.len());
        if bytes[..length] != PREFACE[..length] {
            let reason = "The connection does not begin with the preface of HTTP/2.";
            return Err(ConnectionError::protocol(reason));
        }
        if length < PREFACE.len() {
            return Ok(false);
        }
        inbox.take(length);
        self.state = Http2State::Settings;
        Ok(true)
    }

    fn take_frame(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            // Section 6.10.
            let reason = "A header block is interrupted by another frame.";
            return Err(ConnectionError::protocol(reason));
        }
        if self.state == Http2State::Settings {
            if head.kind != kind::SETTINGS || head.has(flag::ACK) {
                let reason = "The first frame is not SETTINGS.";
                return Err(ConnectionError::protocol(reason));
            }
            self.state = Http2State::Open;
        }
        if self.is_given_up(head.stream)
            && matches!(head.kind, kind::PRIORITY | kind::RST_STREAM | kind::WINDOW_UPDATE)
        {
            return self.pay(cx, Anomaly::Small);
        }
        match head.kind {
            kind::DATA => self.take_data(cx, head, payload, out),
            kind::HEADERS => self.take_headers(cx, head, payload, out),
            kind::PRIORITY => self.take_priority(cx, head, payload, out),
            kind::RST_STREAM => self.take_reset(cx, head, payload, out),
            kind::SETTINGS => self.take_settings(cx, head, payload, out),
            kind::PUSH_PROMISE => {
                Err(ConnectionError::protocol("A client cannot send PUSH_PROMISE."))
            }
            kind::PING => self.take_ping(cx, head, payload, out),
            kind::GOAWAY => self.take_goaway(cx, head, payload),
            kind::WINDOW_UPDATE => self.take_window_update(cx, head, payload, out),
            kind::CONTINUATION => self.take_continuation(cx, head, payload, out),
            kind::PRIORITY_UPDATE => self.take_priority_update(cx, head, payload),
            // Frames of unknown types are ignored (section 5.5).
            _ => self.pay(cx, Anomaly::Small),
        }
    }

    /// Takes points from the client's budget.
    pub(super) fn pay(
        &mut self,
        cx: &Context<'_, Sites>,
        anomaly: Anomaly,
    ) -> Result<(), ConnectionError> {
        if self.calm.pay(anomaly) {
            return Ok(());
        }
        if let Some(metrics) = cx.shared.http2_metrics() {
            metrics.calm.add(1);
        }
        let reason = "Too many frames that cause work for nothing: resets, pings, tiny windows.";
        Err(ConnectionError::new(ErrorCode::EnhanceYourCalm, reason))
    }

    fn take_data(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::protocol("DATA belongs to no stream."));
        }
        let content = without_padding(head, payload)?.len() as u64;
        // All of the payload counts, padding too (section 6.9.1).
        if !self.receive_window.take(payload.len()) {
            let reason = "The client has sent more than the window of the connection allows.";
            return Err(ConnectionError::new(ErrorCode::FlowControlError, reason));
        }
        let is_end = head.has(flag::END_STREAM);
        let id = head.stream;
        let late = LateData { content, bytes: payload.len() as u64, is_end };
        if self.is_given_up(id) {
            return self.discard_data(cx, late);
        }
        let body_bytes_max = cx.shared.settings.limits.body_bytes_max;
        let Some(stream) = self.streams.get(id).filter(|stream| !stream.is_reset) else {
            return self.data_of_closed(cx, id, late, out);
        };
        let Upload::Open { announced, received, window, is_unwanted } = &mut stream.upload else {
            return self.reset(cx, out, id, ErrorCode::StreamClosed, Anomaly::Fault);
        };
        if !window.take(payload.len()) {
            return self.reset(cx, out, id, ErrorCode::FlowControlError, Anomaly::Fault);
        }
        *received += content;
        let is_consistent = match *announced {
            Some(announced) if is_end => announced == *received,
            Some(announced) => announced >= *received,
            None => true,
        };
        if !is_consistent {
            // Section 8.1.1.
            return self.reset(cx, out, id, ErrorCode::ProtocolError, Anomaly::Fault);
        }
        *is_unwanted |= *received > body_bytes_max;
        let is_unwanted = *is_unwanted;
        if is_end {
            stream.upload = Upload::Ended;
            self.remove_if_done(id);
        } else if !is_unwanted && let Some(bytes) = window.reopen() {
            out.copy_with(|out| write_window_update(out, id, bytes));
        }
        if content == 0 && !is_end { self.pay(cx, Anomaly::Small) } else { Ok(()) }
    }

    fn take_priority(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        // The priorities of RFC 7540 are ignored, but their frames still have a form (section 6.3).
        if head.stream == 0 {
            return Err(ConnectionError::protocol("PRIORITY belongs to no stream."));
        }
        if payload.len() == 5 {
            return self.pay(cx, Anomaly::Small);
        }
        let is_open = self.streams.get(head.stream).is_some_and(|stream| !stream.is_reset);
        match self.streams.not_open(head.stream) {
            // A stream that was not used yet cannot be reset (section 6.4).
            NotOpen::Idle => Err(ConnectionError::size("PRIORITY does not have 5 bytes.")),
            _ if is_open => {
                self.reset(cx, out, head.stream, ErrorCode::FrameSizeError, Anomaly::Fault)
            }
            _ => self.pay(cx, Anomaly::Fault),
        }
    }

    fn take_reset(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &Chain,
    ) -> Result<(), ConnectionError> {
        if payload.len() != 4 {
            return Err(ConnectionError::size("RST_STREAM does not have 4 bytes."));
        }
        if head.stream == 0 {
            return Err(ConnectionError::protocol("RST_STREAM belongs to no stream."));
        }
        if let Some(metrics) = cx.shared.http2_metrics() {
            metrics.resets_received.add(1);
        }
        if self.streams.get(head.stream).is_none() {
            if self.streams.not_open(head.stream) == NotOpen::Idle {
                let reason = "RST_STREAM comes before its request.";
                return Err(ConnectionError::protocol(reason));
            }
            // It was answered already; the client has had work done for nothing.
            return self.pay(cx, Anomaly::Small);
        }
        self.client_reset(cx, out, head.stream);
        self.pay(cx, Anomaly::Small)
    }

    fn take_settings(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("SETTINGS belongs to a stream."));
        }
        if head.has(flag::ACK) {
            return match payload.is_empty() {
                true => self.pay(cx, Anomaly::Small),
                false => Err(ConnectionError::size("An acknowledgement of SETTINGS has content.")),
            };
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(ConnectionError::size("SETTINGS ends within a parameter."));
        }
        let mut window = self.window_of_streams;
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            self.take_setting(u16::from_be_bytes([*a, *b]), value, &mut window)?;
        }
        let by = i64::from(window) - i64::from(self.window_of_streams);
        self.window_of_streams = window;
        if by != 0 {
            for stream in self.streams.iter_mut() {
                stream.window.change(by).map_err(|_| {
                    let reason = "SETTINGS make the window of a stream too large.";
                    ConnectionError::new(ErrorCode::FlowControlError, reason)
                })?;
            }
        }
        out.copy_with(write_settings_ack);
        self.pay(cx, Anomaly::Small)
    }

    fn take_setting(
        &mut self,
        name: u16,
        value: u32,
        window: &mut u32,
    ) -> Result<(), ConnectionError> {
        const TABLE_SIZE: u16 = 1;
        let range = match name {
            TABLE_SIZE => {
                // The encoder uses no table, but has to say so (RFC 7541 section 4.2).
                self.must_say_table_size |=
                    value < TABLE_BYTES_DEFAULT && !self.has_said_table_size;
                return Ok(());
            }
            setting::ENABLE_PUSH | setting::NO_RFC7540_PRIORITIES => 0..=1,
            setting::MAX_FRAME_SIZE => FRAME_BYTES_MAX as u32..=0x00ff_ffff,
            setting::INITIAL_WINDOW_SIZE if value > 0x7fff_ffff => {
                let reason = "SETTINGS_INITIAL_WINDOW_SIZE is too large.";
                return Err(ConnectionError::new(ErrorCode::FlowControlError, reason));
            }
            setting::INITIAL_WINDOW_SIZE => {
                *window = value;
                return Ok(());
            }
            // Others concern a client, or are unknown (section 6.5.2).
            _ => return Ok(()),
        };
        match range.contains(&value) {
            true => Ok(()),
            false => Err(ConnectionError::protocol("A parameter of SETTINGS is out of its range.")),
        }
    }

    fn take_ping(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("PING belongs to a stream."));
        }
        let Ok(opaque) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::size("PING does not have 8 bytes."));
        };
        if head.has(flag::ACK) {
            self.ping_acknowledged(out, opaque);
        } else {
            out.copy_with(|out| write_ping(out, true, opaque));
        }
        self.pay(cx, Anomaly::Small)
    }

    fn take_goaway(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::protocol("GOAWAY belongs to a stream."));
        }
        if payload.len() < 8 {
            return Err(ConnectionError::size("GOAWAY is too short."));
        }
        self.is_leaving = true;
        self.pay(cx, Anomaly::Small)
    }

    fn take_window_update(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        let (4, Some(increment)) = (payload.len(), word(payload)) else {
            return Err(ConnectionError::size("WINDOW_UPDATE does not have 4 bytes."));
        };
        let increment = increment & 0x7fff_ffff;
        let id = head.stream;
        if id == 0 {
            let is_needless = is_needless(self.window, increment);
            if increment == 0 {
                return Err(ConnectionError::protocol("WINDOW_UPDATE opens nothing."));
            }
            self.window.open(increment).map_err(|_| {
                let reason = "WINDOW_UPDATE makes the window of the connection too large.";
                ConnectionError::new(ErrorCode::FlowControlError, reason)
            })?;
            return if is_needless { self.pay(cx, Anomaly::Small) } else { Ok(()) };
        }
        let Some(stream) = self.streams.get(id).filter(|stream| !stream.is_reset) else {
            return match self.streams.not_open(id) {
                NotOpen::Idle => {
                    Err(ConnectionError::protocol("WINDOW_UPDATE comes before its request."))
                }
                // It may have been on its way when the stream was closed (section 5.1). Clients
                // return what they have got, in pieces of any size, but not of nothing.
                _ => match self.unreturned.checked_sub(increment.into()) {
                    Some(rest) if increment > 0 => {
                        self.unreturned = rest;
                        Ok(())
                    }
                    _ => self.pay(cx, Anomaly::Small),
                },
            };
        };
        let is_needless = is_needless(stream.window, increment);
        if increment == 0 {
            return self.reset(cx, out, id, ErrorCode::ProtocolError, Anomaly::Fault);
        }
        if stream.window.open(increment).is_err() {
            return self.reset(cx, out, id, ErrorCode::FlowControlError, Anomaly::Fault);
        }
        if is_needless { self.pay(cx, Anomaly::Small) } else { Ok(()) }
    }

    fn take_priority_update(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        // RFC 9218 section 7.1.
        if head.stream != 0 {
            return Err(ConnectionError::protocol("PRIORITY_UPDATE belongs to a stream."));
        }
        let Some((id, value)) = payload.split_at_checked(4) else {
            return Err(ConnectionError::size("PRIORITY_UPDATE is too short."));
        };
        let id = word(id).unwrap_or(0) & 0x7fff_ffff;
        if id.is_multiple_of(2) {
            let reason = "PRIORITY_UPDATE is for a stream that no client can open.";
            return Err(ConnectionError::protocol(reason));
        }
        self.streams.prioritise(id, Priority::parse(value));
        self.pay(cx, Anomaly::Small)
    }
}

/// Whether a WINDOW_UPDATE only makes work: it is small, and nothing of the window is used. Clients
/// that mean well open what was used, in pieces of any size.
fn is_needless(window: SendWindow, increment: u32) -> bool {
    (increment as usize) < SMALL_WINDOW && window.is_largest()
}

/// The content of a frame that may be padded (sections 6.1 and 6.2).
pub(super) fn without_padding(head: FrameHead, payload: &[u8]) -> Result<&[u8], ConnectionError> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let Some((padding, content)) = payload.split_first() else {
        return Err(ConnectionError::size("A padded frame has no room for its padding."));
    };
    let length = content.len().checked_sub(usize::from(*padding));
    let length =
        length.ok_or(ConnectionError::protocol("The padding is longer than its frame."))?;
    Ok(&content[..length])
}

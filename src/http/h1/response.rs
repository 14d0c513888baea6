//! Writes responses in HTTP/1.1 (RFC 9112 section 4).

use super::Framing;
use crate::driver::Chain;
use crate::http::semantics::fields::{Fields, PreparedFields};
use crate::http::semantics::status::Status;
use crate::http::site::response::{Body, BodyPiece, Response};

/// The status line of most responses.
const OK_LINE: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// Appends a response to a chain. `common` are the fields that do not depend on the request.
pub(super) fn write(out: &mut Chain, common: [&Fields; 2], framing: Framing, response: &Response) {
    let Response { status, fields, body } = response;
    let all_prepared = fields.all_prepared();
    // If all prepared fields are sent, they and the body after them are one piece of memory.
    let whole = match (all_prepared, body) {
        (Some((_, prepared)), Body::Prepared) => Some(prepared.bytes()),
        _ => None,
    };
    let short = whole.filter(|bytes| Chain::copies(bytes.len()));
    out.copy_with(|buffer| {
        write_status_line(buffer, *status);
        common.iter().for_each(|fields| append(buffer, fields.all().as_h1()));
        append(buffer, framing.connection_field());
        match all_prepared {
            Some((own, _)) => append(buffer, own.all().as_h1()),
            None => {
                fields.lines().iter().for_each(|lines| append(buffer, lines.as_h1()));
                buffer.extend_from_slice(b"\r\n");
            }
        }
        if let Some(bytes) = short {
            buffer.extend_from_slice(bytes);
        }
    });
    if short.is_some() {
        return;
    }
    match (all_prepared, body) {
        (Some((_, prepared)), Body::Prepared) => out.share(prepared.bytes()),
        (Some((_, prepared)), body) => {
            out.copy(&prepared.bytes()[..prepared.head_len()]);
            write_body(out, body);
        }
        (None, Body::Prepared) => {
            out.copy(fields.prepared().map_or(&[], PreparedFields::body));
        }
        (None, body) => write_body(out, body),
    }
}

/// Appends bytes, which often are none: then nothing is called.
#[inline]
fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        buffer.extend_from_slice(bytes);
    }
}

fn write_status_line(buffer: &mut Vec<u8>, status: Status) {
    if status == Status::Ok {
        return buffer.extend_from_slice(OK_LINE);
    }
    buffer.extend_from_slice(b"HTTP/1.1 ");
    buffer.extend_from_slice(&status.digits());
    buffer.push(b' ');
    buffer.extend_from_slice(status.reason().as_bytes());
    buffer.extend_from_slice(b"\r\n");
}

fn write_body(out: &mut Chain, body: &Body) {
    match body {
        // A prepared body was written together with the fields.
        Body::None | Body::Prepared => {}
        Body::Memory(bytes, range) => out.copy(&bytes[range.start as usize..range.end as usize]),
        Body::File(file, range) => out.file(file, range.clone()),
        Body::Multipart(parts) => {
            for piece in parts.pieces() {
                match piece {
                    BodyPiece::Bytes(bytes) => out.copy(&bytes),
                    BodyPiece::Content(content) => write_body(out, &content),
                }
            }
        }
    }
}

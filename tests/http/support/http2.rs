//! A client of HTTP/2 over sockets, with or without TLS. It blocks, and checks every frame.

use std::net::SocketAddr;

use super::client::Client;
use crate::common::hpack::Coding;
use crate::common::http2::{Http2Client, request_block};
use crate::common::http2_exchange::{Exchange, FRAME_MAX, WINDOW};

/// A connection.
pub(crate) struct Http2Connection {
    client: Client,
    pub(crate) http: Http2Client,
    /// Whether it opens windows again.
    pub(crate) opens_windows: bool,
}

impl Http2Connection {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(Client::connect_http2(address))
    }

    /// Behind a proxy that sends this header before everything else.
    pub(crate) fn connect_behind(address: SocketAddr, header: &[u8]) -> Self {
        Self::over(Client::connect_http2_behind(address, header))
    }

    /// Over a connection on which nothing was sent.
    fn over(client: Client) -> Self {
        Self { client, http: Http2Client::new(&[]), opens_windows: true }
    }

    /// Begins a request; the fields may include `host`, else `:authority` is added.
    pub(crate) fn begin(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> u32 {
        let scheme = if super::tls::is_on() { "https" } else { "http" };
        let mut all = vec![(":method", method), (":scheme", scheme), (":path", path)];
        if !fields.iter().any(|field| field.0 == "host" || field.0 == ":authority") {
            all.push((":authority", "h"));
        }
        all.extend_from_slice(fields);
        let block = request_block(&all, |_| Coding::Plain);
        let id = self.http.request(&block, FRAME_MAX, body.is_none(), method == "HEAD");
        if let Some(body) = body {
            self.http.upload(id, body, None, true);
        }
        id
    }

    /// Sends what is to be sent. A server that has ended does not take it.
    pub(crate) fn flush(&mut self) {
        let out = std::mem::take(&mut self.http.out);
        if !out.is_empty() {
            self.client.try_send(out);
        }
    }

    /// Reads some; `false` at the end.
    pub(crate) fn read_some(&mut self) -> bool {
        self.flush();
        let bytes = self.client.read_some().expect("the connection ends in order");
        self.http.receive(&bytes);
        if self.opens_windows {
            self.open_windows();
        }
        self.flush();
        !bytes.is_empty()
    }

    fn open_windows(&mut self) {
        let open = self.http.exchanges.iter().filter(|(_, exchange)| !exchange.is_over());
        let ids: Vec<u32> = open.map(|(id, _)| *id).chain([0]).collect();
        for id in ids {
            let used = WINDOW - self.http.granted(id);
            if used > WINDOW / 2 {
                self.http.open(id, used as u32);
            }
        }
    }

    /// Reads until something holds, and fails if the connection ends before.
    pub(crate) fn read_until(&mut self, what: &str, holds: impl Fn(&Http2Client) -> bool) {
        self.flush();
        while !holds(&self.http) {
            assert!(self.read_some(), "{what}: {:?}", self.http.goaways);
        }
    }

    /// Reads the whole response of a stream.
    pub(crate) fn finish(&mut self, id: u32) -> &Exchange {
        self.read_until("the response comes", |http| http.exchanges[&id].is_over());
        let exchange = &self.http.exchanges[&id];
        assert!(exchange.has_ended, "stream {id} was reset: {:?}", exchange.reset);
        exchange
    }

    /// One request and its response.
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> &Exchange {
        let id = self.begin(method, path, fields, None);
        self.finish(id)
    }

    /// The connection itself.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }

    /// Reads to the end of the connection.
    pub(crate) fn read_to_end(&mut self) {
        while self.read_some() {}
        assert!(self.http.is_at_frame(), "the connection ends with a frame");
    }
}

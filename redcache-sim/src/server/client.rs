//! One connected client: what it sent, what it will be sent, and what it asked of its connection.

use bytes::Bytes;

use super::reply::{Protocol, write_invalidation};
use super::request::RequestReader;

/// Names one connection to a server; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(super) u64);

impl ClientId {
    /// The number that `CLIENT ID` answers.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// How a client wants its reads tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracking {
    /// The client's own changes are not reported to it.
    pub noloop: bool,
    /// Only the command after `CLIENT CACHING YES` is tracked.
    pub optin: bool,
    /// `CLIENT CACHING YES` was said and holds for the next command.
    pub caching: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) reader: RequestReader,
    pub(super) output: Vec<u8>,
    /// The connection ends as soon as `output` is sent.
    pub(super) closing: bool,
    /// The server's outbox knows that this client wants something.
    pub(super) queued: bool,
    pub(super) protocol: Protocol,
    pub(super) database: usize,
    pub(super) name: Bytes,
    pub(super) authenticated: bool,
    pub(super) tracking: Option<Tracking>,
    /// `ASKING` was said and holds for the next command.
    pub(super) is_asking: bool,
    /// Reads may be answered by a replica.
    pub(super) is_reader: bool,
}

impl Client {
    pub(super) fn new(authenticated: bool) -> Self {
        Self {
            reader: RequestReader::default(),
            output: Vec::new(),
            closing: false,
            queued: false,
            protocol: Protocol::Resp2,
            database: 0,
            name: Bytes::new(),
            authenticated,
            tracking: None,
            is_asking: false,
            is_reader: false,
        }
    }

    /// Puts everything back that a client may have set, as `RESET` does.
    pub(super) fn reset(&mut self, authenticated: bool) {
        self.protocol = Protocol::Resp2;
        self.database = 0;
        self.name = Bytes::new();
        self.authenticated = authenticated;
        self.tracking = None;
        self.is_asking = false;
        self.is_reader = false;
    }

    /// Tells the client that `key`, or everything, has changed. Only RESP3 has a way to say so.
    pub(super) fn push_invalidation(&mut self, key: Option<&[u8]>) {
        if self.protocol == Protocol::Resp3 && !self.closing {
            write_invalidation(key, &mut self.output);
        }
    }
}

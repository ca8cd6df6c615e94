//! One connected client: its input, its output and its settings.

use bytes::Bytes;

use super::reply::{Protocol, write_invalidation};
use super::request::RequestReader;
use super::transaction::Transaction;

/// The number of a connection; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(super) u64);

impl ClientId {
    /// Return the number that `CLIENT ID` replies.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// The tracking options of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracking {
    /// The client's own changes are not sent to it.
    pub noloop: bool,
    /// Only the command after `CLIENT CACHING YES` is tracked.
    pub optin: bool,
    /// The command after `CLIENT CACHING NO` is not tracked.
    pub optout: bool,
    /// `CLIENT CACHING` applies to the next command.
    pub caching: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) reader: RequestReader,
    pub(super) output: Vec<u8>,
    /// The connection ends once `output` is sent.
    pub(super) closing: bool,
    /// The client is in the server's outbox.
    pub(super) queued: bool,
    pub(super) protocol: Protocol,
    pub(super) database: usize,
    pub(super) name: Bytes,
    pub(super) authenticated: bool,
    pub(super) tracking: Option<Tracking>,
    /// `ASKING` applies to the next command.
    pub(super) is_asking: bool,
    /// The client accepts reads from a replica.
    pub(super) is_reader: bool,
    /// The commands since `MULTI`.
    pub(super) transaction: Option<Transaction>,
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
            transaction: None,
        }
    }

    /// Reset the client's settings, as `RESET` does.
    pub(super) fn reset(&mut self, authenticated: bool) {
        self.protocol = Protocol::Resp2;
        self.database = 0;
        self.name = Bytes::new();
        self.authenticated = authenticated;
        self.tracking = None;
        self.is_asking = false;
        self.is_reader = false;
        self.transaction = None;
    }

    /// Push an invalidation of `key`, or of all keys. RESP2 has no push.
    pub(super) fn push_invalidation(&mut self, key: Option<&[u8]>) {
        if self.protocol == Protocol::Resp3 && !self.closing {
            write_invalidation(key, &mut self.output);
        }
    }
}

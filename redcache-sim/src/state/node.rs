//! One server of the world, and what the world remembers of it.

use std::collections::BTreeMap;

use crate::clock::Micros;
use crate::server::{ClientId, Server};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) timer_at: Option<Micros>,
    /// The links that it has accepted.
    pub(crate) clients: BTreeMap<ClientId, usize>,
    /// Somebody else who uses the same server.
    pub(crate) foreign_client: Option<ClientId>,
    /// Connection attempts fail until then.
    pub(crate) refused_until: Micros,
    /// Connection attempts get no answer until then.
    pub(crate) hanging_until: Micros,
    /// How many commands the server was told to refuse.
    pub(crate) rejections: u32,
}

impl Node {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            timer_at: None,
            clients: BTreeMap::new(),
            foreign_client: None,
            refused_until: 0,
            hanging_until: 0,
            rejections: 0,
        }
    }
}

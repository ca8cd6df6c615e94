//! One server and its links.

use std::collections::BTreeMap;

use crate::clock::Micros;
use crate::server::{ClientId, Server};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) timer_at: Option<Micros>,
    /// The accepted links.
    pub(crate) clients: BTreeMap<ClientId, usize>,
    /// The client that runs foreign commands.
    pub(crate) foreign_client: Option<ClientId>,
    /// The time until which dials are refused.
    pub(crate) refused_until: Micros,
    /// The time until which dials hang.
    pub(crate) hanging_until: Micros,
    /// The number of refusals set on the server.
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

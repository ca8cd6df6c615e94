//! The addresses behind a host name. One that accepts a connection and does not serve it is tried
//! last from then on.

use std::collections::VecDeque;

use super::id::ConnId;
use crate::api::config::Address;

/// The largest number of remembered addresses. Beyond it, the oldest is forgotten.
const FAILED_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Peers {
    /// The connections to addresses that a name was resolved to.
    connected: Vec<Connected>,
    /// The addresses whose server did not complete the handshake, or was left. The oldest failure
    /// comes first.
    failed: VecDeque<Address>,
}

#[derive(Debug)]
struct Connected {
    conn: ConnId,
    peer: Address,
    /// The number of addresses that follow this one and have not failed.
    others: u32,
    is_ready: bool,
}

impl Peers {
    /// Order addresses: the failed ones come last, the oldest failure first.
    pub(super) fn order(&self, peers: &mut [Address]) {
        peers.sort_by_key(|peer| self.failure(peer).map_or(0, |place| place + 1));
    }

    fn failure(&self, peer: &Address) -> Option<usize> {
        self.failed.iter().position(|failed| failed == peer)
    }

    /// Record the address of a new connection, and the addresses that follow in the order.
    pub(super) fn on_connected(&mut self, conn: ConnId, peer: Address, rest: &[Address]) {
        let others = rest.iter().filter(|other| self.failure(other).is_none()).count();
        // A name has few addresses.
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        self.connected.push(Connected { conn, peer, others, is_ready: false });
    }

    /// Return the address of a connection.
    pub(super) fn of(&self, conn: ConnId) -> Option<&Address> {
        self.get(conn).map(|connected| &connected.peer)
    }

    fn get(&self, conn: ConnId) -> Option<&Connected> {
        self.connected.iter().find(|connected| connected.conn == conn)
    }

    /// Return the number of addresses that are left to try if this connection never gets ready.
    pub(super) fn others(&self, conn: ConnId) -> u32 {
        self.get(conn).filter(|connected| !connected.is_ready).map_or(0, |it| it.others)
    }

    pub(super) fn on_ready(&mut self, conn: ConnId) {
        if let Some(connected) = self.connected.iter_mut().find(|it| it.conn == conn) {
            connected.is_ready = true;
            self.failed.retain(|failed| *failed != connected.peer);
        }
    }

    /// Record the end of a connection. `is_left` is `true` if the router has hung up.
    pub(super) fn on_ended(&mut self, conn: ConnId, is_left: bool) {
        let Some(place) = self.connected.iter().position(|it| it.conn == conn) else { return };
        let Connected { peer, is_ready, .. } = self.connected.swap_remove(place);
        if is_ready && !is_left {
            return;
        }
        self.failed.retain(|failed| *failed != peer);
        if self.failed.len() == FAILED_MAX {
            self.failed.pop_front();
        }
        self.failed.push_back(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::NodeId;
    use super::*;

    fn peer(port: u16) -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    fn conn(number: u64) -> ConnId {
        ConnId { number, node: NodeId::ONLY }
    }

    fn ordered(peers: &Peers) -> Vec<Address> {
        let mut all = vec![peer(1), peer(2), peer(3)];
        peers.order(&mut all);
        all
    }

    #[test]
    fn an_address_that_does_not_serve_comes_last_until_it_does() {
        let mut peers = Peers::default();
        assert_eq!(ordered(&peers), [peer(1), peer(2), peer(3)]);
        peers.on_connected(conn(1), peer(1), &[peer(2), peer(3)]);
        assert_eq!((peers.of(conn(1)), peers.others(conn(1))), (Some(&peer(1)), 2));
        peers.on_ended(conn(1), false);
        assert_eq!(ordered(&peers), [peer(2), peer(3), peer(1)]);
        // The second one refuses, so the third is connected.
        peers.on_connected(conn(2), peer(3), &[peer(1)]);
        assert_eq!(peers.others(conn(2)), 0);
        peers.on_ended(conn(2), true);
        assert_eq!(ordered(&peers), [peer(2), peer(1), peer(3)]);
        peers.on_connected(conn(3), peer(1), &[peer(3)]);
        peers.on_ready(conn(3));
        assert_eq!(ordered(&peers), [peer(1), peer(2), peer(3)]);
        peers.on_ended(conn(3), false);
        assert_eq!(ordered(&peers), [peer(1), peer(2), peer(3)]);
    }

    #[test]
    fn a_ready_server_that_is_left_comes_last() {
        let mut peers = Peers::default();
        peers.on_connected(conn(1), peer(1), &[peer(2)]);
        peers.on_ready(conn(1));
        assert_eq!(peers.others(conn(1)), 0);
        peers.on_ended(conn(1), true);
        assert_eq!(ordered(&peers), [peer(2), peer(3), peer(1)]);
        assert_eq!(peers.of(conn(1)), None);
    }

    #[test]
    fn the_number_of_remembered_addresses_is_limited() {
        let mut peers = Peers::default();
        for port in 0..100 {
            peers.on_connected(conn(1), peer(port), &[]);
            peers.on_ended(conn(1), false);
        }
        assert_eq!((peers.failed.len(), peers.connected.len()), (FAILED_MAX, 0));
    }
}

//! The connection to one server, from the first dial attempt to its loss.

use std::time::{Duration, Instant};

use super::context::{Context, earliest};
use super::effects::{Action, Effects};
use super::id::ConnId;
use crate::api::config::{Address, Config};
use crate::api::error::Error;
use crate::protocol::topology::Question;
use crate::wire::conn::{Conn, Expectation};
use crate::wire::inbound::Inbound;
use crate::wire::input::Input;
use crate::wire::issued::Issued;

/// The connection of a node.
#[derive(Debug)]
pub(super) enum Link {
    Down { dial_at: Instant },
    Dialing { id: ConnId, until: Instant },
    Open { id: ConnId, conn: Box<Conn>, until: Instant },
}

/// A message of the server, or the end of the stream.
#[derive(Debug)]
pub(super) enum Received {
    Nothing,
    Inbound(Inbound),
    /// The connection must be dropped. The command's reply is probably the cause.
    ProtocolError(Error, Option<Issued>),
}

impl Link {
    pub(super) fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    fn ready(&self) -> Option<&Conn> {
        match self {
            Self::Open { conn, .. } if conn.is_ready() => Some(conn),
            Self::Open { .. } | Self::Down { .. } | Self::Dialing { .. } => None,
        }
    }

    /// Return the connection if it accepts commands.
    pub(super) fn ready_mut(&mut self) -> Option<&mut Conn> {
        match self {
            Self::Open { conn, .. } if conn.is_ready() || mutant!(HandshakeNotGated) => Some(conn),
            Self::Open { .. } | Self::Down { .. } | Self::Dialing { .. } => None,
        }
    }

    pub(super) fn open(&self) -> Option<(ConnId, &Conn)> {
        match self {
            Self::Open { id, conn, .. } => Some((*id, conn)),
            Self::Down { .. } | Self::Dialing { .. } => None,
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<(ConnId, &mut Conn)> {
        match self {
            Self::Open { id, conn, .. } => Some((*id, conn)),
            Self::Down { .. } | Self::Dialing { .. } => None,
        }
    }

    /// Return the connection, or the attempt to connect.
    pub(super) fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Dialing { id, .. } | Self::Open { id, .. } => Some(*id),
            Self::Down { .. } => None,
        }
    }

    /// Return whether `id` names this connection, or the attempt to connect.
    pub(super) fn has(&self, id: ConnId) -> bool {
        match self {
            Self::Dialing { id: own, .. } | Self::Open { id: own, .. } => *own == id,
            Self::Down { .. } => false,
        }
    }

    /// Start a dial attempt if one is due.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        id: ConnId,
        address: &Address,
        config: &Config,
    ) -> Option<Action> {
        match self {
            Self::Down { dial_at } if *dial_at <= now => {
                *self = Self::Dialing { id, until: now + config.connect_timeout };
                Some(Action::Dial { conn: id, address: address.clone() })
            }
            Self::Down { .. } | Self::Dialing { .. } | Self::Open { .. } => None,
        }
    }

    /// Begin the handshake. Return `false` if this attempt was abandoned before.
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        id: ConnId,
        (expected, config): (Expectation, &Config),
    ) -> bool {
        match *self {
            Self::Dialing { id: own, until } if own == id => {
                let conn = Box::new(Conn::open(now, expected, config));
                *self = Self::Open { id, conn, until };
                true
            }
            Self::Dialing { .. } | Self::Open { .. } | Self::Down { .. } => false,
        }
    }

    /// Leave an equal share of the time for the handshake to each of `others` addresses.
    pub(super) fn share_time(&mut self, now: Instant, others: u32) {
        if let Self::Open { until, .. } = self {
            *until = now + until.saturating_duration_since(now) / others.saturating_add(1);
        }
    }

    /// Return the next message of the server on connection `id`.
    pub(super) fn receive(
        &mut self,
        ctx: Context<'_>,
        id: ConnId,
        input: &mut Input<'_>,
    ) -> Received {
        let Some((_, conn)) = self.open_mut().filter(|(own, _)| *own == id) else {
            return Received::Nothing;
        };
        match conn.next(ctx.now, input, ctx.config, ctx.lock_settings) {
            Ok(None) => Received::Nothing,
            Ok(Some(inbound)) => Received::Inbound(inbound),
            Err(error) => Received::ProtocolError(error, conn.take_front()),
        }
    }

    /// Query the topology from the node. Return the connection on which the answer will arrive.
    pub(super) fn ask_topology(&mut self, question: Question) -> Option<ConnId> {
        let (id, conn) = self.open_mut().filter(|(_, conn)| conn.is_ready())?;
        conn.ask_topology(question);
        Some(id)
    }

    /// Return the instant at which the last request was sent, if every request is answered.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.ready()?.idle_since()
    }

    /// Probe a connection that was idle for the time `after`.
    pub(super) fn probe(&mut self, now: Instant, after: Option<Duration>) {
        let since = self.idle_since();
        if let (Some(after), Some(since)) = (after, since)
            && since + after <= now
            && let Some(conn) = self.ready_mut()
        {
            conn.probe(now);
        }
    }

    /// Probe a silent connection. Return the connection that must be given up, and the reason.
    pub(super) fn check(
        &mut self,
        now: Instant,
        config: &Config,
    ) -> Option<(ConnId, &'static str)> {
        match self {
            Self::Dialing { id, until } if *until <= now => {
                Some((*id, "no connection within `connect_timeout`"))
            }
            Self::Open { id, conn, until } if !conn.is_ready() && *until <= now => {
                let why = if conn.awaits_credentials() {
                    "no credentials from the provider within `connect_timeout`"
                } else {
                    "no handshake within `connect_timeout`"
                };
                Some((*id, why))
            }
            Self::Open { id, conn, .. } => conn
                .heartbeat(now, config.heartbeat_interval)
                .then_some((*id, "no sign of life within twice `heartbeat_interval`")),
            Self::Down { .. } | Self::Dialing { .. } => None,
        }
    }

    /// Return the instant at which the next [`check`](Self::check) or [`dial`](Self::dial) is due.
    pub(super) fn poll_timeout(&self, redials: bool, config: &Config) -> Option<Instant> {
        match self {
            Self::Down { .. } if !redials => None,
            Self::Down { dial_at } => Some(*dial_at),
            Self::Dialing { until, .. } => Some(*until),
            Self::Open { conn, until, .. } if !conn.is_ready() => Some(*until),
            Self::Open { conn, .. } => {
                let overdue = conn.oldest_issued().map(|issued| issued + config.command_timeout);
                let heartbeat = Some(conn.heartbeat_at(config.heartbeat_interval));
                earliest(earliest(overdue, heartbeat), conn.credentials_due_at())
            }
        }
    }

    /// Return whether the server may have hung up because it does not know `HELLO` or `CLIENT`.
    pub(super) fn is_at_hello(&self) -> bool {
        self.open().is_some_and(|(_, conn)| conn.is_at_hello())
    }

    /// Return whether the server has accepted the connection and not answered yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.open().is_some_and(|(_, conn)| conn.is_unanswered())
    }

    /// Give the connection up, to dial again at `dial_at`. Return its unanswered commands, oldest
    /// first, and whether it was ready.
    pub(super) fn on_disconnect(&mut self, dial_at: Instant) -> (Vec<Issued>, bool) {
        match std::mem::replace(self, Self::Down { dial_at }) {
            Self::Open { conn, .. } => {
                let was_ready = conn.is_ready();
                (conn.end().collect(), was_ready)
            }
            Self::Down { .. } | Self::Dialing { .. } => (Vec::new(), false),
        }
    }

    /// Hang up. Return the unanswered commands, oldest first.
    pub(super) fn hang_up(&mut self, effects: &mut Effects) -> Vec<Issued> {
        let dial_at = match self {
            Self::Down { dial_at } => *dial_at,
            Self::Dialing { until, id } | Self::Open { until, id, .. } => {
                effects.actions.push_back(Action::HangUp { conn: *id });
                *until
            }
        };
        self.on_disconnect(dial_at).0
    }
}

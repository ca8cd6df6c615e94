//! Discovery of a primary by Redis Sentinel: one connection to one sentinel at a time.
//!
//! ```text
//!  Down ── dial ──▶ Dialing ── made ──▶ Open: HELLO, SUBSCRIBE, primary?, sentinels?
//!   ▲                  │                  │  then: primary? every interval, and whenever asked to
//!   └── next sentinel ─┴── lost, silent, ─┘
//!                          or distrusted
//! ```
//!
//! An address from a sentinel is a hint. The server there must confirm in its handshake that it is
//! a primary.

use std::time::{Duration, Instant};

use super::advice;
use super::context::Context;
use super::id::{ConnId, Transmit};
use crate::api::config::{Address, Config, Servers};
use crate::api::error::{Error, ErrorKind};
use crate::rng::Rng;
use crate::wire::backoff::Backoff;
use crate::wire::input::Input;

mod session;
mod settings;

use session::{Session, Told};
pub(super) use settings::Settings;

/// The largest number of sentinels that are remembered, from the settings and from other sentinels.
const ADDRESSES_MAX: usize = 64;
/// The interval of the queries for the primary while the router has no primary.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// News for the router.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// The address that the sentinel names for the primary.
    Primary(Address),
    /// The sentinel has answered a login.
    LoggedIn { is_accepted: bool },
    /// Every sentinel has failed since one last answered.
    NoneAnswers(Error),
}

/// The reason to leave a sentinel.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was lost or could not be made.
    Lost(Error),
    /// The sentinel's answer, its silence, or the failure of the credentials provider.
    Told(Error),
}

#[derive(Debug)]
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    /// The index of the sentinel that is used, or is to be used next.
    current: usize,
    link: Link,
    backoff: Backoff,
    /// The number of sentinels that have failed since one last answered.
    failed: usize,
    /// The last reason of this round that is not a lost connection.
    told: Option<Error>,
    /// The router has no primary.
    is_searching: bool,
}

#[derive(Debug)]
enum Link {
    Down { dial_at: Instant },
    Dialing { conn: ConnId, until: Instant },
    Open { conn: ConnId, session: Box<Session> },
}

impl Sentinels {
    /// Return the sentinels of a configuration, if it has any.
    pub(super) fn of(now: Instant, config: &Config) -> Option<Self> {
        let addresses = match &config.servers {
            Servers::Sentinel { sentinels, .. } => sentinels.clone(),
            Servers::None | Servers::One(_) | Servers::Cluster { .. } => return None,
        };
        Some(Self {
            addresses,
            current: 0,
            link: Link::Down { dial_at: now },
            backoff: Backoff::new(config.reconnect_delay_max),
            failed: 0,
            told: None,
            is_searching: true,
        })
    }

    /// Return the address of the current sentinel.
    pub(super) fn address(&self) -> Option<&Address> {
        self.addresses.get(self.current)
    }

    /// Return the address of the current sentinel, for errors.
    pub(super) fn name(&self) -> String {
        self.address().map_or_else(String::new, Address::to_string)
    }

    /// Return the session with the current sentinel.
    pub(super) fn session_mut(&mut self) -> Option<(ConnId, &mut Session)> {
        match &mut self.link {
            Link::Open { conn, session } => Some((*conn, session)),
            Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }

    /// Return the sentinel to dial, if it is time. [`on_dialing`](Self::on_dialing) must follow.
    pub(super) fn dial_due(&self, now: Instant) -> Option<&Address> {
        match self.link {
            Link::Down { dial_at } if dial_at <= now => self.addresses.get(self.current),
            Link::Down { .. } | Link::Dialing { .. } | Link::Open { .. } => None,
        }
    }

    pub(super) fn on_dialing(&mut self, now: Instant, conn: ConnId, settings: Settings<'_>) {
        self.link = Link::Dialing { conn, until: now + settings.connect_timeout };
    }

    /// Begin the session on a connection. Return `false` if this is not the one that was dialed.
    pub(super) fn handle_connected(
        &mut self,
        now: Instant,
        conn: ConnId,
        settings: Settings<'_>,
    ) -> bool {
        match self.link {
            Link::Dialing { conn: dialed, .. } if dialed == conn => {
                let session = Box::new(Session::open(now, settings));
                self.link = Link::Open { conn, session };
                true
            }
            Link::Down { .. } | Link::Dialing { .. } | Link::Open { .. } => false,
        }
    }

    /// Read the bytes of a sentinel. Return the next news, and the reason to hang up if there is
    /// one.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        conn: ConnId,
        input: &mut Input<'_>,
        settings: Settings<'_>,
    ) -> Result<Option<News>, Error> {
        let Link::Open { conn: open, session } = &mut self.link else { return Ok(None) };
        if *open != conn {
            return Ok(None);
        }
        while let Some(told) = session.next(now, input, settings)? {
            match told {
                Told::Primary(address) => {
                    self.failed = 0;
                    self.told = None;
                    self.backoff.reset();
                    return Ok(Some(News::Primary(address)));
                }
                Told::LoggedIn { is_accepted } => {
                    return Ok(Some(News::LoggedIn { is_accepted }));
                }
                Told::Sentinels(addresses) => {
                    for address in addresses {
                        let is_new = !self.addresses.contains(&address);
                        if is_new && self.addresses.len() < ADDRESSES_MAX {
                            self.addresses.push(address);
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Return `true` if this is the connection to a sentinel, or the attempt to connect.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        match &self.link {
            Link::Dialing { conn: own, .. } | Link::Open { conn: own, .. } => *own == conn,
            Link::Down { .. } => false,
        }
    }

    /// Dial the current sentinel again, because its name has another address.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.link = Link::Down { dial_at: now };
    }

    /// Leave the current sentinel for the next one. Return news if all have failed.
    pub(super) fn on_failed(
        &mut self,
        now: Instant,
        failure: Failure,
        rng: &mut Rng,
    ) -> Option<News> {
        self.failed += 1;
        let reason = match failure {
            Failure::Told(reason) => self.told.insert(reason).clone(),
            // A reason in words says more than a lost connection to another sentinel.
            Failure::Lost(reason) => self.told.clone().unwrap_or(reason),
        };
        self.current = (self.current + 1) % self.addresses.len().max(1);
        let is_round = self.failed.is_multiple_of(self.addresses.len().max(1));
        let pause = if is_round { self.backoff.pause(rng) } else { Duration::ZERO };
        self.link = Link::Down { dial_at: now + pause };
        is_round.then(|| {
            self.told = None;
            News::NoneAnswers(reason)
        })
    }

    /// Begin the search for a primary: query the sentinel at once, and repeat it often until there
    /// is a primary.
    pub(super) fn search(&mut self) {
        self.is_searching = true;
        if let Link::Open { session, .. } = &mut self.link {
            session.ask_soon();
        }
    }

    /// End the search, because the router has a primary.
    pub(super) fn on_found(&mut self) {
        self.is_searching = false;
    }

    /// Send the query that is due. Return the reason to leave the sentinel, if it is silent.
    pub(super) fn handle_timeout(
        &mut self,
        ctx: Context<'_>,
        settings: Settings<'_>,
    ) -> Option<Failure> {
        let now = ctx.now;
        let (name, interval) = (self.name(), self.interval(settings));
        let advice = self.advice(ctx.config);
        let silent = |what| {
            let text = format!("sentinel {name}: {what}{advice}");
            Error::new(ErrorKind::Unavailable, text)
        };
        match &mut self.link {
            Link::Down { .. } => None,
            Link::Dialing { until, .. } => {
                (*until <= now).then(|| Failure::Lost(silent("no connection in time")))
            }
            Link::Open { session, .. } => {
                if let Some(why) = session.silence(now) {
                    return Some(Failure::Told(silent(why)));
                }
                session.ask_if_due(now, settings, interval);
                None
            }
        }
    }

    /// Return advice for the loss of a connection whose greeting has no answer.
    pub(super) fn advice(&self, config: &Config) -> &'static str {
        match (&self.link, config.sentinel_tls()) {
            (Link::Open { session, .. }, Some(_)) if session.is_unanswered() => {
                advice::SENTINEL_OTHER_THAN_TLS
            }
            (Link::Open { session, .. }, None) if session.is_unanswered() => advice::SENTINEL_TLS,
            (Link::Down { .. } | Link::Dialing { .. } | Link::Open { .. }, _) => "",
        }
    }

    fn interval(&self, settings: Settings<'_>) -> Duration {
        if self.is_searching { SEARCH_INTERVAL.min(settings.interval) } else { settings.interval }
    }

    /// Return the earliest deadline.
    pub(super) fn poll_timeout(&self, settings: Settings<'_>) -> Option<Instant> {
        match &self.link {
            Link::Down { dial_at } => Some(*dial_at),
            Link::Dialing { until, .. } => Some(*until),
            Link::Open { session, .. } => session.poll_timeout(self.interval(settings)),
        }
    }

    /// Return the connection, or the attempt to connect.
    pub(super) fn conn(&self) -> Option<ConnId> {
        match &self.link {
            Link::Dialing { conn, .. } | Link::Open { conn, .. } => Some(*conn),
            Link::Down { .. } => None,
        }
    }

    /// Return the bytes to write on the connection, if there are any.
    pub(super) fn transmit(&self) -> Option<Transmit> {
        match &self.link {
            Link::Open { conn, session } => Transmit::of(*conn, session.unwritten(), 0),
            Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }

    /// Swap the bytes to write with an empty buffer. Return `false` if there are none.
    pub(super) fn take_transmit(&mut self, conn: ConnId, into: &mut Vec<u8>) -> bool {
        into.clear();
        match &mut self.link {
            Link::Open { conn: open, session } if *open == conn => session.take_transmit(into),
            Link::Down { .. } | Link::Dialing { .. } | Link::Open { .. } => false,
        }
    }
}

//! The plan of a group: everything that its seed decides before it starts.

use std::time::Duration;

use redcache_core::{Config, ConfigError};

use super::link::FarEnd;
use crate::clock::Micros;
use crate::fault::Fault;
use crate::provider::ProviderPlan;
use crate::rng::Rng;

pub(super) const SENTINELS: usize = 3;
/// The name of the service.
pub(super) const SERVICE: &str = "service";
/// The hosts of the servers and of the sentinels; their ports differ.
pub(super) const SERVER_HOST: &str = "server";
pub(super) const SENTINEL_HOST: &str = "sentinel";
const FIRST_PORT: u16 = 7000;

/// Return the port of a server or a sentinel.
pub(super) fn port_of(number: usize) -> u16 {
    // There are three of each.
    FIRST_PORT + number as u16
}

/// The faults of a group.
pub(super) const INJECTED: [Fault; 15] = [
    Fault::SwitchByCommand,
    Fault::SwitchByCommand,
    Fault::OldPrimaryUnaware,
    Fault::OldPrimaryUnaware,
    Fault::OldPrimaryKilled,
    Fault::OldPrimaryFrozen,
    Fault::SwitchBeforePromotion,
    Fault::SentinelLate,
    Fault::SentinelWrong,
    Fault::SentinelIgnorant,
    Fault::SentinelDead,
    Fault::SentinelSilent,
    Fault::SentinelRefuses,
    Fault::SentinelRefuses,
    Fault::CutAfter,
];

/// The decisions of a seed about a group.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) processes: usize,
    pub(super) keys: usize,
    pub(super) disturbed: Micros,
    /// The longest pause of a caller.
    pub(super) think: Micros,
    pub(super) latency: Micros,
    pub(super) jitter: Micros,
    /// The replication delay.
    pub(super) lag: Micros,
    pub(super) command: Duration,
    pub(super) heartbeat: Duration,
    pub(super) connect: Duration,
    pub(super) reconnect: Duration,
    /// The sentinels in the settings; the others are learned.
    pub(super) known_sentinels: usize,
    pub(super) injections: Vec<(Micros, Fault)>,
    pub(super) server_login: LoginPlan,
    pub(super) sentinel_login: LoginPlan,
    /// The provider, for the logins that have one.
    pub(super) provider: ProviderPlan,
    /// The size from which a value is large; zero for none.
    pub(super) large_value_bytes: usize,
}

/// The logins at all servers or at all sentinels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginPlan {
    /// No login is needed.
    Open,
    /// The password of the settings.
    Password(&'static str),
    /// Credentials of a provider.
    Provider,
}

impl LoginPlan {
    /// Return the password of the settings.
    pub(super) fn password(self) -> Option<&'static str> {
        match self {
            Self::Password(password) => Some(password),
            Self::Open | Self::Provider => None,
        }
    }
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let latency = rng.pick(&[50, 200, 1_000, 3_000]);
        let disturbed = rng.weighted(&[(3, 300_000), (5, 1_000_000), (3, 3_000_000)]);
        let classes: Vec<Fault> = (0..rng.between(1, 4)).map(|_| rng.pick(&INJECTED)).collect();
        let count = rng.between(1, 8);
        let mut injections: Vec<_> =
            (0..count).map(|_| (rng.below(disturbed), rng.pick(&classes))).collect();
        injections.sort_unstable_by_key(|(at, _)| *at);
        let mut pick = |millis: &[u64]| Duration::from_millis(rng.pick(millis));
        let (command, heartbeat) = (pick(&[60, 150, 400]), pick(&[100, 300, 700]));
        let (connect, reconnect) = (pick(&[60, 200]), pick(&[50, 300]));
        Self {
            processes: rng.weighted(&[(2, 1), (3, 2), (1, 3)]),
            keys: rng.weighted(&[(3, 1), (2, 3)]),
            disturbed,
            think: rng.pick(&[2_000, 10_000, 40_000]),
            latency,
            jitter: rng.pick(&[0, latency / 2, latency * 2]),
            lag: rng.pick(&[0, 1_000, 20_000, 100_000]),
            command,
            heartbeat,
            connect,
            reconnect,
            known_sentinels: rng.weighted(&[(1, 1), (1, 2), (3, SENTINELS)]),
            injections,
            server_login: login(rng, "password of the servers"),
            sentinel_login: login(rng, "password of the sentinels"),
            provider: provider(rng),
            large_value_bytes: 0,
        }
    }

    /// Return the configuration of each process.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let sentinels = (0..self.known_sentinels).map(|number| (SENTINEL_HOST, port_of(number)));
        // The world answers instead of the providers.
        let builder = match self.server_login {
            LoginPlan::Open => Config::builder(),
            LoginPlan::Password(password) => Config::builder().password(password),
            LoginPlan::Provider => {
                Config::builder().blocking_credentials_provider(|_| Err("not asked".into()))
            }
        };
        let builder = match self.sentinel_login {
            LoginPlan::Open => builder,
            LoginPlan::Password(password) => builder.sentinel_password(password),
            LoginPlan::Provider => {
                builder.blocking_sentinel_credentials_provider(|_| Err("not asked".into()))
            }
        };
        builder
            .sentinel(sentinels, SERVICE)
            .command_timeout(self.command)
            .heartbeat_interval(self.heartbeat)
            .connect_timeout(self.connect)
            .reconnect_delay_max(self.reconnect)
            .near_cache_bytes(64 << 10)
            .large_value_bytes(self.large_value_bytes)
            .build()
    }

    /// Return the login that the far end of a connection expects.
    pub(super) fn login(&self, to: Option<FarEnd>) -> LoginPlan {
        match to {
            Some(FarEnd::Server(_)) => self.server_login,
            Some(FarEnd::Sentinel(_)) => self.sentinel_login,
            None => LoginPlan::Open,
        }
    }

    /// Return the longest time that bytes take on a healthy link.
    pub(super) fn one_way(&self) -> Micros {
        self.latency + self.jitter + 2_000
    }

    /// Return the time within which a process must use the primary after the faults: it must notice
    /// a dead link, leave a silent sentinel, query the next one, and dial.
    pub(super) fn healing(&self) -> Micros {
        let span = 4 * self.heartbeat
            + 4 * self.connect
            + 4 * self.command
            + 4 * self.reconnect
            + Duration::from_secs(1);
        u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 4) + 40 * self.one_way()
    }
}

fn login(rng: &mut Rng, password: &'static str) -> LoginPlan {
    rng.weighted(&[
        (5, LoginPlan::Open),
        (2, LoginPlan::Password(password)),
        (3, LoginPlan::Provider),
    ])
}

fn provider(rng: &mut Rng) -> ProviderPlan {
    let lifetime = Duration::from_millis(rng.pick(&[300, 500, 1_200]));
    ProviderPlan { lifetime, is_faulty: rng.chance(700) }
}

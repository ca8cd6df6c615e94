//! The servers behind a URL, and sessions that are logged in to them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use redcache_blocking::Cache;
use redcache_core::observer::{ConnectedEvent, Observer};
use redcache_core::protocol::{self, SlotOwner};
use redcache_core::resp::Frame;
use redcache_core::{Address, Config, Servers};

use crate::arguments::Options;
use crate::exit::{Exit, Failure};
use crate::greeting::Greeting;
use crate::session::Session;

/// A server that has accepted the login.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) session: Session,
    pub(crate) greeting: Greeting,
    /// The slots of the node, in a cluster.
    pub(crate) owner: Option<SlotOwner>,
}

/// The largest number of servers that one run examines.
pub(crate) const NODES_MAX: usize = 64;

/// The address that a cache has connected to first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connected(Arc<(Mutex<Option<Address>>, Condvar)>);

impl Observer for Connected {
    fn on_connected(&self, event: &ConnectedEvent) {
        let (address, is_known) = &*self.0;
        address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| event.address.clone());
        is_known.notify_all();
    }
}

impl Connected {
    /// Wait for the event of the first connection, which follows the connection.
    fn wait(&self, timeout: Duration) -> Option<Address> {
        let (address, is_known) = &*self.0;
        let address = address.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = is_known.wait_timeout_while(address, timeout, |address| address.is_none());
        let (address, _) = waited.unwrap_or_else(PoisonError::into_inner);
        address.clone()
    }
}

/// Connect a cache as an application does. Return it with the receiver of its first connection
/// event.
///
/// # Errors
///
/// Fails with the reason why the cache has no connection.
pub(crate) fn connect_cache(options: &Options) -> Result<(Cache, Connected), Failure> {
    let connected = Connected::default();
    let builder = options.config.clone().into_builder();
    let builder = builder.connect_timeout(options.timeout).command_timeout(options.timeout);
    let cache = redcache_blocking::connect(builder.observer(connected.clone()))?;
    Ok((cache, connected))
}

/// Return the addresses of the servers to examine (one, or each primary of a cluster), and the
/// number of nodes beyond the limit.
///
/// # Errors
///
/// Fails if no sentinel and no node of the cluster answers.
pub(crate) fn servers(options: &Options) -> Result<(Vec<Place>, usize), Failure> {
    match options.config.servers() {
        Servers::One(address) => Ok((vec![Place::new(address.clone())], 0)),
        Servers::Cluster { seeds } => {
            let mut failure = None;
            for seed in seeds {
                match slot_owners(options, seed) {
                    Ok(owners) => return Ok(limited(owners)),
                    Err(why) => failure = Some(why),
                }
            }
            Err(failure.unwrap_or_else(|| Failure::new(Exit::Usage, "the URL names no node")))
        }
        _ => {
            let (cache, connected) = connect_cache(options)?;
            let address = connected.wait(options.timeout);
            cache.close();
            let address = address.ok_or_else(|| {
                Failure::new(Exit::Unreachable, "no sentinel knows the primary of the service")
            })?;
            Ok((vec![Place::new(address)], 0))
        }
    }
}

/// A server to examine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: Address,
    owner: Option<SlotOwner>,
}

impl Place {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, owner: None }
    }
}

fn limited(owners: Vec<SlotOwner>) -> (Vec<Place>, usize) {
    let left_out = owners.len().saturating_sub(NODES_MAX);
    let places = owners.into_iter().take(NODES_MAX);
    let places = places.map(|owner| Place { address: owner.address.clone(), owner: Some(owner) });
    (places.collect(), left_out)
}

fn slot_owners(options: &Options, seed: &Address) -> Result<Vec<SlotOwner>, Failure> {
    let mut node = open(options, &Place::new(seed.clone()))?;
    let reply = node.session.call(&["CLUSTER", "SLOTS"]);
    let reply = reply.map_err(|error| lost(seed, &error))?;
    let owners = protocol::slot_owners(&reply.frame(), seed);
    owners.filter(|owners| !owners.is_empty()).ok_or_else(|| {
        let reason = reply.refusal().unwrap_or_else(|| "no slot has an owner".to_owned());
        Failure::new(Exit::WrongServer, format!("{seed} tells no slot map: {reason}"))
    })
}

/// Connect to a server and log in.
///
/// # Errors
///
/// Fails if there is no connection, or the server refuses the login or the database.
pub(crate) fn open(options: &Options, place: &Place) -> Result<Node, Failure> {
    let Place { address, owner } = place.clone();
    let session = Session::connect(&options.config, &address, options.timeout);
    let mut session = session.map_err(|error| lost(&address, &error))?;
    let greeting = greet(&mut session, &options.config, &address)?;
    if options.config.db() != 0 {
        let db = options.config.db().to_string();
        let reply = session.call(&["SELECT", &db]).map_err(|error| lost(&address, &error))?;
        if let Some(reason) = reply.refusal() {
            let text = format!("{address} refuses the database {db}: {reason}");
            return Err(Failure::new(Exit::CommandRefused, text));
        }
    }
    Ok(Node { address, session, greeting, owner })
}

fn greet(session: &mut Session, config: &Config, address: &Address) -> Result<Greeting, Failure> {
    let lost = |error: io::Error| lost(address, &error);
    let mut hello = Vec::new();
    protocol::write_hello(&mut hello, config);
    let reply = session.exchange(&hello).map_err(lost)?;
    let Some(reason) = reply.refusal() else {
        return Greeting::of_hello(&reply.frame()).ok_or_else(|| {
            let text = format!("the reply of {address} to HELLO is not one of Redis");
            Failure::new(Exit::WrongServer, text)
        });
    };
    let refused = |reason: &str| {
        Failure::new(Exit::LoginRefused, format!("{address} refuses the login: {reason}"))
    };
    let mut login = Vec::new();
    let has_login = protocol::write_auth(&mut login, config);
    if is_about_login(&reason, has_login) {
        return Err(refused(&reason));
    }
    if has_login && let Some(reason) = session.exchange(&login).map_err(lost)?.refusal() {
        return Err(refused(&reason));
    }
    let info = session.call(&["INFO"]).map_err(lost)?;
    Ok(match info.frame() {
        Frame::Bulk(info) => Greeting::of_info(&String::from_utf8_lossy(info)),
        Frame::Error(_) if info.refusal().is_some_and(|why| why.starts_with("NOAUTH")) => {
            return Err(refused("NOAUTH Authentication required"));
        }
        _ => Greeting::default(),
    })
}

/// Return whether a refusal of `HELLO` is about the login. A server without `HELLO` demands the
/// login that the unknown command carried.
fn is_about_login(refusal: &str, has_login: bool) -> bool {
    let code = refusal.split(' ').next().unwrap_or_default();
    match code {
        "WRONGPASS" | "DENIED" => true,
        "NOAUTH" => !has_login,
        _ => false,
    }
}

/// Return the failure for a connection that could not be established or was lost.
pub(crate) fn lost(address: &Address, error: &io::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("no connection to {address}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_hello_is_about_the_login_or_about_hello() {
        for (refusal, has_login, expected) in [
            ("WRONGPASS invalid username-password pair", true, true),
            ("NOAUTH HELLO must be called with the client already authenticated", false, true),
            ("NOAUTH Authentication required", true, false),
            ("ERR unknown command 'hello'", false, false),
            ("NOPROTO unsupported protocol version", false, false),
        ] {
            assert_eq!(is_about_login(refusal, has_login), expected, "{refusal}");
        }
    }
}

//! `redcache inspect`: the content of one key.

mod content;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redcache_core::resp::Frame;
use redcache_core::{Address, Config, Servers, protocol};
use serde_json::{Value, json};

use crate::arguments::Options;
use crate::exit::{Exit, Failure};
use crate::nodes::{Place, lost, open, servers};
use crate::output::{Output, printable};
use crate::session::Reply;
use content::{Content, Lock, Marks};

/// The bytes that are read of a value to classify it. A lock and an envelope are shorter.
const HEAD: &str = "1023";
/// The largest number of redirects that are followed.
const REDIRECTS_MAX: usize = 8;

/// Write what is stored under a key.
///
/// # Errors
///
/// Fails if no server has the key's slot, or the server refuses the reads.
pub(crate) fn run(
    options: &Options,
    key: &[u8],
    shows_value: bool,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let found = read(options, key, shows_value)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let config = &options.config;
    output.write(|| found.text(config, now), || found.json(config, now))?;
    Ok(Exit::Good)
}

/// The content of a key and its place.
#[derive(Debug)]
struct Found {
    key: String,
    address: Address,
    /// The type in the words of `TYPE`.
    kind: String,
    length: u64,
    /// The time to live; `None` for a key that does not expire.
    ttl: Option<Duration>,
    content: Content,
    /// The payload, if the arguments request it.
    value: Option<Vec<u8>>,
}

/// Return the commands that examine one key, in this order.
fn questions(shows_value: bool) -> [&'static [&'static str]; 4] {
    let value: &[&str] = if shows_value { &["GET"] } else { &["GETRANGE", "0", HEAD] };
    [&["TYPE"], &["PTTL"], &["STRLEN"], value]
}

fn read(options: &Options, key: &[u8], shows_value: bool) -> Result<Found, Failure> {
    let mut place = match options.config.servers() {
        Servers::Cluster { seeds } => reachable(options, seeds)?,
        _ => first(servers(options)?.0)?,
    };
    for _ in 0..=REDIRECTS_MAX {
        let mut node = open(options, &place)?;
        let mut replies = Vec::new();
        let mut moved = None;
        for question in questions(shows_value) {
            let mut words: Vec<&[u8]> = vec![question[0].as_bytes(), key];
            words.extend(question[1..].iter().map(|word| word.as_bytes()));
            let reply = node.session.call(&words).map_err(|error| lost(&place.address, &error))?;
            if let Frame::Error(text) = reply.frame() {
                moved = moved.or_else(|| protocol::moved_to(text, &place.address));
            }
            replies.push(reply);
        }
        match moved {
            Some(address) => place = Place::new(address),
            None => return found(options, key, place.address, &replies, shows_value),
        }
    }
    Err(Failure::new(Exit::Unreachable, "the cluster redirects the key without end"))
}

/// Return the first node of a cluster that accepts the login.
fn reachable(options: &Options, seeds: &[Address]) -> Result<Place, Failure> {
    let mut failure = Failure::new(Exit::Usage, "the URL names no node");
    for seed in seeds {
        let place = Place::new(seed.clone());
        match open(options, &place) {
            Ok(_) => return Ok(place),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

fn first(places: Vec<Place>) -> Result<Place, Failure> {
    let none = || Failure::new(Exit::Usage, "the URL names no server");
    places.into_iter().next().ok_or_else(none)
}

fn found(
    options: &Options,
    key: &[u8],
    address: Address,
    replies: &[Reply],
    shows_value: bool,
) -> Result<Found, Failure> {
    let [kind, ttl, length, value] = replies else {
        return Err(Failure::new(Exit::Unreachable, "the server left a question unanswered"));
    };
    let kind = match kind.frame() {
        Frame::Simple(kind) => printable(kind),
        _ => return Err(refused(&address, "TYPE", kind)),
    };
    let key = printable(key);
    let ttl = match ttl.frame() {
        Frame::Integer(ms) => u64::try_from(ms).ok().map(Duration::from_millis),
        _ => return Err(refused(&address, "PTTL", ttl)),
    };
    if kind != "string" {
        let content = if kind == "none" { Content::Missing } else { Content::Foreign };
        return Ok(Found { key, address, kind, length: 0, ttl, content, value: None });
    }
    let (length, raw) = match (length.frame(), value.frame()) {
        (Frame::Integer(length), Frame::Bulk(raw)) => {
            (u64::try_from(length).unwrap_or_default(), raw.to_vec())
        }
        (Frame::Integer(_), Frame::Null) => (0, Vec::new()),
        (Frame::Integer(_), _) => return Err(refused(&address, "GETRANGE", value)),
        _ => return Err(refused(&address, "STRLEN", length)),
    };
    let marks = Marks::of(&options.config);
    let content = Content::of(&raw, length, &marks);
    let value = shows_value.then(|| content::payload(&raw, &content).to_vec());
    Ok(Found { key, address, kind, length, ttl, content, value })
}

fn refused(address: &Address, command: &str, reply: &Reply) -> Failure {
    let reason = reply.refusal().unwrap_or_else(|| "an unexpected reply".to_owned());
    Failure::new(Exit::CommandRefused, format!("{address} refuses {command}: {reason}"))
}

impl Found {
    fn text(&self, config: &Config, now: Duration) -> String {
        let mut lines =
            vec![format!("key      {}", self.key), format!("server   {}", self.address)];
        lines.push(format!("content  {}", self.content.describe(&self.kind)));
        if self.content == Content::Missing {
            return lines.join("\n");
        }
        lines.push(match self.ttl {
            Some(ttl) => format!("ttl      {:.3} s", ttl.as_secs_f64()),
            None => "ttl      none: the key does not expire".to_owned(),
        });
        match &self.content {
            Content::Lock(lock) => lines.extend(lock_lines(lock, self.ttl, config, now)),
            Content::Value { length, compute_time } => {
                lines.push(format!("length   {length} bytes, {} with envelope", self.length));
                lines.push(match compute_time {
                    Some(time) => format!("envelope v1, loaded in {} ms", time.as_millis()),
                    None => "envelope none: another program has written the value".to_owned(),
                });
            }
            Content::Missing | Content::NotFound { .. } | Content::Foreign => {}
        }
        if let Some(value) = &self.value {
            lines.push(format!("value    {}", printable(value)));
        }
        lines.join("\n")
    }

    fn json(&self, config: &Config, now: Duration) -> Value {
        let mut object = json!({
            "key": self.key,
            "server": self.address.to_string(),
            "type": self.kind,
            "content": self.content.name(),
            "ttl_ms": self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        });
        match &self.content {
            Content::Lock(lock) => {
                object["holder"] = json!(lock.holder);
                object["acquisition"] = json!(lock.acquisition);
                object["holder_age_s"] = json!(lock.holder_age(now).map(|age| age.as_secs_f64()));
                let held = lock.held_for(self.ttl, config.lock_ttl());
                object["held_for_ms"] = json!(held.map(|it| it.as_secs_f64() * 1000.0));
            }
            Content::Value { length, compute_time } => {
                object["length"] = json!(length);
                object["envelope"] = json!(compute_time.is_some());
                object["load_ms"] = json!(compute_time.map(|it| it.as_secs_f64() * 1000.0));
            }
            Content::Missing | Content::NotFound { .. } | Content::Foreign => {}
        }
        if let Some(value) = &self.value {
            object["value"] = match std::str::from_utf8(value) {
                Ok(text) => json!(text),
                Err(_) => json!({ "escaped": printable(value) }),
            };
        }
        object
    }
}

fn lock_lines(lock: &Lock, ttl: Option<Duration>, config: &Config, now: Duration) -> Vec<String> {
    let mut lines = vec![format!("holder   {}", lock.holder)];
    if let Some(age) = lock.holder_age(now) {
        let what = if lock.acquisition.is_some() { "its cache was created" } else { "taken" };
        lines.push(format!(
            "         {what} {:.3} s ago, by the clock of its host",
            age.as_secs_f64()
        ));
    }
    if let Some(number) = lock.acquisition {
        lines.push(format!("         lock number {number} of that cache"));
    }
    if let Some(held) = lock.held_for(ttl, config.lock_ttl()) {
        let limit = config.lock_ttl();
        lines.push(format!(
            "age      {:.3} s since it was taken or renewed, if its `lock_ttl` is {limit:?}",
            held.as_secs_f64()
        ));
    }
    lines
}

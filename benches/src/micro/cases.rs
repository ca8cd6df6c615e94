//! The operations whose cost is counted.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use redcache::{Json, Typed, TypedCache};
use redcache_core::Key;
use redcache_core::resp::{Limits, Scanner, decode};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};

use super::scripted::{Scripted, bulk};
use crate::Failure;
use crate::cli::names;

/// The value of every key, except in the cases with large replies.
const VALUE: [u8; 64] = [b'v'; 64];

/// The values of a large reply.
const LARGE_VALUE: [u8; 1000] = [b'v'; 1000];

/// Number of values of a large reply: 10 MB in total.
const LARGE_LEN: usize = 10_000;

/// Size of one read from a busy socket.
const PIECE: usize = 16 * 1024;

const TTL: Duration = Duration::from_secs(600);

/// An operation that runs the given number of times.
pub type Operation = Box<dyn FnMut(usize) -> Result<(), Failure>>;

names! {
    /// An operation whose cost is counted.
    Case {
        /// `get_with` of a key in the near cache, on tokio.
        LocalHit = "local_hit",
        /// The same with `near_audit_every=1000`. No task runs the checks themselves.
        LocalHitAudited = "local_hit_audited",
        /// The same with `near_staleness_max`.
        LocalHitBounded = "local_hit_bounded",
        /// `get_with` of a key in the near cache, on plain threads.
        LocalHitBlocking = "local_hit_blocking",
        /// `get_with` of a typed view, for an object of 86 bytes in the near cache.
        ObjectHit = "object_hit",
        /// `get_with` of a typed view, for an object of 8.8 KB in the near cache.
        LargeObjectHit = "large_object_hit",
        /// The same as `object_hit`, in a namespace that can be cleared.
        ClearableHit = "clearable_hit",
        /// `get_with` of a key in Redis only, through the engine and back, without a socket.
        RemoteRead = "remote_read",
        /// `get_many_with` of 100 keys in Redis only, through the engine and back.
        RemoteBatch = "remote_batch",
        /// One reply with a value, scanned for its end and parsed.
        ParsedReply = "parsed_reply",
        /// One array of 10 MB, scanned after it is complete.
        LargeArray = "large_array",
        /// The same array, scanned after every read of 16 KiB.
        LargeArrayInPieces = "large_array_in_pieces",
        /// `get_many` of 10 MB through the engine, the replies in one piece.
        LargeBatch = "large_batch",
        /// The same batch, in reads of 16 KiB.
        LargeBatchInPieces = "large_batch_in_pieces",
    }
}

impl Case {
    /// Set up the case.
    ///
    /// # Errors
    ///
    /// Fails if the system denies a resource that the case needs.
    pub fn prepare(self) -> Result<Operation, Failure> {
        match self {
            Self::LocalHit => local_hit(""),
            Self::LocalHitAudited => local_hit("?near_audit_every=1000"),
            // Long, so that valgrind does not slow the hits down beyond it.
            Self::LocalHitBounded => local_hit("?near_staleness_max=1h"),
            Self::LocalHitBlocking => local_hit_blocking(),
            Self::ObjectHit => object_hit(1, false),
            Self::LargeObjectHit => object_hit(100, false),
            Self::ClearableHit => object_hit(1, true),
            Self::RemoteRead => remote_read(),
            Self::RemoteBatch => remote_batch(),
            Self::ParsedReply => Ok(parsed_reply()),
            Self::LargeArray => Ok(large_array(usize::MAX)),
            Self::LargeArrayInPieces => Ok(large_array(PIECE)),
            Self::LargeBatch => large_batch(usize::MAX),
            Self::LargeBatchInPieces => large_batch(PIECE),
        }
    }

    /// Return the numbers of operations of the small and the large run.
    pub fn sizes(self) -> (usize, usize) {
        match self {
            Self::LocalHit
            | Self::LocalHitAudited
            | Self::LocalHitBounded
            | Self::LocalHitBlocking
            | Self::ObjectHit
            | Self::LargeObjectHit
            | Self::ClearableHit
            | Self::RemoteRead
            | Self::ParsedReply => (1_000, 11_000),
            Self::RemoteBatch => (100, 1_100),
            Self::LargeArray
            | Self::LargeArrayInPieces
            | Self::LargeBatch
            | Self::LargeBatchInPieces => (1, 4),
        }
    }
}

fn local_hit(options: &str) -> Result<Operation, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = EmbeddedServer::start()?;
    let cache = runtime.block_on(redcache_tokio::connect(server.url() + options))?;
    Ok(Box::new(move |times| {
        // The server must live as long as the cache, whose hits depend on its connection.
        let _ = &server;
        runtime.block_on(async {
            for _ in 0..times {
                let load = || async { Ok::<_, Infallible>(&VALUE[..]) };
                black_box(cache.get_with("key", TTL, load).await?);
            }
            Ok(())
        })
    }))
}

fn local_hit_blocking() -> Result<Operation, Failure> {
    let server = EmbeddedServer::start()?;
    let cache = redcache_blocking::connect(server.url().as_str())?;
    Ok(Box::new(move |times| {
        // The server must live as long as the cache.
        let _ = &server;
        for _ in 0..times {
            black_box(cache.get_with("key", TTL, || Ok::<_, Infallible>(&VALUE[..]))?);
        }
        Ok(())
    }))
}

/// Users, each of 86 bytes as JSON with its separator.
type Users = Vec<User>;

#[derive(Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: String,
    visits: u32,
    is_admin: bool,
}

fn object_hit(users: usize, is_clearable: bool) -> Result<Operation, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = EmbeddedServer::start()?;
    let cache = runtime.block_on(redcache_tokio::connect(server.url().as_str()))?;
    let view = cache.typed("user", Json).ttl(TTL);
    let view = if is_clearable { view.clearable() } else { view };
    let view: TypedCache<u64, Users> = view.build()?;
    let (name, email) = ("Ada Lovelace".to_owned(), "ada@example.org".to_owned());
    let user = User { id: 42, name, email, visits: 1815, is_admin: false };
    Ok(Box::new(move |times| {
        // The server must live as long as the cache.
        let _ = &server;
        runtime.block_on(async {
            for _ in 0..times {
                let load = || async { Ok::<_, Infallible>(vec![user.clone(); users]) };
                black_box(view.get_with(&42, load).await?);
            }
            Ok(())
        })
    }))
}

fn remote_read() -> Result<Operation, Failure> {
    let mut scripted = Scripted::connect(&VALUE, usize::MAX)?;
    let mut next = 0;
    Ok(Box::new(move |times| {
        for _ in 0..times {
            next += 1;
            scripted.get_with(Key::from(format!("key:{next:08}")), TTL)?;
        }
        Ok(())
    }))
}

fn remote_batch() -> Result<Operation, Failure> {
    const BATCH: u64 = 100;
    let mut scripted = Scripted::connect_without_near(&VALUE)?;
    let mut next: u64 = 0;
    Ok(Box::new(move |times| {
        for _ in 0..times {
            let numbers = next..next + BATCH;
            next = numbers.end;
            let keys = numbers.map(|number| Key::copy_from(&number.to_be_bytes())).collect();
            scripted.get_many_with(keys, TTL)?;
        }
        Ok(())
    }))
}

fn parsed_reply() -> Operation {
    let mut reply = Vec::new();
    bulk(&VALUE, &mut reply);
    let mut scanner = Scanner::new(Limits::default());
    Box::new(move |times| {
        for _ in 0..times {
            let end = scanner.scan(black_box(&reply))?.ok_or("the reply is not whole")?;
            black_box(decode(&reply[..end])?);
        }
        Ok(())
    })
}

/// Scan an array after each piece of it. Nothing is copied, because the speed of a copy depends on
/// the addresses of the buffers by a factor of several.
fn large_array(piece: usize) -> Operation {
    let mut sent = format!("*{LARGE_LEN}\r\n").into_bytes();
    for _ in 0..LARGE_LEN {
        bulk(&LARGE_VALUE, &mut sent);
    }
    Box::new(move |times| {
        for _ in 0..times {
            let mut scanner = Scanner::new(Limits::default());
            let mut received = 0;
            while received < sent.len() {
                received = received.saturating_add(piece).min(sent.len());
                if let Some(end) = scanner.scan(black_box(&sent[..received]))? {
                    black_box(decode(&sent[..end])?);
                }
            }
        }
        Ok(())
    })
}

fn large_batch(piece: usize) -> Result<Operation, Failure> {
    let mut scripted = Scripted::connect(&LARGE_VALUE, piece)?;
    let keys: Vec<_> = (0..LARGE_LEN).map(|index| Key::from(format!("key:{index:08}"))).collect();
    Ok(Box::new(move |times| {
        for _ in 0..times {
            scripted.get_many(keys.clone())?;
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_and_finds_what_it_reads() {
        for case in Case::ALL {
            let done = case.prepare().and_then(|mut operation| operation(2));
            assert!(done.is_ok(), "{case}: {done:?}");
        }
    }

    #[test]
    fn a_case_under_valgrind_is_found_by_its_name() {
        for case in Case::ALL {
            assert_eq!(case.name().parse::<Case>().unwrap(), *case);
        }
    }
}

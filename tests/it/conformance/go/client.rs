//! A client that sends the commands of redcache for Go v0.2.
//!
//! It shares only the frames with the core: the contract, not the code.

use redcache_core::resp::{Frame, decode};
use redcache_tests::{Raw, RedisServer};

const LOCK_PREFIX: &str = "__redcache:lock:";
const REFRESH_PREFIX: &str = "__redcache:refresh:";
const ENVELOPE: &[u8] = b"__redcache:v1:";

const PUBLISH: &str = "\
    if redis.call('GET', KEYS[1]) == ARGV[1] then \
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]); return 1 \
    end; return 0";
const RELEASE: &str = "\
    if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end; return 0";
const RENEW: &str = "\
    if redis.call('GET', KEYS[1]) == ARGV[1] then \
        return redis.call('PEXPIRE', KEYS[1], ARGV[2]) \
    end; return 0";
const TOUCH: &str = "\
    local held = redis.call('GET', KEYS[1]); \
    if not held or held:find(ARGV[1], 1, true) == 1 then return 0 end; \
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
const WRITE_LOCK: &str = "\
    local held = redis.call('GET', KEYS[1]); \
    local left = 0; \
    if held then \
        if held:find(ARGV[2], 1, true) == 1 then return {0, held, 0} end; \
        left = redis.call('PTTL', KEYS[1]) \
    end; \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]); \
    return {1, held, left}";
const ROLL_BACK: &str = "\
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end; \
    if ARGV[2] == 'absent' then redis.call('DEL', KEYS[1]) \
    elseif tonumber(ARGV[4]) > 0 then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) \
    else redis.call('SET', KEYS[1], ARGV[3]) end; \
    return 1";
const PUBLISH_REFRESH: &str = "\
    local held = redis.call('GET', KEYS[1]); \
    if not held or held:find(ARGV[1], 1, true) == 1 then return 0 end; \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]); \
    return 1";

/// The content of a key, as Go reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Lock(Vec<u8>),
    Value { payload: Vec<u8>, delta_ns: i64 },
}

/// The outcome of taking a write lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WriteLock {
    Taken { old: Option<Vec<u8>>, pttl: i64 },
    HeldBy(Vec<u8>),
}

/// A process that runs redcache for Go.
pub(super) struct Go {
    raw: Raw,
    locks: u32,
}

impl Go {
    /// Connect as rueidis does: RESP3, with tracking of reads that opt in.
    pub(super) fn connect(server: &RedisServer) -> Self {
        let mut raw = server.connect();
        raw.call(&["HELLO", "3"]);
        raw.ok(&["CLIENT", "TRACKING", "ON", "OPTIN"]);
        Self { raw, locks: 0 }
    }

    /// Read a key under tracking.
    pub(super) fn read(&mut self, key: &str) -> Held {
        self.raw.ok(&["CLIENT", "CACHING", "YES"]);
        self.raw.ok(&["MULTI"]);
        self.raw.call(&["PTTL", key]);
        self.raw.call(&["GET", key]);
        let reply = self.raw.call(&["EXEC"]);
        let Ok(Frame::Array(frames)) = decode(&reply) else {
            panic!("EXEC answered {}", reply.escape_ascii());
        };
        match frames[1] {
            Frame::Bulk(bytes) => read_held(bytes),
            Frame::Null => Held::Nothing,
            ref other => panic!("GET answered {other:?}"),
        }
    }

    /// Try to take the read lock.
    pub(super) fn lock(&mut self, key: &str, ttl_ms: u32) -> Option<String> {
        let lock = self.new_lock();
        let reply = self.raw.call(&["SET", key, &lock, "NX", "GET", "PX", &ttl_ms.to_string()]);
        (decode(&reply) == Ok(Frame::Null)).then_some(lock)
    }

    pub(super) fn publish(&mut self, key: &str, lock: &str, payload: &[u8], delta_ns: i64) -> i64 {
        let value = envelope(payload, delta_ns);
        self.script(PUBLISH, key, &[lock.as_bytes(), &value, b"60000"])
    }

    pub(super) fn release(&mut self, key: &str, lock: &str) -> i64 {
        self.script(RELEASE, key, &[lock.as_bytes()])
    }

    pub(super) fn renew(&mut self, key: &str, lock: &str, ttl_ms: u32) -> i64 {
        self.script(RENEW, key, &[lock.as_bytes(), ttl_ms.to_string().as_bytes()])
    }

    pub(super) fn touch(&mut self, key: &str, ttl_ms: u32) -> i64 {
        self.script(TOUCH, key, &[LOCK_PREFIX.as_bytes(), ttl_ms.to_string().as_bytes()])
    }

    /// Take the write lock; return the lock and the outcome.
    pub(super) fn write_lock(&mut self, key: &str, ttl_ms: u32) -> (String, WriteLock) {
        let lock = self.new_lock();
        let args = ["EVAL", WRITE_LOCK, "1", key, &lock, LOCK_PREFIX, &ttl_ms.to_string()];
        let reply = self.raw.call(&args);
        let Ok(Frame::Array(parts)) = decode(&reply) else {
            panic!("the script answered {}", reply.escape_ascii());
        };
        let taken = match parts[..] {
            [Frame::Integer(1), Frame::Bulk(old), Frame::Integer(pttl)] => {
                WriteLock::Taken { old: Some(old.to_vec()), pttl }
            }
            [Frame::Integer(1), Frame::Null, _] => WriteLock::Taken { old: None, pttl: 0 },
            [Frame::Integer(0), Frame::Bulk(held), _] => WriteLock::HeldBy(held.to_vec()),
            _ => panic!("the script answered {parts:?}"),
        };
        (lock, taken)
    }

    pub(super) fn roll_back(
        &mut self,
        key: &str,
        lock: &str,
        old: Option<&[u8]>,
        pttl: i64,
    ) -> i64 {
        let was = if old.is_some() { "present" } else { "absent" };
        let pttl = pttl.to_string();
        let args = [lock.as_bytes(), was.as_bytes(), old.unwrap_or_default(), pttl.as_bytes()];
        self.script(ROLL_BACK, key, &args)
    }

    pub(super) fn force_set(&mut self, key: &str, payload: &[u8]) {
        let value = envelope(payload, 0);
        self.raw.ok(&[b"SET".as_slice(), key.as_bytes(), &value, b"PX", b"60000"]);
    }

    pub(super) fn del(&mut self, key: &str) -> i64 {
        self.raw.integer(&["DEL", key])
    }

    /// Try to take the refresh lock.
    pub(super) fn refresh_lock(&mut self, key: &str) -> bool {
        let reply = self.raw.call(&["SET", &refresh_key(key), "1", "NX", "PX", "10000"]);
        decode(&reply) == Ok(Frame::Simple(b"OK"))
    }

    pub(super) fn release_refresh(&mut self, key: &str) -> i64 {
        self.raw.integer(&["DEL", &refresh_key(key)])
    }

    pub(super) fn publish_refresh(&mut self, key: &str, payload: &[u8]) -> i64 {
        let value = envelope(payload, 0);
        self.script(PUBLISH_REFRESH, key, &[LOCK_PREFIX.as_bytes(), &value, b"60000"])
    }

    /// Wait for a push that names the key. A push without keys wakes no caller in Go.
    pub(super) fn wait(&mut self, key: &str) {
        loop {
            let push = self.raw.read_push();
            let Ok(Frame::Push(parts)) = decode(&push) else { unreachable!("it is a push") };
            if let [Frame::Bulk(b"invalidate"), Frame::Array(keys)] = &parts[..]
                && keys.contains(&Frame::Bulk(key.as_bytes()))
            {
                return;
            }
        }
    }

    /// Do what Go's `Get` does: read, lock and load, or wait and begin again.
    pub(super) fn get(&mut self, key: &str, mut load: impl FnMut() -> Vec<u8>) -> Vec<u8> {
        loop {
            if let Held::Value { payload, .. } = self.read(key) {
                return payload;
            }
            if let Some(lock) = self.lock(key, 60_000) {
                let payload = load();
                if self.publish(key, &lock, &payload, 1) == 1 {
                    return payload;
                }
            }
            self.wait(key);
        }
    }

    fn new_lock(&mut self) -> String {
        self.locks += 1;
        format!("{LOCK_PREFIX}0197c7a0-5d2e-7b43-9f11-3e8a5b6c7d8e:{}", self.locks)
    }

    fn script(&mut self, source: &str, key: &str, args: &[&[u8]]) -> i64 {
        let mut words = vec![b"EVAL", source.as_bytes(), b"1", key.as_bytes()];
        words.extend_from_slice(args);
        self.raw.integer(&words)
    }
}

fn refresh_key(key: &str) -> String {
    format!("{REFRESH_PREFIX}{{{key}}}")
}

fn envelope(payload: &[u8], delta_ns: i64) -> Vec<u8> {
    [ENVELOPE, delta_ns.to_string().as_bytes(), b":", payload].concat()
}

/// Return the content of a key, checked in the order of Go.
pub(super) fn read_held(bytes: &[u8]) -> Held {
    if bytes.starts_with(LOCK_PREFIX.as_bytes()) {
        return Held::Lock(bytes.to_vec());
    }
    let wrapped = bytes.strip_prefix(ENVELOPE).and_then(|rest| {
        let colon = rest.iter().position(|&byte| byte == b':')?;
        let delta_ns: i64 = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        (delta_ns >= 0).then(|| Held::Value { payload: rest[colon + 1..].to_vec(), delta_ns })
    });
    wrapped.unwrap_or_else(|| Held::Value { payload: bytes.to_vec(), delta_ns: 0 })
}

//! The Lua scripts that make a change of state atomic, and their SHA-1 names.
//!
//! Each compares the key with the exact bytes that its caller expects before it changes anything, and writes at most
//! once, after every check: Lua in Redis is not rolled back.

/// One of redcache's scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// `KEYS[1]` key, `ARGV` what is there, value, ttl in ms: replaces our lock, or the old value that is refreshed, by
    /// the value and asks whether it exists, a read that has the publisher tracked again. Returns 1, or 0 when something
    /// else is there.
    Publish,
    /// `KEYS[1]` key, `ARGV` lock: deletes our lock. Returns 1, or 0 when the key is no longer our lock.
    Release,
    /// `KEYS[1]` key, `ARGV` lock, ttl in ms: gives our lock a new time to live. Returns 1 or 0.
    Renew,
    /// `KEYS[1]` key, `ARGV` lock prefix, ttl in ms: gives a value (never a lock) a new time to live. Returns 1 or 0.
    Touch,
    /// `KEYS[1]` key, `ARGV` lock, lock's ttl in ms, lock prefix: puts our lock in the place of whatever the key holds,
    /// unless that is a lock. Returns three elements: 1, the value that was there (or nil) and its `PTTL` (0 without a
    /// value); or 0, the lock that is there and its `PTTL`.
    WriteLock,
    /// `KEYS[1]` key, `ARGV` lock, value, ttl in ms or 0 for none: replaces our lock by the value that it had replaced.
    /// Returns 1, or 0 when the key is no longer our lock.
    Restore,
}

impl Script {
    /// Every script, for servers and models that prepare them ahead.
    pub const ALL: [Self; 6] =
        [Self::Publish, Self::Release, Self::Renew, Self::Touch, Self::WriteLock, Self::Restore];

    /// Gives the Lua source.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Publish => {
                "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
                 redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) \
                 redis.call('EXISTS',KEYS[1]) \
                 return 1"
            }
            Self::Release => {
                "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
                 return redis.call('DEL',KEYS[1])"
            }
            Self::Renew => {
                "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
                 return redis.call('PEXPIRE',KEYS[1],ARGV[2])"
            }
            Self::Touch => {
                "local v=redis.call('GET',KEYS[1]) \
                 if not v or string.sub(v,1,#ARGV[1])==ARGV[1] then return 0 end \
                 return redis.call('PEXPIRE',KEYS[1],ARGV[2])"
            }
            Self::WriteLock => {
                "local v=redis.call('GET',KEYS[1]) \
                 local t=0 \
                 if v then \
                 t=redis.call('PTTL',KEYS[1]) \
                 if string.sub(v,1,#ARGV[3])==ARGV[3] then return {0,v,t} end \
                 end \
                 redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2]) \
                 return {1,v,t}"
            }
            Self::Restore => {
                "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
                 if tonumber(ARGV[3])>0 then \
                 redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) \
                 else \
                 redis.call('SET',KEYS[1],ARGV[2]) \
                 end \
                 return 1"
            }
        }
    }

    /// Gives the SHA-1 of the source in lower-case hex, the name that `EVALSHA` knows it by.
    pub const fn sha1(self) -> &'static str {
        match self {
            Self::Publish => "d12fae71b988cb2c59b5d9b39c0da7449f2e1c07",
            Self::Release => "40d537e211ffbf1001c68282413fef6708d7b2e3",
            Self::Renew => "1c641af97d3df7973c56e196a73e781cd1efc852",
            Self::Touch => "d5162e3b160bd731cfac48e0019d13595004d3d7",
            Self::WriteLock => "6d24ff4931f5719e7e4d6ad8a2d919378b4c1b8a",
            Self::Restore => "57340b23568ca0a1e2f96f2857489cc36208448f",
        }
    }

    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

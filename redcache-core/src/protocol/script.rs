//! The Lua scripts that make a change of state atomic, and their SHA-1 names.
//!
//! Each script compares the key with the bytes that its caller expects, and writes at most once,
//! after every check: Redis does not roll back a script.

/// One of redcache's scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// `KEYS` any number of keys, `ARGV` lock, value, TTL in ms of each: replace our lock with the
    /// value. Return 1 for each key, or 0 if it holds something else; for a single key, return the
    /// number without an array.
    ///
    /// `EXISTS` reads the keys at the end, so that the server tracks them for the publisher. The
    /// script compares by `GETEX`, which is not tracked, so that the publisher gets no invalidation
    /// for its own write. `GETEX` counts as a write, after which Redis no longer checks its memory
    /// limit; the shebang line makes Redis check it at the start.
    Publish,
    /// `KEYS[1]` key, `ARGV` old value, new value, TTL in ms: replace the old value, and read the
    /// key for tracking. Return 1, or 0 when the key holds something else.
    Replace,
    /// `KEYS[1]` key, `ARGV` lock: delete our lock. Return 1, or 0 when the key holds something
    /// else.
    Release,
    /// `KEYS[1]` key, `ARGV` lock, TTL in ms: set the TTL of our lock. Return 1 or 0.
    Renew,
    /// `KEYS[1]` key, `ARGV` lock prefix, TTL in ms: set the TTL of a value, but not of a lock.
    /// Return 1 or 0.
    Touch,
    /// `KEYS[1]` key, `ARGV` lock, lock's TTL in ms, lock prefix: replace the content of the key
    /// with our lock, unless it is a lock. Return three elements: 1, the old value or nil, and its
    /// `PTTL` (0 without a value); or 0, the current lock and its `PTTL`.
    WriteLock,
    /// `KEYS[1]` key, `ARGV` lock, value, TTL in ms or 0 for none: replace our lock with the old
    /// value. Return 1, or 0 when the key holds something else.
    Restore,
}

impl Script {
    /// Every script, for servers and models that load scripts in advance.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Replace,
        Self::Release,
        Self::Renew,
        Self::Touch,
        Self::WriteLock,
        Self::Restore,
    ];

    /// Return the Lua source.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Publish => {
                "#!lua\n\
                 local c,n,r=redis.call,#KEYS,{} \
                 for i=1,n do \
                 local v=redis.pcall('GETEX',KEYS[i]) \
                 if type(v)=='table' and not string.find(v.err,'WRONGTYPE',1,true) then return v end \
                 r[i]=v==ARGV[3*i-2] and 1 or 0 \
                 end \
                 for i=1,n do \
                 if r[i]==1 then c('SET',KEYS[i],ARGV[3*i-1],'PX',ARGV[3*i]) end \
                 end \
                 c('EXISTS',unpack(KEYS)) \
                 return n==1 and r[1] or r"
            }
            Self::Replace => {
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

    /// Return the SHA-1 of the source in lower-case hex, for `EVALSHA`.
    pub const fn sha1(self) -> &'static str {
        match self {
            Self::Publish => "10ba16ad4a1a67ba408ad1656b7020bdd183563c",
            Self::Replace => "d12fae71b988cb2c59b5d9b39c0da7449f2e1c07",
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

//! The scripts of the probes: redcache's scripts, and a few others with one effect each.

use redcache_core::protocol::Script;
use redcache_sim::server::{Reply, ReplyError, ScriptCall, ScriptEffect};

/// Scripts that only the probes use: a name, the Lua for Redis, and the equivalent for the model.
pub(super) const TAUGHT: [(&str, &str, ScriptEffect); 7] = [
    ("one", "return 1", |_| Ok(Reply::Integer(1))),
    ("get", "return redis.call('GET',KEYS[1])", |script| script.call(&[b"GET", key(script)])),
    ("set", "return redis.call('SET',KEYS[1],ARGV[1])", |script| set(script)),
    ("setget", "redis.call('SET',KEYS[1],ARGV[1]) return redis.call('GET',KEYS[1])", |script| {
        set(script)?;
        script.call(&[b"GET", key(script)])
    }),
    ("getset", "redis.call('GET',KEYS[1]) return redis.call('SET',KEYS[1],ARGV[1])", |script| {
        script.call(&[b"GET", key(script)])?;
        set(script)
    }),
    ("other", "return redis.call('GET',ARGV[1])", |script| {
        script.call(&[b"GET", &script.args()[0]])
    }),
    ("ttl0", "return redis.call('SET',KEYS[1],'x','PX','0')", |script| {
        script.call(&[b"SET", key(script), b"x", b"PX", b"0"])
    }),
];

/// Return the source of a script, or its SHA-1 for `name.sha`.
pub(super) fn word(name: &str) -> String {
    let own = match name.trim_end_matches(".sha") {
        "publish" => Some(Script::Publish),
        "replace" => Some(Script::Replace),
        "release" => Some(Script::Release),
        "renew" => Some(Script::Renew),
        "touch" => Some(Script::Touch),
        "writelock" => Some(Script::WriteLock),
        "restore" => Some(Script::Restore),
        _ => None,
    };
    match (own, name.ends_with(".sha")) {
        (Some(script), false) => script.source().to_owned(),
        (Some(script), true) => script.sha1().to_owned(),
        (None, _) => {
            let taught = TAUGHT.iter().find(|(taught, ..)| *taught == name);
            taught.unwrap_or_else(|| panic!("there is no script ${name}")).1.to_owned()
        }
    }
}

fn key<'a>(script: &ScriptCall<'a>) -> &'a [u8] {
    &script.keys()[0]
}

fn set(script: &mut ScriptCall<'_>) -> Result<Reply, ReplyError> {
    script.call(&[b"SET", key(script), &script.args()[0]])
}

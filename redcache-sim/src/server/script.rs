//! Scripts: which were sent to the server, and what each source that the model knows does.
//!
//! There is no Lua here. A script is known by its exact source and does what its [`ScriptEffect`] does. That runs
//! commands through the same table as clients do, so that keys, tracking and refusals come out as they would.

mod effects;

use std::collections::BTreeMap;

use bytes::Bytes;
use sha1_smol::Sha1;

use super::Server;
use super::call::Call;
use super::client::ClientId;
use super::commands::{self, DENY_OOM, NO_SCRIPT, READ, WRITE};
use super::reply::{Reply, ReplyError};

/// The length of a script's hash in hex.
pub(super) const HASH_LEN: usize = 40;

/// What a script does, in place of its Lua source. An error ends it, as an error of `redis.call` does.
pub type ScriptEffect = fn(&mut ScriptCall<'_>) -> Result<Reply, ReplyError>;

#[derive(Debug)]
pub(super) struct Scripts {
    /// By source.
    known: BTreeMap<Bytes, ScriptEffect>,
    /// By hash; the server's script cache.
    loaded: BTreeMap<String, Loaded>,
}

#[derive(Debug, Clone, Copy)]
struct Loaded {
    effect: ScriptEffect,
    /// Its first line has the server decide at the start whether it may run.
    is_checked_first: bool,
}

impl Default for Scripts {
    fn default() -> Self {
        let known = effects::all().map(|(source, effect)| (source.into(), effect));
        Self { known: known.into_iter().collect(), loaded: BTreeMap::new() }
    }
}

impl Scripts {
    pub(super) fn learn(&mut self, source: &str, effect: ScriptEffect) {
        self.known.insert(Bytes::copy_from_slice(source.as_bytes()), effect);
    }

    /// Puts a source in the cache and gives its hash; `None` when the model does not know the source.
    pub(super) fn load(&mut self, source: &[u8]) -> Option<String> {
        let effect = *self.known.get(source)?;
        let hash = Sha1::from(source).digest().to_string();
        self.loaded.insert(
            hash.clone(),
            Loaded { effect, is_checked_first: source.starts_with(b"#!lua") },
        );
        Some(hash)
    }

    pub(super) fn is_loaded(&self, hash: &str) -> bool {
        self.loaded.contains_key(hash)
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &str> + '_ {
        self.loaded.keys().map(String::as_str)
    }

    pub(super) fn flush(&mut self) {
        self.loaded.clear();
    }
}

/// Runs a script of the cache for a client whose `EVAL` or `EVALSHA` declares this many keys.
pub(super) fn run(call: &mut Call<'_>, hash: &str, keys: usize) -> Result<Reply, ReplyError> {
    let Some(&Loaded { effect, is_checked_first }) = call.server.scripts.loaded.get(hash) else {
        return Err(ReplyError::NO_SCRIPT.into());
    };
    if is_checked_first {
        if call.server.is_replica() {
            return Err(ReplyError::READ_ONLY.into());
        }
        if call.server.out_of_memory {
            return Err(ReplyError::OUT_OF_MEMORY.into());
        }
    }
    let (keys, args) = call.args[3..].split_at(keys);
    let (client, server) = (call.client, &mut *call.server);
    effect(&mut ScriptCall { server, client, keys, args, wrote: false }).map_err(|error| {
        // All of a script but its first line stands in one.
        let line = 1 + u8::from(is_checked_first);
        let at = format!(" script: {hash}, on @user_script:{line}.");
        ReplyError::new([error.as_bytes(), at.as_bytes()].concat())
    })
}

/// One run of a script: what `KEYS`, `ARGV` and `redis.call` are in Lua.
#[derive(Debug)]
pub struct ScriptCall<'a> {
    server: &'a mut Server,
    client: ClientId,
    keys: &'a [Bytes],
    args: &'a [Bytes],
    wrote: bool,
}

impl<'a> ScriptCall<'a> {
    /// The keys that the caller declared.
    pub fn keys(&self) -> &'a [Bytes] {
        self.keys
    }

    /// The arguments after the keys.
    pub fn args(&self) -> &'a [Bytes] {
        self.args
    }

    /// Runs a command, as `redis.call` does.
    ///
    /// # Errors
    ///
    /// The command's own error, or the server's reason to refuse it. Pass it on to end the script, as Lua would.
    pub fn call(&mut self, words: &[&[u8]]) -> Result<Reply, ReplyError> {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        let command = words.first().and_then(|name| commands::find(name));
        let command = command
            .ok_or_else(|| ReplyError::new("ERR Unknown Redis command called from script"))?;
        if !command.accepts(words.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if command.has(NO_SCRIPT) || !command.subcommands.is_empty() {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        if self.server.config.forbidden.contains(command.name) {
            return Err(ReplyError::forbidden(command.name));
        }
        if self.server.is_replica() && command.has(WRITE) {
            return Err(ReplyError::READ_ONLY.into());
        }
        // A script that has written already is not stopped halfway.
        if self.server.out_of_memory && command.has(DENY_OOM) && !self.wrote {
            return Err(ReplyError::OUT_OF_MEMORY.into());
        }
        if self.server.check_slots(self.client, command, &words).is_err() {
            return Err("ERR Script attempted to access a non local key in a cluster node".into());
        }
        self.wrote |= command.has(WRITE);
        let outcome = self.server.call(self.client, command, &words);
        if command.has(READ) {
            let by_script = self.server.config.tracks_what_scripts_read();
            let keys = if by_script { command.keys(&words) } else { self.keys };
            self.server.remember_read(self.client, keys);
        }
        outcome
    }
}

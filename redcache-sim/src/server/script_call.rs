//! Calls of commands from scripts.
//!
//! There is no Lua interpreter. A script is known by its exact source and has the effect of its
//! [`ScriptEffect`], which calls commands through the same table as clients do.

use bytes::Bytes;

use super::commands;
use super::commands::command::{DENY_OOM, NO_SCRIPT, READ, WRITE};
use super::instance::ScriptCall;
use super::reply::{Reply, ReplyError};

impl<'a> ScriptCall<'a> {
    /// Return the declared keys.
    pub fn keys(&self) -> &'a [Bytes] {
        self.keys
    }

    /// Return the arguments after the keys.
    pub fn args(&self) -> &'a [Bytes] {
        self.args
    }

    /// Run a command, as `redis.call` does.
    ///
    /// # Errors
    ///
    /// Fails with the error of the command, or with the server's refusal. Return the error to end
    /// the script, as Lua would.
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
            return Err(self.server.config.forbidden(command.name));
        }
        if self.server.is_replica() && command.has(WRITE) {
            return Err(ReplyError::READ_ONLY.into());
        }
        // A script that has already written is not stopped.
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

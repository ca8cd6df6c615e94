//! `EVAL`, `EVALSHA` and `SCRIPT`.

use bytes::Bytes;

use super::command::{ALLOW_BUSY, Command, Keys, NO_SCRIPT, Run};
use crate::server::call::Call;
use crate::server::instance::ScriptCall;
use crate::server::reply::{Reply, ReplyError};
use crate::server::script_cache::{HASH_LEN, Loaded};

pub(super) const COMMANDS: &[Command] = &[
    Command::new("eval", -3, NO_SCRIPT, Keys::Declared, eval),
    Command::new("evalsha", -3, NO_SCRIPT, Keys::Declared, evalsha),
    Command::family("script", SUBCOMMANDS),
];

const SUBCOMMANDS: &[Command] = &[
    subcommand("script|load", 3, 0, load),
    subcommand("script|exists", -3, 0, exists),
    subcommand("script|flush", -2, 0, flush),
    subcommand("script|kill", 2, ALLOW_BUSY, kill),
];

const fn subcommand(name: &'static str, arity: i32, flags: u16, run: Run) -> Command {
    Command::new(name, arity, flags | NO_SCRIPT, Keys::None, run)
}

fn eval(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let keys = declared_keys(call)?;
    let hash = load_source(call, &call.args[1])?;
    run(call, &hash, keys)
}

fn evalsha(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let hash = call.text(1).to_lowercase();
    if hash.len() != HASH_LEN {
        return Err(call.server.config.no_script());
    }
    let keys = declared_keys(call)?;
    run(call, &hash, keys)
}

/// Run a loaded script; its first `keys` arguments are keys.
fn run(call: &mut Call<'_>, hash: &str, keys: usize) -> Result<Reply, ReplyError> {
    let Some(Loaded { effect, is_checked_first }) = call.server.scripts.get(hash) else {
        return Err(call.server.config.no_script());
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
    let outcome = effect(&mut ScriptCall { server, client, keys, args, wrote: false });
    outcome.map_err(|error| {
        // The text of a script after its first line is a single line.
        let line = 1 + u8::from(is_checked_first);
        let at = call.server.config.in_script(hash, line);
        ReplyError::new([error.as_bytes(), at.as_bytes()].concat())
    })
}

/// Return the number of arguments after the third word that are keys.
fn declared_keys(call: &Call<'_>) -> Result<usize, ReplyError> {
    let keys = call.integer(2)?;
    let arguments = call.args.len() - 3;
    match usize::try_from(keys) {
        Ok(keys) if keys <= arguments => Ok(keys),
        Ok(_) => Err("ERR Number of keys can't be greater than number of args".into()),
        Err(_) if keys < 0 => Err("ERR Number of keys can't be negative".into()),
        Err(_) => Err("ERR Number of keys can't be greater than number of args".into()),
    }
}

fn load(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let hash = load_source(call, &call.args[2])?;
    Ok(Reply::bulk(&hash))
}

fn load_source(call: &mut Call<'_>, source: &Bytes) -> Result<String, ReplyError> {
    let hash = call.server.scripts.load(source);
    hash.ok_or_else(|| ReplyError::not_modelled("scripts that it was not taught"))
}

fn exists(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let known = |at| Reply::flag(call.server.scripts.is_loaded(&call.text(at).to_lowercase()));
    Ok(Reply::Array((2..call.args.len()).map(known).collect()))
}

fn flush(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if call.args.len() > 3 || call.args.len() == 3 && !call.is(2, "SYNC") && !call.is(2, "ASYNC") {
        return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".into());
    }
    call.server.flush_scripts();
    Ok(Reply::OK)
}

fn kill(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if !call.server.faults.busy {
        return Err("NOTBUSY No scripts in execution right now.".into());
    }
    call.server.faults.busy = false;
    Ok(Reply::OK)
}

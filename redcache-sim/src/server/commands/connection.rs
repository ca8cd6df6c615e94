//! Connections: `HELLO`, `AUTH`, `SELECT`, `PING`, `ECHO`, `RESET`, `QUIT`.

use bytes::Bytes;

use super::command::{ALLOW_BUSY, ALLOW_LOADING, Command, Keys, NO_AUTH, NO_SCRIPT};
use crate::server::call::Call;
use crate::server::config::HelloSupport;
use crate::server::keyspace::DATABASES;
use crate::server::reply::{Protocol, Reply, ReplyError};
use crate::server::request::integer;

const ALWAYS: u16 = NO_AUTH | NO_SCRIPT | ALLOW_LOADING | ALLOW_BUSY;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("hello", -1, ALWAYS, Keys::None, hello),
    Command::new("auth", -2, ALWAYS, Keys::None, auth),
    Command::new("reset", 1, ALWAYS, Keys::None, reset),
    Command::new("select", 2, ALLOW_LOADING, Keys::None, select),
    Command::new("ping", -1, 0, Keys::None, ping),
    Command::new("echo", 2, ALLOW_LOADING, Keys::None, echo),
];

const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for \
    the default user. Are you sure your configuration is correct?";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Close the connection. Allowed at any time and with any arguments.
pub(in crate::server) fn quit(call: &mut Call<'_>) -> Reply {
    if let Some(client) = call.state() {
        client.closing = true;
    }
    Reply::OK
}

fn hello(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let protocol = match call.args.get(1) {
        None => None,
        Some(version) => Some(wanted_protocol(version, call.server.config.hello)?),
    };
    if call.server.config.checks_hello_first() {
        take_options(call, false)?;
    }
    take_options(call, true)?;
    let needs_auth = call.server.config.hello_needs_auth();
    let client = call.state().filter(|client| client.authenticated).ok_or(needs_auth)?;
    client.protocol = protocol.unwrap_or(client.protocol);
    Ok(greeting(call))
}

/// Take the options of `HELLO` one after the other, or only check that they are valid.
fn take_options(call: &mut Call<'_>, applies: bool) -> Result<(), ReplyError> {
    let mut at = 2;
    while at < call.args.len() {
        let followers = call.args.len() - at - 1;
        if call.is(at, "AUTH") && followers >= 2 {
            if applies {
                authenticate(call, &call.args[at + 1], &call.args[at + 2])?;
            }
            at += 2;
        } else if call.is(at, "SETNAME") && followers >= 1 {
            check_name(&call.args[at + 1])?;
            if applies {
                set_name(call, &call.args[at + 1])?;
            }
            at += 1;
        } else {
            let option = call.text(at);
            return Err(ReplyError::new(format!("ERR Syntax error in HELLO option '{option}'")));
        }
        at += 1;
    }
    Ok(())
}

fn wanted_protocol(version: &[u8], support: HelloSupport) -> Result<Protocol, ReplyError> {
    let version = integer(version)
        .ok_or("ERR Protocol version is not an integer or out of range")
        .map_err(ReplyError::from)?;
    match version {
        2 => Ok(Protocol::Resp2),
        3 if support == HelloSupport::Resp3 => Ok(Protocol::Resp3),
        _ => Err("NOPROTO unsupported protocol version".into()),
    }
}

fn greeting(call: &Call<'_>) -> Reply {
    let id = i64::try_from(call.client.get()).unwrap_or(i64::MAX);
    let protocol = match call.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let role = if call.server.is_replica() { "replica" } else { "master" };
    let mode = if call.server.cluster.is_some() { "cluster" } else { "standalone" };
    Reply::named([
        ("server", Reply::bulk(call.server.config.product_name())),
        ("version", Reply::bulk(&call.server.config.version_text())),
        ("proto", Reply::Integer(protocol)),
        ("id", Reply::Integer(id)),
        ("mode", Reply::bulk(mode)),
        ("role", Reply::bulk(role)),
        ("modules", call.server.config.modules()),
    ])
}

fn auth(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    match call.args {
        [_, _] if call.server.config.password.is_none() => return Err(NO_PASSWORD_SET.into()),
        [_, password] => authenticate(call, b"default", password)?,
        [_, user, password] => authenticate(call, user, password)?,
        _ => return Err(ReplyError::SYNTAX.into()),
    }
    Ok(Reply::OK)
}

fn authenticate(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Result<(), ReplyError> {
    let expected = call.server.config.password.as_ref();
    let is_right = expected.is_none_or(|expected| expected.as_bytes() == password);
    let refused = &call.server.config.refused_passwords;
    let is_refused = refused.iter().any(|refused| refused.as_bytes() == password);
    if user != b"default" || !is_right || is_refused {
        return Err(ReplyError::WRONG_PASS.into());
    }
    if let Some(client) = call.state() {
        client.authenticated = true;
    }
    Ok(())
}

/// Set the client's name; an empty name removes it.
pub(super) fn set_name(call: &mut Call<'_>, name: &Bytes) -> Result<(), ReplyError> {
    check_name(name)?;
    if let Some(client) = call.state() {
        client.name = name.clone();
    }
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), ReplyError> {
    if name.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(BAD_NAME.into()) }
}

fn reset(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let authenticated = call.server.config.password.is_none();
    if let Some(client) = call.state() {
        client.reset(authenticated);
    }
    Ok(Reply::Status("RESET"))
}

fn select(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let database = usize::try_from(call.integer(1)?).ok().filter(|&number| number < DATABASES);
    let database = database.ok_or("ERR DB index is out of range").map_err(ReplyError::from)?;
    if call.server.cluster.is_some() && database != 0 {
        return Err(call.server.config.no_database_in_cluster());
    }
    if let Some(client) = call.state() {
        client.database = database;
    }
    Ok(Reply::OK)
}

fn ping(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    match call.args {
        [_] => Ok(Reply::Status("PONG")),
        [_, text] => Ok(Reply::Bulk(text.clone())),
        _ => Err(ReplyError::arity("ping")),
    }
}

fn echo(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    Ok(Reply::Bulk(call.args[1].clone()))
}

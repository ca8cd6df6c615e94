//! `CLIENT`: names, ids, kill, and tracking.

use bytes::Bytes;

use super::command::{ALLOW_LOADING, Command, Keys, NO_SCRIPT, Run};
use super::connection::set_name;
use crate::server::call::Call;
use crate::server::client::{ClientId, Tracking};
use crate::server::reply::{Reply, ReplyError};
use crate::server::request::integer;

pub(super) const COMMANDS: &[Command] = &[Command::family("client", SUBCOMMANDS)];

const SUBCOMMANDS: &[Command] = &[
    subcommand("client|id", 2, id),
    subcommand("client|getname", 2, get_name),
    subcommand("client|setname", 3, |call| set_name(call, &call.args[2]).map(|()| Reply::OK)),
    subcommand("client|setinfo", 4, set_info),
    subcommand("client|tracking", -3, tracking),
    subcommand("client|trackinginfo", 2, tracking_info),
    subcommand("client|caching", 3, caching),
    subcommand("client|kill", -3, kill),
    subcommand("client|no-evict", 3, no_evict),
];

const fn subcommand(name: &'static str, arity: i32, run: Run) -> Command {
    Command::new(name, arity, ALLOW_LOADING | NO_SCRIPT, Keys::None, run)
}

fn id(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    Ok(Reply::Integer(i64::try_from(call.client.get()).unwrap_or(i64::MAX)))
}

fn get_name(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let name = call.state().map(|client| client.name.clone()).filter(|name| !name.is_empty());
    Ok(name.map_or(Reply::Null, Reply::Bulk))
}

fn set_info(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if call.is(2, "LIB-NAME") || call.is(2, "LIB-VER") {
        return Ok(Reply::OK);
    }
    let option = call.text(2);
    Err(ReplyError::new(format!("ERR Unrecognized option '{option}'")))
}

fn no_evict(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    // The model never evicts clients.
    if call.is(2, "ON") || call.is(2, "OFF") {
        Ok(Reply::OK)
    } else {
        Err(ReplyError::SYNTAX.into())
    }
}

fn tracking(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let mut wanted = Tracking::default();
    for at in 3..call.args.len() {
        match call.args[at].to_ascii_uppercase().as_slice() {
            b"NOLOOP" => wanted.noloop = true,
            b"OPTIN" => wanted.optin = true,
            b"OPTOUT" => wanted.optout = true,
            b"BCAST" | b"REDIRECT" | b"PREFIX" => {
                let option = call.text(at).to_uppercase();
                return Err(ReplyError::not_modelled(&format!("CLIENT TRACKING {option}")));
            }
            _ => return Err(ReplyError::SYNTAX.into()),
        }
    }
    let (on, off) = (call.is(2, "ON"), call.is(2, "OFF"));
    if !on && !off {
        return Err(ReplyError::SYNTAX.into());
    }
    if wanted.optin && wanted.optout {
        return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
    }
    if let Some(client) = call.state() {
        wanted.caching = client.tracking.is_some_and(|old| old.caching);
        client.tracking = on.then_some(wanted);
    }
    Ok(Reply::OK)
}

fn tracking_info(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let tracking = call.state().and_then(|client| client.tracking);
    let flags = match tracking {
        None => vec!["off"],
        Some(tracking) => {
            let optional = [
                (tracking.optin, "optin"),
                (tracking.optin && tracking.caching, "caching-yes"),
                (tracking.optout, "optout"),
                (tracking.optout && tracking.caching, "caching-no"),
                (tracking.noloop, "noloop"),
            ];
            let set = optional.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name);
            std::iter::once("on").chain(set).collect()
        }
    };
    Ok(Reply::named([
        ("flags", Reply::Set(flags.into_iter().map(Reply::bulk).collect())),
        ("redirect", Reply::Integer(if tracking.is_some() { 0 } else { -1 })),
        ("prefixes", Reply::Array(Vec::new())),
    ]))
}

fn caching(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let (yes, no) = (call.is(2, "YES"), call.is(2, "NO"));
    let Some(tracking) = call.state().and_then(|client| client.tracking.as_mut()) else {
        return Err("ERR CLIENT CACHING can be called only when the client is in tracking mode \
                    with OPTIN or OPTOUT mode enabled"
            .into());
    };
    match (yes, no) {
        (true, _) if tracking.optin => {
            tracking.caching = true;
            Ok(Reply::OK)
        }
        (true, _) => Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in \
                          OPTIN mode."
            .into()),
        (_, true) if tracking.optout => {
            tracking.caching = true;
            Ok(Reply::OK)
        }
        (_, true) => Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in \
                          OPTOUT mode."
            .into()),
        (false, false) => Err(ReplyError::SYNTAX.into()),
    }
}

fn kill(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if call.args.len() == 3 {
        // The old form names an address; clients of the model have none.
        return Err("ERR No such client".into());
    }
    let mut victim = None;
    let mut spares_itself = true;
    for pair in call.args[2..].chunks(2) {
        let [option, value] = pair else {
            return Err(ReplyError::SYNTAX.into());
        };
        match option.to_ascii_uppercase().as_slice() {
            b"ID" if call.server.config.is_valkey() && integer(value).is_none() => {
                return Err(ReplyError::SYNTAX.into());
            }
            b"ID" => victim = Some(client_id(value)?),
            b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => spares_itself = true,
            b"SKIPME" if value.eq_ignore_ascii_case(b"no") => spares_itself = false,
            b"ADDR" | b"LADDR" | b"TYPE" | b"USER" => {
                return Err(ReplyError::not_modelled("CLIENT KILL other than by ID"));
            }
            _ => return Err(ReplyError::SYNTAX.into()),
        }
    }
    let Some(victim) = victim else {
        return Err(ReplyError::not_modelled("CLIENT KILL other than by ID"));
    };
    let is_spared = spares_itself && victim == call.client;
    let is_known = call.server.clients.get(&victim).is_some_and(|client| !client.closing);
    let dies = is_known && !is_spared;
    if dies {
        call.server.kill(victim);
    }
    Ok(Reply::flag(dies))
}

fn client_id(text: &Bytes) -> Result<ClientId, ReplyError> {
    let id = integer(text).filter(|&id| id > 0).and_then(|id| u64::try_from(id).ok());
    id.map(ClientId).ok_or_else(|| "ERR client-id should be greater than 0".into())
}

//! `CONFIG` for the settings of the model.

use crate::server::call::Call;
use crate::server::commands::command::{ALLOW_LOADING, Command, Keys, NO_SCRIPT};
use crate::server::config::{Config, Eviction};
use crate::server::reply::{Reply, ReplyError};
use crate::server::request::integer;

const FLAGS: u16 = ALLOW_LOADING | NO_SCRIPT;

pub(super) const SUBCOMMANDS: &[Command] = &[
    Command::new("config|get", -3, FLAGS, Keys::None, get),
    Command::new("config|set", -4, FLAGS, Keys::None, set),
    Command::new("config|resetstat", 2, FLAGS, Keys::None, reset_stat),
];

/// A setting: its name, its getter and its setter.
type Setting = (&'static str, fn(&Config) -> String, fn(&mut Config, &str) -> Result<(), String>);

const SETTINGS: [Setting; 5] = [
    (
        "maxmemory",
        |config| config.memory_max.to_string(),
        |config, text| {
            config.memory_max = bytes(text).ok_or("argument must be a memory value")?;
            Ok(())
        },
    ),
    (
        "maxmemory-policy",
        |config| config.eviction.name().to_owned(),
        |config, text| {
            let names = Eviction::names();
            let refused = || format!("argument(s) must be one of the following: {names}");
            config.eviction = Eviction::from_name(text).ok_or_else(refused)?;
            Ok(())
        },
    ),
    (
        "tracking-table-max-keys",
        |config| config.tracking_keys_max.to_string(),
        |config, text| {
            config.tracking_keys_max = number(config, text, 0, i64::MAX)?;
            Ok(())
        },
    ),
    (
        "maxclients",
        |config| config.clients_max.to_string(),
        |config, text| {
            config.clients_max = number(config, text, 1, i64::from(u32::MAX))?;
            Ok(())
        },
    ),
    (
        "requirepass",
        |config| config.password.clone().unwrap_or_default(),
        |config, text| {
            config.password = Some(text.to_owned()).filter(|text| !text.is_empty());
            Ok(())
        },
    ),
];

fn get(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    let patterns: Vec<String> = (2..call.args.len()).map(|at| call.text(at)).collect();
    let found = SETTINGS.into_iter().filter_map(|(name, read, _)| {
        let pattern = patterns.iter().find(|pattern| matches(pattern, name))?;
        // A name that is queried in full is returned in its original spelling.
        let name = if pattern.ends_with('*') { name } else { pattern };
        Some((Reply::bulk(name), Reply::bulk(&read(&call.server.config))))
    });
    Ok(Reply::Map(found.collect()))
}

/// Return whether a name matches a pattern, which may end in a star.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(&start.to_lowercase()),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// Change all settings or none.
fn set(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    if call.args.len() % 2 == 1 {
        return Err(ReplyError::SYNTAX.into());
    }
    let mut changed = call.server.config.clone();
    for at in (2..call.args.len()).step_by(2) {
        let (wanted, text) = (call.text(at), call.text(at + 1));
        let known = SETTINGS.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(&wanted));
        let Some((name, _, change)) = known else {
            return Err(ReplyError::new(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{wanted}'"
            )));
        };
        change(&mut changed, &text).map_err(|reason| {
            ReplyError::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
            ))
        })?;
    }
    call.server.config = changed;
    Ok(Reply::OK)
}

fn reset_stat(call: &mut Call<'_>) -> Result<Reply, ReplyError> {
    call.server.record.counts.clear();
    Ok(Reply::OK)
}

fn number(config: &Config, text: &str, min: i64, max: i64) -> Result<usize, String> {
    let number = integer(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    let fits = (min..=max).contains(&number).then_some(number);
    let fits = fits.and_then(|number| usize::try_from(number).ok());
    fits.ok_or_else(|| config.out_of_range(min, max))
}

/// Parse an amount of memory with an optional unit.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    u64::try_from(integer(digits.as_bytes())?).ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_parsed_with_the_units_of_redis() {
        for (text, expected) in [
            ("0", Some(0)),
            ("5", Some(5)),
            ("2k", Some(2000)),
            ("2KB", Some(2048)),
            ("1mb", Some(1_048_576)),
            ("1gb", Some(1_073_741_824)),
            ("-1", None),
            ("mb", None),
            ("1x", None),
            ("99999999999gb", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}

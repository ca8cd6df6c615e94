//! The parser of server URLs. A server URL names a service, not a web page, so neither IDNA nor path
//! rules apply.
//!
//! An error names a part of the URL and does not quote it: in a malformed URL, any part may be a
//! piece of the password.

use std::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::error::ConfigError;
use super::settings::{Config, ConfigBuilder};

const PORT_DEFAULT: u16 = 6379;

pub(super) fn parse(url: &str) -> Result<ConfigBuilder, ConfigError> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| wrong("the URL has no scheme: write redis://HOST:PORT"))?;
    check_characters(rest)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let builder = match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => tcp(rest)?,
        "redis-cluster" | "valkey-cluster" => cluster(rest)?,
        "redis+unix" | "valkey+unix" | "unix" => unix(rest)?,
        _ => {
            let schemes = "redis://, valkey://, redis-cluster:// or redis+unix://";
            return Err(wrong(format!("the URL has an unknown scheme: write {schemes}")));
        }
    };
    query.split('&').filter(|pair| !pair.is_empty()).try_fold(builder, option)
}

fn wrong(text: impl Into<String>) -> ConfigError {
    ConfigError::unquoted("url", text)
}

/// Reject the characters that make a URL ambiguous.
fn check_characters(rest: &str) -> Result<(), ConfigError> {
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let text =
            "the URL contains white space: remove it, or write %20 for a space in a password";
        return Err(wrong(text));
    }
    if rest.contains('#') {
        let text = "the URL contains `#`: remove the fragment, or write %23 for `#` in a password";
        return Err(wrong(text));
    }
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    if rest[authority_end..].contains('@') {
        let text = "the URL contains `@` behind `/` or `?`: write %2F for `/` and %3F for `?` in a \
                    password, and %40 for `@` in a path or an option";
        return Err(wrong(text));
    }
    Ok(())
}

fn tcp(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let Parts { login, endpoints, db } = Parts::of(rest);
    let (host, port) = endpoint(endpoints)?;
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    in_db(log_in(ConfigBuilder::with_defaults().server(host, port), login)?, db)
}

fn cluster(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let Parts { login, endpoints, db } = Parts::of(rest);
    let seeds: Vec<_> = endpoints.split(',').map(endpoint).collect::<Result<_, _>>()?;
    if seeds.iter().any(|(host, _)| host.is_empty()) {
        let text = "the URL has a node without a host: write redis-cluster://HOST:PORT,HOST:PORT";
        return Err(ConfigError::unquoted("host", text));
    }
    in_db(log_in(ConfigBuilder::with_defaults().cluster(seeds), login)?, db)
}

/// The parts of a URL between the scheme and the options.
struct Parts<'a> {
    login: Option<&'a str>,
    endpoints: &'a str,
    db: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        // The last `@`, so that a password may contain `@`.
        match authority.rsplit_once('@') {
            Some((login, endpoints)) => Self { login: Some(login), endpoints, db },
            None => Self { login: None, endpoints: authority, db },
        }
    }
}

fn in_db(builder: ConfigBuilder, db: &str) -> Result<ConfigBuilder, ConfigError> {
    match db {
        "" => Ok(builder),
        db => Ok(builder.db(number("db", db, "the database behind `/` must be 0 to 65535")?)),
    }
}

/// Read `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. The host may be empty.
fn endpoint(text: &str) -> Result<(String, u16), ConfigError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => bracketed(rest)?,
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if port.contains(':') {
        let text = "an IPv6 address in a URL needs brackets: write redis://[::1]:6379";
        return Err(ConfigError::unquoted("host", text));
    }
    let port = match port {
        "" => PORT_DEFAULT,
        port => number("port", port, "the port of a URL must be 1 to 65535")?,
    };
    Ok((decoded("host", host)?, port))
}

/// Split `ipv6]:port`.
fn bracketed(rest: &str) -> Result<(&str, &str), ConfigError> {
    let malformed = || {
        let text = "the URL has a malformed address in brackets: write redis://[::1]:6379";
        ConfigError::unquoted("host", text)
    };
    let (host, port) = rest.split_once(']').ok_or_else(malformed)?;
    let (ip, _zone) = host.split_once('%').unwrap_or((host, ""));
    let has_colon = port.is_empty() || port.starts_with(':');
    if !has_colon || Ipv6Addr::from_str(ip).is_err() {
        return Err(malformed());
    }
    Ok((host, port.trim_start_matches(':')))
}

fn unix(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let malformed = || {
        let text = "the URL must have a path: write redis+unix:///path/to.sock or \
                    redis+unix://user:password@/path/to.sock";
        ConfigError::unquoted("path", text)
    };
    let (authority, path) = rest.split_at(rest.find('/').ok_or_else(malformed)?);
    let login = match authority {
        "" => None,
        authority => Some(authority.strip_suffix('@').ok_or_else(malformed)?),
    };
    log_in(ConfigBuilder::with_defaults().unix_socket(decoded("path", path)?), login)
}

fn log_in(builder: ConfigBuilder, login: Option<&str>) -> Result<ConfigBuilder, ConfigError> {
    let Some(login) = login else {
        return Ok(builder);
    };
    let (user, password) = login.split_once(':').ok_or_else(|| {
        let text = "the URL has a user name without a password: write user:password@ or :password@";
        ConfigError::unquoted("username", text)
    })?;
    let builder = builder.password(decoded("password", password)?);
    if user.is_empty() { Ok(builder) } else { Ok(builder.username(decoded("username", user)?)) }
}

fn option(builder: ConfigBuilder, pair: &str) -> Result<ConfigBuilder, ConfigError> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let Some(setting) = Config::SETTINGS.iter().find(|setting| setting.name == name) else {
        return Err(unknown_option(name));
    };
    builder.set(setting.name, &decoded(setting.name, value)?)
}

/// Return the error for an option that does not exist. It names the option that may be meant.
fn unknown_option(name: &str) -> ConfigError {
    let names = Config::SETTINGS.iter().map(|setting| setting.name);
    let nearest = names.map(|known| (distance(name, known), known)).min();
    let text = match nearest {
        Some((0..=3, known)) => {
            format!("the URL has an unknown option; an option with a similar name is `{known}`")
        }
        _ => "the URL has an unknown option: the options are the setters of `ConfigBuilder`".into(),
    };
    wrong(text)
}

/// Return the number of inserted, removed and replaced bytes between two texts.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.bytes().enumerate().take(64) {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, known) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != known);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()].saturating_add(one.len().saturating_sub(64))
}

fn number<N: FromStr>(part: &str, text: &str, wrong: &str) -> Result<N, ConfigError> {
    text.parse().map_err(|_| ConfigError::unquoted(part, wrong))
}

fn decoded(part: &str, text: &str) -> Result<String, ConfigError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => {
            let text = format!("the URL has a `{part}` that is not percent-encoded UTF-8");
            Err(ConfigError::unquoted(part, text))
        }
    }
}

#[cfg(test)]
mod tests;

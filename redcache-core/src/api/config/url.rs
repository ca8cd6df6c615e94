//! The parser of server URLs. A server URL names a service, not a web page, so neither IDNA nor
//! path rules apply.
//!
//! An error names a part of the URL and does not quote it: in a malformed URL, any part may be a
//! piece of the password.

use core::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::settings::{Config, ConfigBuilder};
use super::tls_options::{SENTINEL_TLS, TlsOptions};
use crate::api::config_error::ConfigError;

const PORT_DEFAULT: u16 = 6379;

const SENTINEL_PORT_DEFAULT: u16 = 26379;

pub(super) fn parse(url: &str) -> Result<ConfigBuilder, ConfigError> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| wrong("the URL has no scheme: write redis://HOST:PORT"))?;
    let scheme = scheme.to_ascii_lowercase().replace('+', "-");
    let (kind, is_tls) = kind(&scheme)?;
    // Other clients use this option for a certificate that is not checked.
    let (rest, is_insecure) = match rest.strip_suffix("#insecure") {
        Some(rest) if is_tls => (rest, true),
        Some(_) | None => (rest, false),
    };
    check_characters(rest)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut options: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    let is_sentinel = matches!(kind, Kind::Sentinel);
    let builder = match kind {
        Kind::Tcp => tcp(rest)?,
        Kind::Cluster => cluster(rest)?,
        Kind::Sentinel => sentinel(rest, &mut options)?,
        Kind::Unix => unix(rest)?,
        Kind::Disabled => disabled(rest)?,
    };
    let mut tls = TlsOptions::default();
    let (tls_options, options): (Vec<&str>, Vec<&str>) =
        options.into_iter().partition(|pair| TlsOptions::has(split_option(pair).0));
    for pair in &tls_options {
        let (name, value) = split_option(pair);
        tls = tls.set(name, decoded(name, value)?)?;
    }
    let sentinels = tls.sentinels;
    if sentinels.is_some() && !is_sentinel {
        let text = "`sentinel_tls` needs a URL with sentinels: write redis-sentinel://";
        return Err(ConfigError::unquoted(SENTINEL_TLS, text));
    }
    let mut names = tls_options.iter().map(|pair| split_option(pair).0);
    if let (Some(name), false, None | Some(false)) =
        (names.find(|name| *name != SENTINEL_TLS), is_tls, sentinels)
    {
        let text = format!("`{name}` needs a URL with TLS: write rediss:// for redis://");
        return Err(ConfigError::unquoted(name, text));
    }
    let mut builder = options.into_iter().try_fold(builder, option)?;
    let tls = tls.build()?;
    let tls = if is_insecure { tls.insecure(true) } else { tls };
    if let Some(sentinels) = sentinels.filter(|sentinels| *sentinels != is_tls) {
        builder = builder.sentinel_tls(sentinels.then(|| tls.clone()));
    }
    Ok(if is_tls { builder.tls(tls) } else { builder })
}

/// The kind of servers that a URL names.
enum Kind {
    Tcp,
    Cluster,
    Sentinel,
    Unix,
    Disabled,
}

/// Return the kind of servers that a scheme names, and whether it means TLS.
fn kind(scheme: &str) -> Result<(Kind, bool), ConfigError> {
    let (server, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
    let is_tls = match server {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        "disabled" if kind.is_empty() => return Ok((Kind::Disabled, false)),
        "unix" if kind.is_empty() => return Ok((Kind::Unix, false)),
        _ => return Err(unknown_scheme()),
    };
    match kind {
        "" => Ok((Kind::Tcp, is_tls)),
        "cluster" => Ok((Kind::Cluster, is_tls)),
        "sentinel" => Ok((Kind::Sentinel, is_tls)),
        "unix" if !is_tls => Ok((Kind::Unix, false)),
        _ => Err(unknown_scheme()),
    }
}

fn unknown_scheme() -> ConfigError {
    let schemes = "redis://, redis-cluster://, redis-sentinel://, redis+unix:// or disabled://; \
                   rediss for redis with TLS";
    wrong(format!("the URL has an unknown scheme: write {schemes}"))
}

fn split_option(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
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
    check_one_login(login)?;
    let seeds: Vec<_> = endpoints.split(',').map(endpoint).collect::<Result<_, _>>()?;
    if seeds.iter().any(|(host, _)| host.is_empty()) {
        let text = "the URL has a node without a host: write redis-cluster://HOST:PORT,HOST:PORT";
        return Err(ConfigError::unquoted("host", text));
    }
    in_db(log_in(ConfigBuilder::with_defaults().cluster(seeds), login)?, db)
}

/// Read `host:port,host:port/service/db`. The form of the crate fred is understood too:
/// `host:port/db?node=host:port&sentinelServiceName=service`.
fn sentinel(rest: &str, options: &mut Vec<&str>) -> Result<ConfigBuilder, ConfigError> {
    let Parts { login, endpoints, db: path } = Parts::of(rest);
    check_one_login(login)?;
    let mut sentinels: Vec<_> = endpoints.split(',').map(sentinel_at).collect::<Result<_, _>>()?;
    let (mut service, mut db) = path.split_once('/').unwrap_or((path, ""));
    let mut logins = [None; 2];
    let mut others = Vec::new();
    for pair in options.drain(..) {
        match split_option(pair) {
            ("sentinelServiceName", name) => (service, db) = (name, path),
            ("node", node) => sentinels.push(sentinel_at(node)?),
            ("sentinelUsername", name) => logins[0] = Some(name),
            ("sentinelPassword", password) => logins[1] = Some(password),
            _ => others.push(pair),
        }
    }
    *options = others;
    if sentinels.iter().any(|(host, _)| host.is_empty()) {
        let text = "the URL has a sentinel without a host: write \
                    redis-sentinel://HOST:PORT,HOST:PORT/SERVICE";
        return Err(ConfigError::unquoted("host", text));
    }
    let service = decoded("service", service)?;
    let mut builder = ConfigBuilder::with_defaults().sentinel(sentinels, service);
    if let Some(name) = logins[0] {
        builder = builder.sentinel_username(decoded("sentinel_username", name)?);
    }
    if let Some(password) = logins[1] {
        builder = builder.sentinel_password(decoded("sentinel_password", password)?);
    }
    in_db(log_in(builder, login)?, db)
}

fn sentinel_at(text: &str) -> Result<(String, u16), ConfigError> {
    endpoint_or(text, SENTINEL_PORT_DEFAULT)
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
    endpoint_or(text, PORT_DEFAULT)
}

fn endpoint_or(text: &str, port_default: u16) -> Result<(String, u16), ConfigError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => bracketed(rest)?,
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if port.contains(':') {
        let text = "an IPv6 address in a URL needs brackets: write redis://[::1]:6379";
        return Err(ConfigError::unquoted("host", text));
    }
    let port = match port {
        "" => port_default,
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

fn disabled(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    if rest.trim_end_matches('/').is_empty() {
        return Ok(ConfigBuilder::with_defaults().disabled());
    }
    let text = "a disabled cache has no server: write disabled:// without a host";
    Err(ConfigError::unquoted("host", text))
}

/// Reject a login per server. All but the last would be taken for a part of the password.
fn check_one_login(login: Option<&str>) -> Result<(), ConfigError> {
    let after_at = login.and_then(|login| login.split_once('@')).map(|(_, rest)| rest);
    if after_at.is_some_and(|rest| rest.contains(',')) { Err(misplaced_login()) } else { Ok(()) }
}

fn misplaced_login() -> ConfigError {
    wrong(
        "the URL has a login behind a server: write it once, before the first server; in a user \
         name or a password, write %40 for `@` and %2C for `,`",
    )
}

fn log_in(builder: ConfigBuilder, login: Option<&str>) -> Result<ConfigBuilder, ConfigError> {
    let Some(login) = login else {
        return Ok(builder);
    };
    let (user, password) = login.split_once(':').ok_or_else(|| {
        let text = "the URL has a user name without a password: write user:password@ or :password@";
        ConfigError::unquoted("username", text)
    })?;
    if user.contains(',') {
        return Err(misplaced_login());
    }
    let builder = builder.password(decoded("password", password)?);
    if user.is_empty() { Ok(builder) } else { Ok(builder.username(decoded("username", user)?)) }
}

fn option(builder: ConfigBuilder, pair: &str) -> Result<ConfigBuilder, ConfigError> {
    let (name, value) = split_option(pair);
    let Some(setting) = Config::SETTINGS.iter().find(|setting| setting.name == name) else {
        return Err(unknown_option(name));
    };
    builder.set(setting.name, &decoded(setting.name, value)?)
}

/// Return the error for an option that does not exist. It suggests the option with the most similar
/// name.
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

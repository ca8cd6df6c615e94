//! The commands of a login.

use crate::api::config::Config;
use crate::api::credentials::Credentials;
use crate::resp::command;

/// A user name, which the default user may leave out, and a password.
type Login<'a> = (Option<&'a str>, &'a str);

/// Append the `HELLO` with which a connection of redcache begins, with the login and the connection
/// name of the settings. A credentials provider is not called.
///
/// # Examples
///
/// ```
/// use redcache_core::{Config, protocol};
///
/// let mut out = Vec::new();
/// protocol::write_hello(&mut out, &Config::from_url("redis://localhost")?);
/// assert_eq!(out, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
pub fn write_hello(out: &mut Vec<u8>, config: &Config) {
    hello(config, None, out);
}

/// Append the `AUTH` for a server without `HELLO`. Return `false`, and append nothing, if the
/// settings have no password.
///
/// # Examples
///
/// ```
/// use redcache_core::{Config, protocol};
///
/// let mut out = Vec::new();
/// assert!(protocol::write_auth(&mut out, &Config::from_url("redis://:secret@localhost")?));
/// assert_eq!(out, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n");
/// # Ok::<(), redcache_core::ConfigError>(())
/// ```
pub fn write_auth(out: &mut Vec<u8>, config: &Config) -> bool {
    let login = login(config, None);
    if let Some((username, password)) = login {
        auth(username, password, out);
    }
    login.is_some()
}

/// Append `HELLO`. Credentials of a provider replace those of the settings.
pub(crate) fn hello(config: &Config, given: Option<&Credentials>, out: &mut Vec<u8>) {
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some((username, password)) = login(config, given) {
        let username = username.unwrap_or("default").as_bytes();
        hello.extend([&b"AUTH"[..], username, password.as_bytes()]);
    }
    if let Some(name) = &config.client_name {
        hello.extend([&b"SETNAME"[..], name.as_bytes()]);
    }
    command(out, &hello);
}

/// Append `AUTH`.
pub(crate) fn auth(username: Option<&str>, password: &str, out: &mut Vec<u8>) {
    match username {
        Some(user) => command(out, &[b"AUTH", user.as_bytes(), password.as_bytes()]),
        None => command(out, &[b"AUTH", password.as_bytes()]),
    }
}

/// Return the user name and the password to log in with.
pub(crate) fn login<'a>(config: &'a Config, given: Option<&'a Credentials>) -> Option<Login<'a>> {
    match given {
        Some(given) => Some((given.username(), given.reveal_password())),
        None => {
            let password = config.password.as_ref()?.reveal();
            Some((config.username.as_deref(), password))
        }
    }
}

//! The refusals of servers, without the parts of our commands that they quote.
//!
//! A server or proxy may repeat a command in its refusal, with a password, a key or a value. So a
//! refusal is reduced to its code and to a sentence that this module knows.

use crate::api::error::{Error, ErrorKind};
use crate::protocol::oversized::omitted_length;

/// The server's refusal of one command: the text after the `-`, which is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Box<str>);

/// The beginning of the text about a value that was not read.
const OVERSIZED: &str = "the value has ";

/// The replacement for a text that begins with no known sentence.
const LEFT_OUT: &str = "(the rest is left out, because it may quote the command)";

/// The codes that a refusal may begin with.
const CODES: &[&str] = &[
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOGOODSLAVE",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "NOTREADY",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

/// The codes of refusals by which a server rejects any such command at the moment, on this
/// connection, or for this slot.
const STATES: &[&str] = &[
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
];

/// The refusals of a script because of the commands in it, or because it is a script.
const NO_SCRIPTS: &[&str] = &[
    "ACL failure in script: User",
    "Error compiling script",
    "The user executing the script can't run this command",
    "This Redis command is not allowed from script",
    "Unexpected engine in script shebang",
    "Unknown Redis command called from",
    "Unknown command called from",
];

/// The commands whose names may be quoted.
const COMMANDS: &[&str] = &[
    "asking",
    "auth",
    "client",
    "client|caching",
    "client|setinfo",
    "client|tracking",
    "cluster",
    "cluster|info",
    "cluster|shards",
    "cluster|slots",
    "del",
    "delex",
    "delifeq",
    "eval",
    "evalsha",
    "exec",
    "exists",
    "get",
    "getex",
    "getrange",
    "hello",
    "mget",
    "multi",
    "pexpire",
    "ping",
    "pttl",
    "role",
    "select",
    "sentinel",
    "sentinel|get-master-addr-by-name",
    "sentinel|sentinels",
    "set",
    "setinfo",
    "shards",
    "slots",
    "subscribe",
    "tracking",
];

/// The beginnings of known texts. `@` stands for the quoted name of a command, `*` for a word that
/// is left out.
const SENTENCES: &[&str] = &[
    // Redis and Valkey.
    "ACL failure in script: No permissions to access a key",
    "ACL failure in script: User * has no permissions to run the",
    "ACL failure in script: User * has no permissions to run the @ command",
    "AUTH <password> called without any password configured for the default user",
    "Authentication required",
    "Client sent AUTH, but no password is set",
    "DB index is out of range",
    "Error compiling script",
    "Error running script",
    "Errors writing to the AOF file",
    "HELLO must be called with the client already authenticated",
    "Hash slot not served",
    "Keys in request don't hash to the same slot",
    "Link with MASTER is down and replica-serve-stale-data is set to 'no'",
    "Multiple keys request during rehashing of slot",
    "No matching script",
    "No permissions to access a key",
    "No such master with that name",
    "Not enough good replicas to write",
    "Number of keys can't be greater than number of args",
    "Operation against a key holding the wrong kind of value",
    "Protocol error",
    "Redis is busy running a script",
    "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk",
    "Redis is loading the dataset in memory",
    "Redis is running in protected mode",
    "SELECT is not allowed in cluster mode",
    "The user executing the script can't access at least one of the keys",
    "The user executing the script can't run this command or subcommand",
    "This Redis command is not allowed from script",
    "Unexpected engine in script shebang",
    "Unknown Redis command called from Lua script",
    "Unknown Redis command called from script",
    "Unknown command called from script",
    "The cluster is down",
    "The cluster is down and only accepts read commands",
    "This instance has cluster support disabled",
    "Transaction discarded because of previous errors",
    "User * has no permissions to access the",
    "User * has no permissions to run the @ command",
    "Valkey is busy running a script",
    "Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk",
    "Valkey is loading the dataset in memory",
    "Valkey is running in protected mode",
    "You can't write against a read only replica",
    "command not allowed when used memory > 'maxmemory'",
    "internal error",
    "invalid DB index",
    "invalid expire time",
    "invalid expire time in @ command",
    "invalid password",
    "invalid username-password pair",
    "invalid username-password pair or user is disabled",
    "max number of clients reached",
    "max number of clients + cluster connections reached",
    "operation not permitted",
    "sorry, this protocol version is not supported",
    "string exceeds maximum allowed size",
    "syntax error",
    "this user has no permissions",
    "this user has no permissions to access one of the keys used as arguments",
    "this user has no permissions to run the @ command",
    "unknown command",
    "unknown command @",
    "unknown subcommand",
    "unknown subcommand @",
    "unknown subcommand or wrong number of arguments",
    "unknown subcommand or wrong number of arguments for @",
    "unsupported protocol version",
    "value is not an integer or out of range",
    "wrong number of arguments",
    "wrong number of arguments for @ command",
    // Proxies.
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Host is down",
    "Invalid argument",
    "invalid request",
    "no upstream host",
    "unsupported command",
    "unsupported command @",
    "upstream failure",
    "upstream protocol error",
];

impl Refusal {
    /// Reduce the text of a server to the parts that can be shown.
    pub(crate) fn of(text: &[u8]) -> Self {
        if let Some(length) = omitted_length(text) {
            let text = format!("{OVERSIZED}{length} bytes, more than `value_max` allows");
            return Self(text.into());
        }
        let text = String::from_utf8_lossy(text);
        let first = text.split(' ').next().unwrap_or_default();
        let code = CODES.iter().find(|code| **code == first);
        let rest = code.map_or(&*text, |code| text[code.len()..].trim_start());
        let (code, shown) = match code {
            Some(code) if rest.is_empty() => return Self((*code).into()),
            Some(&code @ ("MOVED" | "ASK")) if is_slot_and_address(rest) => (code, rest.to_owned()),
            code => (code.copied().unwrap_or_default(), sentence(rest)),
        };
        Self(format!("{code} {shown}").trim_start().into())
    }

    /// Return whether the login may not run the command on any key.
    pub(crate) fn forbids_command(&self) -> bool {
        self.0.starts_with("NOPERM") && !self.0.contains("access")
    }

    /// Return whether the reply was too large to be read.
    pub(crate) fn is_oversized(&self) -> bool {
        self.0.starts_with(OVERSIZED)
    }

    /// Return whether the server does not have the command.
    pub(crate) fn is_unknown_command(&self) -> bool {
        let rest = self.0.strip_prefix("ERR ").unwrap_or(&self.0);
        ["unknown command", "unsupported command"].iter().any(|begin| rest.starts_with(begin))
    }

    /// Return whether the server or the login has no scripts, or not the commands in them.
    pub(crate) fn forbids_script(&self) -> bool {
        let rest = self.0.strip_prefix("ERR ").unwrap_or(&self.0);
        self.forbids_command()
            || self.is_unknown_command()
            || NO_SCRIPTS.iter().any(|begin| rest.starts_with(begin))
    }

    /// Return whether the command will be refused again with any key: neither the state of the
    /// server nor the key is the reason.
    pub(crate) fn is_lasting(&self) -> bool {
        let is_about_key = ["WRONGTYPE", "CROSSSLOT", OVERSIZED];
        let is_about_key = is_about_key.iter().any(|begin| self.0.starts_with(begin));
        !is_about_state(self.0.as_bytes()) && !is_about_key && !self.0.contains(" access")
    }

    /// Return whether the server belongs to no cluster.
    pub(crate) fn is_without_cluster(&self) -> bool {
        self.0.starts_with("ERR This instance has cluster support disabled")
    }

    /// Return whether the server rejects the command as malformed. It hangs up after such a reply.
    pub(crate) fn ends_connection(&self) -> bool {
        self.0.starts_with("ERR Protocol error")
    }

    /// Return the error for the caller of the refused command.
    pub(crate) fn into_error(self) -> Error {
        let kind = if self.is_oversized() { ErrorKind::Protocol } else { ErrorKind::Server };
        Error::new(kind, String::from(self.0))
    }
}

/// Return whether the server rejects any such command at the moment, on this connection, or for
/// this slot.
pub(crate) fn is_about_state(text: &[u8]) -> bool {
    let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    STATES.iter().any(|state| state.as_bytes() == code)
}

/// Return the text of an error of a server without the parts that may quote a command, with a
/// password, a key or a value.
///
/// # Examples
///
/// ```
/// use redcache_core::protocol::show_refusal;
///
/// let shown = show_refusal(b"ERR unknown command 'AUTH', with args beginning with: 'secret'");
/// assert_eq!(shown, "ERR unknown command 'auth'");
/// ```
pub fn show_refusal(error: &[u8]) -> String {
    Refusal::of(error).0.into()
}

/// Return whether the text has the form that follows `MOVED`.
fn is_slot_and_address(text: &str) -> bool {
    let Some((slot, address)) = text.split_once(' ') else { return false };
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    slot.parse::<u16>().is_ok()
        && port.parse::<u16>().is_ok()
        && !host.contains(char::is_whitespace)
}

/// Return the longest known sentence that the text begins with.
fn sentence(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let longest = SENTENCES.iter().filter_map(|sentence| begun(&words, sentence));
    let longest = longest.max_by_key(String::len);
    longest.unwrap_or_else(|| LEFT_OUT.to_owned())
}

/// Return the sentence if the words begin with it.
fn begun(words: &[&str], sentence: &str) -> Option<String> {
    let mut shown = String::new();
    let mut words = words.iter();
    for expected in sentence.split(' ') {
        let word = words.next()?;
        if !shown.is_empty() {
            shown.push(' ');
        }
        match expected {
            "*" => shown.push_str("..."),
            "@" => {
                let name = word.trim_matches(|it: char| !it.is_ascii_alphanumeric());
                let known = |command: &&&str| command.eq_ignore_ascii_case(name);
                let command = COMMANDS.iter().find(known)?;
                shown.push_str(&format!("'{command}'"));
            }
            expected => {
                let end = |it: char| matches!(it, '.' | ',' | ':');
                let is_it = word.trim_end_matches(end) == expected.trim_end_matches(end);
                if !is_it && !word.eq_ignore_ascii_case(expected) {
                    return None;
                }
                shown.push_str(expected);
            }
        }
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "hunter2";

    fn shown(text: &str) -> String {
        Refusal::of(text.as_bytes()).0.into()
    }

    #[test]
    fn a_refusal_is_shown_without_what_it_quotes() {
        for (text, expected) in [
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value script: 1f, on",
                "WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "ERR unknown command 'AUTH', with args beginning with: 'user' 'hunter2' ",
                "ERR unknown command 'auth'",
            ),
            ("ERR unknown command `hunter2`, with args beginning with: ", "ERR unknown command"),
            (
                "ERR unknown subcommand or wrong number of arguments for 'hunter2'. Try",
                "ERR unknown subcommand or wrong number of arguments",
            ),
            (
                "NOPERM User hunter2 has no permissions to run the 'client|tracking' command",
                "NOPERM User ... has no permissions to run the 'client|tracking' command",
            ),
            (
                "NOPERM User hunter2 has no permissions to access the 'hunter2' key",
                "NOPERM User ... has no permissions to access the",
            ),
            ("unsupported command 'HELLO'", "unsupported command 'hello'"),
            ("MOVED 3999 127.0.0.1:6381", "MOVED 3999 127.0.0.1:6381"),
            ("READONLY", "READONLY"),
            ("", LEFT_OUT),
            ("hunter2", LEFT_OUT),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for text in ["ERR cannot parse SET k hunter2", "MOVED 1 hunter2", "ERR hunter2"] {
            let code = text.split(' ').next().unwrap();
            assert_eq!(shown(text), format!("{code} {LEFT_OUT}"));
        }
    }

    #[test]
    fn each_known_sentence_is_shown_whole() {
        for sentence in SENTENCES {
            let said = sentence.replace('@', "'get'").replace('*', "me");
            let expected = sentence.replace('@', "'get'").replace('*', "...");
            assert_eq!(shown(&format!("ERR {said}.")), format!("ERR {expected}"));
        }
    }

    proptest! {
        #[test]
        fn no_word_of_a_command_is_shown(
            code in proptest::sample::select(CODES),
            begin in proptest::sample::select(SENTENCES),
            quote in proptest::sample::select(&["'", "`", "\"", "", " ", "(", "["][..]),
            words in proptest::collection::vec("[a-z']{0,8}|hunter2", 0..6),
            cut in 0..12_usize,
        ) {
            let secret = format!("{quote}{SECRET}{quote}");
            let begin = begin.replace(['*', '@'], &secret);
            let begin: Vec<&str> = begin.split(' ').take(cut).collect();
            let begin = begin.join(" ");
            for text in [
                format!("{code} {begin} {secret} {}", words.join(" ")),
                format!("{begin}{secret}: {}", words.join(" ")),
                format!("{secret} {code} {begin}"),
                format!("{code}{secret} {begin}"),
                format!("{code} {begin}:{secret}"),
            ] {
                prop_assert!(!shown(&text).contains(SECRET), "{text:?}");
            }
        }
    }
}

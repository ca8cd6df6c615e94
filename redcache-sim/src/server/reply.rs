//! Replies and their encoding in both protocol versions.

use bytes::Bytes;

/// The protocol version of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Resp2,
    Resp3,
}

/// The reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status, as in `+OK`.
    Status(&'static str),
    /// A number.
    Integer(i64),
    /// A byte string.
    Bulk(Bytes),
    /// A text; RESP3 encodes it as a verbatim string.
    Text(String),
    /// Null.
    Null,
    /// An error within a reply.
    Error(ReplyError),
    /// An array.
    Array(Vec<Self>),
    /// A set; an array in RESP2.
    Set(Vec<Self>),
    /// Pairs; an array of twice the length in RESP2.
    Map(Vec<(Self, Self)>),
}

/// An error reply: its code and text, as in `ERR syntax error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyError(Vec<u8>);

impl Reply {
    pub(super) const OK: Self = Self::Status("OK");

    pub(super) fn bulk(text: &str) -> Self {
        Self::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Return a map of names and values.
    pub(super) fn named<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Map(pairs.map(|(name, value)| (Self::bulk(name), value)).into())
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(super) fn flag(flag: bool) -> Self {
        Self::Integer(i64::from(flag))
    }

    pub(super) fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Self::Status(text) => write_line(out, b'+', text.as_bytes()),
            Self::Integer(number) => write_line(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => write_bulk(out, bytes),
            Self::Text(text) if resp3 => {
                write_length(out, b'=', text.len() + 4);
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Self::Text(text) => write_bulk(out, text.as_bytes()),
            Self::Null if resp3 => out.extend_from_slice(b"_\r\n"),
            Self::Null => out.extend_from_slice(b"$-1\r\n"),
            Self::Error(error) => error.write(out),
            Self::Array(items) => write_all(items, b'*', protocol, out),
            Self::Set(items) => write_all(items, if resp3 { b'~' } else { b'*' }, protocol, out),
            Self::Map(pairs) => {
                match protocol {
                    Protocol::Resp2 => write_length(out, b'*', pairs.len() * 2),
                    Protocol::Resp3 => write_length(out, b'%', pairs.len()),
                }
                for (name, value) in pairs {
                    name.write(protocol, out);
                    value.write(protocol, out);
                }
            }
        }
    }
}

impl ReplyError {
    pub(super) const SYNTAX: &'static str = "ERR syntax error";
    pub(super) const NOT_AN_INTEGER: &'static str = "ERR value is not an integer or out of range";
    pub(super) const WRONG_TYPE: &'static str =
        "WRONGTYPE Operation against a key holding the wrong kind of value";
    pub(super) const NO_AUTH: &'static str = "NOAUTH Authentication required.";
    pub(super) const WRONG_PASS: &'static str =
        "WRONGPASS invalid username-password pair or user is disabled.";
    pub(super) const OUT_OF_MEMORY: &'static str =
        "OOM command not allowed when used memory > 'maxmemory'.";
    pub(super) const READ_ONLY: &'static str =
        "READONLY You can't write against a read only replica.";
    pub(super) const LOADING: &'static str = "LOADING Redis is loading the dataset in memory";

    /// Return an error with this code and text. Line breaks become spaces.
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        let spaced = text.as_ref().iter().map(|&byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        });
        Self(spaced.collect())
    }

    pub(super) fn arity(command: &str) -> Self {
        Self::new(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// Return the refusal of something that the model does not support.
    pub(super) fn not_modelled(what: &str) -> Self {
        Self::new(format!("ERR redcache-sim does not model {what}"))
    }

    /// Return the code and text without the `-`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_line(out, b'-', &self.0);
    }
}

impl From<&str> for ReplyError {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Append the push that invalidates `key`; `None` invalidates everything.
pub(super) fn write_invalidation(key: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n");
    match key {
        Some(key) => {
            out.extend_from_slice(b"*1\r\n");
            write_bulk(out, key);
        }
        None => out.extend_from_slice(b"_\r\n"),
    }
}

fn write_all(items: &[Reply], marker: u8, protocol: Protocol, out: &mut Vec<u8>) {
    write_length(out, marker, items.len());
    for item in items {
        item.write(protocol, out);
    }
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, marker: u8, length: usize) {
    write_line(out, marker, length.to_string().as_bytes());
}

fn write_line(out: &mut Vec<u8>, marker: u8, line: &[u8]) {
    out.push(marker);
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &Reply, resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut out = Vec::new();
            reply.write(protocol, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{reply:?} as {protocol:?}");
        }
    }

    #[test]
    fn each_protocol_version_has_its_own_encoding() {
        let one = || vec![Reply::Integer(-1)];
        check(&Reply::OK, "+OK\r\n", "+OK\r\n");
        check(&Reply::Null, "$-1\r\n", "_\r\n");
        check(&Reply::bulk("a\r\n"), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n");
        check(&Reply::Text("hi".into()), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        check(&Reply::Array(one()), "*1\r\n:-1\r\n", "*1\r\n:-1\r\n");
        check(&Reply::Set(one()), "*1\r\n:-1\r\n", "~1\r\n:-1\r\n");
        let map = Reply::Map(vec![(Reply::bulk("k"), Reply::Null)]);
        check(&map, "*2\r\n$1\r\nk\r\n$-1\r\n", "%1\r\n$1\r\nk\r\n_\r\n");
    }

    #[test]
    fn a_line_break_in_an_error_becomes_a_space() {
        let mut out = Vec::new();
        ReplyError::new("ERR a\r\n+OK").write(&mut out);
        assert_eq!(out, b"-ERR a  +OK\r\n");
    }
}

//! The refusals by which a node redirects a command to another node, or to a later time.

use crate::api::config::Address;
use crate::api::error::Transient;

/// The address of a node, as a node announces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// The host; `None` for the host of the node that announced it.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// The longest host name.
const HOST_MAX: usize = 255;

impl Endpoint {
    /// Parse a host as nodes announce it; a node without a known host announces an empty one or
    /// `?`. Return `None` for an impossible host.
    pub(crate) fn new(host: &[u8], port: u16) -> Option<Self> {
        if port == 0 || host.len() > HOST_MAX {
            return None;
        }
        let host = match host {
            b"" | b"?" | b"[]" => None,
            [b'[', inner @ .., b']'] => Some(std::str::from_utf8(inner).ok()?.to_owned()),
            host => Some(std::str::from_utf8(host).ok()?.to_owned()),
        };
        Some(Self { host, port })
    }

    /// Return the address, given the node that announced the endpoint.
    pub(crate) fn address(&self, asked: &Address) -> Address {
        let host = match (&self.host, asked) {
            (Some(host), _) => host.clone(),
            (None, Address::Tcp { host, .. }) => host.clone(),
            (None, Address::Unix(_)) => "localhost".to_owned(),
        };
        Address::Tcp { host, port: self.port }
    }
}

/// A refusal of a command that was not executed and may succeed elsewhere, or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot belongs to another node.
    Moved(Endpoint),
    /// The slot is moving to another node, which has this key already or would create it.
    Ask(Endpoint),
    /// `MOVED` or `ASK` with an address that cannot be parsed.
    Unparsable,
    /// The refusal is temporary; `outdated` if an old slot map may be the reason.
    Later { outdated: bool },
    /// The standalone server is not ready, or not the right one; `replica` when it is a replica. Or
    /// any server has forgotten the login of the connection.
    WrongServer { replica: bool },
}

impl Redirect {
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let code = words.next().unwrap_or_default();
        let mut endpoint = || {
            let (host, port) = words.nth(1)?.rsplit_once(':')?;
            Endpoint::new(host.as_bytes(), port.parse().ok()?)
        };
        match code {
            "MOVED" => Some(endpoint().map_or(Self::Unparsable, Self::Moved)),
            "ASK" => Some(endpoint().map_or(Self::Unparsable, Self::Ask)),
            "NOAUTH" => Some(Self::WrongServer { replica: false }),
            _ => Transient::of(text.as_bytes()).map(|transient| Self::Later {
                outdated: match transient {
                    Transient::Loading
                    | Transient::MasterDown
                    | Transient::ClusterDown
                    | Transient::ReadOnly => true,
                    Transient::Busy | Transient::TryAgain => false,
                },
            }),
        }
    }

    /// Read the refusal of a standalone server. Another server may have its address by now.
    pub(crate) fn of_standalone(text: &str) -> Option<Self> {
        let code = text.split(' ').next().unwrap_or_default();
        match code {
            "MOVED" | "ASK" | "NOAUTH" => Some(Self::WrongServer { replica: false }),
            _ => Transient::of(text.as_bytes()).map(|transient| match transient {
                Transient::ReadOnly => Self::WrongServer { replica: true },
                Transient::Loading | Transient::MasterDown => Self::WrongServer { replica: false },
                Transient::Busy | Transient::TryAgain | Transient::ClusterDown => {
                    Self::Later { outdated: false }
                }
            }),
        }
    }

    /// Return whether the whole command must be sent again when this part of it was refused.
    pub(crate) fn concerns_whole(text: &[u8]) -> bool {
        let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        matches!(code, b"MOVED" | b"ASK" | b"NOAUTH") || Transient::of(text).is_some()
    }
}

/// Return the address that the text of a `MOVED` or `ASK` error names, given the address of the
/// node that sent it. Return `None` for another error.
///
/// # Examples
///
/// ```
/// use redcache_core::{Address, protocol};
///
/// let asked = Address::Tcp { host: "10.0.0.1".to_owned(), port: 7000 };
/// let moved = protocol::moved_to(b"MOVED 3999 10.0.0.2:7001", &asked);
/// assert_eq!(moved.unwrap().to_string(), "10.0.0.2:7001");
/// assert_eq!(protocol::moved_to(b"ERR syntax error", &asked), None);
/// ```
pub fn moved_to(error: &[u8], asked: &Address) -> Option<Address> {
    match Redirect::of(std::str::from_utf8(error).ok()?)? {
        Redirect::Moved(endpoint) | Redirect::Ask(endpoint) => Some(endpoint.address(asked)),
        Redirect::Unparsable | Redirect::Later { .. } | Redirect::WrongServer { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: Option<&str>, port: u16) -> Endpoint {
        Endpoint { host: host.map(str::to_owned), port }
    }

    #[test]
    fn an_address_is_parsed_in_every_spelling() {
        for (text, host, port) in [
            ("MOVED 3999 127.0.0.1:6381", Some("127.0.0.1"), 6381),
            ("MOVED 3999 redis.example.org:1", Some("redis.example.org"), 1),
            ("MOVED 3999 ::1:6381", Some("::1"), 6381),
            ("MOVED 3999 [::1]:6381", Some("::1"), 6381),
            ("MOVED 3999 :6381", None, 6381),
            ("MOVED 3999 ?:6381", None, 6381),
            ("MOVED 3999 []:6381", None, 6381),
        ] {
            assert_eq!(Redirect::of(text), Some(Redirect::Moved(endpoint(host, port))), "{text}");
        }
        let ask = Redirect::of("ASK 3999 10.0.0.1:7000");
        assert_eq!(ask, Some(Redirect::Ask(endpoint(Some("10.0.0.1"), 7000))));
        let asked = Address::Tcp { host: "seed".to_owned(), port: 1 };
        assert_eq!(endpoint(None, 7).address(&asked).to_string(), "seed:7");
    }

    #[test]
    fn a_redirect_without_an_address_is_unparsable() {
        for text in ["MOVED", "ASK 1", "MOVED 1 host", "MOVED 1 host:0", "ASK 1 host:99999"] {
            assert_eq!(Redirect::of(text), Some(Redirect::Unparsable), "{text}");
        }
    }

    #[test]
    fn transient_refusals_are_retried_later_and_others_are_final() {
        for (text, outdated) in [
            ("TRYAGAIN Multiple keys request during rehashing of slot", false),
            ("BUSY Redis is busy running a script", false),
            ("CLUSTERDOWN Hash slot not served", true),
            ("LOADING Redis is loading the dataset in memory", true),
            ("MASTERDOWN Link with MASTER is down", true),
            ("READONLY You can't write against a read only replica.", true),
        ] {
            assert_eq!(Redirect::of(text), Some(Redirect::Later { outdated }), "{text}");
        }
        for text in ["LOADING x", "MASTERDOWN Link", "MOVED 1 h:1", "READONLY x", "NOAUTH x"] {
            let replica = text.starts_with("READONLY");
            let expected = Some(Redirect::WrongServer { replica });
            assert_eq!(Redirect::of_standalone(text), expected, "{text}");
        }
        let later = Some(Redirect::Later { outdated: false });
        assert_eq!(Redirect::of_standalone("BUSY Redis is busy"), later);
        assert_eq!(Redirect::of_standalone("WRONGTYPE Operation against a key"), None);
        assert_eq!(Redirect::of("WRONGTYPE Operation against a key"), None);
        let logged_out = Some(Redirect::WrongServer { replica: false });
        assert_eq!(Redirect::of("NOAUTH Authentication required."), logged_out);
        assert_eq!(Redirect::of(""), None);
    }
}

//! What a node of a cluster says when another is to be asked, or the same one later.

use crate::api::config::Address;
use crate::api::error::Transient;

/// Where a node of a cluster says that a node is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// `None`: the host that said it.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// The longest name of a host.
const HOST_MAX: usize = 255;

impl Endpoint {
    /// Reads a host as nodes announce it; a node that does not know its own says nothing or `?`.
    ///
    /// `None` when it cannot be a host.
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

    /// The address, when the node at `asked` has said it.
    pub(crate) fn address(&self, asked: &Address) -> Address {
        let host = match (&self.host, asked) {
            (Some(host), _) => host.clone(),
            (None, Address::Tcp { host, .. }) => host.clone(),
            (None, Address::Unix(_)) => "localhost".to_owned(),
        };
        Address::Tcp { host, port: self.port }
    }
}

/// A refusal that says that the command was not executed and may be elsewhere, or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// The slot belongs to another node.
    Moved(Endpoint),
    /// The slot is on its way to another node, which has this key already, or would make it.
    Ask(Endpoint),
    /// The same, to a place that cannot be read.
    Unparsable,
    /// It passes by itself; `outdated` when our map of the cluster may have to do with it.
    Later { outdated: bool },
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
            "READONLY" => Some(Self::Later { outdated: true }),
            _ => Transient::of(text.as_bytes()).map(|transient| Self::Later {
                outdated: match transient {
                    Transient::Loading | Transient::MasterDown | Transient::ClusterDown => true,
                    Transient::Busy | Transient::TryAgain => false,
                },
            }),
        }
    }

    /// Whether one refused part of a command calls for the whole of it to be sent again.
    pub(crate) fn concerns_whole(text: &[u8]) -> bool {
        let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        matches!(code, b"MOVED" | b"ASK" | b"TRYAGAIN" | b"CLUSTERDOWN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: Option<&str>, port: u16) -> Endpoint {
        Endpoint { host: host.map(str::to_owned), port }
    }

    #[test]
    fn a_redirect_names_its_node_in_every_spelling() {
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
    fn a_redirect_to_nowhere_is_still_one() {
        for text in ["MOVED", "ASK 1", "MOVED 1 host", "MOVED 1 host:0", "ASK 1 host:99999"] {
            assert_eq!(Redirect::of(text), Some(Redirect::Unparsable), "{text}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_tried_later_and_other_refusals_are_final() {
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
        assert_eq!(Redirect::of("WRONGTYPE Operation against a key"), None);
        assert_eq!(Redirect::of(""), None);
    }
}

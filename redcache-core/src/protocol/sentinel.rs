//! Requests to a Redis Sentinel, and its replies.
//!
//! A sentinel names the address of a service's primary, names the other sentinels of the service,
//! and publishes a change of the primary on the channel `+switch-master`.

use crate::api::config::Address;
use crate::resp::{Frame, command};

/// The channel on which a sentinel publishes that a service has another primary.
const SWITCH: &[u8] = b"+switch-master";
/// The largest number of other sentinels of a service that are read.
const SENTINELS_MAX: usize = 64;

/// One request to a sentinel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// `HELLO` with the login.
    Hello,
    /// `AUTH` with new credentials.
    Auth,
    /// `AUTH` as a server without `HELLO` knows it: the default user has no name.
    PlainAuth,
    /// A subscription to changes of the primary.
    Subscribe,
    /// A query for the address of the primary.
    Primary,
    /// A query for the other sentinels of the service.
    Sentinels,
}

/// The user name and password of a sentinel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
}

impl Request {
    pub(crate) fn encode(self, service: &str, login: Option<Login<'_>>, out: &mut Vec<u8>) {
        let service = service.as_bytes();
        match (self, login) {
            (Self::Hello, None) => command(out, &[b"HELLO", b"3"]),
            (Self::Hello, Some(Login { username, password })) => {
                let login = [username.as_bytes(), password.as_bytes()];
                command(out, &[b"HELLO", b"3", b"AUTH", login[0], login[1]]);
            }
            (Self::Auth | Self::PlainAuth, None) => {}
            (Self::PlainAuth, Some(Login { username: "default", password })) => {
                command(out, &[b"AUTH", password.as_bytes()]);
            }
            (Self::Auth | Self::PlainAuth, Some(Login { username, password })) => {
                command(out, &[b"AUTH", username.as_bytes(), password.as_bytes()]);
            }
            (Self::Subscribe, _) => command(out, &[b"SUBSCRIBE", SWITCH]),
            (Self::Primary, _) => {
                command(out, &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service]);
            }
            (Self::Sentinels, _) => command(out, &[b"SENTINEL", b"SENTINELS", service]),
        }
    }
}

/// Return `true` if the reply to `HELLO` is that of a sentinel.
pub(crate) fn is_sentinel(hello: &Frame<'_>) -> bool {
    matches!(field(hello, b"mode"), Some(Frame::Bulk(b"sentinel") | Frame::Simple(b"sentinel")))
}

/// Return the primary's address; `None` if the sentinel does not know the service, or if the reply
/// is malformed.
pub(crate) fn read_primary(reply: &Frame<'_>) -> Option<Address> {
    let Frame::Array(parts) = reply else { return None };
    let [host, port] = &parts[..] else { return None };
    address(text(host)?, text(port)?)
}

/// Return the addresses of the other sentinels. Malformed ones are left out.
pub(crate) fn read_sentinels(reply: &Frame<'_>) -> Vec<Address> {
    let Frame::Array(sentinels) = reply else { return Vec::new() };
    let read = |sentinel: &Frame<'_>| {
        address(text(field(sentinel, b"ip")?)?, text(field(sentinel, b"port")?)?)
    };
    sentinels.iter().take(SENTINELS_MAX).filter_map(read).collect()
}

/// Return the new primary if a push announces one for `service`.
pub(crate) fn read_switch(push: &[Frame<'_>], service: &str) -> Option<Address> {
    let [Frame::Bulk(b"message"), Frame::Bulk(channel), Frame::Bulk(message)] = push else {
        return None;
    };
    let words: Vec<_> = std::str::from_utf8(message).ok()?.split(' ').collect();
    // The name of a service may contain spaces; the two addresses do not.
    let [.., _, _, host, port] = words[..] else { return None };
    let named = words[..words.len() - 4].join(" ");
    if *channel == SWITCH && named == service { address(host, port) } else { None }
}

fn address(host: &str, port: &str) -> Option<Address> {
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    is_host.then(|| Address::Tcp { host: host.to_owned(), port })
}

fn text<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    match frame {
        Frame::Bulk(bytes) | Frame::Simple(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Return the value under a name, in a map or in the flat list that RESP2 has for it.
fn field<'a, 'b>(frame: &'a Frame<'b>, name: &[u8]) -> Option<&'a Frame<'b>> {
    let is_name = |frame: &Frame<'_>| text(frame).is_some_and(|text| text.as_bytes() == name);
    match frame {
        Frame::Map(fields) => fields.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value),
        Frame::Array(flat) => {
            flat.chunks_exact(2).find(|pair| is_name(&pair[0])).map(|pair| &pair[1])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    fn bulk(text: &str) -> Frame<'_> {
        Frame::Bulk(text.as_bytes())
    }

    #[test]
    fn the_primary_is_read_and_nothing_else_is_taken_for_one() {
        let reply = |host, port| Frame::Array(vec![bulk(host), bulk(port)]);
        assert_eq!(read_primary(&reply("10.0.0.1", "6379")), Some(at("10.0.0.1", 6379)));
        assert_eq!(read_primary(&reply("::1", "6379")), Some(at("::1", 6379)));
        for (host, port) in [("", "1"), ("a b", "1"), ("h", "0"), ("h", "65536"), ("h", "")] {
            assert_eq!(read_primary(&reply(host, port)), None, "{host}:{port}");
        }
        for other in [Frame::Null, Frame::Array(vec![bulk("h")]), Frame::Error(b"ERR"), bulk("h")] {
            assert_eq!(read_primary(&other), None);
        }
    }

    #[test]
    fn sentinels_are_read_from_maps_and_from_flat_lists() {
        let map = Frame::Map(vec![(bulk("ip"), bulk("10.0.0.2")), (bulk("port"), bulk("26379"))]);
        let flat = vec![bulk("name"), bulk("x"), bulk("ip"), bulk("h"), bulk("port"), bulk("1")];
        let reply = Frame::Array(vec![map, Frame::Array(flat), Frame::Null]);
        assert_eq!(read_sentinels(&reply), [at("10.0.0.2", 26379), at("h", 1)]);
        assert!(read_sentinels(&Frame::Error(b"ERR No such master with that name")).is_empty());
    }

    #[test]
    fn a_switch_of_another_service_or_channel_is_passed_over() {
        let push = |channel, message| vec![bulk("message"), bulk(channel), bulk(message)];
        let read = |channel, message| read_switch(&push(channel, message), "my svc");
        let message = "my svc 10.0.0.1 6379 10.0.0.2 6380";
        assert_eq!(read("+switch-master", message), Some(at("10.0.0.2", 6380)));
        assert_eq!(read("+sdown", message), None);
        assert_eq!(read("+switch-master", "svc 10.0.0.1 6379 10.0.0.2 6380"), None);
        assert_eq!(read("+switch-master", "10.0.0.2 6380"), None);
        assert_eq!(read_switch(&[bulk("subscribe"), bulk("+switch-master")], "my svc"), None);
    }

    #[test]
    fn a_sentinel_is_known_by_its_mode() {
        let hello =
            |mode| Frame::Map(vec![(bulk("proto"), Frame::Integer(3)), (bulk("mode"), mode)]);
        assert!(is_sentinel(&hello(bulk("sentinel"))));
        assert!(!is_sentinel(&hello(bulk("standalone"))));
        assert!(!is_sentinel(&Frame::Null));
    }

    #[test]
    fn a_login_goes_with_hello_alone() {
        let login = Some(Login { username: "u", password: "p" });
        let mut out = Vec::new();
        Request::Hello.encode("svc", login, &mut out);
        assert!(String::from_utf8_lossy(&out).contains("AUTH\r\n$1\r\nu\r\n$1\r\np\r\n"));
        out.clear();
        Request::Primary.encode("svc", login, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("GET-MASTER-ADDR-BY-NAME\r\n$3\r\nsvc\r\n"), "{text}");
    }
}

//! The model of one sentinel, which names the primary that it knows and publishes a switch.

use super::plan::{SENTINEL_HOST, SENTINELS, SERVER_HOST, SERVICE, port_of};

/// One sentinel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sentinel {
    /// The server that the sentinel considers the primary.
    pub(super) primary: usize,
    /// The number of the latest switch that the sentinel knows.
    pub(super) epoch: u64,
    /// The server that the sentinel names instead, if it is wrong.
    pub(super) wrong: Option<usize>,
    /// Whether the sentinel does not know the service.
    pub(super) is_ignorant: bool,
    pub(super) is_dead: bool,
    /// Whether the sentinel reads commands and sends no replies.
    pub(super) is_silent: bool,
    /// Whether the sentinel learns of no switch until the faults end.
    pub(super) is_late: bool,
    /// Whether the sentinel refuses every login.
    pub(super) is_refusing: bool,
}

/// A reply of a sentinel.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) bytes: Vec<u8>,
    /// The server that the reply names, or `None` if the sentinel does not know the service.
    pub(super) named: Option<Option<usize>>,
    /// Whether the client has subscribed.
    pub(super) subscribes: bool,
}

impl Sentinel {
    pub(super) fn new() -> Self {
        Self {
            primary: 0,
            epoch: 0,
            wrong: None,
            is_ignorant: false,
            is_dead: false,
            is_silent: false,
            is_late: false,
            is_refusing: false,
        }
    }

    /// Return the server that the sentinel names.
    pub(super) fn names(&self) -> usize {
        self.wrong.unwrap_or(self.primary)
    }

    /// Answer one command.
    pub(super) fn answer(&self, words: &[&[u8]]) -> Said {
        let plain = |bytes: Vec<u8>| Said { bytes, named: None, subscribes: false };
        match words {
            [b"HELLO", ..] => plain(
                b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n\
                  $8\r\nsentinel\r\n"
                    .to_vec(),
            ),
            [b"SUBSCRIBE", ..] => Said {
                bytes: b">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".to_vec(),
                named: None,
                subscribes: true,
            },
            [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", _] if self.is_ignorant => {
                Said { bytes: b"*-1\r\n".to_vec(), named: Some(None), subscribes: false }
            }
            [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", _] => {
                let port = port_of(self.names()).to_string();
                let bytes = array(&[SERVER_HOST, &port]);
                Said { bytes, named: Some(Some(self.names())), subscribes: false }
            }
            [b"SENTINEL", b"SENTINELS", _] => plain(others()),
            [b"AUTH", ..] => plain(b"+OK\r\n".to_vec()),
            [b"PING"] => plain(b"+PONG\r\n".to_vec()),
            _ => plain(b"-ERR unknown command\r\n".to_vec()),
        }
    }

    /// Return the message that the service has another primary.
    pub(super) fn switch(&self, old: usize) -> Vec<u8> {
        let (old, new) = (port_of(old), port_of(self.names()));
        let text = format!("{SERVICE} {SERVER_HOST} {old} {SERVER_HOST} {new}");
        let mut push = b">3\r\n".to_vec();
        for part in ["message", "+switch-master", &text] {
            push.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
        }
        push
    }
}

fn array(parts: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
    bytes
}

/// Return the list of the sentinels. A real one leaves itself out, which makes no difference.
fn others() -> Vec<u8> {
    let mut bytes = format!("*{SENTINELS}\r\n").into_bytes();
    for number in 0..SENTINELS {
        let port = port_of(number).to_string();
        bytes.extend(array(&["ip", SENTINEL_HOST, "port", &port]));
    }
    bytes
}

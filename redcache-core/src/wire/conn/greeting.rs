//! A server's description of itself in its reply to `HELLO`.

use crate::protocol::native::NativeCommands;
use crate::resp::Frame;

/// A server's reply to `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) resp3: bool,
    pub(super) mode: Mode,
    pub(super) is_replica: bool,
    /// The native commands of the server that compare and write.
    pub(super) native: NativeCommands,
}

/// The mode of a server. An unknown mode counts as standalone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

impl Greeting {
    /// Read a map, or the flat list that RESP2 uses instead; `None` if there is no `proto`.
    pub(super) fn of(frame: &Frame<'_>) -> Option<Self> {
        let resp3 = match field(frame, b"proto")? {
            Frame::Integer(proto) => *proto == 3,
            other => text(other)? == b"3",
        };
        let mode = match field(frame, b"mode").and_then(text) {
            Some(b"sentinel") => Mode::Sentinel,
            Some(b"cluster") => Mode::Cluster,
            _ => Mode::Standalone,
        };
        let role = field(frame, b"role").and_then(text);
        let is_replica = matches!(role, Some(b"replica" | b"slave"));
        let named = |name| field(frame, name).and_then(text).unwrap_or_default();
        let native = NativeCommands::of(named(b"server"), named(b"version"));
        Some(Self { resp3, mode, is_replica, native })
    }
}

fn field<'a, 'b>(frame: &'a Frame<'b>, name: &[u8]) -> Option<&'a Frame<'b>> {
    let is_name = |frame: &Frame<'_>| text(frame) == Some(name);
    match frame {
        Frame::Map(pairs) => pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value),
        Frame::Array(items) => {
            items.chunks_exact(2).find(|pair| is_name(&pair[0])).map(|pair| &pair[1])
        }
        _ => None,
    }
}

fn text<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    match frame {
        Frame::Bulk(text) | Frame::Simple(text) => Some(text),
        _ => None,
    }
}

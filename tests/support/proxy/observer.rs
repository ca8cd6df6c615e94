//! The commands and replies of one connection.

use redcache_core::resp::{self, Frame, Limits, Scanner};

#[derive(Debug)]
pub(super) struct Observer {
    requests: Frames,
    replies: Frames,
    /// Commands that have no reply yet.
    outstanding: u64,
}

/// The commands that a piece of the client's bytes completed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) round_trips: u64,
    pub(super) commands: Vec<Vec<Vec<u8>>>,
}

impl Default for Observer {
    fn default() -> Self {
        Self { requests: Frames::new(), replies: Frames::new(), outstanding: 0 }
    }
}

impl Observer {
    pub(super) fn on_request_bytes(&mut self, bytes: &[u8]) -> Seen {
        self.requests.buffer.extend_from_slice(bytes);
        let mut seen = Seen::default();
        while let Some(frame) = self.requests.next() {
            seen.round_trips += u64::from(self.outstanding == 0);
            self.outstanding += 1;
            seen.commands.push(words(&frame));
        }
        seen
    }

    pub(super) fn on_reply_bytes(&mut self, bytes: &[u8]) {
        self.replies.buffer.extend_from_slice(bytes);
        while let Some(frame) = self.replies.next() {
            if frame[0] != b'>' {
                self.outstanding = self.outstanding.saturating_sub(1);
            }
        }
    }
}

fn words(frame: &[u8]) -> Vec<Vec<u8>> {
    let Ok(Frame::Array(words)) = resp::decode(frame) else {
        return vec![frame.to_vec()];
    };
    let bytes = words.iter().filter_map(|word| match word {
        Frame::Bulk(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    bytes.collect()
}

/// The frames of one direction. A protocol error ends them.
#[derive(Debug)]
struct Frames {
    buffer: Vec<u8>,
    scanner: Scanner,
}

impl Frames {
    fn new() -> Self {
        Self { buffer: Vec::new(), scanner: Scanner::new(Limits::default()) }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.scanner.scan(&self.buffer).ok().flatten()?;
        Some(self.buffer.drain(..end).collect())
    }
}

//! Fuzz targets: each takes arbitrary bytes and panics if a property fails.
//!
//! The programs in `fuzz/` only call these functions. A test runs them on the corpora without a
//! fuzzer.

use std::time::Duration;

use redcache_core::Config;
use redcache_core::resp::{Limits, Scanner, decode};

mod cluster;
mod fixture;
mod rig;
mod script;

use cluster::Cluster;
use rig::Rig;

/// A function that accepts arbitrary bytes.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("scanner", scanner),
    ("decoder", decoder),
    ("connection", connection),
    ("engine", engine),
    ("topology", topology),
    ("envelope", envelope),
    ("url", url),
];

/// Small limits, so that small inputs reach them.
const LIMITS: Limits = Limits::new(8, 1 << 12, 1 << 12, 1 << 8);

/// Check that frames do not depend on how the stream is split. The first byte chooses the split.
pub fn scanner(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    let cut = frames(stream, usize::from(cut) % 16 + 1);
    assert_eq!(whole, cut, "frames depend on how the stream is split");
}

/// Return the ends of the frames, and whether the stream ends in an error.
fn frames(stream: &[u8], chunk: usize) -> (Vec<usize>, bool) {
    let mut scanner = Scanner::new(LIMITS);
    let (mut start, mut ends) = (0, Vec::new());
    let mut seen = 0;
    while seen < stream.len() {
        seen = stream.len().min(seen + chunk);
        loop {
            match scanner.scan(&stream[start..seen]) {
                Ok(Some(length)) => {
                    start += length;
                    ends.push(start);
                }
                Ok(None) => break,
                Err(_) => return (ends, true),
            }
        }
    }
    (ends, false)
}

/// Decode each scanned frame or return an error.
pub fn decoder(bytes: &[u8]) {
    let (ends, _) = frames(bytes, bytes.len().max(1));
    let mut start = 0;
    for end in ends {
        if let Ok(frame) = decode(&bytes[start..end]) {
            assert!(!format!("{frame:?}").is_empty());
        }
        start = end;
    }
}

/// Answer calls with arbitrary bytes in pieces of any size: each call still ends in time. The first
/// byte of each piece is its length.
pub fn connection(bytes: &[u8]) {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.stop_checking();
    for call in 0..4 {
        rig.call(call);
    }
    let mut rest = bytes;
    while let Some((&length, pieces)) = rest.split_first() {
        let (piece, others) = pieces.split_at(pieces.len().min(usize::from(length)));
        rest = others;
        rig.receive(piece);
    }
    rig.end_in_time();
}

/// Drive an engine and a server model by arbitrary events; `script` defines their encoding.
pub fn engine(bytes: &[u8]) {
    script::play(bytes);
}

/// Answer topology queries and reads with arbitrary bytes: calls end in time, no invalid address is
/// dialed, a slot map without owners replaces no other, and the engine recovers once the replies
/// are valid again.
///
/// The first byte of each piece is its length, the second its purpose.
pub fn topology(bytes: &[u8]) {
    /// The largest number of pieces of one run.
    const PIECES_MAX: usize = 40;
    let mut cluster = Cluster::new();
    let mut rest = bytes;
    for _ in 0..PIECES_MAX {
        let [length, purpose, others @ ..] = rest else { break };
        let (piece, others) = others.split_at(others.len().min(usize::from(*length)));
        rest = others;
        match purpose % 6 {
            0 => cluster.queue_topology(piece.to_vec()),
            1 | 2 => {
                let (reply, is_owned) = cluster::encode_topology(purpose % 6 == 1, piece);
                cluster.recover();
                cluster.queue_topology(reply);
                cluster.wait_for_discovery();
                assert!(
                    cluster.read() || is_owned,
                    "a slot map was replaced by one without owners"
                );
            }
            3 => cluster.queue_reply(line(b"-MOVED 7629 ", piece)),
            4 => cluster.queue_reply(line(b"-ASK 7629 ", piece)),
            _ => cluster.queue_reply(line(b"-", piece)),
        }
        if purpose & 0x80 != 0 {
            cluster.wait_for_discovery();
            cluster.read();
        }
    }
    cluster.wait_for_discovery();
    cluster.read();
    cluster.recover();
}

/// Return `start` and `text` as one line, without line breaks inside.
fn line(start: &[u8], text: &[u8]) -> Vec<u8> {
    let text = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    start.iter().copied().chain(text).chain(*b"\r\n").collect()
}

/// Read arbitrary bytes under a key; a value comes out of its envelope unchanged.
pub fn envelope(bytes: &[u8]) {
    let mut raw = Vec::new();
    redcache_core::protocol::write_envelope(
        &mut raw,
        bytes,
        Duration::from_nanos(bytes.len() as u64),
    );
    assert_eq!(Rig::read(&raw).as_deref(), Some(bytes), "an envelope changes its value");
    if let Some(read) = Rig::read(bytes) {
        assert!(bytes.ends_with(&read), "the value read is no part of the stored bytes");
    }
}

/// Build a configuration from arbitrary text or return an error, never showing a password.
pub fn url(bytes: &[u8]) {
    // The first letter cannot be read as the end of an escape sequence.
    const PASSWORD: &str = "Secret-never-to-be-seen";
    let text = String::from_utf8_lossy(bytes);
    let shown = |url: &str| match Config::from_url(url) {
        Ok(config) => format!("{config:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown(&text).is_empty());
    let with_password = shown(&format!("redis://user:{PASSWORD}@host/{text}"));
    assert!(text.contains(PASSWORD) || !with_password.contains(PASSWORD), "a password is shown");
}

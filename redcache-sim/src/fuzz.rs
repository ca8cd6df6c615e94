//! What fuzzers throw bytes at: each target takes any bytes and panics when something does not hold.
//!
//! The targets of `fuzz/` only call these, and a test runs them on the corpora, so no fuzzer is needed for that.

use std::time::Duration;

use redcache_core::Config;
use redcache_core::resp::{Limits, Scanner, decode};

mod cluster;
mod fixture;
mod rig;
mod script;

use cluster::Cluster;
use rig::Rig;

/// What takes any bytes.
pub type Target = fn(&[u8]);

/// Every target: its name, which is also that of its corpus, and what it does.
pub const TARGETS: [(&str, Target); 7] = [
    ("scanner", scanner),
    ("decoder", decoder),
    ("connection", connection),
    ("engine", engine),
    ("topology", topology),
    ("envelope", envelope),
    ("url", url),
];

/// Small, so that limits are met by small inputs.
const LIMITS: Limits =
    Limits { depth_max: 8, elements_max: 1 << 12, bulk_max: 1 << 12, line_max: 1 << 8 };

/// Finds the same frames whichever way the bytes are cut. The first byte says how.
pub fn scanner(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    let cut = frames(stream, usize::from(cut) % 16 + 1);
    assert_eq!(whole, cut, "frames depend on how bytes are cut");
}

/// Where frames end, and whether the stream goes wrong after them.
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

/// Decodes whatever the scanner takes for a frame, or says why not.
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

/// Has a server answer whatever it likes, in pieces of any size: every call ends in its time all the same. Of each
/// piece, the first byte says how long it is.
pub fn connection(bytes: &[u8]) {
    let mut rig = Rig::new();
    rig.connect();
    rig.settle();
    rig.deceive();
    for call in 0..4 {
        rig.call(call);
    }
    let mut rest = bytes;
    while let Some((&length, pieces)) = rest.split_first() {
        let (piece, others) = pieces.split_at(pieces.len().min(usize::from(length)));
        rest = others;
        rig.hear(piece);
    }
    rig.end_in_time();
}

/// Drives an engine beside the model of a server by arbitrary events; see `script` for what the bytes mean.
pub fn engine(bytes: &[u8]) {
    script::play(bytes);
}

/// Has the nodes of a cluster say anything of it, and send reads anywhere: calls end in their time, nobody is dialed
/// who cannot be, a map is not given up for none, and once the nodes make sense again so does the engine.
///
/// The first byte of each piece says how long it is, the second what it is for.
pub fn topology(bytes: &[u8]) {
    /// One run takes no longer than that many.
    const PIECES_MAX: usize = 40;
    let mut cluster = Cluster::new();
    let mut rest = bytes;
    for _ in 0..PIECES_MAX {
        let [length, purpose, others @ ..] = rest else { break };
        let (piece, others) = others.split_at(others.len().min(usize::from(*length)));
        rest = others;
        match purpose % 6 {
            0 => cluster.claim(piece.to_vec()),
            1 | 2 => {
                let (reply, is_owned) = cluster::encode_value(purpose % 6 == 1, piece);
                cluster.recover();
                cluster.claim(reply);
                cluster.refresh();
                assert!(cluster.read() || is_owned, "a map was given up for none");
            }
            3 => cluster.refuse(line(b"-MOVED 7629 ", piece)),
            4 => cluster.refuse(line(b"-ASK 7629 ", piece)),
            _ => cluster.refuse(line(b"-", piece)),
        }
        if purpose & 0x80 != 0 {
            cluster.refresh();
            cluster.read();
        }
    }
    cluster.refresh();
    cluster.read();
    cluster.recover();
}

/// A line that begins so, without the ends of lines in it.
fn line(start: &[u8], text: &[u8]) -> Vec<u8> {
    let text = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    start.iter().copied().chain(text).chain(*b"\r\n").collect()
}

/// Reads any bytes under a key; what was put into an envelope comes out of it unchanged.
pub fn envelope(bytes: &[u8]) {
    let mut raw = Vec::new();
    redcache_core::write_envelope(&mut raw, bytes, Duration::from_nanos(bytes.len() as u64));
    assert_eq!(Rig::read(&raw).as_deref(), Some(bytes), "an envelope changes what is in it");
    if let Some(read) = Rig::read(bytes) {
        assert!(bytes.ends_with(&read), "what was read is no part of what was there");
    }
}

/// Builds a configuration from any text, or says why not, and never shows a password.
pub fn url(bytes: &[u8]) {
    // It begins with what cannot be the end of an escaped character.
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

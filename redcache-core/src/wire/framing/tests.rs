//! The frames of a byte stream, wherever it is cut.

use proptest::prelude::*;

use super::*;
use crate::protocol::oversized::omitted_length;
use crate::resp::{Frame, decode};
use crate::wire::value_memory::{LongValue, Received, Total};

const MAX: FrameMax = FrameMax { payload: 10, unfinished: 100 };

/// Return the frames in bytes that come in pieces of this size, as text.
fn read(bytes: &[u8], size: usize) -> Result<Vec<String>, Error> {
    let (mut framing, mut frames) = (Framing::new(Limits::default()), Vec::new());
    for piece in bytes.chunks(size) {
        let mut input = Input::new(piece);
        while let Some(frame) = framing.next(&mut input, MAX, None)? {
            frames.push(shown(&decode(frame.bytes).unwrap()));
        }
        assert!(framing.tail.len() < 200 + size, "{}", framing.tail.len());
    }
    Ok(frames)
}

fn shown(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Error(text) => match omitted_length(text) {
            Some(length) => format!("omitted {length}"),
            None => "error".to_owned(),
        },
        Frame::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join(", "),
        Frame::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

fn bulk(length: usize) -> String {
    format!("${length}\r\n{}\r\n", "\r\n".repeat(length / 2 + 1).split_at(length).0)
}

#[test]
fn payloads_beyond_the_limit_are_skipped_wherever_the_bytes_are_cut() {
    let array = format!("*4\r\n$1\r\na\r\n{}{}$1\r\nb\r\n", bulk(1000), bulk(11));
    let last = format!("*2\r\n$1\r\nc\r\n{}", bulk(501));
    let bytes = format!("$2\r\nxx\r\n{}{array}$1\r\ny\r\n{last}$1\r\nz\r\n", bulk(3000));
    let expected = ["xx", "omitted 3000", "a, omitted 1000, omitted 11, b", "y", "c, omitted 501"];
    for size in (1..60).chain([1000, 3000, 3020, 10_000]) {
        let frames = read(bytes.as_bytes(), size).unwrap();
        assert_eq!(frames[..5], expected, "{size}");
        assert_eq!(frames[5..], ["z"], "{size}");
    }
}

#[test]
fn a_buffer_that_a_large_frame_has_filled_shrinks_once_the_frame_is_read() {
    let max = FrameMax { payload: 60 << 20, unfinished: 60 << 20 };
    let large = format!("${}\r\n{}\r\n", 60 << 20, "x".repeat(60 << 20));
    // The start of the next frame arrives together with the end of the large one.
    let (first, last) = large.split_at(large.len() / 2);
    for rest in ["", "$5\r\nab"] {
        let mut framing = Framing::new(Limits::default());
        assert!(framing.next(&mut Input::new(first.as_bytes()), max, None).unwrap().is_none());
        let bytes = [last, rest].concat();
        let mut input = Input::new(bytes.as_bytes());
        assert_eq!(framing.next(&mut input, max, None).unwrap().unwrap().bytes.len(), large.len());
        assert!(framing.next(&mut input, max, None).unwrap().is_none());
        assert!(framing.tail.capacity() <= KEPT, "{}", framing.tail.capacity());
    }
}

#[test]
fn a_skipped_payload_without_its_terminator_ends_the_connection() {
    for end in ["\r\r", "\n\n", "xy", "\rx"] {
        let bytes = format!("$1000\r\n{}{end}", "x".repeat(1000));
        for size in [1, 7, 999, 1008, 1009, 1010, 2000] {
            assert!(read(bytes.as_bytes(), size).is_err(), "{end:?} {size}");
        }
    }
    assert!(read(b"$536870913\r\n", 100).is_err());
}

#[test]
fn a_large_value_in_several_reads_gets_memory_of_its_own() {
    let max = FrameMax { payload: 1 << 20, unfinished: 1 << 20 };
    let (large, small) = (bulk(300_000), bulk(1_000));
    let array = format!("*1\r\n{large}");
    for (frame, is_owned) in [(&large, true), (&small, false), (&array, false)] {
        for size in [3, 100, 60_000, 400_000] {
            let bytes = format!("{frame}:1\r\n{frame}{frame}");
            let (mut framing, mut owned) = (Framing::new(Limits::default()), 0);
            let mut lengths = Vec::new();
            for piece in bytes.as_bytes().chunks(size) {
                let mut input = Input::new(piece);
                while let Some(Framed { bytes, owner, .. }) =
                    framing.next(&mut input, max, None).unwrap()
                {
                    lengths.push(bytes.len());
                    owned += usize::from(owner.is_some());
                    assert!(owner.is_none_or(|owner| owner == bytes));
                }
            }
            assert_eq!(lengths, [frame.len(), 4, frame.len(), frame.len()]);
            assert_eq!(owned > 0, is_owned, "{size}");
        }
    }
}

#[test]
fn the_buffer_grows_with_what_has_come() {
    let max = FrameMax { payload: 1 << 30, unfinished: 1 << 30 };
    let mut framing = Framing::new(Limits::default());
    assert!(framing.next(&mut Input::new(b"$500000000\r\nx"), max, None).unwrap().is_none());
    assert!(framing.tail.capacity() < 100, "{}", framing.tail.capacity());
    assert!(framing.next(&mut Input::new(&[b'x'; 1000]), max, None).unwrap().is_none());
    assert!(framing.tail.capacity() < 5_000, "{}", framing.tail.capacity());
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_frames(
        lengths in proptest::collection::vec(0..40_usize, 1..8),
        size in 1..100_usize,
    ) {
        let bytes: String = lengths.iter().map(|length| bulk(*length)).collect();
        let frames = read(bytes.as_bytes(), size).unwrap();
        let whole = read(bytes.as_bytes(), bytes.len()).unwrap();
        prop_assert_eq!(frames.len(), lengths.len());
        prop_assert_eq!(frames, whole);
    }
}

/// Read the bytes in cuts of this size. Return the lengths of the frames, and the number of lent
/// bytes. `memory` gets the pieces, also those in whole frames.
fn read_lending(
    bytes: &[u8],
    size: usize,
    memory: &mut Vec<u8>,
    piece: usize,
) -> (Vec<usize>, usize) {
    let max = FrameMax { payload: 1 << 20, unfinished: 1 << 20 };
    let (mut framing, mut frames, mut lent) = (Framing::new(Limits::default()), Vec::new(), 0);
    let (mut long_value, mut come) = (LongValue::default(), 0);
    for cut in bytes.chunks(size) {
        come += cut.len();
        long_value.receive(cut, |Received { memory: filled, bytes }| {
            lent += cut.len() - bytes.len();
            let mut input = Input { filled, lent_min: Some(16 << 10), ..Input::new(bytes) };
            loop {
                let room = Room { memory, piece, total: Total::known(2 * piece) };
                let Some(framed) = framing.next(&mut input, max, Some(room)).unwrap() else {
                    break;
                };
                if framed.bytes.len() == piece + 10 {
                    memory.extend_from_slice(&framed.bytes[8..piece + 8]);
                }
                come -= framed.length;
                frames.push(framed.length);
                assert!(framed.owner.is_none_or(|owner| owner == framed.bytes));
            }
            assert_eq!(framing.length_of_unfinished_reply().unwrap_or_default(), come);
            assert_eq!(framing.is_empty(), come == 0);
            lent += input.bytes.len();
            (Received { memory: input.lent, bytes: input.bytes }, ())
        });
    }
    assert_eq!(come, 0);
    (frames, lent)
}

#[test]
fn a_piece_goes_to_the_memory_of_its_value_wherever_the_bytes_are_cut() {
    const PIECE: usize = 40_000;
    let bytes = format!("{}{}*1\r\n{}", bulk(PIECE), bulk(PIECE - 1), bulk(PIECE)) + &bulk(PIECE);
    let lengths = [PIECE + 10, PIECE + 9, PIECE + 14, PIECE + 10];
    for size in [1, 3, 1000, 30_000, PIECE + 7, PIECE + 8, PIECE + 9] {
        let mut memory = Vec::new();
        let (frames, lent) = read_lending(bytes.as_bytes(), size, &mut memory, PIECE);
        assert_eq!(frames, lengths, "{size}");
        assert!(memory == bulk(PIECE).as_bytes()[8..PIECE + 8].repeat(2), "{size}");
        assert!(size > PIECE || lent > 40_000, "{size} {lent}");
    }
}

#[test]
fn the_memory_of_a_long_value_is_lent() {
    for length in [10_000, 100_000] {
        let bytes = bulk(length).repeat(3);
        for size in [1, 1000, 30_000, 99_999] {
            let (frames, lent) = read_lending(bytes.as_bytes(), size, &mut Vec::new(), 0);
            assert_eq!(frames, [bytes.len() / 3; 3]);
            assert_eq!(lent > 0, length == 100_000, "{size}");
        }
    }
}

#[test]
fn memory_that_is_not_returned_ends_the_connection() {
    let max = FrameMax { payload: 1 << 20, unfinished: 1 << 20 };
    let mut framing = Framing::new(Limits::default());
    let mut input = Input { lent_min: Some(1), ..Input::new(b"$100000\r\nx") };
    assert!(framing.next(&mut input, max, None).unwrap().is_none());
    assert!(input.lent.is_some());
    assert!(framing.next(&mut Input::new(b"x"), max, None).is_err());
    let mut framing = Framing::new(Limits::default());
    let mut input = Input { filled: input.lent, ..Input::new(b":1\r\n") };
    assert!(framing.next(&mut input, max, None).is_err());
}

#[test]
fn a_piece_without_its_terminator_ends_the_connection() {
    let max = FrameMax { payload: 10_000, unfinished: 10_000 };
    let (mut framing, mut memory) = (Framing::new(Limits::default()), Vec::new());
    let room = Room { memory: &mut memory, piece: 3000, total: Total::known(3000) };
    assert!(framing.next(&mut Input::new(b"$3000\r\nx"), max, Some(room)).unwrap().is_none());
    let wrong = ["x".repeat(2999).as_str(), "\r\r"].concat();
    assert!(framing.next(&mut Input::new(wrong.as_bytes()), max, None).is_err());
}

/// Read bytes in cuts of this size. Return the frames, and whether the stream is malformed. A piece
/// of the given length goes to memory of its own, and memory is lent from `lent_min` on.
fn frames_of(
    bytes: &[u8],
    size: usize,
    (piece, lent_min): (Option<usize>, Option<usize>),
) -> (Vec<Vec<u8>>, bool) {
    let (mut framing, mut frames) = (Framing::new(Limits::default()), Vec::new());
    let (mut long_value, mut memory) = (LongValue::default(), Vec::new());
    for cut in bytes.chunks(size) {
        let is_malformed = long_value.receive(cut, |Received { memory: filled, bytes }| {
            let mut input = Input { filled, lent_min, ..Input::new(bytes) };
            loop {
                let total = Total::announced(100);
                let room = piece.map(|piece| Room { memory: &mut memory, piece, total });
                match framing.next(&mut input, MAX, room) {
                    Ok(None) => {
                        break (Received { memory: input.lent, bytes: input.bytes }, false);
                    }
                    Ok(Some(framed)) if framed.length == framed.bytes.len() => {
                        frames.push(framed.bytes.to_vec());
                    }
                    Ok(Some(_)) => {
                        let payload = std::mem::take(&mut memory);
                        let header = format!("${}\r\n", payload.len());
                        frames.push([header.as_bytes(), &payload, b"\r\n"].concat());
                    }
                    Err(_) => break (Received { memory: None, bytes: b"" }, true),
                }
            }
        });
        if is_malformed {
            return (frames, true);
        }
    }
    (frames, false)
}

/// Return frames with payloads of up to 15 bytes, some of which exceed the limit, or no frame.
fn any_frame() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (0..16_usize).prop_map(bulk),
        1 => (0..16_usize).prop_map(|length| format!("*2\r\n{}:1\r\n", bulk(length))),
        1 => (0..16_usize).prop_map(|length| format!(">2\r\n+a\r\n{}", bulk(length))),
        1 => Just("+OK\r\n".to_owned()),
        1 => Just("$-1\r\n".to_owned()),
        1 => "[$*:\r\n0-9x]{0,4}",
    ]
}

proptest! {
    #[test]
    fn memory_of_their_own_and_lent_memory_change_no_frame(
        frames in proptest::collection::vec(any_frame(), 1..8),
        size in 1..40_usize,
        piece in proptest::option::of(0..12_usize),
        lent_min in proptest::option::of(0..4_usize),
    ) {
        let bytes = frames.concat();
        let plain = frames_of(bytes.as_bytes(), size, (None, None));
        prop_assert_eq!(frames_of(bytes.as_bytes(), size, (piece, lent_min)), plain);
    }
}

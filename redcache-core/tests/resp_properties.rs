//! Properties of RESP3 reading and writing, over generated frames, corrupted streams and noise.

use proptest::{collection, prelude::*, sample, test_runner::FileFailurePersistence};
use redcache_core::protocol::Slot;
use redcache_core::resp::{DecodeError, Frame, Limits, Scanner, command, decode};
use redis_protocol::resp3::{decode::complete::decode_range, types::RangeFrame};

/// A frame in any encoding that a server may use.
#[derive(Clone, Debug)]
enum Encoded {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    BlobError(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Verbatim(String, Vec<u8>),
    Null,
    BulkNil,
    ArrayNil,
    Boolean(bool),
    Double(f64),
    BigNumber(String),
    Array(Vec<Self>),
    Set(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Push(Vec<Self>),
    Attributed(Vec<(Self, Self)>, Box<Self>),
}

impl Encoded {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => write_line(out, '+', text),
            Self::Error(text) => write_line(out, '-', text),
            Self::BlobError(payload) => write_payload(out, '!', payload),
            Self::Integer(number) => write_line(out, ':', number.to_string().as_bytes()),
            Self::Bulk(payload) => write_payload(out, '$', payload),
            Self::Verbatim(format, payload) => {
                write_payload(out, '=', &[format.as_bytes(), b":", payload].concat());
            }
            Self::Null => out.extend(b"_\r\n"),
            Self::BulkNil => out.extend(b"$-1\r\n"),
            Self::ArrayNil => out.extend(b"*-1\r\n"),
            Self::Boolean(truth) => write_line(out, '#', if *truth { b"t" } else { b"f" }),
            Self::Double(number) => write_line(out, ',', format!("{number:e}").as_bytes()),
            Self::BigNumber(digits) => write_line(out, '(', digits.as_bytes()),
            Self::Array(elements) => write_elements(out, '*', elements),
            Self::Set(elements) => write_elements(out, '~', elements),
            Self::Push(elements) => write_elements(out, '>', elements),
            Self::Map(entries) => write_entries(out, '%', entries),
            Self::Attributed(entries, frame) => {
                write_entries(out, '|', entries);
                frame.write(out);
            }
        }
    }

    fn meanings(wires: &[Self]) -> Vec<Frame<'_>> {
        wires.iter().map(Self::meaning).collect()
    }

    fn meaning(&self) -> Frame<'_> {
        match self {
            Self::Simple(text) => Frame::Simple(text),
            Self::Error(text) | Self::BlobError(text) => Frame::Error(text),
            Self::Integer(number) => Frame::Integer(*number),
            Self::Bulk(payload) | Self::Verbatim(_, payload) => Frame::Bulk(payload),
            Self::Null | Self::BulkNil | Self::ArrayNil => Frame::Null,
            Self::Boolean(truth) => Frame::Boolean(*truth),
            Self::Double(number) => Frame::Double(*number),
            Self::BigNumber(digits) => Frame::BigNumber(digits.as_bytes()),
            Self::Array(elements) => Frame::Array(Self::meanings(elements)),
            Self::Set(elements) => Frame::Set(Self::meanings(elements)),
            Self::Push(elements) => Frame::Push(Self::meanings(elements)),
            Self::Map(entries) => Frame::Map(
                entries.iter().map(|(key, value)| (key.meaning(), value.meaning())).collect(),
            ),
            Self::Attributed(_, frame) => frame.meaning(),
        }
    }
}

fn write_line(out: &mut Vec<u8>, kind: char, text: &[u8]) {
    out.push(kind as u8);
    out.extend(text);
    out.extend(b"\r\n");
}

fn write_payload(out: &mut Vec<u8>, kind: char, payload: &[u8]) {
    write_line(out, kind, payload.len().to_string().as_bytes());
    out.extend(payload);
    out.extend(b"\r\n");
}

fn write_elements(out: &mut Vec<u8>, kind: char, elements: &[Encoded]) {
    write_line(out, kind, elements.len().to_string().as_bytes());
    elements.iter().for_each(|element| element.write(out));
}

fn write_entries(out: &mut Vec<u8>, kind: char, entries: &[(Encoded, Encoded)]) {
    write_line(out, kind, entries.len().to_string().as_bytes());
    for (key, value) in entries {
        key.write(out);
        value.write(out);
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let ends_line = |byte| matches!(byte, b'\r' | b'\n');
    let byte = any::<u8>().prop_map(move |byte| if ends_line(byte) { b'.' } else { byte });
    collection::vec(byte, 0..40)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let lookalike = sample::select(vec![b"\r\n".to_vec(), b"\r\n>1\r\n+x\r\n".to_vec()]);
    prop_oneof![
        4 => collection::vec(any::<u8>(), 0..120),
        1 => lookalike,
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -20_i64..20, Just(i64::MIN), Just(i64::MAX)]
}

fn double() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{INFINITE, NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO | INFINITE
}

fn scalar() -> impl Strategy<Value = Encoded> {
    prop_oneof![
        text().prop_map(Encoded::Simple),
        Just(Encoded::Simple(b"OK".to_vec())),
        text().prop_map(Encoded::Error),
        payload().prop_map(Encoded::BlobError),
        number().prop_map(Encoded::Integer),
        payload().prop_map(Encoded::Bulk),
        ("[a-z]{3}", payload()).prop_map(|(format, payload)| Encoded::Verbatim(format, payload)),
        Just(Encoded::Null),
        Just(Encoded::BulkNil),
        Just(Encoded::ArrayNil),
        any::<bool>().prop_map(Encoded::Boolean),
        double().prop_map(Encoded::Double),
        "-?[0-9]{1,40}".prop_map(Encoded::BigNumber),
    ]
}

/// Generate any frame that may be nested in another.
fn nested() -> impl Strategy<Value = Encoded> {
    scalar().prop_recursive(4, 48, 6, |element| {
        let elements = collection::vec(element.clone(), 0..6);
        let entries = collection::vec((element.clone(), element.clone()), 0..4);
        prop_oneof![
            elements.clone().prop_map(Encoded::Array),
            elements.prop_map(Encoded::Set),
            entries.clone().prop_map(Encoded::Map),
            (entries, element)
                .prop_map(|(entries, frame)| Encoded::Attributed(entries, Box::new(frame))),
        ]
    })
}

/// Generate any frame.
fn wire() -> impl Strategy<Value = Encoded> {
    prop_oneof![
        4 => nested(),
        1 => collection::vec(nested(), 0..5).prop_map(Encoded::Push),
    ]
}

/// Generate a stream of frames, some with a wrong byte.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let frames = collection::vec(wire(), 1..6)
        .prop_map(|frames| frames.iter().flat_map(Encoded::bytes).collect::<Vec<_>>());
    let wrong = prop_oneof![any::<u8>(), sample::select(b"\r\n0123456789$*>%|?-+".to_vec())];
    (frames, proptest::option::of((any::<sample::Index>(), wrong))).prop_map(
        |(mut bytes, corruption)| {
            if let Some((at, wrong)) = corruption {
                let at = at.index(bytes.len());
                bytes[at] = wrong;
            }
            bytes
        },
    )
}

/// Generate pieces of frames in any order: mostly malformed, but rarely at the first byte.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 46] = [
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b"*0\r\n",
        b"*13\r\n",
        b"~1\r\n",
        b"%1\r\n",
        b"%0\r\n",
        b"|1\r\n",
        b"|0\r\n",
        b">1\r\n",
        b">2\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"*?\r\n",
        b"$0\r\n",
        b"$3\r\n",
        b"$8\r\n",
        b"$9\r\n",
        b"!3\r\n",
        b"=5\r\n",
        b"=3\r\n",
        b"abc",
        b"txt:a",
        b"\r\n",
        b"\r",
        b"\n",
        b":1\r\n",
        b":-2\r\n",
        b":0",
        b"1",
        b"-",
        b"$",
        b"_\r\n",
        b"_",
        b"#t\r\n",
        b"#x\r\n",
        b",1.5\r\n",
        b",nan\r\n",
        b",x\r\n",
        b"(12\r\n",
        b"(\r\n",
        b"+OK\r\n",
        b"+a line with thirty-two characters\r\n",
        b";1\r\n",
        b"H\r\n",
    ];
    collection::vec(sample::select(PIECES.to_vec()), 0..16).prop_map(|pieces| pieces.concat())
}

/// Limits that noise exceeds.
const TIGHT: Limits = Limits::new(3, 12, 8, 32);

/// Return all frames of a stream that arrives in pieces of these sizes, the position behind the
/// last frame, and the error that ended the stream.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, usize, Option<DecodeError>) {
    let mut scanner = Scanner::new(LOOSE);
    let (mut frames, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    while end < bytes.len() {
        end = bytes.len().min(end + pieces.next().unwrap_or(&1));
        loop {
            match scanner.scan(&bytes[start..end]) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    frames.push(bytes[start..start + length].to_vec());
                    start += length;
                }
                Err(error) => return (frames, start, Some(error)),
            }
        }
    }
    (frames, start, None)
}

/// Limits that only a corrupted stream exceeds.
const LOOSE: Limits = Limits::new(12, 400, 4000, 400);

/// Reason why the oracle stops before the end of a frame.
enum Stop {
    Starved,
    Failed(DecodeError),
}

/// A recursive reader that follows the specification, to compare the scanner with.
struct Oracle<'a> {
    bytes: &'a [u8],
    at: usize,
    elements: i128,
    limits: Limits,
}

impl Oracle<'_> {
    fn scan(bytes: &[u8], limits: Limits) -> Result<Option<usize>, DecodeError> {
        let mut oracle = Oracle { bytes, at: 0, elements: 0, limits };
        match oracle.element(0) {
            Ok(()) => Ok(Some(oracle.at)),
            Err(Stop::Starved) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn element(&mut self, depth: usize) -> Result<(), Stop> {
        use DecodeError::*;
        let kind = *self.bytes.get(self.at).ok_or(Stop::Starved)?;
        match kind {
            b'.' | b';' => return Err(Stop::Failed(Streamed)),
            b'>' if depth > 0 => return Err(Stop::Failed(NestedPush)),
            kind if b"+-:$!=_#,(*~%>|".contains(&kind) => {}
            _ => return Err(Stop::Failed(UnknownType)),
        }
        let line = self.line()?;
        let holds = |sound: bool, error| {
            if sound { Ok(()) } else { Err(Stop::Failed(error)) }
        };
        match kind {
            b'+' | b'-' => Ok(()),
            b':' => holds(canonical(&line).is_some_and(|n| i64::try_from(n).is_ok()), Integer),
            b'_' => holds(line.is_empty(), Null),
            b'#' => holds(line == "t" || line == "f", Boolean),
            b',' => holds(line.parse::<f64>().is_ok(), Double),
            b'(' => {
                let digits = line.strip_prefix('-').unwrap_or(&line);
                let decimal = digits.chars().all(|digit| digit.is_ascii_digit());
                holds(decimal && !digits.is_empty(), BigNumber)
            }
            b'$' | b'*' if line == "-1" => Ok(()),
            b'$' | b'!' | b'=' => self.payload(kind == b'=', length(&line)?),
            b'%' => self.aggregate(depth, 2 * length(&line)?),
            b'|' => self.aggregate(depth, 2 * length(&line)? + 1),
            _ => self.aggregate(depth, length(&line)?),
        }
    }

    fn aggregate(&mut self, depth: usize, elements: i128) -> Result<(), Stop> {
        if depth >= self.limits.depth_max {
            return Err(Stop::Failed(DecodeError::TooDeep));
        }
        self.elements += elements;
        if self.elements > self.limits.elements_max as i128 {
            return Err(Stop::Failed(DecodeError::TooManyElements));
        }
        (0..elements).try_for_each(|_| self.element(depth + 1))
    }

    fn payload(&mut self, verbatim: bool, length: i128) -> Result<(), Stop> {
        if length > self.limits.bulk_max as i128 {
            return Err(Stop::Failed(DecodeError::BulkTooLong));
        }
        if verbatim && length < 4 {
            return Err(Stop::Failed(DecodeError::Verbatim));
        }
        let end = self.at + length as usize;
        let Some(whole) = self.bytes.get(self.at..end + 2) else {
            return Err(Stop::Starved);
        };
        if !whole.ends_with(b"\r\n") {
            return Err(Stop::Failed(DecodeError::PayloadEnd));
        }
        if verbatim && whole[3] != b':' {
            return Err(Stop::Failed(DecodeError::Verbatim));
        }
        self.at = end + 2;
        Ok(())
    }

    /// Take the next line without its type. Bytes that are not UTF-8 become a character that no
    /// number contains.
    fn line(&mut self) -> Result<String, Stop> {
        let rest = &self.bytes[self.at + 1..];
        for (length, byte) in rest.iter().enumerate() {
            match byte {
                b'\r' | b'\n' if length <= self.limits.line_max => {
                    return match rest.get(length..length + 2) {
                        Some(b"\r\n") => {
                            self.at += 1 + length + 2;
                            Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
                        }
                        None if *byte == b'\r' => Err(Stop::Starved),
                        _ => Err(Stop::Failed(DecodeError::LineEnd)),
                    };
                }
                _ if length == self.limits.line_max => {
                    return Err(Stop::Failed(DecodeError::LineTooLong));
                }
                _ => {}
            }
        }
        Err(Stop::Starved)
    }
}

/// Read a number in its canonical form.
fn canonical(text: &str) -> Option<i128> {
    text.parse::<i128>().ok().filter(|number| number.to_string() == text)
}

/// Read a length that fits the address space.
fn length(text: &str) -> Result<i128, Stop> {
    match canonical(text) {
        Some(length) if (0..10_i128.pow(19)).contains(&length) => Ok(length),
        _ if text == "?" => Err(Stop::Failed(DecodeError::Streamed)),
        _ => Err(Stop::Failed(DecodeError::Length)),
    }
}

/// Generate frames that redis-protocol supports: no nil of RESP2, no repeated keys, only scalars as
/// keys.
fn supported() -> impl Strategy<Value = Encoded> {
    let ascii = "[ -~]{0,20}".prop_map(String::into_bytes);
    let scalar = prop_oneof![
        ascii.clone().prop_map(Encoded::Simple),
        ascii.clone().prop_map(Encoded::Error),
        ascii.prop_map(Encoded::BlobError),
        number().prop_map(Encoded::Integer),
        payload().prop_map(Encoded::Bulk),
        ("txt|mkd", payload()).prop_map(|(format, payload)| Encoded::Verbatim(format, payload)),
        Just(Encoded::Null),
        any::<bool>().prop_map(Encoded::Boolean),
        double().prop_map(Encoded::Double),
        "-?[0-9]{1,40}".prop_map(Encoded::BigNumber),
    ];
    let nested = scalar.prop_recursive(4, 48, 6, |element| {
        let numbers = collection::btree_set(number(), 0..5);
        prop_oneof![
            collection::vec(element.clone(), 0..6).prop_map(Encoded::Array),
            numbers.prop_map(|set| Encoded::Set(set.into_iter().map(Encoded::Integer).collect())),
            collection::btree_map(payload(), element, 0..4).prop_map(|map| {
                Encoded::Map(
                    map.into_iter().map(|(key, value)| (Encoded::Bulk(key), value)).collect(),
                )
            }),
        ]
    });
    (any::<bool>(), collection::vec(nested, 1..5)).prop_map(|(push, mut elements)| {
        if push { Encoded::Push(elements) } else { elements.swap_remove(0) }
    })
}

/// Return whether two readers of `bytes` agree; sets and maps in any order.
fn same(bytes: &[u8], ours: &Frame<'_>, theirs: &RangeFrame) -> bool {
    let text = |range: &(usize, usize)| &bytes[range.0..range.1];
    let all = |ours: &[Frame<'_>], theirs: &[RangeFrame]| {
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(ours, theirs)| same(bytes, ours, theirs))
    };
    match (ours, theirs) {
        (Frame::Simple(ours), RangeFrame::SimpleString { data, .. })
        | (Frame::Error(ours), RangeFrame::SimpleError { data, .. })
        | (Frame::Error(ours), RangeFrame::BlobError { data, .. })
        | (Frame::Bulk(ours), RangeFrame::BlobString { data, .. })
        | (Frame::Bulk(ours), RangeFrame::VerbatimString { data, .. })
        | (Frame::BigNumber(ours), RangeFrame::BigNumber { data, .. }) => *ours == text(data),
        (Frame::Integer(ours), RangeFrame::Number { data, .. }) => ours == data,
        (Frame::Boolean(ours), RangeFrame::Boolean { data, .. }) => ours == data,
        (Frame::Double(ours), RangeFrame::Double { data, .. }) => ours == data,
        (Frame::Null, RangeFrame::Null) => true,
        (Frame::Array(ours), RangeFrame::Array { data, .. })
        | (Frame::Push(ours), RangeFrame::Push { data, .. }) => all(ours, data),
        (Frame::Set(ours), RangeFrame::Set { data, .. }) => {
            ours.len() == data.len()
                && ours.iter().all(|ours| data.iter().any(|theirs| same(bytes, ours, theirs)))
        }
        (Frame::Map(ours), RangeFrame::Map { data, .. }) => {
            ours.len() == data.len()
                && ours.iter().all(|(key, value)| {
                    data.iter()
                        .any(|entry| same(bytes, key, entry.0) && same(bytes, value, entry.1))
                })
        }
        _ => false,
    }
}

/// Return a configuration that keeps the seeds of failures beside this file.
fn config() -> ProptestConfig {
    let failure_persistence =
        Some(Box::new(FileFailurePersistence::WithSource("regressions")) as _);
    ProptestConfig { failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_frame_is_decoded_as_it_was_encoded(wire in wire()) {
        let bytes = wire.bytes();
        prop_assert_eq!(Scanner::new(Limits::default()).scan(&bytes), Ok(Some(bytes.len())));
        prop_assert!(decode(&bytes) == Ok(wire.meaning()));
    }

    #[test]
    fn commands_are_arrays_of_their_arguments(
        arguments in collection::vec(collection::vec(any::<u8>(), 0..2000), 1..12),
    ) {
        let arguments: Vec<_> = arguments.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        command(&mut out, &arguments);
        prop_assert_eq!(Scanner::new(Limits::default()).scan(&out), Ok(Some(out.len())));
        let expected = arguments.into_iter().map(Frame::Bulk).collect();
        prop_assert!(decode(&out) == Ok(Frame::Array(expected)));
    }

    #[test]
    fn cuts_in_a_stream_change_nothing(
        bytes in stream(),
        pieces in collection::vec(1_usize..60, 1..20),
    ) {
        let at_once = read(&bytes, &[bytes.len()]);
        prop_assert_eq!(&read(&bytes, &pieces), &at_once);
        prop_assert_eq!(&read(&bytes, &[1]), &at_once);
    }

    #[test]
    fn cuts_in_noise_change_nothing(bytes in noise(), pieces in collection::vec(1_usize..9, 1..9)) {
        let at_once = read(&bytes, &[bytes.len()]);
        prop_assert_eq!(&read(&bytes, &pieces), &at_once);
        prop_assert_eq!(&read(&bytes, &[1]), &at_once);
    }

    #[test]
    fn scanner_agrees_with_the_oracle_on_streams(bytes in stream()) {
        let scanned = Scanner::new(LOOSE).scan(&bytes);
        prop_assert_eq!(scanned, Oracle::scan(&bytes, LOOSE));
    }

    #[test]
    fn scanner_agrees_with_the_oracle_on_noise(bytes in noise()) {
        prop_assert_eq!(Scanner::new(TIGHT).scan(&bytes), Oracle::scan(&bytes, TIGHT));
    }

    #[test]
    fn the_wanted_length_never_exceeds_the_frame(wire in wire()) {
        let bytes = wire.bytes();
        let mut scanner = Scanner::new(Limits::default());
        for end in 0..bytes.len() {
            prop_assert_eq!(scanner.scan(&bytes[..end]), Ok(None));
            prop_assert!(scanner.wanted() <= bytes.len());
        }
    }

    #[test]
    fn every_scanned_frame_is_decoded(bytes in prop_oneof![noise(), stream()]) {
        if let Ok(Some(length)) = Scanner::new(Limits::default()).scan(&bytes) {
            prop_assert!(decode(&bytes[..length]).is_ok());
        }
    }

    #[test]
    fn nothing_panics(
        bytes in prop_oneof![collection::vec(any::<u8>(), 0..200), noise(), stream()],
    ) {
        // Other tests check the outcomes.
        let _ = Scanner::new(Limits::default()).scan(&bytes);
        let _ = decode(&bytes);
    }

    #[test]
    fn redis_protocol_decodes_the_same(wire in supported()) {
        let bytes = wire.bytes();
        let ours = decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let Ok(Some((theirs, length))) = decode_range(&bytes) else {
            return Err(TestCaseError::fail("refused by redis-protocol"));
        };
        prop_assert_eq!(length, bytes.len());
        prop_assert!(same(&bytes, &ours, &theirs), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn redis_protocol_hashes_to_the_same_slot(
        key in prop_oneof!["[{}ab]{0,12}".prop_map(String::into_bytes), payload()],
    ) {
        let theirs = redis_protocol::redis_keyslot(&key);
        prop_assert_eq!(Slot::of(&key).index(), usize::from(theirs));
    }
}

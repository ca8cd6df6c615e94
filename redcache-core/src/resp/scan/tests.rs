use super::*;

type Scanned = Result<Option<usize>, DecodeError>;

/// Scan `bytes` at once and byte by byte, and expect the same result.
#[track_caller]
fn check_within(limits: Limits, bytes: &[u8], expected: Scanned) {
    let text = bytes[..bytes.len().min(80)].escape_ascii();
    assert_eq!(Scanner::new(limits).scan(bytes), expected, "{text}");
    let mut scanner = Scanner::new(limits);
    let first = (0..=bytes.len()).find_map(|end| match scanner.scan(&bytes[..end]) {
        Ok(None) => None,
        scanned => Some(scanned),
    });
    assert_eq!(first.unwrap_or(Ok(None)), expected, "{text}, byte by byte");
}

#[track_caller]
fn check(bytes: &[u8], expected: Scanned) {
    check_within(Limits::default(), bytes, expected);
}

#[test]
fn a_frame_is_whole_at_its_last_byte() {
    let frames: [&[u8]; 28] = [
        b"+\r\n",
        b"+OK\r\n",
        b"+OKAY\r\n",
        b"-ERR no\r\n",
        b":0\r\n",
        b":-2\r\n",
        b":1234567890123456789\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"$4\r\n\r\n>1\r\n",
        b"!3\r\nERR\r\n",
        b"=7\r\ntxt:a\r\n\r\n",
        b"=4\r\nmkd:\r\n",
        b"_\r\n",
        b"#t\r\n",
        b"#f\r\n",
        b",-1.5e3\r\n",
        b",nan\r\n",
        b"(-12345678901234567890\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*2\r\n*0\r\n*1\r\n$-1\r\n",
        b"~2\r\n:1\r\n:1\r\n",
        b"%1\r\n*1\r\n:1\r\n%0\r\n",
        b">2\r\n$10\r\ninvalidate\r\n_\r\n",
        b"|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n",
        b"*2\r\n|1\r\n+ttl\r\n:9\r\n:1\r\n:2\r\n",
        b"|0\r\n|0\r\n:1\r\n",
    ];
    for frame in frames {
        check(frame, Ok(Some(frame.len())));
        check(&frame[..frame.len() - 1], Ok(None));
        check(&[frame, b"anything"].concat(), Ok(Some(frame.len())));
    }
}

#[test]
fn malformed_bytes_are_named() {
    use DecodeError::*;
    let cases: [(&[u8], DecodeError); 50] = [
        (b"H", UnknownType),
        (b"\r\n", UnknownType),
        (b"*1\r\nx", UnknownType),
        (b"$?\r\n", Streamed),
        (b"*?\r\n", Streamed),
        (b"~?\r\n", Streamed),
        (b"%?\r\n", Streamed),
        (b">?\r\n", Streamed),
        (b"|?\r\n", Streamed),
        (b";", Streamed),
        (b".", Streamed),
        (b"*1\r\n>", NestedPush),
        (b"|0\r\n>", NestedPush),
        (b"|1\r\n>", NestedPush),
        (b"$\r\n", Length),
        (b"$-2\r\n", Length),
        (b"*-2\r\n", Length),
        (b"!-1\r\n", Length),
        (b"=-1\r\n", Length),
        (b"~-1\r\n", Length),
        (b"%-1\r\n", Length),
        (b">-1\r\n", Length),
        (b"|-1\r\n", Length),
        (b"$+1\r\n", Length),
        (b"$01\r\n", Length),
        (b"*00\r\n", Length),
        (b"$1 \r\n", Length),
        (b"$0x1\r\n", Length),
        (b"$18446744073709551616\r\n", Length),
        (b"*18446744073709551616\r\n", Length),
        (b":\r\n", Integer),
        (b":+1\r\n", Integer),
        (b":01\r\n", Integer),
        (b":9223372036854775808\r\n", Integer),
        (b",\r\n", Double),
        (b",1,5\r\n", Double),
        (b"(\r\n", BigNumber),
        (b"(1a\r\n", BigNumber),
        (b"#T\r\n", Boolean),
        (b"#\r\n", Boolean),
        (b"_x\r\n", Null),
        (b"=3\r\n", Verbatim),
        (b"=4\r\nabcd\r\n", Verbatim),
        (b"+a\n", LineEnd),
        (b"+a\rb", LineEnd),
        (b"$1\n", LineEnd),
        (b"$3\r\nabcXX", PayloadEnd),
        (b"$3\r\nabc\rX", PayloadEnd),
        (b"$3\r\nabc\n\n", PayloadEnd),
        (b"=4\r\nabc:\r\r", PayloadEnd),
    ];
    for (bytes, expected) in cases {
        check(bytes, Err(expected));
    }
}

#[test]
fn deep_nesting_is_rejected_at_the_first_level_beyond_the_limit() {
    for layer in [b"*1\r\n".as_slice(), b"%1\r\n", b"~1\r\n", b"|0\r\n"] {
        check(&layer.repeat(100_000), Err(DecodeError::TooDeep));
    }
    check(&[&b"*1\r\n".repeat(32), b":1\r\n".as_slice()].concat(), Ok(Some(132)));
    check(&b"*1\r\n".repeat(32), Ok(None));
    check(&b"*1\r\n".repeat(33), Err(DecodeError::TooDeep));
    check(&[&b"*1\r\n".repeat(32), b"*0\r\n".as_slice()].concat(), Err(DecodeError::TooDeep));
}

#[test]
fn announced_lengths_are_bounded_and_allocate_nothing() {
    check(b"$9223372036854775807\r\n", Err(DecodeError::BulkTooLong));
    check(b"!9223372036854775807\r\n", Err(DecodeError::BulkTooLong));
    check(b"=9223372036854775807\r\n", Err(DecodeError::BulkTooLong));
    check(b"*9223372036854775807\r\n", Err(DecodeError::TooManyElements));
    check(b"%9223372036854775807\r\n", Err(DecodeError::TooManyElements));
    check(b"|9223372036854775807\r\n", Err(DecodeError::TooManyElements));
    check(b"$67108864\r\n", Ok(None));
    check(b"$67108865\r\n", Err(DecodeError::BulkTooLong));
    check(b"*1048577\r\n", Err(DecodeError::TooManyElements));

    let mut scanner = Scanner::new(Limits::default());
    assert_eq!(scanner.scan(b"*1048576\r\n"), Ok(None));
    assert!(scanner.lacking.capacity() < 10, "room for {}", scanner.lacking.capacity());
}

#[test]
fn elements_are_counted_over_the_whole_frame() {
    let limits = Limits { elements_max: 6, ..Limits::default() };
    let of = |bytes: &[u8], expected| check_within(limits, bytes, expected);
    of(b"*6\r\n", Ok(None));
    of(b"*7\r\n", Err(DecodeError::TooManyElements));
    of(b"%3\r\n", Ok(None));
    of(b"%4\r\n", Err(DecodeError::TooManyElements));
    of(b"|2\r\n", Ok(None));
    of(b"|3\r\n", Err(DecodeError::TooManyElements));
    of(b"*2\r\n*2\r\n:1\r\n:1\r\n*2\r\n:1\r\n:1\r\n", Ok(Some(28)));
    of(b"*2\r\n*2\r\n:1\r\n:1\r\n*3\r\n", Err(DecodeError::TooManyElements));

    // No state of an earlier frame is left.
    let mut scanner = Scanner::new(limits);
    for _ in 0..3 {
        assert_eq!(scanner.scan(b"*5\r\n_\r\n_\r\n_\r\n_\r\n_\r\n"), Ok(Some(19)));
    }
}

#[test]
fn the_longest_line_counts_neither_type_nor_terminator() {
    let limits = Limits { line_max: 40, ..Limits::default() };
    let line = [b"+".as_slice(), &[b'x'; 40]].concat();
    check_within(limits, &line, Ok(None));
    check_within(limits, &[&line, b"\r\n".as_slice()].concat(), Ok(Some(43)));
    check_within(limits, &[&line, b"\n".as_slice()].concat(), Err(DecodeError::LineEnd));
    check_within(limits, &[&line, b"x".as_slice()].concat(), Err(DecodeError::LineTooLong));
    check_within(limits, &[&line, b"x\r\n".as_slice()].concat(), Err(DecodeError::LineTooLong));
    check(&[b'$'].iter().chain(&[b'1'; 65536]).copied().collect::<Vec<_>>(), Ok(None));
    check(
        &[b'$'].iter().chain(&[b'1'; 65537]).copied().collect::<Vec<_>>(),
        Err(DecodeError::LineTooLong),
    );
}

#[test]
fn the_longest_payload_counts_no_terminator() {
    let limits = Limits { bulk_max: 5, ..Limits::default() };
    check_within(limits, b"$5\r\nhello\r\n", Ok(Some(11)));
    check_within(limits, b"$6\r\nhellos\r\n", Err(DecodeError::BulkTooLong));
    check_within(limits, b"=6\r\n", Err(DecodeError::BulkTooLong));
}

#[test]
fn no_configuration_lifts_the_absolute_limits() {
    let boundless = Limits {
        depth_max: usize::MAX,
        elements_max: usize::MAX,
        bulk_max: usize::MAX,
        line_max: usize::MAX,
    };
    check_within(boundless, &b"*1\r\n".repeat(128), Ok(None));
    check_within(boundless, &b"*1\r\n".repeat(129), Err(DecodeError::TooDeep));
    check_within(boundless, b"$536870912\r\n", Ok(None));
    check_within(boundless, b"$536870913\r\n", Err(DecodeError::BulkTooLong));
    check_within(boundless, b"%9999999999999999999\r\n", Ok(None));

    let nothing = Limits { depth_max: 0, elements_max: 0, bulk_max: 0, line_max: 0 };
    check_within(nothing, b":-9223372036854775808\r\n", Ok(Some(23)));
    check_within(nothing, b"$0\r\n\r\n", Ok(Some(6)));
    check_within(nothing, b"*0\r\n", Err(DecodeError::TooDeep));
}

#[test]
fn a_failed_scanner_stays_failed() {
    for (bytes, error) in [
        (b"H".as_slice(), DecodeError::UnknownType),
        (b"*1\r\n>", DecodeError::NestedPush),
        (b"$1\r\nabc", DecodeError::PayloadEnd),
    ] {
        let mut scanner = Scanner::new(Limits::default());
        assert_eq!(scanner.scan(bytes), Err(error));
        assert_eq!(scanner.scan(b"+OK\r\n"), Err(error));
        assert_eq!(scanner.scan(b"$1\r\n+OK\r\n"), Err(error));
        assert_eq!(scanner.wanted(), 0);
    }
}

#[test]
fn no_byte_is_read_twice() {
    // The bytes that were read are overwritten before more bytes arrive, so that a second read of
    // them would fail. The type and the CR of an unfinished line are the only bytes that are read
    // again.
    for (bytes, read, spoilt) in [
        (b"+abcdef\r\n".as_slice(), 4, 1..4),
        (b"+abcdef\r\n", 8, 1..7),
        (b"$5\r\nhello\r\n", 4, 0..4),
        (b"$5\r\nhello\r\n", 10, 0..9),
        (b"*2\r\n$-1\r\n:-1\r\n", 9, 0..9),
        (b"*2\r\n*1\r\n_\r\n:-1\r\n", 13, 0..11),
    ] {
        let mut scanner = Scanner::new(Limits::default());
        assert_eq!(scanner.scan(&bytes[..read]), Ok(None));
        let mut grown = bytes.to_vec();
        grown[spoilt].fill(b'\n');
        assert_eq!(scanner.scan(&grown), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
    }
}

#[test]
fn wanted_is_the_end_of_the_payload_being_received() {
    let mut scanner = Scanner::new(Limits::default());
    let frame = b"*2\r\n$3\r\nabc\r\n$100\r\n";
    let at = |scanner: &mut Scanner, end| {
        assert_eq!(scanner.scan(&frame[..end]), Ok(None));
        scanner.wanted()
    };
    assert_eq!(scanner.wanted(), 0);
    assert_eq!(at(&mut scanner, 3), 0);
    assert_eq!(at(&mut scanner, 7), 0);
    assert_eq!(at(&mut scanner, 8), 13);
    assert_eq!(at(&mut scanner, 12), 13);
    assert_eq!(at(&mut scanner, 13), 0);
    assert_eq!(at(&mut scanner, 19), 121);
}

#[test]
fn fewer_bytes_than_before_are_not_an_error() {
    let mut scanner = Scanner::new(Limits::default());
    assert_eq!(scanner.scan(b"*2\r\n:1\r\n+abc"), Ok(None));
    for end in 0..12 {
        assert_eq!(scanner.scan(&b"*2\r\n:1\r\n+abc"[..end]), Ok(None));
    }
    assert_eq!(scanner.scan(b"*2\r\n:1\r\n+abc\r\n"), Ok(Some(14)));
}

//! Encodes commands.

/// The largest number of digits of a `usize`.
const DIGITS_MAX: usize = 20;

/// The largest number of bytes of a header: a type byte, digits, CRLF.
const HEADER_MAX: usize = 1 + DIGITS_MAX + 2;

/// Append a command to `out`: an array of its `arguments` as bulk strings, its name first.
///
/// The space for the whole command is reserved at once.
///
/// # Panics
///
/// Panics if `arguments` is empty: servers do not answer an empty command, so every later reply
/// would be paired with the wrong command.
///
/// # Examples
///
/// ```
/// let mut out = Vec::new();
/// redcache_core::resp::command(&mut out, &[b"GET", b"user:1"]);
/// assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$6\r\nuser:1\r\n");
/// ```
pub fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    assert!(!arguments.is_empty(), "a command has a name");
    let payloads: usize = arguments.iter().map(|argument| argument.len() + 2).sum();
    out.reserve(payloads + HEADER_MAX * (arguments.len() + 1));
    header(out, b'*', arguments.len());
    for argument in arguments {
        header(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Append a type byte and a length.
#[inline]
fn header(out: &mut Vec<u8>, kind: u8, length: usize) {
    // Nearly all lengths are this short, and a known number of bytes is copied fastest.
    match length {
        0..10 => out.extend_from_slice(&[kind, digit(length), b'\r', b'\n']),
        10..100 => {
            out.extend_from_slice(&[kind, digit(length / 10), digit(length), b'\r', b'\n']);
        }
        _ => long_header(out, kind, length),
    }
}

/// Append a type byte and a length of any size.
fn long_header(out: &mut Vec<u8>, kind: u8, mut length: usize) {
    let mut line = [0; HEADER_MAX];
    line[HEADER_MAX - 2..].copy_from_slice(b"\r\n");
    // The last digit is known first.
    let mut start = HEADER_MAX - 2;
    while length > 0 {
        start -= 1;
        line[start] = digit(length);
        length /= 10;
    }
    start -= 1;
    line[start] = kind;
    out.extend_from_slice(&line[start..]);
}

/// Return the last decimal digit of a number.
#[inline]
fn digit(number: usize) -> u8 {
    b'0' + (number % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&[u8]], expected: &[u8]) {
        let mut out = b"before".to_vec();
        command(&mut out, arguments);
        assert_eq!(
            out.escape_ascii().to_string(),
            [b"before", expected].concat().escape_ascii().to_string()
        );
    }

    #[test]
    fn a_command_is_appended_as_an_array_of_bulk_strings() {
        check(&[b"PING"], b"*1\r\n$4\r\nPING\r\n");
        check(&[b"SET", b"", b"\r\n\0$"], b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\r\n\0$\r\n");
    }

    #[test]
    fn lengths_of_several_digits_are_written_in_order() {
        check(&[b"0123456789ab"], b"*1\r\n$12\r\n0123456789ab\r\n");
        let payload = [b'x'; 1234];
        check(&[&payload], &[b"*1\r\n$1234\r\n".as_slice(), &payload, b"\r\n"].concat());
        let many = [b"a".as_slice(); 10];
        check(&many, &[b"*10\r\n".as_slice(), &b"$1\r\na\r\n".repeat(10)].concat());
    }

    #[test]
    fn a_command_reserves_room_once() {
        let payload = [b'x'; 100];
        let mut out = Vec::new();
        command(&mut out, &[payload.as_slice(); 50]);
        assert_eq!(out.capacity(), 50 * (payload.len() + 2) + 51 * HEADER_MAX);
    }

    #[test]
    fn the_longest_length_fits_its_header() {
        let mut out = Vec::new();
        header(&mut out, b'$', usize::MAX);
        assert_eq!(out, format!("${}\r\n", usize::MAX).as_bytes());
    }

    #[test]
    #[should_panic(expected = "a command has a name")]
    fn an_empty_command_is_rejected() {
        command(&mut Vec::new(), &[]);
    }
}

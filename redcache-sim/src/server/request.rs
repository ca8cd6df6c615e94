//! Parser of requests: arrays of bulk strings, in pieces of any size.
//!
//! It shares no code with redcache's own parser, so that a bug in one does not hide in the other.

use bytes::Bytes;

/// The largest number of arguments of a command.
const ARGUMENTS_MAX: i64 = 1024 * 1024;

/// The longest argument.
const BULK_MAX: i64 = 512 * 1024 * 1024;

/// The longest line that announces a length.
const LINE_MAX: usize = 64 * 1024;

/// Splits a stream of bytes into commands.
#[derive(Debug, Default)]
pub(super) struct RequestReader {
    buffer: Vec<u8>,
    /// The number of consumed bytes of `buffer`.
    at: usize,
    /// The command that is being read.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    args: Vec<Bytes>,
    missing: i64,
    /// The announced length of the next argument.
    bulk: Option<usize>,
}

impl RequestReader {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Return the next whole command; `None` until more bytes arrive. An error is the server's last
    /// reply.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Bytes>>, String> {
        loop {
            let Some(partial) = &mut self.partial else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            if partial.missing == 0 {
                let args = self.partial.take().map(|partial| partial.args);
                return Ok(args);
            }
            if !self.read_argument()? {
                return Ok(None);
            }
        }
    }

    /// Read `*count`; an empty or negative count is skipped.
    fn begin(&mut self) -> Result<bool, String> {
        loop {
            let Some(&first) = self.buffer.get(self.at) else {
                return Ok(false);
            };
            if first != b'*' {
                return Err("Protocol error: inline commands are not modelled".into());
            }
            let Some(line) = self.line("too big mbulk count string")? else {
                return Ok(false);
            };
            let count = integer(&line[1..]).filter(|&count| count <= ARGUMENTS_MAX);
            let missing = count.ok_or("Protocol error: invalid multibulk length")?;
            if missing > 0 {
                self.partial = Some(Partial { args: Vec::new(), missing, bulk: None });
                return Ok(true);
            }
        }
    }

    fn read_argument(&mut self) -> Result<bool, String> {
        let Some(partial) = &self.partial else {
            return Ok(false);
        };
        let length = match partial.bulk {
            Some(length) => length,
            None => {
                let Some(length) = self.bulk_length()? else {
                    return Ok(false);
                };
                length
            }
        };
        let Some(partial) = &mut self.partial else {
            return Ok(false);
        };
        partial.bulk = Some(length);
        // The two bytes after an argument are not checked, as in Redis.
        let end = self.at + length;
        if self.buffer.len() < end + 2 {
            return Ok(false);
        }
        partial.args.push(Bytes::copy_from_slice(&self.buffer[self.at..end]));
        partial.missing -= 1;
        partial.bulk = None;
        self.at = end + 2;
        Ok(true)
    }

    fn bulk_length(&mut self) -> Result<Option<usize>, String> {
        let Some(line) = self.line("too big bulk count string")? else {
            return Ok(None);
        };
        match line.split_first() {
            Some((b'$', digits)) => {
                let length = integer(digits).filter(|length| (0..=BULK_MAX).contains(length));
                let length = length.and_then(|length| usize::try_from(length).ok());
                Ok(Some(length.ok_or("Protocol error: invalid bulk length")?))
            }
            other => {
                let got = other.map_or('\r', |(&byte, _)| char::from(byte));
                Err(format!("Protocol error: expected '$', got '{got}'"))
            }
        }
    }

    /// Return one line without its end.
    fn line(&mut self, too_long: &str) -> Result<Option<Vec<u8>>, String> {
        let rest = &self.buffer[self.at..];
        match rest.iter().position(|&byte| byte == b'\r') {
            Some(length) if rest.len() > length + 1 => {
                let line = rest[..length].to_vec();
                self.at += length + 2;
                Ok(Some(line))
            }
            None if rest.len() > LINE_MAX => Err(format!("Protocol error: {too_long}")),
            Some(_) | None => Ok(None),
        }
    }
}

/// Parse a number as strictly as Redis: only a minus sign, no leading zero, no space.
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(pieces: &[&[u8]]) -> Vec<Result<Vec<Bytes>, String>> {
        let mut reader = RequestReader::default();
        let mut commands = Vec::new();
        for piece in pieces {
            reader.feed(piece);
            loop {
                match reader.next() {
                    Ok(Some(command)) => commands.push(Ok(command)),
                    Ok(None) => break,
                    Err(error) => {
                        commands.push(Err(error));
                        return commands;
                    }
                }
            }
        }
        commands
    }

    #[test]
    fn commands_do_not_depend_on_how_the_stream_is_split() {
        let stream = b"*1\r\n$4\r\nPING\r\n*-1\r\n*0\r\n*2\r\n$0\r\n\r\n$3\r\n\r\n*\r\n";
        let whole = commands(&[stream]);
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[1].as_ref().unwrap(), &[&b""[..], b"\r\n*"]);
        for cut in 1..stream.len() {
            assert_eq!(commands(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(commands(&single), whole);
    }

    #[test]
    fn malformed_requests_get_the_reply_of_redis() {
        for (stream, error) in [
            (&b"*x\r\n"[..], "Protocol error: invalid multibulk length"),
            (b"*9999999999\r\n", "Protocol error: invalid multibulk length"),
            (b"*1\r\n+4\r\n", "Protocol error: expected '$', got '+'"),
            (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$9999999999\r\n", "Protocol error: invalid bulk length"),
            (b"GET k\r\n", "Protocol error: inline commands are not modelled"),
        ] {
            assert_eq!(commands(&[stream]), [Err(error.to_owned())], "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let endless = vec![b'1'; LINE_MAX + 1];
        let error = "Protocol error: too big mbulk count string".to_owned();
        assert_eq!(commands(&[b"*", &endless]), [Err(error)]);
    }

    #[test]
    fn numbers_are_parsed_strictly() {
        assert_eq!(integer(b"-12"), Some(-12));
        for wrong in [&b"+1"[..], b"01", b"-0", b" 1", b"1 ", b"", b"9223372036854775808", b"\xff"]
        {
            assert_eq!(integer(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}

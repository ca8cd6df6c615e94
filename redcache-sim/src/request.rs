//! Requests of clients in a stream of bytes.

/// Return the length of the first command in `bytes`; `None` if it is incomplete.
pub(crate) fn request_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = Words { bytes, at: 0 };
    let count = rest.header(b'*')?;
    for _ in 0..count {
        rest.word()?;
    }
    Some(rest.at)
}

/// Return the arguments of a whole command.
pub(crate) fn words(frame: &[u8]) -> Vec<&[u8]> {
    let mut rest = Words { bytes: frame, at: 0 };
    let count = rest.header(b'*').unwrap_or(0);
    (0..count).map_while(|_| rest.word()).collect()
}

/// Return the keys that a command names.
pub(crate) fn keys<'a>(words: &[&'a [u8]]) -> Vec<&'a [u8]> {
    match words {
        [
            b"GET" | b"GETRANGE" | b"PTTL" | b"SET" | b"DEL" | b"DELIFEQ" | b"DELEX" | b"EXISTS",
            key,
            ..,
        ] => {
            vec![key]
        }
        [b"MGET", keys @ ..] => keys.to_vec(),
        [b"EVAL" | b"EVALSHA", _, count, rest @ ..] => {
            let count = std::str::from_utf8(count).ok().and_then(|count| count.parse().ok());
            rest.iter().take(count.unwrap_or(0)).copied().collect()
        }
        _ => Vec::new(),
    }
}

/// Return `true` if a command greets a server or logs in.
pub(crate) fn is_login(words: &[&[u8]]) -> bool {
    matches!(words, [b"HELLO" | b"AUTH", ..])
}

/// Return the password in a greeting or a login.
pub(crate) fn password_of<'a>(words: &[&'a [u8]]) -> Option<&'a [u8]> {
    match words {
        [b"HELLO", _, b"AUTH", _, password, ..] | [b"AUTH", _, password] | [b"AUTH", password] => {
            Some(password)
        }
        _ => None,
    }
}

struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn header(&mut self, kind: u8) -> Option<usize> {
        let line = self.bytes.get(self.at..)?;
        let end = line.iter().position(|&byte| byte == b'\r')?;
        if line[0] != kind || line.get(end + 1) != Some(&b'\n') {
            return None;
        }
        self.at += end + 2;
        std::str::from_utf8(&line[1..end]).ok()?.parse().ok()
    }

    fn word(&mut self) -> Option<&'a [u8]> {
        let length = self.header(b'$')?;
        let word = self.bytes.get(self.at..self.at + length)?;
        self.at += length + 2;
        (self.at <= self.bytes.len()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_with_its_last_argument() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n";
        assert_eq!(request_end(bytes), Some(20));
        assert_eq!(words(&bytes[..20]), [b"GET".as_slice(), b"k"]);
        for cut in 0..20 {
            assert_eq!(request_end(&bytes[..cut]), None, "{cut}");
        }
    }
}

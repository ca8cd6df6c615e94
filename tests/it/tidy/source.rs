//! A reader of Rust source that distinguishes code from comments and string literals.

use std::iter::Peekable;
use std::str::CharIndices;

/// A token of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// `::`
    Colons,
    Mark(char),
}

/// A path in the form of a `use` of that path alone, and its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CodePath<'a> {
    pub(super) line: usize,
    pub(super) segments: Vec<&'a str>,
}

impl CodePath<'_> {
    /// Return whether the path contains `part`, such as `Instant::now`, as whole segments.
    pub(super) fn contains(&self, part: &str) -> bool {
        let part: Vec<_> = part.split("::").collect();
        self.segments.windows(part.len()).any(|window| window == part)
    }
}

/// Return every path of the code, except that of a visibility such as `pub(in a::b)`.
///
/// `use a::{b, c::d};` counts as `a::b` and `a::c::d`.
pub(super) fn paths(code: &str) -> Vec<CodePath<'_>> {
    let tokens = tokens(code);
    let mut reader = Reader { tokens: &tokens, paths: Vec::new() };
    while let Some((token, _)) = reader.tokens.first() {
        if reader.is_at_restricted_visibility() {
            reader.skip_visibility();
        } else if matches!(token, Token::Word(_)) {
            reader.read_tree(&[]);
        } else {
            reader.skip();
        }
    }
    reader.paths
}

/// A comment that begins on `line`, with its slashes and stars.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment<'a> {
    pub(super) line: usize,
    /// Whether code precedes it on its line.
    pub(super) is_trailing: bool,
    pub(super) text: &'a str,
}

/// Return every comment of the code; each `//` line is one.
pub(super) fn comments(code: &str) -> Vec<Comment<'_>> {
    let mut comments = Vec::new();
    let (mut rest, mut line, mut is_trailing) = (code, 1, false);
    while let Some(first) = rest.chars().next() {
        let (length, _) = next_token(rest, first);
        let (read, behind) = rest.split_at(length);
        if read.starts_with("//") || read.starts_with("/*") {
            comments.push(Comment { line, is_trailing, text: read });
        }
        let newlines = read.matches('\n').count();
        line += newlines;
        is_trailing = newlines == 0 && (is_trailing || !first.is_whitespace());
        rest = behind;
    }
    comments
}

/// Return the functions of the code, each with its line.
pub(super) fn functions(code: &str) -> Vec<(usize, &str)> {
    let tokens = tokens(code);
    let functions = tokens.windows(2).filter_map(|pair| match [pair[0].0, pair[1].0] {
        [Token::Word("fn"), Token::Word(name)] => Some((pair[1].1, name)),
        _ => None,
    });
    functions.collect()
}

/// Return the lines on which the macro `name` is called.
pub(super) fn calls_of_macro(code: &str, name: &str) -> Vec<usize> {
    let call = [Token::Word(name), Token::Mark('!')];
    let tokens = tokens(code);
    let calls = tokens.windows(2).filter(|pair| [pair[0].0, pair[1].0] == call);
    calls.map(|pair| pair[0].1).collect()
}

/// Return the text before its first inline test module.
pub(super) fn without_tests(text: &str) -> &str {
    const START: &str = "\n#[cfg(test)]\nmod ";
    let starts = text.match_indices(START).map(|(at, _)| at);
    let is_inline = |at: &usize| {
        let name = &text[at + START.len()..];
        name.find([';', '{']).is_some_and(|end| name[end..].starts_with('{'))
    };
    let mut starts = starts.filter(is_inline);
    starts.next().map_or(text, |at| &text[..at])
}

struct Reader<'t, 'a> {
    tokens: &'t [(Token<'a>, usize)],
    paths: Vec<CodePath<'a>>,
}

impl<'a> Reader<'_, 'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.first().map(|(token, _)| *token)
    }

    fn skip(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn is_at_restricted_visibility(&self) -> bool {
        let start = [Token::Word("pub"), Token::Mark('('), Token::Word("in")];
        self.tokens.iter().map(|(token, _)| *token).take(3).eq(start)
    }

    fn skip_visibility(&mut self) {
        while self.peek().is_some_and(|token| token != Token::Mark(')')) {
            self.skip();
        }
    }

    /// Read a path, or the branches of an import, that follows `stem`.
    fn read_tree(&mut self, stem: &[&'a str]) {
        let line = self.tokens.first().map_or(0, |(_, line)| *line);
        let mut segments = stem.to_vec();
        loop {
            match self.peek() {
                Some(Token::Word(word)) => segments.push(word),
                Some(Token::Mark('*')) => segments.push("*"),
                Some(Token::Mark('{')) if !segments.is_empty() => {
                    return self.read_branches(&segments);
                }
                _ => break,
            }
            self.skip();
            if self.peek() != Some(Token::Colons) {
                break;
            }
            self.skip();
        }
        self.paths.push(CodePath { line, segments });
    }

    fn read_branches(&mut self, stem: &[&'a str]) {
        self.skip();
        while let Some(token) = self.peek() {
            match token {
                Token::Mark('}') => return self.skip(),
                Token::Word("as") => {
                    self.skip();
                    self.skip();
                }
                Token::Word(_) | Token::Mark('*' | '{') => self.read_tree(stem),
                Token::Colons | Token::Mark(_) => self.skip(),
            }
        }
    }
}

/// Split code into tokens with their lines, without comments and string literals.
fn tokens(code: &str) -> Vec<(Token<'_>, usize)> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (code, 1);
    while let Some(first) = rest.chars().next() {
        let (length, token) = next_token(rest, first);
        if let Some(token) = token {
            tokens.push((token, line));
        }
        let (read, behind) = rest.split_at(length);
        line += read.matches('\n').count();
        rest = behind;
    }
    tokens
}

fn next_token(rest: &str, first: char) -> (usize, Option<Token<'_>>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(length) = raw_text(rest) {
        return (length, None);
    }
    if rest.starts_with("::") {
        return (2, Some(Token::Colons));
    }
    match first {
        '"' => (quoted(rest, '"'), None),
        '\'' if is_char_literal(rest) => (quoted(rest, '\''), None),
        _ if first.is_whitespace() || first == '\'' => (first.len_utf8(), None),
        _ if is_word(first) => {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (length, Some(Token::Word(&rest[..length])))
        }
        _ => (first.len_utf8(), Some(Token::Mark(first))),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Return whether a quote starts a literal such as `'x'` or `'\n'`, not the lifetime `'x`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    let (inside, after) = (chars.next(), chars.next());
    inside == Some('\\') || after == Some('\'')
}

/// Return the length of a literal that begins and ends with `quote`.
fn quoted(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Return the length of a raw string literal, if `rest` begins with one.
fn raw_text(rest: &str) -> Option<usize> {
    let behind = ["r", "br", "cr"].into_iter().find_map(|prefix| {
        let behind = rest.strip_prefix(prefix)?;
        behind.starts_with(['"', '#']).then_some(behind)
    })?;
    let text = behind.trim_start_matches('#');
    let hashes = &behind[..behind.len() - text.len()];
    let text = text.strip_prefix('"')?;
    let start = rest.len() - text.len();
    let end = format!("\"{hashes}");
    Some(text.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// Return the length of a block comment, which may nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut chars: Peekable<CharIndices<'_>> = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some((_, '*'))) => depth += 1,
            ('*', Some((_, '/'))) => depth -= 1,
            _ => continue,
        }
        chars.next();
        if depth == 0 {
            return at + 2;
        }
    }
    rest.len()
}

#[test]
fn paths_are_found_in_code_and_nowhere_else() {
    let code = r####"
        //! crate::comment
        use crate::near::Near;
        use crate::{key, flow::{self, get::{Get as G, Input}}, conn::*};
        /* crate::comment /* crate::nested */ crate::comment */
        fn f<'a>(x: &'a crate::stored::Stored) { "crate::text \" crate::text"; }
        pub(in crate::near) const C: (char, &str) = ('"', r##"crate::raw "# crate::raw"##);
        fn g() -> Vec<::std::net::IpAddr> { $crate::rng::f::<super::lock::Id>('\'') }
    "####;
    let found: Vec<_> = paths(code)
        .into_iter()
        .filter(|path| path.segments.len() > 1)
        .map(|path| (path.line, path.segments.join("::")))
        .collect();
    let expected = [
        (3, "crate::near::Near"),
        (4, "crate::key"),
        (4, "crate::flow::self"),
        (4, "crate::flow::get::Get"),
        (4, "crate::flow::get::Input"),
        (4, "crate::conn::*"),
        (6, "crate::stored::Stored"),
        (8, "std::net::IpAddr"),
        (8, "crate::rng::f"),
        (8, "super::lock::Id"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn a_part_of_a_path_is_whole_segments() {
    let contains = |code, part| paths(code)[0].contains(part);
    assert!(contains("std::time::Instant::now()", "Instant::now"));
    assert!(!contains("std::network::Stream", "std::net"));
    assert!(!contains("my_std::net", "std::net"));
}

#[test]
fn comments_are_found_outside_of_literals() {
    let code = "//! A\nfn f() {} // b\n/* c\n */ const C: &str = \"// text\";\n/// D\n";
    let found: Vec<_> =
        comments(code).iter().map(|it| (it.line, it.is_trailing, it.text)).collect();
    let expected =
        [(1, false, "//! A"), (2, true, "// b"), (3, false, "/* c\n */"), (5, false, "/// D")];
    assert_eq!(found, expected);
}

#[test]
fn only_an_inline_test_module_is_cut_off() {
    let declared = "a();\n#[cfg(test)]\nmod tests;\nb();\n";
    assert_eq!(without_tests(declared), declared);
    let inline = "a();\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(without_tests(inline), "a();");
}

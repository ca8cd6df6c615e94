//! Prose of comments and test names: width, and the words that give unclear sentences away.
//!
//! A first sentence names its subject, so that it is understood without the code behind it.

use super::source::{self, Comment};

/// The last column of a comment, as for code.
const COLUMNS_MAX: usize = 100;

/// First words of documentation that hide the subject, and what to write.
const STARTS: &[(&str, &str)] = &[
    ("Gives", "`Return …`"),
    ("Has", "the verb of what happens"),
    ("How", "`The number of …`, `The time …` or `The way …`"),
    ("Says", "`Return whether …`"),
    ("Tells", "`Return …` or `Report …`"),
    ("Those", "the noun"),
    ("What", "the noun"),
    ("Whatever", "the noun"),
    ("When", "`The instant at which …`"),
    ("Which", "the noun"),
    ("Who", "the noun"),
    ("Whoever", "the noun"),
    ("Whom", "the noun"),
    ("Whose", "the noun"),
    ("Why", "`Reason …`"),
];

/// Phrases that no comment needs, and what to write. A phrase matches whole words in any case.
const PHRASES: &[(&str, &str)] = &[
    ("all the same", "nevertheless"),
    ("anew", "again"),
    ("be it", "or"),
    ("becomes of", "the state of"),
    ("code of the application", "application code"),
    ("for want of", "because … is missing"),
    ("has the say", "decides"),
    ("have the say", "decide"),
    ("heard of", "the noun of the message"),
    ("hears of", "receives"),
    ("in the eyes of", "as … reports it"),
    ("in the place of", "instead of"),
    ("in vain", "without success"),
    ("is mended", "is fixed"),
    ("is told", "receives"),
    ("made again", "repeated"),
    ("of one's own", "custom"),
    ("on its own chance", "the seed"),
    ("perhaps", "may"),
    ("provider of the credentials", "credentials provider"),
    ("the chance of", "the randomness of"),
    ("those that", "the noun"),
    ("told of", "receives"),
    ("what there is", "the noun"),
    ("whatever", "the noun"),
    ("who waits", "callers that wait"),
    ("whoever", "the noun"),
    ("without a word", "silently"),
];

/// First words that are no verb, in the documentation of functions.
const NO_VERBS: &[&str] = &["A", "All", "An", "Any", "Each", "Every", "No", "One", "Some", "The"];

/// Segments of names of functions that hide the subject.
const NAME_SEGMENTS: &[&str] = &["who", "whoever", "whatever"];

/// Return a line for each fault of the text of one file.
pub(super) fn faults(text: &str) -> Vec<String> {
    let comments = source::comments(text);
    let paragraphs = paragraphs(&comments);
    let mut faults = too_wide(text, &comments);
    for paragraph in &paragraphs {
        let word = paragraph.first_word();
        let start = STARTS.iter().find(|(start, _)| paragraph.is_first && word == *start);
        let phrases = PHRASES.iter().filter(|(phrase, _)| contains(&paragraph.text, phrase));
        for (found, better) in start.into_iter().chain(phrases) {
            faults.push(format!("{}: `{found}`: write {better}", paragraph.line));
        }
    }
    for (line, word) in function_starts(text, &paragraphs) {
        // A third person, such as `Counts`, but not `Pass`.
        let is_third_person = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
        if is_third_person || NO_VERBS.contains(&word) {
            faults.push(format!("{line}: `{word}`: begin with a verb in the imperative"));
        }
    }
    for (line, name) in source::functions(text) {
        if name.split('_').any(|segment| NAME_SEGMENTS.contains(&segment)) {
            faults.push(format!("{line}: `{name}`: name the subject"));
        }
    }
    faults
}

fn too_wide(text: &str, comments: &[Comment<'_>]) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let widths =
        comments.iter().map(|comment| (comment.line, lines[comment.line - 1].chars().count()));
    // A row of a table cannot be wrapped.
    let is_row = |line: usize| lines[line - 1].trim_start_matches(['/', '!', ' ']).starts_with('|');
    let wide = widths.filter(|(line, width)| *width > COLUMNS_MAX && !is_row(*line));
    wide.map(|(line, width)| format!("{line}: a comment of {width} columns")).collect()
}

/// Prose of consecutive comment lines.
#[derive(Debug)]
struct Paragraph {
    line: usize,
    text: String,
    /// Whether it begins the documentation of an item or module.
    is_first: bool,
}

impl Paragraph {
    fn first_word(&self) -> &str {
        let word = self.text.split_whitespace().next().unwrap_or_default();
        word.trim_end_matches(|c: char| !c.is_alphanumeric())
    }
}

/// Return the first word of the documentation of each function, with its line. A test is left out,
/// because its name is a sentence.
fn function_starts<'p>(text: &str, paragraphs: &'p [Paragraph]) -> Vec<(usize, &'p str)> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_of_function = |paragraph: &&Paragraph| {
        let below = &lines[paragraph.line - 1..];
        let is_before = |line: &&str| line.starts_with("///") || line.starts_with("#[");
        let (before, item) =
            below.split_at(below.iter().take_while(|line| is_before(line)).count());
        item.first().is_some_and(|item| !source::functions(item).is_empty())
            && !before.iter().any(|line| line.ends_with("test]"))
    };
    let starts = paragraphs.iter().filter(|paragraph| paragraph.is_first).filter(is_of_function);
    starts.map(|paragraph| (paragraph.line, paragraph.first_word())).collect()
}

/// Join comment lines to paragraphs, without the code blocks of documentation.
fn paragraphs(comments: &[Comment<'_>]) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let (mut last_line, mut last_marker, mut in_code, mut is_open) = (0, "", false, false);
    for comment in comments {
        let (marker, prose) = split_marker(comment.text);
        let goes_on =
            comment.line == last_line + 1 && marker == last_marker && !comment.is_trailing;
        (last_line, last_marker) = (comment.line, marker);
        (in_code, is_open) = (in_code && goes_on, is_open && goes_on);
        if prose.starts_with("```") {
            (in_code, is_open) = (!in_code, false);
        } else if prose.is_empty() {
            is_open = false;
        } else if let Some(paragraph) = paragraphs.last_mut().filter(|_| is_open && !in_code) {
            paragraph.text.push(' ');
            paragraph.text.push_str(prose);
        } else if !in_code {
            let is_first = !goes_on && marker != "//";
            paragraphs.push(Paragraph { line: comment.line, text: prose.to_owned(), is_first });
            is_open = true;
        }
    }
    paragraphs
}

fn split_marker(comment: &str) -> (&str, &str) {
    let markers = ["///", "//!", "//", "/*"];
    let marker = markers.into_iter().find(|marker| comment.starts_with(marker));
    let marker = marker.expect("it is a comment");
    (marker, comment[marker.len()..].trim())
}

/// Return whether `text` contains `phrase` as whole words, in any case.
fn contains(text: &str, phrase: &str) -> bool {
    let lower = text.to_lowercase();
    let is_edge = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    let mut found = lower.match_indices(phrase);
    found.any(|(at, _)| {
        let (before, after) = (&lower[..at], &lower[at + phrase.len()..]);
        is_edge(before.chars().next_back()) && is_edge(after.chars().next())
    })
}

#[test]
fn unclear_prose_is_found_in_comments_and_names_only() {
    let wide = format!("/// {}\nfn f() {{ g(); }} // {}", "a".repeat(96), "b".repeat(80));
    for (text, expected) in [
        ("/// Gives the key.", &["1: `Gives`: write `Return …`"][..]),
        ("//! What is sent.\n//!\n//! Who sends it.", &["1: `What`: write the noun"]),
        ("/// One line,\n/// two lines, be\n/// it so.", &["1: `be it`: write or"]),
        ("/// A.\n/// ```\n/// // perhaps\n/// ```\n/// Perhaps.", &["5: `perhaps`: write may"]),
        (
            "// Says nothing of documentation.\nfn f() {} // Whoever?",
            &["2: `whoever`: write the noun"],
        ),
        ("\nfn a_flush_wakes_who_waits() {}", &["2: `a_flush_wakes_who_waits`: name the subject"]),
        ("const GIVES: &str = \"/// Gives whoever\"; fn whole() { who() }", &[]),
        ("/// Return what the whoeverest gives.", &[]),
        (
            "/// Counts.\n///\n/// The rest.\n#[inline]\nfn f() {}",
            &["1: `Counts`: begin with a verb in the imperative"],
        ),
        ("/// The key.\nfn f() {}", &["1: `The`: begin with a verb in the imperative"]),
        ("/// The key.\n#[test]\nfn f() {}\n/// Counts.\nstruct S;", &[]),
        ("/// Pass it on.\nfn f() {}", &[]),
        (&wide, &[]),
        (&wide.replace('b', "bb"), &["2: a comment of 179 columns"]),
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
}

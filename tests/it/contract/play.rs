//! The player of probes.
//!
//! Each step is a line. Its first word names a connection, the rest an action:
//!
//! | step             | meaning                                                                  |
//! |------------------|--------------------------------------------------------------------------|
//! | `a GET k`        | connection `a` sends a command; the answer is all frames up to its reply |
//! | `a GET k ; PING` | the same for several commands in one write                               |
//! | `a` | the frames that `a` has received until now without a request |
//! | `a push` | the next frame that `a` receives, however long it takes |
//! | `a bytes *1\r\n` | `a` sends these bytes; nothing is read                                   |
//! | `a end` | everything that `a` receives until its connection ends |
//! | `wait 20`        | 20 milliseconds pass                                                     |
//! | `server busy` | an event in the server, see [`Subject::happen`] |
//!
//! `a`, `b` and `c` speak RESP3 from the start; `p` and `q` begin without a handshake. With `~a`,
//! the keys of pushes are left out, where Redis picks them at random. A word may contain escapes
//! (`\s` is a space); `''` is the empty word; `$b` is the id of connection `b`, `$get` the source
//! of a script and `$get.sha` its hash, `$me` and `$peer` the nodes of a cluster.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use redcache_tests::Raw;

use super::scripts;
use super::subject::Subject;

/// A step and the answer of the server, without the parts that differ between servers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) step: &'static str,
    pub(super) answer: String,
}

pub(super) fn play(subject: &Subject, steps: &[&'static str]) -> Vec<Line> {
    subject.reset();
    let mut stage = Stage { subject, connections: BTreeMap::new() };
    steps.iter().map(|step| Line { step, answer: stage.act(step) }).collect()
}

struct Stage<'a> {
    subject: &'a Subject,
    connections: BTreeMap<String, Connection>,
}

struct Connection {
    raw: Raw,
    id: String,
}

impl Stage<'_> {
    fn act(&mut self, step: &str) -> String {
        let (actor, action) = step.split_once(' ').unwrap_or((step, ""));
        match actor {
            "wait" => {
                thread::sleep(Duration::from_millis(action.parse().unwrap()));
                String::new()
            }
            "server" => {
                self.subject.happen(action);
                String::new()
            }
            _ => {
                let name = actor.trim_start_matches('~');
                let port = format!(r":{}\r\n", self.subject.address().port());
                let answer = self.speak(name, action).replace(&port, r":<port>\r\n");
                if actor.starts_with('~') { without_keys(&answer) } else { answer }
            }
        }
    }

    fn speak(&mut self, name: &str, action: &str) -> String {
        if let Some(bytes) = action.strip_prefix("bytes ") {
            self.open(name).raw.send_bytes(&unescape(bytes)).unwrap();
            return String::new();
        }
        match action {
            "" => self.open(name).raw.pushes().iter().map(|push| show(push)).collect(),
            "push" => show(&self.open(name).raw.read_push()),
            "end" => until_end(&mut self.open(name).raw),
            _ => {
                self.open(name);
                let commands: Vec<_> = action.split(" ; ").map(|it| self.words(it)).collect();
                ask(&mut self.open(name).raw, &commands)
            }
        }
    }

    /// Return the connection of a name, opened on its first use.
    fn open(&mut self, name: &str) -> &mut Connection {
        let address = self.subject.address();
        self.connections.entry(name.to_owned()).or_insert_with(|| {
            let mut raw = Raw::connect(address);
            let mut id = String::new();
            if ["a", "b", "c"].contains(&name) {
                assert!(raw.call(&["HELLO", "3"]).starts_with(b"%"), "HELLO 3 failed");
                id = raw.integer(&["CLIENT", "ID"]).to_string();
            }
            Connection { raw, id }
        })
    }

    fn words(&mut self, command: &str) -> Vec<Vec<u8>> {
        command.split_whitespace().map(|word| self.word(word)).collect()
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        match word.strip_prefix('$') {
            Some(name @ ("a" | "b" | "c")) => self.open(name).id.clone().into_bytes(),
            Some(word) => match Subject::node_id(word) {
                Some(id) => id.into(),
                None => scripts::word(word).into_bytes(),
            },
            None if word == "''" => Vec::new(),
            None => unescape(word),
        }
    }
}

/// Send the commands in one write and read until each has its reply.
fn ask(raw: &mut Raw, commands: &[Vec<Vec<u8>>]) -> String {
    let mut request = Vec::new();
    for words in commands {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        redcache_core::resp::command(&mut request, &words);
    }
    if raw.send_bytes(&request).is_err() {
        return "<end>".to_owned();
    }
    let mut answer = String::new();
    let mut replies = 0;
    while replies < commands.len() {
        let Ok(frame) = raw.read_frame() else {
            answer.push_str("<end>");
            return answer;
        };
        if frame[0] == b'>' {
            answer.push_str(&show(&frame));
        } else {
            answer.push_str(&normalised(&commands[replies], &frame));
            replies += 1;
        }
    }
    answer
}

fn until_end(raw: &mut Raw) -> String {
    let mut answer = String::new();
    while let Ok(frame) = raw.read_frame() {
        answer.push_str(&show(&frame));
    }
    answer + "<end>"
}

fn show(frame: &[u8]) -> String {
    frame.escape_ascii().to_string()
}

/// Remove from a reply the parts that differ between servers: ids, versions, and elapsed time.
fn normalised(command: &[Vec<u8>], reply: &[u8]) -> String {
    let words = command.iter().map(|word| String::from_utf8_lossy(word).to_uppercase());
    let command = words.take(2).collect::<Vec<_>>().join(" ");
    let reply = show(reply);
    if command == "CLIENT ID" && reply.starts_with(':') {
        return ":<id>".to_owned();
    }
    if command.starts_with("HELLO") {
        let reply = without(&reply, r"$2\r\nid\r\n:", r"\r\n");
        return without(&reply, r"$7\r\nversion\r\n", r"\r\n$5\r\nproto");
    }
    if command == "CLUSTER INFO" {
        let facts = without(&reply, "=", "txt:");
        return without(&facts, "cluster_stats", "total_cluster");
    }
    if command == "CLUSTER SHARDS" {
        return in_order(&reply);
    }
    let left = reply.strip_prefix(':').and_then(|rest| rest.strip_suffix(r"\r\n"));
    if command.starts_with("PTTL") && left.is_some_and(|left| left.parse::<u64>().is_ok()) {
        return ":<ttl>".to_owned();
    }
    reply
}

/// Remove the text between `before` and the next `after`.
fn without(text: &str, before: &str, after: &str) -> String {
    let Some((head, rest)) = text.split_once(before) else {
        return text.to_owned();
    };
    let Some((_, tail)) = rest.split_once(after) else {
        return text.to_owned();
    };
    format!("{head}{before}<...>{after}{tail}")
}

/// The start of a shard in a reply.
const FIELDS: &str = r"$5\r\nslots\r\n";

/// Sort the shards of a cluster, which Redis lists in no order.
fn in_order(shards: &str) -> String {
    let Some((header, _)) = shards.split_once(FIELDS) else { return shards.to_owned() };
    // Each shard begins like the first: as a map in RESP3, as an array in RESP2.
    let begins = header.rsplit(r"\r\n").find(|word| !word.is_empty()).unwrap_or_default();
    let begin = format!(r"{begins}\r\n{FIELDS}");
    let mut parts = shards.split(&begin);
    let head = parts.next().unwrap_or_default();
    let mut parts: Vec<&str> = parts.collect();
    parts.sort_unstable();
    format!("{head}{}", parts.join("|"))
}

fn without_keys(answer: &str) -> String {
    let marker = r"invalidate\r\n*1\r\n";
    let mut parts = answer.split(marker);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The key is one bulk string: its length, then its bytes.
        let rest = part.splitn(3, r"\r\n").nth(2).unwrap_or_default();
        masked.push_str(marker);
        masked.push_str("<key>");
        masked.push_str(rest);
    }
    masked
}

fn unescape(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = word.bytes();
    while let Some(letter) = letters.next() {
        bytes.push(match letter {
            b'\\' => match letters.next() {
                Some(b's') => b' ',
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                other => panic!("unknown escape {other:?} in {word}"),
            },
            plain => plain,
        });
    }
    bytes
}

//! Keys that views share with services that run redcache for Go and store JSON.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use redcache::{Cache, CacheKey, Json, KeyWriter, Typed, TypedCache};
use redcache_sim::listen::EmbeddedServer;
use serde::{Deserialize, Serialize};

const TTL: Duration = Duration::from_secs(60);

/// The Go type `struct { Name string; Tags map[string]int; Score float64; Nick *string }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Tags")]
    tags: BTreeMap<String, i64>,
    #[serde(rename = "Score")]
    score: f64,
    #[serde(rename = "Nick")]
    nick: Option<String>,
}

fn row(name: &str, tags: &[(&str, i64)], score: f64, nick: Option<&str>) -> Row {
    let tags = tags.iter().map(|(tag, count)| ((*tag).to_owned(), *count)).collect();
    Row { name: name.to_owned(), tags, score, nick: nick.map(str::to_owned) }
}

/// Return values with the JSON that Go's `json.Marshal` and `Json` write for them.
fn vectors() -> Vec<(Row, &'static str, &'static str)> {
    let plain = r#"{"Name":"Ada","Tags":{"a":1,"b":-2},"Score":1.5,"Nick":null}"#;
    vec![
        (row("Ada", &[("b", -2), ("a", 1)], 1.5, None), plain, plain),
        (
            row("<Ada> & \u{2028}\"\\\n", &[], 1e21, Some("")),
            r#"{"Name":"\u003cAda\u003e \u0026 \u2028\"\\\n","Tags":{},"Score":1e+21,"Nick":""}"#,
            "{\"Name\":\"<Ada> & \u{2028}\\\"\\\\\\n\",\"Tags\":{},\"Score\":1e+21,\"Nick\":\"\"}",
        ),
        (
            row("日本 😀", &[("ключ", i64::MIN)], -0.25, Some("é")),
            r#"{"Name":"日本 😀","Tags":{"ключ":-9223372036854775808},"Score":-0.25,"Nick":"é"}"#,
            r#"{"Name":"日本 😀","Tags":{"ключ":-9223372036854775808},"Score":-0.25,"Nick":"é"}"#,
        ),
    ]
}

/// A connection without tracking.
struct Raw(TcpStream);

impl Raw {
    fn send(&mut self, words: &[&[u8]]) {
        let mut sent = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            sent.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            sent.extend_from_slice(word);
            sent.extend_from_slice(b"\r\n");
        }
        self.0.write_all(&sent).unwrap();
    }

    fn set(&mut self, key: &str, value: &[u8]) {
        self.send(&[b"SET", key.as_bytes(), value]);
        self.0.read_exact(&mut [0; 5]).unwrap();
    }

    fn get(&mut self, key: &str) -> Vec<u8> {
        self.send(&[b"GET", key.as_bytes()]);
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let length = std::str::from_utf8(&line[1..line.len() - 2]).unwrap().parse::<usize>();
        let mut value = vec![0; length.unwrap() + 2];
        self.0.read_exact(&mut value).unwrap();
        value.truncate(value.len() - 2);
        value
    }
}

async fn start() -> (EmbeddedServer, Raw, Cache) {
    let server = EmbeddedServer::start().unwrap();
    let raw = Raw(TcpStream::connect(server.address()).unwrap());
    let cache = redcache::connect(server.url()).await.unwrap();
    (server, raw, cache)
}

fn rows(cache: &Cache) -> TypedCache<(Kind, u64), Row> {
    cache.typed("", Json).plain_keys().ttl(TTL).build().unwrap()
}

/// The first part of each key.
#[derive(Clone)]
struct Kind;

impl CacheKey for Kind {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.part(b"app:row");
    }
}

#[tokio::test]
async fn a_view_with_plain_keys_reads_the_json_that_go_writes() {
    let (_server, mut raw, cache) = start().await;
    let rows = rows(&cache);
    for (number, (row, of_go, _)) in (0..).zip(vectors()) {
        // A value of a load that took 1.5 ms, and one of `ForceSet`.
        for (half, delta_ns) in [(0, 1_500_000), (1, 0)] {
            let number = 2 * number + half;
            let stored = format!("__redcache:v1:{delta_ns}:{of_go}");
            raw.set(&format!("app:row:{number}"), stored.as_bytes());
            let load = async || Err::<Row, _>("the view loads");
            let answer = rows.get_with(&(Kind, number), load).await.unwrap();
            assert_eq!(answer.value.as_deref(), Some(&row));
        }
    }
    assert_eq!(rows.undecodable(), 0);
}

#[tokio::test]
async fn a_view_with_plain_keys_writes_json_that_go_reads() {
    let (_server, mut raw, cache) = start().await;
    let rows = rows(&cache);
    for (number, (row, _, of_ours)) in (0..).zip(vectors()) {
        let key = (Kind, number);
        for is_load in [true, false] {
            if is_load {
                let load = async || Ok::<_, String>(row.clone());
                rows.get_with(&key, load).await.unwrap();
            } else {
                rows.insert(&key, &row).await.unwrap();
            }
            // Go parses the digits up to the next colon as the run time of the loader.
            let stored = String::from_utf8(raw.get(&format!("app:row:{number}"))).unwrap();
            let rest = stored.strip_prefix("__redcache:v1:").unwrap();
            let (delta_ns, payload) = rest.split_once(':').unwrap();
            assert!(delta_ns.parse::<u64>().is_ok() && payload == of_ours, "{stored}");
        }
    }
}

//! `deploy`: a process of one version of a program, whose values the other version cannot decode.
//!
//! ```text
//!  deploy VERSION URL ROUNDS SECONDS        VERSION is `old` or `new`
//! ```
//!
//! It reads all keys of all namespaces once and writes `ready`. After a line of input it reads them
//! again, that many rounds and at least that long, and writes its figures as JSON.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::io::{Write, stdin, stdout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redcache::{CallOptions, Codec, Json, Postcard, Typed, TypedCache};
use serde::{Deserialize, Serialize};
use serde_json::json;

const KEYS: u64 = 5;
const CALLERS: usize = 4;

/// The TTLs, one of which ends many times in a long run.
const TTLS: [(&str, Duration); 2] =
    [("long", Duration::from_secs(3600)), ("short", Duration::from_secs(1))];

/// A loader takes so long that calls of both processes meet in it.
const LOAD_TIME: Duration = Duration::from_millis(5);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New {
    first: String,
    last: String,
}

trait Version: PartialEq + Serialize + for<'de> Deserialize<'de> + Send + Sync + 'static {
    fn of(key: u64) -> Self;
}

impl Version for Old {
    fn of(key: u64) -> Self {
        Self { name: format!("Ada {key}") }
    }
}

impl Version for New {
    fn of(key: u64) -> Self {
        Self { first: "Ada".to_owned(), last: key.to_string() }
    }
}

/// A namespace under load.
struct Namespace<V: 'static, C> {
    name: String,
    view: TypedCache<u64, V, C>,
    loads: Mutex<BTreeMap<u64, u32>>,
    calls: AtomicU64,
    /// The keys whose answers were of the other version or had no value.
    wrong: AtomicU64,
    errors: Mutex<BTreeMap<String, u32>>,
}

impl<V: Version, C: Codec<V> + Copy> Namespace<V, C> {
    fn new(cache: &redcache::Cache, codec: C, (ttl_name, ttl): (&str, Duration)) -> Self {
        let name = format!("{}-{ttl_name}", codec.name());
        let view = cache.typed(&name, codec).ttl(ttl).build().unwrap();
        let (loads, calls, wrong) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self { name, view, loads, calls, wrong, errors: Mutex::default() }
    }

    /// Read all keys, one by one and in a batch, from the near cache or past it.
    async fn read(&self, options: CallOptions) {
        let view = self.view.with_options(options);
        for key in 0..KEYS {
            let load = async || {
                self.note([key]);
                tokio::time::sleep(LOAD_TIME).await;
                Ok::<_, String>(V::of(key))
            };
            self.check(key, view.get_with(&key, load).await);
        }
        let load = async |keys: Vec<u64>| {
            self.note(keys.iter().copied());
            tokio::time::sleep(LOAD_TIME).await;
            Ok::<_, String>(keys.into_iter().map(|key| (key, V::of(key))))
        };
        match view.get_many_with(0..KEYS, load).await {
            Ok(answers) => {
                (0..).zip(answers).for_each(|(key, answer)| self.check(key, answer));
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn check(&self, key: u64, answer: Result<redcache::TypedAnswer<V>, impl ToString>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(answer) if answer.value.as_deref() == Some(&V::of(key)) => {}
            Ok(_) => _ = self.wrong.fetch_add(1, Ordering::Relaxed),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn fail(&self, error: &str) {
        *self.errors.lock().unwrap().entry(error.to_owned()).or_default() += 1;
    }

    fn note(&self, keys: impl IntoIterator<Item = u64>) {
        let mut loads = self.loads.lock().unwrap();
        keys.into_iter().for_each(|key| *loads.entry(key).or_default() += 1);
    }

    fn figures(&self) -> (String, serde_json::Value) {
        let loads = self.loads.lock().unwrap();
        let loads = (0..KEYS).map(|key| loads.get(&key).copied().unwrap_or(0));
        let figures = json!({
            "calls": self.calls.load(Ordering::Relaxed),
            "wrong": self.wrong.load(Ordering::Relaxed),
            "errors": *self.errors.lock().unwrap(),
            "loads": loads.collect::<Vec<_>>(),
            "undecodable": self.view.undecodable(),
            "replaced": self.view.replaced(),
        });
        (self.name.clone(), figures)
    }
}

async fn run<V: Version>(url: &str, rounds: u64, span: Duration) {
    let cache = redcache::connect(url).await.unwrap();
    let of_json = TTLS.map(|ttl| Namespace::<V, _>::new(&cache, Json, ttl));
    let of_postcard = TTLS.map(|ttl| Namespace::<V, _>::new(&cache, Postcard, ttl));
    let round = async |options: CallOptions| {
        for (one, other) in of_json.iter().zip(&of_postcard) {
            tokio::join!(one.read(options), other.read(options));
        }
    };
    round(CallOptions::new()).await;
    say("ready");
    tokio::task::spawn_blocking(|| stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    let until = Instant::now() + span;
    let caller = async |number: usize| {
        let options = CallOptions::new();
        let options = if number.is_multiple_of(2) { options } else { options.skip_near() };
        for _ in 0..rounds {
            round(options).await;
        }
        while Instant::now() < until {
            round(options).await;
            tokio::task::yield_now().await;
        }
    };
    let [one, two, three, four] = std::array::from_fn::<_, CALLERS, _>(caller);
    tokio::join!(one, two, three, four);
    let figures = of_json.iter().map(Namespace::figures);
    let figures = figures.chain(of_postcard.iter().map(Namespace::figures));
    say(&json!(figures.collect::<BTreeMap<_, _>>()).to_string());
    cache.close().await;
}

fn say(line: &str) {
    let mut out = stdout();
    writeln!(out, "{line}").unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [version, url, rounds, seconds] = &arguments[..] else {
        panic!("deploy old|new URL ROUNDS SECONDS")
    };
    let (rounds, span) = (rounds.parse().unwrap(), Duration::from_secs(seconds.parse().unwrap()));
    match &**version {
        "old" => run::<Old>(url, rounds, span).await,
        "new" => run::<New>(url, rounds, span).await,
        other => panic!("there is no version {other}"),
    }
}

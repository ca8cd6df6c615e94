//! Several processes on one Redis, some of which are killed, frozen or closed at the wrong moment.
//!
//! Each process is a `node` (`tests/node/main.rs`). A scenario may take as long as a lock lives;
//! none sleeps.

mod deploy;
mod node;

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use redcache_core::CallOptions;
use redcache_tests::{Raw, RedisServer};
use serde_json::{Value, json};

use self::node::Node;
use crate::conformance::scene;

const RUNTIMES: [&str; 4] = ["tokio", "async-std", "smol", "blocking"];

/// Define one test for each scenario and runtime.
macro_rules! on_every_runtime {
    ($($scenario:ident,)+) => {
        on_every_runtime!(@ blocking "blocking" $($scenario,)+);
        on_every_runtime!(@ tokio "tokio" $($scenario,)+);
        on_every_runtime!(@ smol "smol" $($scenario,)+);
        on_every_runtime!(@ async_std "async-std" $($scenario,)+);
    };
    (@ $module:ident $runtime:literal $($scenario:ident,)+) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    let name = concat!(module_path!(), "::", stringify!($scenario));
                    crate::conformance::scene::run(name, || super::$scenario($runtime));
                }
            )+
        }
    };
}

on_every_runtime![
    every_line_is_answered_and_the_end_of_input_is_the_end,
    the_killed_holder_of_a_lock_is_waited_for_no_longer_than_its_lock_lives,
    a_holder_that_was_frozen_beyond_its_lock_publishes_nothing_and_has_its_value,
    a_holder_that_closes_during_its_load_lets_the_others_load_at_once,
    a_cancelled_holder_lets_the_others_load_at_once,
    a_process_that_is_killed_in_a_change_leaves_no_old_value,
    a_fork_of_a_process_gets_an_error_at_once_and_the_process_goes_on,
];

#[test]
fn eight_processes_cause_one_load() {
    scene::run("eight_processes_cause_one_load", || {
        let server = RedisServer::start();
        let runtimes = RUNTIMES.iter().cycle().take(8);
        let mut nodes: Vec<_> = runtimes.map(|runtime| Node::start(runtime, &server)).collect();
        // Every node is up before the first call.
        for node in &mut nodes {
            node.call(json!({"op": "get", "key": "warm"}));
        }
        let load = json!({"value": "v", "delay_ms": 300});
        let call = json!({"op": "get_with", "key": "k", "ttl_ms": 60_000, "load": load});
        let answers = all(&mut nodes, &call);
        assert!(answers.iter().all(|answer| answer["ok"] == "v"), "{answers:?}");
        assert_eq!(loads(&answers), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| answer["source"] == "loaded").count(), 1);

        let load = json!({"values": {"a": "1", "b": "2"}, "delay_ms": 300});
        let call = json!({"op": "get_many_with", "keys": ["a", "b", "c", "k"], "load": load});
        let answers = all(&mut nodes, &call);
        let expected = json!({"a": "1", "b": "2", "c": null, "k": "v"});
        assert!(answers.iter().all(|answer| answer["ok"] == expected), "{answers:?}");
        let loaded: u64 = nodes.iter_mut().map(|node| node.stat("loads")).sum();
        assert_eq!(loaded, 4, "k, a, b and c were loaded once each: {answers:?}");
    });
}

fn a_fork_of_a_process_gets_an_error_at_once_and_the_process_goes_on(runtime: &str) {
    let server = RedisServer::start();
    let mut node = Node::start(runtime, &server);
    assert_eq!(node.call(json!({"op": "insert", "key": "k", "value": "v"}))["ok"], true);
    let forked = node.call(json!({"op": "fork", "key": "k"}));
    assert!(forked["ok"].as_str().unwrap().contains("this process was forked"), "{forked}");
    let read = node.call(json!({"op": "get", "key": "k"}));
    assert_eq!((&read["ok"], &read["source"]), (&json!("v"), &json!("redis")));
}

fn every_line_is_answered_and_the_end_of_input_is_the_end(runtime: &str) {
    let server = RedisServer::start();
    let mut node = Node::start(runtime, &server);
    assert_eq!(node.call(json!({"op": "get", "key": "k"}))["ok"], Value::Null);
    assert_eq!(node.call(json!({"op": "insert", "key": "k", "value": "v"}))["ok"], true);
    let read = node.call(json!({"op": "get", "key": "k"}));
    assert_eq!((&read["ok"], &read["source"]), (&json!("v"), &json!("redis")));
    assert!(read["ms"].as_f64().unwrap() >= 0.0);
    assert_eq!(node.call(json!({"op": "touch", "key": "k", "ttl_ms": 5_000}))["ok"], true);
    let written = node.call(json!({"op": "insert_with", "key": "k", "load": {"value": "w"}}));
    assert_eq!((&written["ok"], &written["loads"]), (&json!(true), &json!(1)));
    assert_eq!(node.call(json!({"op": "remove", "key": "k"}))["ok"], true);
    for (load, kind) in [(json!({"error": "no table"}), "Load"), (json!("panic"), "Panicked")] {
        let failed = node.call(json!({"op": "get_with", "key": "k", "load": load}));
        assert_eq!((&failed["kind"], &failed["loads"]), (&json!(kind), &json!(1)), "{failed}");
        assert!(failed["error"].is_string() && failed.get("ok").is_none(), "{failed}");
    }
    let malformed = node.call(json!({"op": "get"}));
    assert_eq!(malformed["kind"], "Malformed", "{malformed}");
    let refused = node.call(json!({"op": "insert", "key": "k", "value": "v", "ttl_ms": 0}));
    assert_eq!(refused["kind"], "InvalidInput", "{refused}");
    assert_eq!(node.stat("calls"), 0);
    // A call in flight has time to end and to publish.
    let last =
        node.ask(json!({"op": "get_with", "key": "l", "load": {"value": "v", "delay_ms": 50}}));
    let (answers, status) = node.finish();
    assert_eq!(answers.iter().find(|answer| answer["id"] == last).unwrap()["ok"], "v");
    assert!(status.success(), "{status}");
    assert!(server.connect().get("l").unwrap().ends_with(b":v"));
}

fn the_killed_holder_of_a_lock_is_waited_for_no_longer_than_its_lock_lives(runtime: &str) {
    let server = RedisServer::start();
    let mut raw = server.connect();
    let lock_ttl = Duration::from_millis(1500);
    let mut holder = Node::start_with(runtime, &server, &["--lock-ttl-ms", "1500"]);
    let mut waiters = RUNTIMES.map(|runtime| Node::start(runtime, &server));
    holder
        .ask(json!({"op": "get_with", "key": "k", "load": {"value": "lost", "delay_ms": 60_000}}));
    wait_until_locked(&mut raw, "k");
    let call = json!({"op": "get_with", "key": "k", "load": {"value": "v", "delay_ms": 20}});
    let asked: Vec<_> = waiters.iter_mut().map(|node| node.ask(call.clone())).collect();
    for node in &mut waiters {
        scene::wait_until("everybody waits", || node.stat("lock_waits") == 1);
    }
    holder.kill();
    let left = Duration::from_millis(raw.integer(&["PTTL", "k"]).try_into().unwrap());
    let killed_at = Instant::now();
    assert!(left > Duration::ZERO && left <= lock_ttl, "{left:?}");
    let answers: Vec<_> =
        waiters.iter_mut().zip(&asked).map(|(node, id)| node.answer(id)).collect();
    let took = killed_at.elapsed();
    assert!(answers.iter().all(|answer| answer["ok"] == "v"), "{answers:?}");
    assert_eq!(loads(&answers), 1, "{answers:?}");
    assert!(took < left + scene::AT_ONCE / 3, "{took:?} for a lock that had {left:?} left");
}

fn a_holder_that_was_frozen_beyond_its_lock_publishes_nothing_and_has_its_value(runtime: &str) {
    let server = RedisServer::start();
    let mut raw = server.connect();
    let mut holder = Node::start_with(runtime, &server, &["--lock-ttl-ms", "400"]);
    let mut other = Node::start("tokio", &server);
    other.call(json!({"op": "get", "key": "warm"}));
    let load = json!({"value": "old", "delay_ms": 3_000});
    let late = holder.ask(json!({"op": "get_with", "key": "k", "load": load}));
    wait_until_locked(&mut raw, "k");
    holder.pause();
    let fresh = other.call(json!({"op": "get_with", "key": "k", "load": {"value": "new"}}));
    assert_eq!((&fresh["ok"], &fresh["source"]), (&json!("new"), &json!("loaded")), "{fresh}");
    holder.resume();
    let late = holder.answer(&late);
    assert_eq!((&late["ok"], &late["loads"]), (&json!("old"), &json!(1)), "{late}");
    assert_eq!(holder.stat("locks_lost"), 1);
    assert!(raw.get("k").unwrap().ends_with(b":new"));
    assert_eq!(holder.call(json!({"op": "get", "key": "k"}))["ok"], "new");
}

fn a_holder_that_closes_during_its_load_lets_the_others_load_at_once(runtime: &str) {
    let server = RedisServer::start();
    let (mut holder, mut other) = (Node::start(runtime, &server), Node::start("tokio", &server));
    // A blocked thread cannot be stopped, so the load runs to its end.
    let delay = if runtime == "blocking" { 2_000 } else { 60_000 };
    let load = json!({"value": "lost", "delay_ms": delay});
    let closed = holder.ask(json!({"op": "get_with", "key": "k", "load": load}));
    scene::wait_until("the holder loads", || holder.stat("loads") == 1);
    let waits = other.ask(json!({"op": "get_with", "key": "k", "load": {"value": "v"}}));
    scene::wait_until("the other waits", || other.stat("lock_waits") == 1);
    let began = Instant::now();
    assert_eq!(holder.call(json!({"op": "close"}))["ok"], true);
    assert_eq!(other.answer(&waits)["source"], "loaded");
    assert!(began.elapsed() < scene::AT_ONCE / 2, "{:?}", began.elapsed());
    let closed = holder.answer(&closed);
    assert_eq!((&closed["kind"], &closed["loads"]), (&json!("Closed"), &json!(1)), "{closed}");
    assert_eq!(holder.call(json!({"op": "get", "key": "k"}))["kind"], "Closed");
    assert!(server.connect().get("k").unwrap().ends_with(b":v"));
    assert!(holder.finish().1.success());
}

fn a_cancelled_holder_lets_the_others_load_at_once(runtime: &str) {
    let server = RedisServer::start();
    let (mut holder, mut other) = (Node::start(runtime, &server), Node::start("smol", &server));
    let delay = if runtime == "blocking" { 2_000 } else { 60_000 };
    let load = json!({"value": "old", "delay_ms": delay});
    let dropped = holder.ask(json!({"op": "get_with", "key": "k", "load": load}));
    scene::wait_until("the holder loads", || holder.stat("loads") == 1);
    let waits = other.ask(json!({"op": "get_with", "key": "k", "load": {"value": "v"}}));
    scene::wait_until("the other waits", || other.stat("lock_waits") == 1);
    let began = Instant::now();
    let cancel = holder.call(json!({"op": "cancel", "target": dropped}));
    if runtime == "blocking" {
        assert_eq!(cancel["kind"], "Unable", "{cancel}");
        assert_eq!(holder.answer(&dropped)["ok"], "old");
        assert_eq!(other.answer(&waits)["source"], "redis");
        return;
    }
    assert_eq!(cancel["ok"], true, "{cancel}");
    assert_eq!(other.answer(&waits)["source"], "loaded");
    assert!(began.elapsed() < scene::AT_ONCE / 2, "{:?}", began.elapsed());
    let dropped = holder.answer(&dropped);
    assert_eq!((&dropped["kind"], &dropped["loads"]), (&json!("Cancelled"), &json!(1)));
    let again = holder.call(json!({"op": "cancel", "target": dropped["id"]}));
    assert_eq!(again["ok"], false, "{again}");
}

/// Make the same call on every node at the same time.
fn a_process_that_is_killed_in_a_change_leaves_no_old_value(runtime: &str) {
    const LOCK_TTL: u64 = 300;
    let server = RedisServer::start();
    let mut raw = server.connect();
    let file = server.directory().join("row");
    let row = || fs::read_to_string(&file).unwrap().parse::<u32>().unwrap();
    fs::write(&file, "0").unwrap();
    let reader = redcache_blocking::connect(server.url()).unwrap();
    // Near hits may be a network trip old.
    let reader = reader.with_options(CallOptions::new().skip_near());
    let read = || {
        let begun_with = row();
        let ttl = Duration::from_secs(60);
        let answer = reader.get_with("k", ttl, || Ok::<_, String>(row().to_string())).unwrap();
        let value: u32 =
            String::from_utf8(answer.value.unwrap().to_vec()).unwrap().parse().unwrap();
        assert!(value >= begun_with, "{value} was read after {begun_with} had been committed");
        value
    };
    for round in 1..=kills() {
        assert_eq!(read(), row());
        let args = ["--lock-ttl-ms", &LOCK_TTL.to_string()];
        let mut writer = Node::start_with(runtime, &server, &args);
        let id = writer.ask(json!({
            "op": "change", "keys": ["k", "other"], "file": file, "row": round.to_string(),
            "pause_ms": 20,
        }));
        match round % 4 {
            0 => {}
            // The lock may have come and gone before this thread has looked.
            1 => scene::wait_until("the key is locked or the row has changed", || {
                is_locked(&mut raw, "k") || row() == round
            }),
            2 => scene::wait_until("the row has changed", || row() == round),
            _ => assert_eq!(writer.answer(&id)["ok"], true),
        }
        writer.kill();
        let left = raw.integer(&["PTTL", "other"]);
        assert!(left != -1 && left <= LOCK_TTL as i64, "a lock lives for {left} ms more");
        // The read waits for the lock, if there is one.
        assert_eq!(read(), row());
    }
}

/// The variable with the number of processes that each adapter loses inside `change`.
const KILLS_VARIABLE: &str = "REDCACHE_KILLS";

fn kills() -> u32 {
    env::var(KILLS_VARIABLE).map_or(12, |count| count.parse().unwrap())
}

fn all(nodes: &mut [Node], call: &Value) -> Vec<Value> {
    let asked: Vec<_> = nodes.iter_mut().map(|node| node.ask(call.clone())).collect();
    nodes.iter_mut().zip(&asked).map(|(node, id)| node.answer(id)).collect()
}

fn loads(answers: &[Value]) -> u64 {
    answers.iter().map(|answer| answer["loads"].as_u64().unwrap()).sum()
}

fn wait_until_locked(raw: &mut Raw, key: &str) {
    scene::wait_until("the key is locked", || is_locked(raw, key));
}

fn is_locked(raw: &mut Raw, key: &str) -> bool {
    raw.get(key).is_some_and(|value| value.starts_with(b"__redcache:lock:"))
}

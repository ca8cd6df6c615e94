//! The TTL beside the value: when a read asks for it, and what is kept without it.

use std::time::Duration;

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::answer::{Answer, Source};
use crate::api::key::Key;
use crate::api::options::{CallOptions, LoadOptions};
use crate::event::Outcome;

const KEYS: usize = 20;

/// Read a batch of keys that Redis has. Return the commands and the answers.
fn read(world: &mut World, options: CallOptions) -> (Vec<String>, Vec<Answer>) {
    let keys = (0..KEYS).map(|number| Key::from(format!("{number}"))).collect();
    let options = LoadOptions::new(60 * SECOND, options);
    world.take_sent();
    let op = world.call(|engine, now| engine.get_many_with(now, keys, options));
    let sent = world.take_sent();
    let asked = sent.iter().filter(|command| command.starts_with("PTTL")).count();
    // The first batch of a process also tries for the locks.
    let replies = sent.iter().map(|command| match command.split(' ').next() {
        Some("MGET") => format!("*{KEYS}\r\n{}", "$1\r\nv\r\n".repeat(KEYS)),
        Some("PTTL") => ":5000\r\n".to_owned(),
        Some("SET") => "_\r\n".to_owned(),
        other => panic!("{other:?} is no part of a read"),
    });
    world.hear(&replies.collect::<String>());
    let Some(Outcome::Answers(answers)) = world.outcome(op) else { panic!("the call waits") };
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let known = answers.iter().filter(|answer| answer.ttl.is_some()).count();
    assert!(answers.iter().all(|it| it.source == Source::Redis && it.value.is_some()));
    assert_eq!(known, asked);
    (sent, answers)
}

fn entries(world: &World) -> usize {
    let keys = (0..KEYS).map(|number| number.to_string());
    keys.filter(|key| world.engine.near().get(key.as_bytes(), || world.now).is_some()).count()
}

fn asked(sent: &[String]) -> usize {
    sent.iter().filter(|command| command.starts_with("PTTL")).count()
}

#[test]
fn a_batch_asks_for_a_ttl_when_it_reads_the_key_again() {
    let mut world = World::new();
    let (sent, _) = read(&mut world, CallOptions::new());
    // The last keys find little traffic ahead and behind.
    assert_eq!((asked(&sent), entries(&world)), (0, 0));
    let (sent, _) = read(&mut world, CallOptions::new());
    assert_eq!((asked(&sent), entries(&world)), (KEYS, KEYS));
}

#[test]
fn an_option_asks_for_every_ttl() {
    for options in [CallOptions::new().ask_ttl(), CallOptions::new().skip_near()] {
        let mut world = World::new();
        let (sent, answers) = read(&mut world, options);
        assert_eq!((asked(&sent), entries(&world)), (KEYS, KEYS));
        assert!(answers.iter().all(|answer| answer.ttl == Some(5 * SECOND)));
    }
}

#[test]
fn a_cache_with_stale_answers_asks_for_every_ttl() {
    let mut world = World::with(|builder| builder.stale_if_error(600 * SECOND));
    let (sent, _) = read(&mut world, CallOptions::new());
    assert_eq!((asked(&sent), entries(&world)), (KEYS, KEYS));
}

#[test]
fn a_publication_that_is_repeated_after_its_ttl_stores_nothing_and_answers_its_callers() {
    let mut world = World::new();
    let mut load = |waits: Duration, replies: &[&str]| {
        let op = world.call(|engine, now| engine.get_with(now, Key::from("k"), SECOND));
        world.hear(MISSING_LOCKED);
        let load = world.take_load().unwrap();
        world.loaded(load, "v");
        world.take_sent();
        world.pass(waits);
        let mut sent = Vec::new();
        for reply in replies {
            world.hear(reply);
            sent = [sent, world.take_sent()].concat();
        }
        let answer = world.answer(op).unwrap().unwrap();
        let is_kept = world.engine.near().get(b"k", || world.now).is_some();
        world.hear(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(answer.source, Source::Loaded);
        (sent, answer.ttl.unwrap(), is_kept)
    };
    // The first use of a script carries its source.
    load(Duration::ZERO, &[":1\r\n"]);
    let unknown = "-NOSCRIPT No matching script.\r\n";
    let (sent, ttl, is_kept) = load(2 * SECOND / 5, &[unknown, ":1\r\n"]);
    assert_eq!((sent, ttl, is_kept), (vec!["Publish k".to_owned()], 3 * SECOND / 5, true));
    let (sent, ttl, is_kept) = load(SECOND, &[unknown, ":1\r\n"]);
    assert_eq!((sent, ttl, is_kept), (vec!["Release k".to_owned()], Duration::ZERO, false));
}

#[test]
fn a_read_without_the_ttl_leaves_the_entry_of_its_key() {
    let mut world = World::with(|builder| builder.near_ttl_max(10 * SECOND));
    let key = || Key::from("k");
    world.fetch();
    world.hear("$1\r\nv\r\n:60000\r\n_\r\n");
    assert!(world.engine.near().get(b"k", || world.now).is_some());
    let command = crate::protocol::command::Command::Read { key: key(), asks_ttl: false };
    let cx = crate::engine::env::Cx::at(world.now);
    world.engine.env.send(cx, crate::engine::sender::Sender::Nobody, command);
    world.hear("$1\r\nv\r\n");
    assert!(world.engine.near().get(b"k", || world.now).is_some());
}

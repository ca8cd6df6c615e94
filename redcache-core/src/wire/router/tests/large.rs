//! The large link of a standalone server.

use bytes::Bytes;

use super::*;

const LARGE: usize = 16;

fn read_of(key: &str) -> Command {
    Command::Read { key: Key::from(key), asks_ttl: false }
}

fn insert(key: &str, len: usize) -> Command {
    let payload = Bytes::from(vec![b'v'; len]);
    let (stamp, ttl) = (Duration::ZERO, Duration::from_secs(9));
    Command::Insert { key: Key::from(key), payload, stamp, ttl }
}

/// Return a reply with a value of this length.
fn value(len: usize) -> String {
    format!("${len}\r\n{}\r\n", "v".repeat(len))
}

impl World {
    /// Return a router whose only server has sent a large value of the key `a` and none of others.
    fn with_large_link() -> (Self, ConnId, ConnId) {
        let config = Config::builder().server("h", 1).large_value_bytes(LARGE);
        let mut world = Self::with(config.build().unwrap());
        world.settle(&[]);
        let ordinary = world.open[0].0;
        world.send(read_of("a"));
        assert_eq!(world.sent_on(ordinary), ["GET a"]);
        world.hear_on(ordinary, value(LARGE).as_bytes());
        world.settle(&[]);
        let large = world.open[1].0;
        world.events.clear();
        (world, ordinary, large)
    }

    fn sent_on(&mut self, conn: ConnId) -> Vec<String> {
        let mut sent = Vec::new();
        self.router.take_transmit(conn, &mut sent);
        names(&sent)
    }

    fn lose_conn(&mut self, conn: ConnId) {
        self.open.retain(|(open, _)| *open != conn);
        self.step(|router, ctx| router.handle_disconnected(ctx, conn, "gone"));
    }
}

#[test]
fn the_commands_of_a_key_with_large_values_go_to_the_large_link_and_others_do_not() {
    let (mut world, ordinary, large) = World::with_large_link();
    world.send(read_of("a"));
    world.send(read_of("b"));
    world.send(insert("c", LARGE));
    world.send(insert("d", LARGE - 1));
    assert_eq!(world.sent_on(large), ["GET a", "SET c"]);
    assert_eq!(world.sent_on(ordinary), ["GET b", "SET d"]);
    world.hear_on(large, value(LARGE).as_bytes());
    assert_eq!(world.take_events(), ["untracked 1", "untracked 1", "tracked 2"]);
}

#[test]
fn a_key_changes_its_link_once_its_commands_are_answered() {
    let (mut world, ordinary, large) = World::with_large_link();
    world.send(read_of("b"));
    world.send(insert("b", LARGE));
    world.send(read_of("b"));
    // No later command overtakes the waiting ones.
    world.send(read_of("a"));
    assert_eq!(world.sent_on(ordinary), ["GET b"]);
    assert_eq!(world.sent_on(large), [""; 0]);
    world.hear_on(ordinary, value(1).as_bytes());
    assert_eq!(world.sent_on(large), ["SET b", "GET b", "GET a"]);
    // The value is small again, but a command is unanswered.
    world.hear_on(large, b"+OK\r\n");
    world.send(insert("b", 1));
    assert_eq!(world.sent_on(large), ["SET b"]);
    world.hear_on(large, (value(1) + &value(LARGE) + "+OK\r\n").as_bytes());
    world.send(read_of("b"));
    world.send(read_of("a"));
    assert_eq!(
        (world.sent_on(ordinary), world.sent_on(large)),
        (vec!["GET b".into()], vec!["GET a".into()])
    );
}

#[test]
fn a_reply_on_the_ordinary_link_is_untracked_once_its_key_is_on_the_large_one() {
    let (mut world, ordinary, _) = World::with_large_link();
    world.send(read_of("b"));
    world.send(insert("b", LARGE));
    world.sent_on(ordinary);
    world.events.clear();
    world.hear_on(ordinary, value(1).as_bytes());
    assert_eq!(world.take_events(), ["untracked 2"]);
}

#[test]
fn the_release_of_a_lock_follows_the_commands_of_its_key() {
    let (mut world, ordinary, large) = World::with_large_link();
    let lock = world.lock;
    let release = |key: &str| Command::Release { key: Key::from(key), lock };
    world.send(Command::Lock { key: Key::from("b"), lock });
    world.send(insert("b", LARGE));
    world.send(release("b"));
    world.send(release("a"));
    let sent = world.sent_on(ordinary);
    assert!(sent[0] == "SET b" && sent[1].starts_with("EVAL") && sent.len() == 2, "{sent:?}");
    let sent = world.sent_on(large);
    assert!(sent[0].starts_with("EVAL") && sent.len() == 1, "{sent:?}");
}

#[test]
fn a_release_that_waits_for_room_follows_its_key_to_the_large_link() {
    let (mut world, ordinary, large) = World::with_large_link();
    let (key, lock) = (Key::from("b"), world.lock);
    world.send(Command::Lock { key: key.clone(), lock });
    world.send(insert("b", LARGE));
    world.router.limit_unanswered(1);
    world.send(Command::Release { key, lock });
    assert_eq!(world.sent_on(ordinary), ["SET b"]);
    world.hear_on(ordinary, b"+OK\r\n");
    assert_eq!(world.sent_on(ordinary), [""; 0]);
    let sent = world.sent_on(large);
    assert!(sent[0].starts_with("EVAL") && sent.len() == 1, "{sent:?}");
    world.hear_on(large, b":1\r\n");
    assert_eq!(world.sent_on(large), ["SET b"]);
}

#[test]
fn the_loss_of_the_large_link_costs_no_read_and_ends_the_entries_of_its_keys() {
    let (mut world, ordinary, large) = World::with_large_link();
    world.send(read_of("a"));
    world.sent_on(large);
    world.events.clear();
    world.lose_conn(large);
    assert_eq!(world.take_events(), ["untracked 1"]);
    assert!(world.router.is_ready() && world.router.is_whole());
    assert_eq!(world.sent_on(ordinary), ["GET a"]);
    world.hear_on(ordinary, value(LARGE).as_bytes());
    assert_eq!(world.take_events(), ["tracked 2"]);
    // It is dialed again.
    world.pass(Duration::from_secs(3));
    world.settle(&[]);
    let large = world.open[1].0;
    world.send(read_of("a"));
    assert_eq!(world.sent_on(large), ["GET a"]);
}

#[test]
fn while_the_large_link_cannot_be_dialed_its_commands_go_to_the_ordinary_one() {
    let (mut world, ordinary, large) = World::with_large_link();
    world.lose_conn(large);
    for _ in 0..5 {
        world.pass(Duration::from_secs(3));
        world.settle(&[1]);
        world.events.clear();
        world.send(read_of("a"));
        assert_eq!(world.sent_on(ordinary), ["GET a"]);
        world.hear_on(ordinary, value(LARGE).as_bytes());
        let events = world.take_events();
        assert!(matches!(&events[..], [it] if it.starts_with("tracked")), "{events:?}");
    }
}

#[test]
fn a_pong_on_the_ordinary_link_closes_the_breaker_that_a_dead_large_link_opened() {
    let (mut world, ordinary, large) = World::with_large_link();
    for _ in 0..world.config.breaker_failures {
        world.send(read_of("a"));
        world.pass(Duration::from_millis(1));
    }
    world.sent_on(large);
    world.pass(world.config.command_timeout);
    world.step(|router, ctx| router.handle_timeout(ctx));
    assert!(world.router.is_resting());
    world.pass(world.config.heartbeat_interval);
    world.step(|router, ctx| router.handle_timeout(ctx));
    world.hear_on(ordinary, b"+PONG\r\n");
    assert!(!world.router.is_resting() && world.router.is_ready());
    world.events.clear();
    world.send(read_of("b"));
    assert_eq!(world.sent_on(ordinary), ["GET b"]);
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn the_large_link_ends_with_the_ordinary_one() {
    let (mut world, ordinary, large) = World::with_large_link();
    world.send(read_of("a"));
    world.sent_on(large);
    world.events.clear();
    world.lose_conn(ordinary);
    assert_eq!(world.take_events(), ["down 16384"]);
    world.settle(&[1]);
    assert!(world.open.is_empty(), "it hangs up");
    world.reconnect();
    assert_eq!(world.open.len(), 2);
    world.events.clear();
    // The command was sent while the large link was not ready.
    world.hear_on(world.open[0].0, value(LARGE).as_bytes());
    assert_eq!(world.take_events(), ["tracked 2"]);
}

#[test]
fn an_idle_large_link_is_closed_unless_entries_of_it_are_hits() {
    let (mut world, ordinary, large) = World::with_large_link();
    world.send(read_of("a"));
    world.hear_on(large, value(LARGE).as_bytes());
    world.events.clear();
    let pass = |world: &mut World, is_hit: bool| {
        for _ in 0..10 {
            world.pass(world.config.heartbeat_interval);
            world.settle(&[]);
            for (conn, _) in world.open.clone() {
                let mut sent = Vec::new();
                world.router.take_transmit(conn, &mut sent);
                if !sent.is_empty() {
                    world.hear_on(conn, b"+PONG\r\n");
                }
            }
            world.step(|router, ctx| router.close_idle(ctx, |_| is_hit));
        }
        world.settle(&[]);
    };
    pass(&mut world, true);
    assert_eq!(world.open.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [ordinary, large]);
    pass(&mut world, false);
    assert_eq!(world.open.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [ordinary]);
    assert_eq!(world.take_events(), ["untracked 1"]);
}

#[test]
fn without_the_setting_every_command_uses_one_connection() {
    let config = Config::builder().server("h", 1).large_value_bytes(0).build().unwrap();
    let mut world = World::with(config);
    world.settle(&[]);
    world.send(insert("a", 1 << 20));
    world.send(read_of("a"));
    let ordinary = world.open[0].0;
    world.sent_on(ordinary);
    world.hear_on(ordinary, ("+OK\r\n".to_owned() + &value(1 << 17)).as_bytes());
    world.settle(&[]);
    assert_eq!(world.open.len(), 1);
}

//! A standalone server: known outages, and refusals that end the connection.

use super::*;

impl World {
    /// Return a router that is connected to its only server, at port 1.
    pub(super) fn standalone() -> Self {
        let mut world = Self::with(Config::builder().server("h", 1).build().unwrap());
        world.settle(&[]);
        assert!(world.router.is_ready());
        world.events.clear();
        world
    }

    /// Let the router redial until it is connected. Return the time that this took.
    pub(super) fn reconnect(&mut self) -> Duration {
        let start = self.now;
        while !self.router.is_ready() {
            self.pass(Duration::from_millis(5));
            self.settle(&[]);
        }
        self.now - start
    }
}

/// Return a reply to `HELLO` with this mode and role, and the rest of a handshake.
fn handshake(mode: &str, role: &str) -> Vec<u8> {
    let hello = format!(
        "%3\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n${}\r\n{mode}\r\n$4\r\nrole\r\n${}\r\n{role}\r\n",
        mode.len(),
        role.len()
    );
    let rest = &HANDSHAKE[b"%1\r\n$5\r\nproto\r\n:3\r\n".len()..];
    [hello.as_bytes(), rest].concat()
}

#[test]
fn while_a_server_is_known_to_be_down_commands_fail_at_once_with_the_reason() {
    let mut world = World::standalone();
    world.lose(1);
    assert_eq!(world.take_events(), ["down 16384"]);
    // The loss does not show whether the next connection succeeds, so the command waits for it.
    world.send(read());
    assert_eq!(world.take_events(), [""; 0]);
    world.pass(Duration::from_millis(20));
    world.settle(&[1]);
    let events = world.take_events();
    assert!(events[0].contains("not up") && events[1].contains("refused"), "{events:?}");
    for _ in 0..100 {
        world.send(read());
        let events = world.take_events();
        assert!(events[0].starts_with("failed") && events[0].contains("refused"), "{events:?}");
        world.pass(Duration::from_millis(1));
    }
    assert!(!world.router.is_ready());
    world.reconnect();
    world.take_events();
    assert!(world.router.is_ready());
    world.send(read());
    assert_eq!(world.take_sent(1).last().unwrap(), "PTTL bar");
}

#[test]
fn the_release_of_a_lock_waits_for_a_server_that_is_down() {
    let mut world = World::standalone();
    world.lose(1);
    world.pass(Duration::from_millis(20));
    world.settle(&[1]);
    world.take_events();
    let lock = world.lock;
    world.send(Command::Release { key: key_of_first(), lock });
    assert_eq!(world.take_events(), [""; 0]);
    world.reconnect();
    assert!(world.take_sent(1).iter().any(|command| command.starts_with("EVAL")));
}

#[test]
fn a_cluster_keeps_its_commands_for_the_command_timeout_while_a_node_is_down() {
    let mut world = World::of_two();
    world.lose(1);
    for _ in 0..3 {
        world.pass(Duration::from_millis(100));
        world.settle(&[1]);
    }
    world.take_events();
    world.send(read());
    assert_eq!(world.take_events(), [""; 0], "another node may take over");
    world.pass(world.config.command_timeout);
    world.settle(&[1]);
    world.take_events();
    world.send(read());
    assert!(world.take_events()[0].starts_with("failed"));
}

#[test]
fn a_demoted_primary_is_left_and_the_refused_write_goes_to_its_successor() {
    let mut world = World::standalone();
    world.send(remove());
    world.send(read());
    world.take_sent(1);
    let before = world.conn(1);
    world.hear(1, b"-READONLY You can't write against a read only replica.\r\n$1\r\nv\r\n:9\r\n");
    // The read in flight is answered.
    assert_eq!(world.take_events(), ["tracked 2", "down 16384"]);
    assert!(world.reconnect() < Duration::from_millis(100));
    assert_ne!(world.conn(1), before);
    assert_eq!(world.take_sent(1), ["DEL bar"]);
    world.hear(1, b":1\r\n");
    assert_eq!(world.take_events(), ["up", "tracked 1"]);
}

#[test]
fn a_demoted_primary_that_refuses_only_the_lock_of_a_read_is_left_and_the_read_is_sent_again() {
    let mut world = World::standalone();
    let (before, lock) = (world.conn(1), world.lock);
    world.send(Command::ReadOrLock { key: key_of_first(), lock, asks_ttl: true });
    world.take_sent(1);
    world.hear(1, b"_\r\n:-2\r\n-READONLY You can't write against a read only replica.\r\n");
    assert_eq!(world.take_events(), ["down 16384"]);
    world.reconnect();
    assert_ne!(world.conn(1), before);
    assert_eq!(world.take_sent(1).len(), 3);
    world.hear(1, b"_\r\n:-2\r\n+OK\r\n");
    assert_eq!(world.take_events(), ["up", "tracked 1"]);
}

#[test]
fn a_server_that_stays_a_replica_is_dialed_with_growing_pauses_and_calls_fail_at_once() {
    let mut world = World::standalone();
    world.handshake = handshake("standalone", "replica");
    world.send(remove());
    world.take_sent(1);
    world.hear(1, b"-READONLY You can't write against a read only replica.\r\n");
    let mut attempts = 0;
    for _ in 0..1_000 {
        world.pass(Duration::from_millis(10));
        world.settle(&[]);
        attempts += world.take_events().iter().filter(|event| *event == "not up").count();
    }
    // Ten seconds, and 2 s are the longest pause.
    assert!((5..30).contains(&attempts), "{attempts}");
    world.send(remove());
    let events = world.take_events();
    assert!(events[0].contains("replica"), "{events:?}");
    world.handshake = handshake("standalone", "master");
    world.pass(Duration::from_secs(2));
    world.settle(&[]);
    assert!(world.router.is_ready());
}

#[test]
fn a_server_that_loads_its_data_is_left_and_tried_again() {
    let refusals = ["LOADING Redis is loading", "MASTERDOWN Link with MASTER", "MOVED 1 h:1"];
    for refusal in refusals.into_iter().chain(["NOAUTH Authentication required."]) {
        let mut world = World::standalone();
        world.send(read());
        world.send(remove());
        world.take_sent(1);
        world.hear(1, format!("-{refusal}\r\n").repeat(3).as_bytes());
        assert_eq!(world.take_events(), ["down 16384"], "{refusal}");
        world.reconnect();
        assert_eq!(world.take_sent(1), ["GET bar", "PTTL bar", "DEL bar"], "{refusal}");
        assert_eq!(world.take_events(), ["up"], "{refusal}");
    }
}

#[test]
fn a_lock_is_released_on_a_connection_that_is_about_to_be_left_unless_that_is_refused() {
    let mut world = World::standalone();
    let (before, lock) = (world.conn(1), world.lock);
    world.send(remove());
    world.send(Command::Lock { key: key_of_first(), lock });
    world.send(read());
    world.take_sent(1);
    world.hear(1, b"-LOADING not now\r\n+OK\r\n");
    world.send(Command::Release { key: key_of_first(), lock });
    let sent = world.take_sent(1);
    assert!(matches!(&sent[..], [release] if release.starts_with("EVAL")), "{sent:?}");
    world.hear(1, b"$1\r\nv\r\n:9\r\n-LOADING not now\r\n");
    world.reconnect();
    assert_ne!(world.conn(1), before);
    assert!(world.take_sent(1).iter().any(|command| command.starts_with("EVAL")));
}

#[test]
fn while_a_server_loads_its_data_commands_fail_at_once_with_its_words() {
    let mut world = World::standalone();
    world.handshake = b"%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n-LOADING Redis is loading\r\n".to_vec();
    world.lose(1);
    world.pass(Duration::from_millis(20));
    world.settle(&[]);
    world.take_events();
    world.send(read());
    let events = world.take_events();
    assert!(events[0].contains("LOADING"), "{events:?}");
}

/// Wait for the next dial, connect, and return the connection and the bytes of the router.
fn accept(world: &mut World) -> (ConnId, String) {
    world.pass(Duration::from_millis(500));
    world.step(|router, ctx| router.handle_timeout(ctx));
    let Some(Action::Dial { conn, .. }) = world.router.poll_action() else { panic!() };
    world.step(|router, ctx| router.handle_connected(ctx, conn));
    let mut sent = Vec::new();
    world.router.take_transmit(conn, &mut sent);
    (conn, String::from_utf8(sent).unwrap())
}

#[test]
fn after_two_hang_ups_at_hello_one_attempt_does_without() {
    let mut world = World::with(Config::builder().server("h", 1).build().unwrap());
    let mut greetings = Vec::new();
    for _ in 0..6 {
        let (conn, sent) = accept(&mut world);
        world.step(|router, ctx| router.handle_disconnected(ctx, conn, "hung up"));
        greetings.push((sent.contains("HELLO"), world.take_events().len()));
    }
    // Only the attempt without `HELLO` shows that the server is down.
    assert_eq!(greetings, [(true, 0), (true, 0), (false, 1)].repeat(2));
    world.send(read());
    assert!(world.take_events()[0].contains("hung up; if it speaks TLS"));
}

#[test]
fn a_server_that_answers_hello_and_hangs_up_at_client_is_used_without_both() {
    let mut world = World::with(Config::builder().server("h", 1).build().unwrap());
    for _ in 0..2 {
        let (conn, sent) = accept(&mut world);
        assert!(sent.contains("HELLO"), "{sent}");
        world.open = vec![(conn, 1)];
        world.hear(1, b"%1\r\n$5\r\nproto\r\n:3\r\n");
        world.step(|router, ctx| router.handle_disconnected(ctx, conn, "hung up"));
    }
    assert_eq!(world.take_events(), [""; 0]);
    let (conn, sent) = accept(&mut world);
    assert_eq!(sent, "*1\r\n$4\r\nPING\r\n");
    world.open = vec![(conn, 1)];
    world.hear(1, b"+PONG\r\n");
    assert_eq!(world.take_events(), ["up"]);
    assert!(!world.router.is_tracked());
}

#[test]
fn while_a_server_may_lack_hello_commands_wait() {
    let mut world = World::with(Config::builder().server("h", 1).build().unwrap());
    for _ in 0..2 {
        let (conn, _) = accept(&mut world);
        world.step(|router, ctx| router.handle_disconnected(ctx, conn, "hung up"));
    }
    world.send(read());
    assert_eq!(world.take_events(), [""; 0]);
    let (conn, sent) = accept(&mut world);
    assert_eq!(sent, "*1\r\n$4\r\nPING\r\n");
    world.open.push((conn, 1));
    world.hear(1, b"+PONG\r\n");
    // Only the command follows: the server may hang up at `CLIENT` too.
    assert_eq!(world.take_sent(1), ["GET bar", "PTTL bar"]);
}

#[test]
fn a_server_without_hello_is_verified_without_a_failed_command() {
    let mut world = World::with(Config::builder().server("h", 1).build().unwrap());
    let hang_up_at_hello = |world: &mut World| {
        let (conn, sent) = accept(world);
        assert!(sent.contains("HELLO"), "{sent}");
        world.step(|router, ctx| router.handle_disconnected(ctx, conn, "hung up"));
    };
    let connect_without = |world: &mut World| {
        let (conn, sent) = accept(world);
        assert!(!sent.contains("HELLO"), "{sent}");
        world.open = vec![(conn, 1)];
        world.hear(1, b"+PONG\r\n");
    };
    hang_up_at_hello(&mut world);
    hang_up_at_hello(&mut world);
    connect_without(&mut world);
    world.pass(Duration::from_secs(2));
    world.step(|router, ctx| router.handle_timeout(ctx));
    assert!(matches!(world.router.poll_action(), Some(Action::HangUp { .. })));
    world.send(read());
    hang_up_at_hello(&mut world);
    connect_without(&mut world);
    assert_eq!(world.take_sent(1), ["GET bar", "PTTL bar"]);
    assert_eq!(world.take_events(), ["up", "down 16384", "up"]);
    world.hear(1, b"$1\r\nv\r\n:9\r\n");
    world.pass(Duration::from_secs(3));
    world.step(|router, ctx| router.handle_timeout(ctx));
    assert!(world.router.is_ready() && world.router.poll_action().is_none());
}

#[test]
fn a_busy_server_is_asked_again_after_growing_pauses_and_has_the_last_word() {
    let mut world = World::standalone();
    world.send(remove());
    let mut asked = 0;
    for _ in 0..200 {
        for command in world.take_sent(1) {
            asked += u32::from(command == "DEL bar");
            world.hear(1, b"-BUSY Redis is busy running a script\r\n");
        }
        world.pass(Duration::from_millis(10));
        world.step(|router, ctx| router.handle_timeout(ctx));
    }
    assert!((5..16).contains(&asked), "{asked} times in two seconds");
    assert_eq!(world.take_events(), ["tracked refusal 1"]);
}

#[test]
fn a_paused_command_is_sent_as_soon_as_there_is_a_new_connection() {
    let mut world = World::standalone();
    world.send(remove());
    for _ in 0..4 {
        world.take_sent(1);
        world.hear(1, b"-BUSY Redis is busy running a script\r\n");
        world.pass(Duration::from_millis(200));
        world.step(|router, ctx| router.handle_timeout(ctx));
    }
    world.take_sent(1);
    world.hear(1, b"-BUSY Redis is busy running a script\r\n");
    world.lose(1);
    world.reconnect();
    assert_eq!(world.take_sent(1), ["DEL bar"]);
}

#[test]
fn a_command_that_is_overdue_after_a_refusal_reports_the_refusal() {
    let mut world = World::standalone();
    world.send(remove());
    world.take_sent(1);
    world.hear(1, b"-BUSY Redis is busy running a script\r\n");
    world.pass(Duration::from_millis(50));
    world.step(|router, ctx| router.handle_timeout(ctx));
    assert_eq!(world.take_sent(1), ["DEL bar"]);
    world.pass(world.config.command_timeout);
    world.step(|router, ctx| router.handle_timeout(ctx));
    let [RouterEvent::Overdue { last_refusal: Some(refusal), .. }] = &world.events[..] else {
        panic!("{:?}", world.events)
    };
    assert!(refusal.0.starts_with("BUSY"));
}

#[test]
fn a_large_batch_on_a_busy_server_opens_no_breaker() {
    let mut world = World::standalone();
    let timeout = world.config.command_timeout;
    let overdue = |world: &mut World| {
        world.pass(timeout / 2);
        world.step(|router, ctx| router.handle_timeout(ctx));
        let is_overdue = |event: &RouterEvent| matches!(event, RouterEvent::Overdue { .. });
        std::mem::take(&mut world.events).iter().filter(|event| is_overdue(event)).count()
    };
    (0..100).for_each(|_| _ = world.send(remove()));
    world.pass(timeout / 2);
    assert_eq!(overdue(&mut world), 100);
    assert!(!world.router.is_resting(), "the commands are one batch");
    world.hear(1, b":1\r\n".repeat(40).as_slice());
    // The server answers slowly, and each command is issued at an instant of its own.
    for _ in 0..100 {
        world.send(remove());
        world.pass(Duration::from_millis(1));
    }
    world.hear(1, b":1\r\n");
    world.pass(timeout / 2);
    assert_eq!(overdue(&mut world), 100);
    assert!(!world.router.is_resting(), "the server has answered in the meantime");
    // The same commands open the breaker of a server that answers nothing.
    for _ in 0..100 {
        world.send(remove());
        world.pass(Duration::from_millis(1));
    }
    world.pass(timeout / 2);
    assert_eq!(overdue(&mut world), 100);
    assert!(world.router.is_resting());
}

#[test]
fn bytes_to_write_are_reported_with_the_size_of_what_the_server_may_not_have_read() {
    let mut world = World::standalone();
    let unanswered = |world: &World| {
        let transmit = world.router.transmits().next().unwrap();
        (transmit.bytes, transmit.unanswered - transmit.bytes)
    };
    world.send(read());
    let (first, before) = unanswered(&world);
    assert_eq!(before, 0);
    world.transmit(1);
    assert_eq!(world.router.transmits().next(), None);
    world.send(read());
    assert_eq!(unanswered(&world).1, first);
    world.hear(1, b"$-1\r\n:-2\r\n");
    world.hear(1, b"$-1\r\n:-2\r\n");
    world.send(read());
    assert_eq!(unanswered(&world).1, 0);
}

#[test]
fn after_half_a_minute_without_a_primary_the_replica_is_read() {
    const READONLY: &[u8] = b"-READONLY You can't write against a read only replica.\r\n";
    let mut world = World::standalone();
    world.handshake = handshake("standalone", "slave");
    world.send(remove());
    world.hear(1, READONLY);
    for _ in 0..29 {
        world.pass(Duration::from_secs(1));
        world.settle(&[]);
        assert!(!world.router.is_ready());
    }
    assert!(world.reconnect() < Duration::from_secs(4));
    world.take_events();
    world.take_sent(1);
    let lock = world.lock;
    world.send(Command::ReadOrLock { key: key_of_first(), lock, asks_ttl: true });
    world.take_sent(1);
    world.hear(1, &[b"$1\r\nv\r\n:9\r\n", READONLY].concat());
    assert_eq!(world.take_sent(1), ["GET bar", "PTTL bar"], "it is sent again without the lock");
    world.hear(1, b"$1\r\nv\r\n:9\r\n");
    world.send(remove());
    world.take_sent(1);
    world.hear(1, READONLY);
    assert_eq!(world.take_events(), ["tracked 2", "tracked refusal 3"]);
    world.pass(Duration::from_secs(31));
    world.send(remove());
    world.take_sent(1);
    world.hear(1, READONLY);
    assert!(!world.router.is_ready(), "the address may lead to a primary by now");
    world.reconnect();
}

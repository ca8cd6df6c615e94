//! Commands on which the server hangs up.

use super::*;

fn read_of(key: &str) -> Command {
    Command::ReadRaw { key: Key::from(key) }
}

impl World {
    /// Serve the only server's commands until none is left. It hangs up, without an answer, when it
    /// is sent a command on the key `big`. Return the number of times that it has hung up.
    fn serve(&mut self) -> usize {
        self.serve_except(|command| command.ends_with(" big"))
    }

    /// Serve like [`serve`](Self::serve), and hang up at each script.
    fn serve_without_scripts(&mut self) -> usize {
        self.serve_except(|command| command.starts_with("EVAL"))
    }

    fn serve_except(&mut self, is_fatal: impl Fn(&str) -> bool) -> usize {
        let mut hang_ups = 0;
        while self.router.in_flight() > 0 {
            self.reconnect();
            let sent = self.take_sent(1);
            if sent.iter().any(|command| is_fatal(command)) {
                self.lose(1);
                hang_ups += 1;
            } else {
                let reply = |command: &String| match command.split(' ').next() {
                    Some("GET") => "$1\r\nv\r\n",
                    Some("PTTL") => ":9\r\n",
                    _ => "+OK\r\n",
                };
                let replies: String = sent.iter().map(reply).collect();
                self.hear(1, replies.as_bytes());
            }
        }
        hang_ups
    }

    /// Take the events with the outcomes of commands.
    fn take_results(&mut self) -> Vec<String> {
        let mut events = self.take_events();
        events.retain(|event| event.starts_with("tracked") || event.starts_with("failed"));
        events
    }
}

#[test]
fn a_command_on_which_the_server_hangs_up_fails_alone() {
    for count in [0, 20, 100] {
        let mut world = World::standalone();
        world.send(read_of("big"));
        for _ in 0..count {
            world.send(read_of("bar"));
        }
        assert_eq!(world.serve(), 5, "{count}");
        let results = world.take_results();
        assert_eq!(results.len(), count + 1);
        let failed: Vec<_> = results.iter().filter(|it| it.starts_with("failed")).collect();
        assert!(matches!(failed[..], [it] if it.contains("failed 1: ")), "{failed:?}");
        assert!(failed[0].contains("hung up"), "{failed:?}");
    }
}

#[test]
fn a_command_on_which_the_server_has_hung_up_is_tried_alone_and_after_a_pause() {
    let mut world = World::standalone();
    world.send(read_of("big"));
    world.serve();
    world.take_results();
    let mut hang_ups = 0;
    for _ in 0..1_000 {
        world.send(read_of("big"));
        (0..3).for_each(|_| _ = world.send(read_of("bar")));
        hang_ups += world.serve();
        let results = world.take_results();
        let answered = results.iter().filter(|it| it.starts_with("tracked")).count();
        assert_eq!((results.len(), answered), (4, 3), "{results:?}");
        world.pass(Duration::from_millis(10));
    }
    assert!((4..12).contains(&hang_ups), "{hang_ups} hang-ups in ten seconds");
}

#[test]
fn a_further_command_on_the_key_of_a_known_one_is_tried_alone_at_once() {
    let mut world = World::standalone();
    world.send(read_of("big"));
    world.serve();
    world.take_results();
    for count in [0, 20] {
        // The server hangs up on each command of the key.
        world.send(Command::Remove { key: Key::from("big") });
        world.send(Command::Insert {
            key: Key::from("big"),
            payload: "v".into(),
            stamp: Duration::ZERO,
            ttl: Duration::from_secs(9),
        });
        for _ in 0..count {
            world.send(read_of("bar"));
        }
        let hang_ups = world.serve();
        assert!(hang_ups <= 3, "{hang_ups}");
        let results = world.take_results();
        let answered = results.iter().filter(|it| it.starts_with("tracked")).count();
        assert_eq!((results.len(), answered), (count + 2, count), "{results:?}");
        world.pass(Duration::from_secs(1));
    }
}

#[test]
fn a_server_that_hangs_up_at_each_script_is_sent_none_for_a_pause() {
    let mut world = World::standalone();
    let lock = world.lock;
    let renew = |key: usize| Command::Renew { key: Key::from(key.to_string()), lock };
    let mut hang_ups = 0;
    for key in 0..100 {
        world.send(renew(key));
        world.send(read_of("bar"));
        hang_ups += world.serve_without_scripts();
        let results = world.take_results();
        assert!(results.iter().any(|it| it.starts_with("tracked")), "{results:?}");
        let failed = results.iter().find(|it| it.starts_with("failed")).unwrap();
        assert!(failed.contains("hung up") || failed.contains("`EVAL`"), "{failed}");
    }
    assert!(hang_ups <= 6, "{hang_ups}");
    world.pass(Duration::from_secs(60));
    world.send(renew(200));
    assert_eq!(world.serve_without_scripts(), 1, "one script shows whether they are allowed again");
}

#[test]
fn a_server_that_has_answered_a_script_is_sent_more_after_hang_ups_at_two_keys() {
    let mut world = World::standalone();
    let lock = world.lock;
    let renew = |key: &str| Command::Renew { key: Key::from(key), lock };
    world.send(renew("good"));
    world.serve_except(|_| false);
    world.take_results();
    for _ in 0..10 {
        for key in ["bad", "worse"] {
            world.send(renew(key));
            world.serve_without_scripts();
            let results = world.take_results();
            assert!(matches!(&results[..], [it] if it.contains("hung up")), "{results:?}");
            world.pass(Duration::from_secs(10));
        }
    }
    world.send(renew("good"));
    world.serve_except(|_| false);
    let results = world.take_results();
    assert!(matches!(&results[..], [it] if it.starts_with("tracked")), "{results:?}");
}

#[test]
fn after_lost_connections_commands_that_the_server_answers_are_all_answered() {
    let mut world = World::standalone();
    for _ in 0..100 {
        world.send(read_of("bar"));
    }
    for _ in 0..4 {
        world.reconnect();
        world.take_sent(1);
        world.lose(1);
    }
    assert_eq!(world.serve(), 0);
    let results = world.take_results();
    assert_eq!(results.len(), 100);
    assert!(results.iter().all(|it| it.starts_with("tracked")), "{results:?}");
}

#[test]
fn commands_behind_a_malformed_one_are_sent_again() {
    let mut world = World::standalone();
    for command in [read_of("a"), remove(), remove(), read_of("b")] {
        world.send(command);
    }
    world.take_sent(1);
    world.hear(1, b"$1\r\nv\r\n:9\r\n-ERR Protocol error: invalid bulk length\r\n");
    let events = world.take_events();
    assert_eq!(events, ["tracked 1", "tracked refusal 2", "down 16384"]);
    world.reconnect();
    assert_eq!(world.take_sent(1), ["DEL bar", "GET b", "PTTL b"]);
}

//! Commands that a node refuses or redirects.

use super::*;

#[test]
fn a_moved_slot_is_reported_before_its_command_is_sent_on() {
    let mut world = World::of_two();
    world.send(remove());
    world.send(read());
    assert_eq!(world.take_sent(1), ["DEL bar", "GET bar", "PTTL bar"]);
    world.hear(1, b"-MOVED 5061 h:2\r\n-MOVED 5061 h:2\r\n-MOVED 5061 h:2\r\n");
    assert_eq!(world.take_events(), ["moved 1"]);
    assert_eq!(world.take_sent(2), ["DEL bar", "GET bar", "PTTL bar"]);
    world.hear(2, b":1\r\n$1\r\nv\r\n:100\r\n");
    assert_eq!(world.take_events(), ["tracked 1", "tracked 2"]);
    world.pass(Duration::from_millis(100));
    world.settle(&[]);
    assert!(world.asks_topology(2), "the new owner knows the newest map");
}

#[test]
fn an_ask_redirect_sends_asking_before_every_frame_and_keeps_the_slot_map() {
    let mut world = World::of_two();
    let lock = world.lock;
    world.send(Command::ReadOrLock { key: key_of_first(), lock, asks_ttl: true });
    world.take_sent(1);
    world.hear(1, &b"-ASK 5061 h:2\r\n".repeat(3));
    let sent = world.take_sent(2);
    assert_eq!(sent, ["ASKING", "GET bar", "ASKING", "PTTL bar", "ASKING", "SET bar"]);
    world.hear(2, b"+OK\r\n$1\r\nv\r\n+OK\r\n:100\r\n+OK\r\n_\r\n");
    assert_eq!(world.take_events(), ["untracked 1"], "the node does not own the slot yet");
    world.send(remove());
    assert_eq!((world.take_sent(1), world.take_sent(2)), (vec!["DEL bar".to_owned()], vec![]));
}

#[test]
fn a_read_that_is_redirected_half_way_is_sent_again_whole() {
    let mut world = World::of_two();
    world.send(read());
    world.take_sent(1);
    world.hear(1, b"$1\r\nv\r\n-MOVED 5061 h:2\r\n");
    assert_eq!(world.take_sent(2), ["GET bar", "PTTL bar"]);
}

#[test]
fn a_command_fails_after_eight_redirects() {
    let mut world = World::of_two();
    world.send(remove());
    let mut asked = 0;
    for _ in 0..60 {
        for (at, other) in [(1, 2), (2, 1)] {
            for command in world.take_sent(at) {
                let is_ours = command == "DEL bar";
                asked += u32::from(is_ours);
                let moved = format!("-MOVED 5061 h:{other}\r\n");
                world.hear(at, if is_ours { moved.as_bytes() } else { b"-NOPERM\r\n" });
            }
        }
        world.pass(RETRY_PAUSE);
        world.step(|router, ctx| router.handle_timeout(ctx));
    }
    let events = world.take_events();
    assert_eq!(asked, 9);
    let last = events.last().unwrap();
    assert!(
        last.starts_with("failed 1") && last.contains("remove") && last.contains("MOVED"),
        "{last}"
    );
}

#[test]
fn a_refused_command_is_sent_again_even_if_it_is_not_repeatable() {
    for refusal in ["MOVED 5061 h:2", "CLUSTERDOWN Hash slot not served", "TRYAGAIN", "READONLY x"]
    {
        let mut world = World::of_two();
        world.send(remove());
        world.take_sent(1);
        world.hear(1, format!("-{refusal}\r\n").as_bytes());
        world.pass(RETRY_PAUSE);
        world.step(|router, ctx| router.handle_timeout(ctx));
        let sent = [world.take_sent(1), world.take_sent(2)].concat();
        assert!(sent.contains(&"DEL bar".to_owned()), "{refusal}: {sent:?}");
        assert!(world.take_events().iter().all(|event| event == "moved 1"));
    }
}

#[test]
fn a_refusal_without_redirect_is_the_answer() {
    let mut world = World::of_two();
    world.send(remove());
    world.hear(1, b"-NOPERM no\r\n");
    assert_eq!(world.take_events(), ["tracked refusal 1"]);
}

#[test]
fn a_node_that_has_forgotten_the_login_is_left_and_its_command_is_sent_again() {
    let mut world = World::of_two();
    world.send(remove());
    let before = world.conn(1);
    world.take_sent(1);
    world.hear(1, b"-NOAUTH Authentication required.\r\n");
    assert_eq!(world.take_events(), ["down 8192"]);
    world.pass(Duration::from_millis(100));
    world.settle(&[]);
    assert_ne!(world.conn(1), before);
    assert!(world.take_sent(1).contains(&"DEL bar".to_owned()));
}

#[test]
fn a_node_that_redirects_to_itself_is_reconnected() {
    let mut world = World::of_two();
    world.send(remove());
    let before = world.conn(1);
    world.hear(1, b"-MOVED 5061 h:1\r\n");
    assert_eq!(world.take_events(), ["down 8192"]);
    world.pass(RETRY_PAUSE);
    world.settle(&[]);
    assert_ne!(world.conn(1), before);
    assert!(world.take_sent(1).contains(&"DEL bar".to_owned()));
}

#[test]
fn a_node_that_always_redirects_to_itself_is_reconnected_with_growing_pauses() {
    let mut world = World::of_two();
    let (mut before, mut connections) = (None, 0);
    for _ in 0..1_000 {
        world.pass(Duration::from_millis(10));
        world.settle(&[]);
        if world.conn(1).is_some() && world.conn(1) != before {
            before = world.conn(1);
            connections += 1;
        }
        world.send(remove());
        let sent = world.take_sent(1);
        if !sent.is_empty() {
            world.hear(1, "-MOVED 5061 h:1\r\n".repeat(sent.len()).as_bytes());
        }
    }
    // Ten seconds, and 2 s are the longest pause.
    assert!((5..30).contains(&connections), "{connections}");
}

#[test]
fn a_redirect_to_a_node_without_a_host_waits_for_the_slot_map() {
    for host in ["?", ""] {
        let mut world = World::of_two();
        world.send(remove());
        let before = world.conn(1);
        world.take_sent(1);
        world.hear(1, format!("-MOVED 5061 {host}:1\r\n").as_bytes());
        world.pass(Duration::from_millis(60));
        assert_eq!((world.take_events(), world.conn(1)), (vec![], before));
        world.settle(&[]);
        let port = world.asked().unwrap();
        world.answer_topology(port, Some(6), &[(2, 0, 16383)]);
        world.take_sent(1);
        assert_eq!(world.take_events(), ["moved 8192"]);
        world.hear(1, format!("-MOVED 5061 {host}:1\r\n").as_bytes());
        world.pass(2 * RETRY_PAUSE);
        world.settle(&[]);
        assert!(world.take_sent(2).contains(&"DEL bar".to_owned()));
    }
}

#[test]
fn after_an_unparsable_redirect_the_command_is_sent_again_and_the_slot_map_requested() {
    let mut world = World::of_two();
    world.send(remove());
    world.take_sent(1);
    world.hear(1, b"-MOVED 5061 nowhere\r\n");
    world.pass(RETRY_PAUSE);
    world.step(|router, ctx| router.handle_timeout(ctx));
    world.pass(Duration::from_secs(1));
    world.step(|router, ctx| router.handle_timeout(ctx));
    let sent = [world.take_sent(1), world.take_sent(2)].concat();
    assert!(sent.contains(&"DEL bar".to_owned()), "{sent:?}");
    assert!(sent.iter().any(|command| command.starts_with("CLUSTER")), "{sent:?}");
}

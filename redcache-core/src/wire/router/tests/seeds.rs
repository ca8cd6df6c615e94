//! The first connections to a cluster, by its seeds.

use super::*;

#[test]
fn seeds_are_tried_one_after_another_until_one_knows_the_cluster() {
    let mut world = World::new(&[7, 8, 9]);
    world.settle(&[7]);
    assert_eq!(world.open.iter().map(|(_, port)| *port).collect::<Vec<_>>(), [8]);
    assert_eq!((world.take_events(), world.router.is_ready()), (vec![], false));
    world.answer_topology(8, Some(1), &[(1, 0, 16383)]);
    world.settle(&[7]);
    assert_eq!(world.take_events(), ["moved 16384", "up"]);
    world.pass(Duration::from_secs(2));
    world.settle(&[7]);
    assert_eq!(
        world.open.iter().map(|(_, port)| *port).collect::<Vec<_>>(),
        [1],
        "the seed is dropped"
    );
}

#[test]
fn an_attempt_fails_once_every_seed_has_failed_and_others_follow() {
    let mut world = World::new(&[7, 8]);
    world.settle(&[7, 8]);
    assert_eq!(world.take_events(), ["not up"]);
    world.pass(Duration::from_secs(1));
    world.settle(&[7]);
    world.hear(8, b"-ERR This instance has cluster support disabled\r\n");
    world.hear(8, b"-ERR This instance has cluster support disabled\r\n");
    assert!(world.take_sent(8).contains(&"CLUSTER SLOTS".to_owned()), "the older form is tried");
    world.hear(8, b"-ERR disabled\r\n-ERR disabled\r\n");
    assert_eq!(world.take_events(), ["not up"]);
}

#[test]
fn while_no_seed_can_be_queried_for_the_command_timeout_commands_fail_at_once() {
    let mut world = World::new(&[7, 8]);
    world.settle(&[7, 8]);
    world.send(remove());
    for _ in 0..30 {
        world.pass(Duration::from_millis(100));
        world.settle(&[7, 8]);
    }
    let failed = |events: Vec<String>| {
        let failures = events.into_iter().filter(|event| event.starts_with("failed"));
        failures.collect::<Vec<_>>()
    };
    assert_eq!(failed(world.take_events()).len(), 1, "the first command has waited");
    for _ in 0..3 {
        world.send(remove());
        let events = failed(world.take_events());
        assert!(events.len() == 1 && events[0].contains("refused"), "{events:?}");
    }
    world.pass(Duration::from_secs(2));
    world.settle(&[]);
    world.answer_topology(7, Some(1), &[(1, 0, 16383)]);
    world.settle(&[]);
    world.send(remove());
    assert_eq!(failed(world.take_events()), [""; 0]);
    assert_eq!(world.take_sent(1).last().unwrap(), "DEL bar");
}

#[test]
fn a_server_without_a_cluster_is_refused_at_once_with_what_to_configure() {
    let mut world = World::new(&[7]);
    world.settle(&[]);
    world.send(remove());
    world.take_events();
    for _ in 0..2 {
        world.hear(7, b"-ERR This instance has cluster support disabled\r\n");
        world.hear(7, b"-ERR This instance has cluster support disabled\r\n");
    }
    let events = world.take_events();
    assert!(events.iter().any(|it| it.starts_with("failed 1") && it.contains("`redis://h:7`")));
}

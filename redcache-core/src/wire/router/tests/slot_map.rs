//! The slot map: queries, and which answers replace it.

use super::*;

#[test]
fn commands_wait_for_the_slot_map_and_for_the_owner() {
    let mut world = World::new(&[7]);
    world.send(read());
    world.settle(&[]);
    world.answer_topology(7, None, &[(1, 0, 16383)]);
    world.settle(&[]);
    assert_eq!(world.take_sent(1), ["GET bar", "PTTL bar"]);
}

#[test]
fn commands_of_a_slot_without_owner_fail_in_time_and_name_it() {
    let mut world = World::new(&[1]);
    world.settle(&[]);
    world.answer_topology(1, None, &[(1, 8192, 16383)]);
    world.take_events();
    world.send(read());
    world.pass(world.config.command_timeout);
    world.settle(&[]);
    let events = world.take_events();
    assert!(events[0].contains("no node of the cluster owns slot 5061"), "{events:?}");
}

#[test]
fn one_topology_question_is_under_way_at_a_time() {
    let mut world = World::of_two();
    world.pass(Duration::from_secs(1));
    for _ in 0..10 {
        world.send(remove());
        world.take_sent(1);
        world.hear(1, b"-CLUSTERDOWN x\r\n");
        world.settle(&[]);
    }
    let mut asked = [1, 2].map(|port| usize::from(world.asks_topology(port)));
    world.settle(&[]);
    asked[0] += usize::from(world.asks_topology(1)) + usize::from(world.asks_topology(2));
    assert!(asked.iter().sum::<usize>() <= 1, "{asked:?}");
}

#[test]
fn an_older_slot_map_is_ignored_and_a_newer_one_is_not() {
    let mut world = World::of_two();
    world.pass(world.config.discovery_interval * 2);
    world.settle(&[]);
    let port = world.asked().unwrap();
    world.answer_topology(port, Some(4), &[(2, 0, 16383)]);
    assert_eq!(world.take_events(), [""; 0]);
    world.pass(Duration::from_secs(1));
    world.settle(&[]);
    let port = world.asked().unwrap();
    world.answer_topology(port, Some(6), &[(2, 0, 16383)]);
    assert_eq!(world.take_events(), ["moved 8192"]);
}

#[test]
fn a_slot_map_without_slots_never_replaces_one_with_slots() {
    let mut world = World::of_two();
    world.pass(world.config.discovery_interval * 2);
    world.settle(&[]);
    let port = world.asked().unwrap();
    world.answer_topology(port, Some(9), &[]);
    assert_eq!(world.take_events(), [""; 0]);
    world.send(read());
    assert!(world.take_sent(1).ends_with(&["GET bar".to_owned(), "PTTL bar".to_owned()]));
}

#[test]
fn a_list_of_some_shards_is_replaced_by_the_list_of_slots() {
    let mut world = World::new(&[1]);
    world.settle(&[]);
    for in_shards in [&[(1, 0, 8191)][..], &[]] {
        let in_slots = [(1, 0, 8191), (2, 8192, 16383)];
        world.answer_in_part(1, (Some(5), 16384), in_shards, &in_slots);
        assert!((0..16384).all(|slot| world.router.owner(Slot::new(slot).unwrap()).is_some()));
        world = World::new(&[1]);
        world.settle(&[]);
    }
}

#[test]
fn a_slot_map_that_leaves_slots_out_is_confirmed_before_it_replaces_another() {
    // The node reports more assigned slots than it lists, or it knows no owner at all.
    for assigned in [16384, 8192] {
        let mut world = World::of_two();
        world.pass(world.config.discovery_interval * 2);
        world.settle(&[]);
        let first = world.asked().unwrap();
        world.answer_in_part(first, (Some(6), assigned), &[(2, 8192, 16383)], &[(2, 8192, 16383)]);
        assert_eq!(world.take_events(), [""; 0]);
        world.pass(Duration::from_millis(600));
        world.settle(&[]);
        let second = world.asked().unwrap();
        assert_ne!(first, second, "the other node is asked next");
        world.answer_in_part(second, (Some(6), assigned), &[], &[(2, 8192, 16383)]);
        let expected: &[_] = if assigned == 8192 { &["moved 8192"] } else { &[] };
        assert_eq!(world.take_events(), expected);
    }
}

#[test]
fn while_slots_have_no_owner_the_seeds_are_asked_too() {
    let mut world = World::new(&[1, 7]);
    world.settle(&[]);
    world.answer_in_part(1, (Some(5), 16384), &[], &[(1, 8192, 16383)]);
    world.send(read());
    let asked = (0..10).find(|_| {
        world.pass(Duration::from_millis(60));
        world.settle(&[]);
        match world.asked() {
            Some(1) => world.answer_in_part(1, (Some(5), 16384), &[], &[(1, 8192, 16383)]),
            Some(7) => return true,
            _ => {}
        }
        false
    });
    assert!(asked.is_some());
    world.answer_topology(7, Some(5), &[(2, 0, 8191), (1, 8192, 16383)]);
    world.settle(&[]);
    assert_eq!(world.take_sent(2), ["GET bar", "PTTL bar"]);
}

#[test]
fn while_an_owner_is_unreachable_the_slot_map_is_requested_twice_a_second() {
    let mut world = World::of_two();
    world.lose(1);
    let mut questions = 0;
    for _ in 0..200 {
        world.pass(Duration::from_millis(20));
        world.settle(&[1]);
        if world.asked() == Some(2) {
            questions += 1;
            world.answer_topology(2, Some(5), &[(1, 0, 8191), (2, 8192, 16383)]);
        }
    }
    assert!((6..=12).contains(&questions), "{questions} in four seconds");
}

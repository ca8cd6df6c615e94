//! The steps of calls, as an adapter that traces them receives them.

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::key::Key;
use crate::event::CallStep;

/// Return the steps since the last call, each with the number of its call.
fn steps(world: &mut World) -> Vec<String> {
    let text = |step| match step {
        CallStep::Sent { command, server } => format!("{command} to {}", server.unwrap()),
        CallStep::Replied { command, error: None } => format!("{command} done"),
        CallStep::Replied { command, error: Some(kind) } => format!("{command} {kind:?}"),
        CallStep::Waiting => "waits".to_owned(),
    };
    let steps = std::mem::take(&mut world.steps);
    steps.into_iter().map(|(op, step)| format!("{} {}", op.index(), text(step))).collect()
}

#[test]
fn a_load_reports_its_steps_to_the_leader_of_its_flight() {
    let mut world = World::new();
    world.engine.report_steps(true);
    let leader = world.fetch();
    world.fetch();
    world.engine.report_steps(false);
    world.fetch();
    assert_eq!(steps(&mut world), ["0 read or lock to h:1", "1 waits"]);
    world.hear(MISSING_LOCKED);
    assert_eq!(steps(&mut world), ["0 read or lock done"]);
    world.loaded(leader, "v");
    assert_eq!(steps(&mut world), ["0 publish to h:1"]);
    world.pass(2 * SECOND);
    assert_eq!(steps(&mut world), ["0 publish Timeout"]);
}

#[test]
fn a_wait_for_the_lock_of_another_process_is_a_step() {
    let mut world = World::new();
    world.engine.report_steps(true);
    world.fetch();
    let lock = "__redcache:lock:another";
    world.hear(&format!("${}\r\n{lock}\r\n:60000\r\n_\r\n", lock.len()));
    let expected = ["0 read or lock to h:1", "0 read or lock done", "0 waits"];
    assert_eq!(steps(&mut world), expected);
    world.hear(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert_eq!(steps(&mut world), ["0 read to h:1"]);
}

#[test]
fn a_refused_command_is_a_step_with_an_error() {
    let mut world = World::new();
    world.engine.report_steps(true);
    world.call(|engine, now| engine.insert(now, Key::from("k"), "v".into(), SECOND));
    world.hear("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_eq!(steps(&mut world), ["0 insert to h:1", "0 insert Server"]);
}

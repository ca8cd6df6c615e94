//! Arbitrary events as pairs of bytes: the first byte is the event, the second its argument.

use std::time::Duration;

use super::fixture::key;
use super::rig::Rig;

/// The largest number of events. Longer scripts have found no further bugs.
const EVENTS_MAX: usize = 400;

/// Run the events encoded in `bytes`, checking answers and the near cache, then let all calls end.
pub(super) fn play(bytes: &[u8]) {
    let mut rig = Rig::new();
    for event in bytes.chunks_exact(2).take(EVENTS_MAX) {
        happen(&mut rig, event[0], usize::from(event[1]));
    }
    rig.end_in_time();
}

fn happen(rig: &mut Rig, what: u8, how: usize) {
    match what % 12 {
        0 | 1 => rig.call(how),
        2 => rig.connect(),
        3 => rig.disconnect(),
        4 => rig.deliver_up(how * how),
        5 => rig.deliver_down(how),
        6 => rig.settle(),
        7 => rig.wait(Duration::from_millis(how as u64)),
        8 => rig.cancel(how),
        9 => rig.end_load(how / 2, how.is_multiple_of(2)),
        10 => foreign(rig, how),
        _ => {
            rig.connect();
            rig.settle();
        }
    }
}

/// Change a key, or everything, as another client.
fn foreign(rig: &mut Rig, how: usize) {
    let one = key(how / 8);
    let name = one.as_bytes();
    match how % 8 {
        0 => rig.foreign(&[b"FLUSHALL"]),
        1 => rig.foreign(&[b"SCRIPT", b"FLUSH"]),
        2 => rig.foreign(&[b"PEXPIRE", name, b"50"]),
        3 => rig.foreign(&[b"SET", name, b"__redcache:lock:stranger", b"PX", b"80"]),
        4 | 5 => rig.foreign(&[b"DEL", name]),
        _ => {
            let value = [name, b"|foreign"].concat();
            rig.foreign(&[b"SET", name, &value]);
        }
    }
}

//! Loads whose value the server refuses to store.

use std::sync::{Arc, Mutex};

use super::world::{MISSING_LOCKED, SECOND, World};
use crate::api::observer::{NotStoredEvent, Observer};

/// Collects the reasons of the notices.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl Observer for Notices {
    fn on_not_stored(&self, event: &NotStoredEvent) {
        self.0.lock().unwrap().push(format!("{}: {}", event.key, event.reason));
    }
}

#[test]
fn each_load_whose_lock_or_value_is_refused_has_a_notice_with_the_words_of_the_server() {
    let notices = Notices::default();
    let mut world = World::with(|builder| builder.observer(notices.clone()));
    for (code, refused) in [
        ("OOM", "_\r\n:-2\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
        ("MISCONF", "_\r\n:-2\r\n-MISCONF Errors writing to the AOF file: no space\r\n"),
        ("NOREPLICAS", "_\r\n:-2\r\n-NOREPLICAS Not enough good replicas to write.\r\n"),
        ("OOM", MISSING_LOCKED),
    ] {
        let op = world.fetch();
        world.hear(refused);
        let load = world.take_load().unwrap();
        world.loaded(load, "v");
        if refused == MISSING_LOCKED {
            world.hear("-OOM command not allowed when used memory > 'maxmemory'.\r\n:1\r\n");
        }
        assert_eq!(world.text(op), "loaded v", "{code}");
        let noticed = std::mem::take(&mut *notices.0.lock().unwrap());
        assert_eq!(noticed.len(), 1, "{noticed:?}");
        assert!(noticed[0].starts_with("k: ") && noticed[0].contains(code), "{noticed:?}");
        world.pass(SECOND / 100);
    }
    assert_eq!(world.engine.stats().not_stored, 4);
}

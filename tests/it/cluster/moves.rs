//! Slots that move and nodes that join and leave while clients make calls.

use std::sync::Mutex;
use std::thread;

use redcache_core::protocol::Slot;
use redcache_tests::RedisCluster;

use super::load::{Database, Reliance, while_busy};
use super::{Shared, adapter};
use crate::conformance::cache::Cache;
use crate::conformance::scene::{connected, wait_until};

with_a_server_of_its_own![
    a_slot_moves_under_eight_clients_without_a_stale_read_or_an_extra_load,
    a_node_joins_takes_a_thousand_slots_gives_them_back_and_leaves,
];

/// The cluster whose slots move; one scenario at a time uses it.
static CLUSTER: Shared<Mutex<RedisCluster>> = Shared::new();

/// Load every key by every client at the same time; return the number of loads of each key.
fn loads_of_all_at_once<C: Cache>(caches: &[C], database: &Database) -> Vec<usize> {
    let keys = 0..database.keys().len();
    let loads = keys.map(|key| {
        let before = database.loads();
        thread::scope(|scope| {
            for cache in caches {
                scope.spawn(move || database.read(cache, key).unwrap());
            }
        });
        database.loads() - before
    });
    loads.collect()
}

/// Remove every key with one client, and wait until all clients miss it.
fn check_one_load_per_miss<C: Cache>(caches: &[C], database: &Database) {
    for key in 0..database.keys().len() {
        let version = database.change(key);
        caches[0].remove(&database.keys()[key]).unwrap();
        wait_until("all clients have heard of it", || {
            caches.iter().all(|cache| cache.get(&database.keys()[key]).unwrap().value.is_none())
        });
        assert_eq!(database.version(key), version);
    }
    let loads = loads_of_all_at_once(caches, database);
    assert!(loads.iter().all(|loads| *loads == 1), "{loads:?}");
}

fn a_slot_moves_under_eight_clients_without_a_stale_read_or_an_extra_load<C: Cache>() {
    CLUSTER.have(|cluster| {
        let tag = format!("{{{}}}", adapter::<C>());
        let slot = Slot::of(tag.as_bytes());
        let database = Database::new((0..12).map(|number| format!("{tag}:{number}")).collect());
        let caches: Vec<C> = (0..8).map(|_| connected(cluster.url())).collect();
        let to = (0..3).find(|number| *number != cluster.owner(slot)).unwrap();
        let (_, errors) = while_busy(&caches, &database, Reliance::OwnChanges, || {
            cluster.begin_move(slot, to);
            cluster.move_keys(slot, to);
        });
        assert!(errors.is_empty(), "{errors:?}");
        // The old owner redirects each of them.
        check_one_load_per_miss(&caches, &database);
        let (_, errors) = while_busy(&caches, &database, Reliance::OwnChanges, || {
            cluster.move_keys(slot, to);
            cluster.end_move(slot, to);
        });
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(cluster.owner(slot), to);
        check_one_load_per_miss(&caches, &database);
        for (key, name) in database.keys().iter().enumerate() {
            let version = database.change(key);
            caches[7].remove(name).unwrap();
            for cache in &caches {
                wait_until("it is heard of", || database.read(cache, key).unwrap() == version);
            }
        }
    });
}

fn a_node_joins_takes_a_thousand_slots_gives_them_back_and_leaves<C: Cache>() {
    CLUSTER.have(|mut cluster| {
        let keys = (0..2000).map(|number| format!("join:{}:{number}", adapter::<C>()));
        let database = Database::new(keys.collect());
        let caches: Vec<C> = (0..3).map(|_| connected(cluster.url())).collect();
        let (node, errors) = while_busy(&caches, &database, Reliance::OwnChanges, || {
            let from = cluster.owner(Slot::of(b"foo"));
            let node = cluster.add_node();
            let slots = cluster.slots_of(from).into_iter().take(1000).collect::<Vec<_>>();
            cluster.move_slots(&slots, from, node);
            assert_eq!(cluster.slots_of(node).len(), 1000);
            cluster.wait_until_healthy();
            cluster.move_slots(&slots, node, from);
            cluster.wait_until_healthy();
            node
        });
        assert!(errors.is_empty(), "{errors:?}");
        let (_, errors) = while_busy(&caches, &database, Reliance::OwnChanges, || {
            cluster.remove_node(node);
            cluster.wait_until_healthy();
        });
        assert!(errors.is_empty(), "{errors:?}");
    });
}

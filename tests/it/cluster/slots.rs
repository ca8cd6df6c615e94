//! The slots of keys, compared with the slots that the server computes.

use redcache_core::protocol::Slot;
use redcache_core::resp::{Frame, decode};
use redcache_tests::RedisCluster;

/// The bytes of the keys: mostly braces, and bytes that are no UTF-8.
const BYTES: &[u8] = b"{}{}{}ab\0\r\n\xff ";

#[test]
fn the_slot_of_any_key_equals_the_servers() {
    let cluster = RedisCluster::start();
    let mut client = cluster.connect(0);
    let mut random: u64 = 7;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (random >> 33) as usize % bound
    };
    for _ in 0..5000 {
        let length = below(12);
        let key: Vec<u8> = (0..length).map(|_| BYTES[below(BYTES.len())]).collect();
        let reply = client.call(&[&b"CLUSTER"[..], b"KEYSLOT", &key]);
        let said = decode(&reply).unwrap();
        let slot = Slot::of(&key).index();
        assert_eq!(said, Frame::Integer(slot as i64), "{}", key.escape_ascii());
    }
}

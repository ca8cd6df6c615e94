use proptest::prelude::*;

use super::*;
use crate::resp::{Limits, Scanner, decode};

/// Return the reply to `CLUSTER SHARDS` of a cluster with these owners.
fn shards(primaries: &[Primary]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", primaries.len());
    for Primary { endpoint: Endpoint { host, port }, slots } in primaries {
        out += &format!("%2\r\n$5\r\nslots\r\n*{}\r\n", 2 * slots.len());
        for (first, last) in slots {
            out += &format!(":{}\r\n:{}\r\n", first.index(), last.index());
        }
        out += "$5\r\nnodes\r\n*2\r\n";
        for (role, port) in [("replica", 1), ("master", *port)] {
            out += &format!("%4\r\n$4\r\nport\r\n:{port}\r\n$4\r\nrole\r\n");
            out += &format!("${}\r\n{role}\r\n$6\r\nhealth\r\n$6\r\nonline\r\n", role.len());
            match host {
                Some(host) => {
                    out += &format!("$8\r\nendpoint\r\n${}\r\n{host}\r\n", host.len());
                }
                None => out += "$8\r\nendpoint\r\n_\r\n",
            }
        }
    }
    out.into_bytes()
}

/// Return the reply to `CLUSTER SLOTS`.
fn slots(primaries: &[Primary]) -> Vec<u8> {
    let count: usize = primaries.iter().map(|primary| primary.slots.len()).sum();
    let mut out = format!("*{count}\r\n");
    for Primary { endpoint: Endpoint { host, port }, slots } in primaries {
        for (first, last) in slots {
            out += &format!("*4\r\n:{}\r\n:{}\r\n*3\r\n", first.index(), last.index());
            match host {
                Some(host) => out += &format!("${}\r\n{host}\r\n", host.len()),
                None => out += "_\r\n",
            }
            out += &format!(":{port}\r\n$2\r\nid\r\n*2\r\n$1\r\nr\r\n:1\r\n");
        }
    }
    out.into_bytes()
}

fn read(question: Question, bytes: &[u8]) -> Result<Topology, NoTopology> {
    let end = Scanner::new(Limits::default()).scan(bytes).unwrap();
    assert_eq!(end, Some(bytes.len()), "{}", bytes.escape_ascii());
    question.read(&decode(bytes).unwrap())
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn primary(host: Option<&str>, port: u16, ranges: &[(u16, u16)]) -> Primary {
    let host = host.map(str::to_owned);
    let slots = ranges.iter().map(|&(first, last)| (slot(first), slot(last))).collect();
    Primary { endpoint: Endpoint { host, port }, slots }
}

#[test]
fn both_answers_tell_the_same_map() {
    let primaries = [
        primary(Some("10.0.0.1"), 7000, &[(0, 100), (200, 200)]),
        primary(Some("::1"), 7001, &[(101, 199)]),
        primary(None, 7002, &[(201, 16383)]),
    ];
    for (question, bytes) in
        [(Question::Shards, shards(&primaries)), (Question::Slots, slots(&primaries))]
    {
        assert_eq!(read(question, &bytes).unwrap().primaries, primaries, "{question:?}");
    }
}

#[test]
fn the_first_claim_to_a_slot_counts() {
    let claims = [primary(Some("a"), 1, &[(10, 20)]), primary(Some("b"), 1, &[(0, 15), (18, 30)])];
    for (question, bytes) in
        [(Question::Shards, shards(&claims)), (Question::Slots, slots(&claims))]
    {
        let topology = read(question, &bytes).unwrap();
        let second = primary(Some("b"), 1, &[(0, 9), (21, 30)]);
        assert_eq!(topology.primaries, [claims[0].clone(), second], "{question:?}");
    }
}

#[test]
fn replicas_and_primaries_without_slots_own_nothing() {
    let empty = [primary(Some("a"), 1, &[])];
    assert_eq!(read(Question::Shards, &shards(&empty)).unwrap().primaries, []);
    assert_eq!(read(Question::Slots, b"*0\r\n").unwrap().primaries, []);
    let nobody = b"*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:1\r\n$5\r\nnodes\r\n*0\r\n";
    assert_eq!(read(Question::Shards, nobody).unwrap().primaries, []);
}

#[test]
fn a_malformed_answer_is_rejected() {
    for bytes in [
        &b"+OK\r\n"[..],
        b"*1\r\n:1\r\n",
        b"*1\r\n%1\r\n$5\r\nslots\r\n*0\r\n",
        b"*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
        b"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        b"*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
    ] {
        for question in [Question::Shards, Question::Slots] {
            let answer = read(question, bytes);
            assert!(matches!(answer, Err(NoTopology::Malformed(_))), "{}", bytes.escape_ascii());
        }
    }
    let refused = read(Question::Shards, b"-ERR This instance has cluster support disabled\r\n");
    assert!(matches!(refused, Err(NoTopology::Refused(_))));
}

#[test]
fn too_many_claims_are_rejected() {
    let greedy = vec![primary(Some("a"), 1, &[(0, 16383)]); 5];
    assert!(matches!(read(Question::Slots, &slots(&greedy)), Err(NoTopology::Malformed(_))));
    let many: Vec<_> =
        (0..=PRIMARIES_MAX as u16).map(|n| primary(Some("a"), n + 1, &[(n, n)])).collect();
    assert!(matches!(read(Question::Shards, &shards(&many)), Err(NoTopology::Malformed(_))));
    assert!(read(Question::Shards, &shards(&many[..PRIMARIES_MAX])).is_ok());
}

#[test]
fn the_epoch_and_the_number_of_slots_are_read_from_cluster_info() {
    let read = |text| ClusterInfo::read(&Frame::Bulk(text));
    let text = b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:42\r\n";
    assert_eq!(read(text), ClusterInfo { epoch: Some(42), assigned: Some(16384) });
    for other in [&b""[..], b"cluster_current_epoch:", b"cluster_slots_assigned:-1", b"\xff"] {
        assert_eq!(read(other), ClusterInfo::default());
    }
    assert_eq!(ClusterInfo::read(&Frame::Error(b"NOPERM")), ClusterInfo::default());
}

#[test]
fn a_map_with_fewer_slots_than_are_assigned_is_partial() {
    for (last, assigned, is_partial) in [
        (16383, Some(16384), false),
        (16383, None, false),
        (99, Some(100), false),
        (99, Some(16384), true),
        (99, None, true),
    ] {
        let bytes = shards(&[primary(Some("a"), 1, &[(0, last)])]);
        let mut topology = read(Question::Shards, &bytes).unwrap();
        topology.info.assigned = assigned;
        assert_eq!(topology.is_partial(), is_partial, "{last} {assigned:?}");
    }
}

/// Return the parsed hosts of nodes that are announced with these hosts and addresses, in both
/// forms.
fn hosts(nodes: &[(Option<&str>, &str, u16)]) -> Vec<Option<String>> {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let mut shards = format!("*{}\r\n", nodes.len());
    let mut ranges = shards.clone();
    for (number, (host, ip, port)) in nodes.iter().enumerate() {
        let (host, ip) = (host.map_or("_\r\n".to_owned(), bulk), bulk(ip));
        shards += &format!("%2\r\n+slots\r\n*2\r\n:{number}\r\n:{number}\r\n+nodes\r\n*1\r\n");
        shards += &format!("%4\r\n+role\r\n+master\r\n+port\r\n:{port}\r\n+ip\r\n{ip}");
        shards += &format!("+endpoint\r\n{host}");
        ranges += &format!("*3\r\n:{number}\r\n:{number}\r\n*4\r\n{host}:{port}\r\n+id\r\n");
        ranges += &format!("*2\r\n+ip\r\n{ip}");
    }
    let told = |question, bytes: &str| {
        let primaries = read(question, bytes.as_bytes()).unwrap().primaries;
        primaries.into_iter().map(|primary| primary.endpoint.host).collect::<Vec<_>>()
    };
    let hosts = told(Question::Shards, &shards);
    assert_eq!(told(Question::Slots, &ranges), hosts);
    hosts
}

#[test]
fn a_node_without_a_host_of_its_own_is_reached_at_its_address() {
    for host in ["?", ""] {
        let told = hosts(&[(Some("a"), "10.0.0.1", 1), (Some(host), "10.0.0.2", 1)]);
        assert_eq!(told, [Some("a".to_owned()), Some("10.0.0.2".to_owned())]);
        assert_eq!(hosts(&[(Some(host), "", 1)]), [None]);
    }
    // Behind one address, the nodes differ by their ports.
    assert_eq!(hosts(&[(None, "10.0.0.1", 1), (None, "10.0.0.2", 2)]), [None, None]);
    let told = hosts(&[(None, "10.0.0.1", 1), (None, "10.0.0.2", 1), (None, "10.0.0.3", 2)]);
    assert_eq!(told, [Some("10.0.0.1".to_owned()), Some("10.0.0.2".to_owned()), None]);
}

/// Field names and values of both answers.
const NAMES: &[&[u8]] = &[
    b"slots",
    b"nodes",
    b"role",
    b"master",
    b"health",
    b"online",
    b"port",
    b"endpoint",
    b"?",
    b"",
];

/// Generate frames that resemble an answer in places.
fn frames() -> impl Strategy<Value = Frame<'static>> {
    let leaf = prop_oneof![
        proptest::sample::select(NAMES).prop_map(Frame::Bulk),
        (-2_i64..20_000).prop_map(Frame::Integer),
        any::<i64>().prop_map(Frame::Integer),
        Just(Frame::Null),
        Just(Frame::Error(b"ERR")),
    ];
    leaf.prop_recursive(6, 128, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Frame::Array),
            proptest::collection::vec((inner.clone(), inner), 0..8).prop_map(Frame::Map),
        ]
    })
}

/// Generate owners of all or some slots, split at random slots.
fn clusters() -> impl Strategy<Value = Vec<Primary>> {
    let cuts = proptest::collection::btree_set(0_u16..Slot::COUNT, 1..40);
    (cuts, 1_usize..8).prop_map(|(cuts, nodes)| {
        let cuts: Vec<u16> = cuts.into_iter().collect();
        let mut primaries: Vec<Primary> = Vec::new();
        for (at, pair) in cuts.windows(2).enumerate() {
            let port = 7000 + (at % nodes) as u16;
            let range = (slot(pair[0]), slot(pair[1] - 1));
            match primaries.iter_mut().find(|primary| primary.endpoint.port == port) {
                Some(primary) => primary.slots.push(range),
                None => {
                    let endpoint = Endpoint { host: Some("127.0.0.1".to_owned()), port };
                    primaries.push(Primary { endpoint, slots: vec![range] });
                }
            }
        }
        primaries
    })
}

proptest! {
    #[test]
    fn each_slot_has_one_owner_at_most_in_any_answer(frame in frames()) {
        for question in [Question::Shards, Question::Slots] {
            if let Ok(topology) = question.read(&frame) {
                let mut seen = SlotSet::default();
                for (first, last) in topology.primaries.iter().flat_map(|node| &node.slots) {
                    for slot in first.up_to(*last) {
                        prop_assert!(seen.insert(slot));
                    }
                }
            }
        }
        ClusterInfo::read(&frame);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(primaries in clusters()) {
        let read_shards = read(Question::Shards, &shards(&primaries)).unwrap().primaries;
        prop_assert_eq!(&read_shards, &primaries);
        let mut said = read(Question::Slots, &slots(&primaries)).unwrap().primaries;
        said.sort_by_key(|primary| primary.endpoint.port);
        prop_assert_eq!(said, primaries);
    }
}

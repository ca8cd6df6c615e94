//! Simulated worlds as plain tests: a few hundred seeds, and each seed that found a bug.

use redcache_sim::world::{Options, Run, shortest, simulate};

/// Worlds with one server, and worlds with a cluster.
const KINDS: [bool; 2] = [false, true];

fn options(cluster: bool) -> Options {
    Options { cluster, ..Options::default() }
}

fn check(seed: u64, cluster: bool) -> Run {
    let run = simulate(seed, &options(cluster));
    if let Some(violation) = &run.violation {
        let trace = shortest(seed, &options(cluster)).trace;
        let tail = &trace[trace.len().saturating_sub(40)..];
        panic!(
            "seed {seed}: {}: {}\n{}",
            violation.invariant.description(),
            violation.text,
            tail.join("\n")
        );
    }
    run
}

#[test]
fn every_invariant_holds_for_the_first_seeds() {
    for seed in 0..150 {
        check(seed, false);
    }
}

#[test]
fn every_invariant_holds_for_the_first_cluster_seeds() {
    for seed in 0..60 {
        check(seed, true);
    }
}

#[test]
fn every_invariant_holds_for_the_first_seeds_of_groups_under_sentinel() {
    let options = Options { sentinels: true, ..Options::default() };
    for seed in 0..150 {
        let run = simulate(seed, &options);
        assert!(run.violation.is_none(), "seed {seed}: {:?}", run.violation);
        assert_eq!(run.hash, simulate(seed, &options).hash, "seed {seed} gave two runs");
    }
}

#[test]
fn every_invariant_holds_for_the_first_seeds_of_namespaces_that_are_cleared() {
    let disturbed_steps_max = Some(1_000);
    let options = Options { namespaces: true, disturbed_steps_max, ..Options::default() };
    for seed in 0..4 {
        let run = simulate(seed, &options);
        assert!(run.violation.is_none(), "seed {seed}: {:?}", run.violation);
        if seed < 1 {
            assert_eq!(run.hash, simulate(seed, &options).hash, "seed {seed} gave two runs");
        }
    }
}

/// The seeds that found bugs, and what each broke. A change of the simulator gives a seed another
/// world; the bugs have tests of their own beside the code.
const FOUND: [(u64, &str); 83] = [
    (28, "a retried command was reported overdue only after later commands"),
    (494, "the same, on a link that died after the retry"),
    (627, "the same, while the server was busy"),
    (209, "a lock that could not be released was requested in a tight loop"),
    (214, "a server that was busy during the handshake stayed untracked"),
    (282, "a caller that took over a publishing flight reported a load of its own"),
    (387, "the same, with a value that a write had superseded"),
    (12546, "a flight without callers waited and took a lock"),
    (12751, "the same, after its only caller was dropped at once"),
    (10598, "commands of a lost connection were repeated in another order"),
    (2013, "a read released a write's lock before the repeated old value could be put back"),
    (16738, "a repeated lock request arrived late and locked the key again after a deletion"),
    (9892, "the time limit of a batch load started before its loader ran"),
    (1, "a reload deleted the old value that another reload of its process had replaced"),
    (12, "a call that waited for a key when a reload began was not woken"),
    (688, "a late write took the lock of a reload for an abandoned one"),
    (13687, "a key of a batch timed out while the batch waited for other keys"),
    (10018529, "an invalidation spared an entry that only `near_ttl_max` had ended"),
    (20190334, "the same, in a batch of a process that had been paused"),
    (
        10039036,
        "a refresh replaced an equal \"not found\" that was stored after its load had begun",
    ),
    (20058199, "the same, after a write and a removal by other processes"),
    (13437, "a call joined a load from before a write, because its publication had no reply"),
    (15614, "the same, on a link that was dead towards the process"),
    (10011624, "a write whose shared publication was refused after it had stored reported a loss"),
    (10017413, "a refused `PING` was taken for a refused login"),
    (10015412, "a waiting call was given a value as stale that had just been published"),
    (10013560, "a suspect of a hang-up was sent again and again before the commands beside it"),
    (10015108, "a call that was too late for a load had no patience left for others"),
    (18197, "a connection that was to be left for a new HELLO kept a lock"),
    (10024487, "pauses grew while the command on which the server hung up was searched"),
    (19354, "a server that was lost three times at HELLO stayed untracked until its link ended"),
    (10093631, "a connection that was to be left after a MASTERDOWN kept a lock"),
    (10235947, "the same, after a LOADING"),
    (10238645, "further commands on the key of a known culprit were searched like the first"),
    (10074121, "a call joined a load shortly before its timeout and failed with it"),
    (10097963, "the same"),
    (10123370, "the same"),
    (10226799, "the same"),
    (10281281, "the same"),
    (10125273, "a batch whose loader did not end led the load of another key"),
    (10295028, "a restore was repeated after the old value had ended, and set it for another ms"),
    // The checker was wrong about these.
    (2083, "a process that has long been without a connection shares what it has loaded"),
    (3383, "the \"not found\" of a reload was taken for that of a write"),
    (6251, "the same, for a write that had lost its lock"),
    (10002934, "a process was paused until after the end of its close"),
    (10021211, "a reply with a shorter TTL replaced an entry, which had not been invalidated"),
    (10073521, "a value that was stale on arrival was not seen as a hit"),
    (10047176, "a shared publication named a key twice, each time with another lock"),
    (10048205, "the same"),
    (10059015, "the same"),
    (10066755, "the same, for a repeated write and a load"),
    (10067989, "the same"),
    (20054791, "the same"),
    (20172103, "the same"),
    (20183464, "the same"),
    (10065707, "a process read an old entry at the end of a pause, before its socket"),
    (20112199, "the same, with a link that was dead when the pause began"),
    (20024676, "a stored \"not found\" was credited to a load beside that of the write"),
    (3686, "a requested removal was taken for one that gives back a lock"),
    (4180, "the same"),
    (10003541, "the same"),
    (10004810, "a process whose handshake was refused as LOADING passed for connected"),
    (10025158, "suspects of a hang-up go one by one, so that a call read late on the next link"),
    (10031146, "the time for a handshake was too short for its round trips"),
    (10032316, "a process that leaves its link in the same step has no connection"),
    (10050575, "a command on which the server has hung up fails until its pause is over"),
    (10081571, "a batch joined a load while its process was cut off, and was judged after that"),
    (10102430, "a value was kept with the TTL of the lock that replaced it"),
    (30013494, "a call read late on a dead link, which had no room for another command"),
    (10018138, "a repeated removal that is refused for good is given up"),
    (10125796, "on a slow line, the search for a culprit outlasted the time of other commands"),
    (10185721, "the value from before a cut-off commit stays away, and its lock was extended"),
    (10022187, "a call that was not polled led a reload, and its end released the lock"),
    (10049541, "a write began to load between a load and the one that took it over"),
    (10189486, "a server that did not read outlasted the time for a handshake"),
    (10231435, "a process was paused twice in a row before a call joined what it had loaded"),
    (10010307, "a lock whose release was refused in unknown words was given back without a script"),
    (10011739, "the same, for the lock of a refresh"),
    (10194455, "a suspect of a hang-up was alone on a connection that answered nothing"),
    (20010759, "a lock was kept while the release of its key was known to make the server hang up"),
    (20016914, "the same"),
    (20019049, "a server that did not read delayed three samples, and locks were extended"),
    (29279, "a release took the lock of another call for that of a load that had ended"),
];

/// The seeds that found bugs in clusters.
const FOUND_IN_CLUSTERS: [(u64, &str); 4] = [
    (1875, "a read deleted the lock of a write whose overdue reply held the old value"),
    // The checker was wrong in this world.
    (1014510, "the lock of a commit that was cut off expired beside an older load"),
    (1015691, "the same, while a reload of the key may have run"),
    (1015846, "a list of some shards was taken for a slot map on a connection with RESP2"),
];

/// The seeds that found bugs with large values.
const FOUND_WITH_LARGE_VALUES: [(u64, &str); 7] = [
    (26067, "three delayed exchanges, one in pieces, extended a lock beside punctual heartbeats"),
    (34476, "a release that had to wait for room went over the link that its key had left"),
    (48204, "a key that changed its link twice at once blocked the large link for good"),
    (43720, "a dead large link opened the breaker, and the answers to `PING` did not close it"),
    // The checker was wrong about these.
    (45715, "two links on a slow line logged in so often that one of them always waited"),
    (67310, "on a slow line, the read of a value that had grown outlasted the time for a wake-up"),
    (71552, "a delayed copy of a lock command was granted after the lock of a running commit"),
];

/// The seeds that found bugs with large values in clusters.
const FOUND_WITH_LARGE_VALUES_IN_CLUSTERS: [(u64, &str); 11] = [
    (1109, "a command kept its `ASKING` when the large link was lost before it was sent"),
    (3559, "a read in pieces was sent again to a node that had just redirected it"),
    (5820, "the same"),
    (6365, "the same"),
    (6580, "the same"),
    (8307, "the same"),
    (9012, "the same"),
    (8647, "hang-ups at scripts of two keys forbade all scripts, although others were answered"),
    // The checker was wrong about these.
    (6308, "a read in pieces is repeated at once on its connection, although its slot has moved"),
    (6784, "the same"),
    (18109, "only the last command of a transaction was redirected, and the next went there"),
];

#[test]
fn every_invariant_holds_for_seeds_that_found_bugs_with_large_values() {
    let kinds =
        [(false, &FOUND_WITH_LARGE_VALUES[..]), (true, &FOUND_WITH_LARGE_VALUES_IN_CLUSTERS[..])];
    for (cluster, found) in kinds {
        let options = Options { cluster, large: true, ..Options::default() };
        for (seed, _) in found {
            let run = simulate(*seed, &options);
            assert!(run.violation.is_none(), "seed {seed}: {:?}", run.violation);
        }
    }
}

#[test]
fn every_invariant_holds_for_seeds_that_found_bugs() {
    for (seed, _) in FOUND {
        check(seed, false);
    }
    for (seed, _) in FOUND_IN_CLUSTERS {
        check(seed, true);
    }
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    for cluster in KINDS {
        let hash = |seed| simulate(seed, &options(cluster)).hash;
        for seed in 0..8 {
            assert_eq!(hash(seed), hash(seed));
            assert_ne!(hash(seed), hash(seed + 1));
        }
    }
}

#[test]
fn recording_a_trace_does_not_change_the_run() {
    for cluster in KINDS {
        let traced = Options { trace: true, ..options(cluster) };
        let run = simulate(3, &traced);
        assert_eq!(run.hash, check(3, cluster).hash);
        assert!(run.trace.len() > 10);
    }
}

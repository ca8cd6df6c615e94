//! Scripts: the cache, redcache's own, and what they do to tracking.

use super::super::Probe;

pub(in super::super) const PROBES: &[Probe] = &[
    (
        "scripts are loaded, found and flushed",
        &[
            "a SCRIPT LOAD $publish",
            "a SCRIPT EXISTS $publish.sha $release.sha x",
            "a EVALSHA $publish.sha 1 k L v 1000",
            "a EVALSHA $release.sha 1 k L",
            "a SCRIPT FLUSH",
            "a EVALSHA $publish.sha 1 k L v 1000",
            "a SCRIPT FLUSH SYNC",
            "a SCRIPT FLUSH ASYNC",
            "a SCRIPT FLUSH x",
            "a SCRIPT FLUSH SYNC x",
            "a SCRIPT KILL",
        ],
    ),
    (
        "the names that redcache gives its scripts are theirs",
        &[
            "a SCRIPT LOAD $publish",
            "a SCRIPT LOAD $release",
            "a SCRIPT LOAD $renew",
            "a SCRIPT LOAD $touch",
            "a SCRIPT EXISTS $publish.sha $release.sha $renew.sha $touch.sha",
        ],
    ),
    (
        "EVAL loads what it runs",
        &[
            "a EVAL $one 0",
            "a EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            "a EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0",
        ],
    ),
    (
        "the number of keys must make sense",
        &[
            "a EVAL $one 1",
            "a EVAL $one -1",
            "a EVAL $one x",
            "a EVALSHA x 3 a",
            "a EVALSHA $publish.sha 3 a",
            "a SCRIPT LOAD $one",
            "a EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 3 a",
        ],
    ),
    (
        "publish replaces the own lock and nothing else",
        &[
            "a SET k L PX 5000",
            "a EVAL $publish 1 k M v 100000",
            "a GET k",
            "a EVAL $publish 1 k L v 100000",
            "a GET k",
            "a TTL k",
            "a EVAL $publish 1 k L w 100000",
            "a GET k",
            "a EVAL $publish 1 nope L w 100000",
            "a EXISTS nope",
            "a EVAL $publish 1 nope '' w 100000",
        ],
    ),
    (
        "publish refuses a time to live that makes no sense and keeps the lock",
        &[
            "a SET k L PX 100000",
            "a EVAL $publish 1 k L v 0",
            "a EVAL $publish 1 k L v x",
            "a GET k",
            "a TTL k",
        ],
    ),
    (
        "release deletes the own lock and nothing else",
        &[
            "a SET k L PX 5000",
            "a EVAL $release 1 k M",
            "a EVAL $release 1 k L",
            "a EXISTS k",
            "a EVAL $release 1 k L",
        ],
    ),
    (
        "renew gives the own lock time and nothing else",
        &[
            "a SET k L PX 5000",
            "a EVAL $renew 1 k M 100000",
            "a EVAL $renew 1 k L 100000",
            "a TTL k",
            "a EVAL $renew 1 nope L 1000",
            "a EVAL $renew 1 k L x",
        ],
    ),
    (
        "touch gives a value time, and never a lock",
        &[
            "a SET k lock:1 PX 5000",
            "a EVAL $touch 1 k lock: 100000",
            "a SET k value PX 5000",
            "a EVAL $touch 1 k lock: 100000",
            "a TTL k",
            "a SET k '' PX 5000",
            "a EVAL $touch 1 k lock: 100000",
            "a EVAL $touch 1 nope lock: 1000",
        ],
    ),
    (
        "a key of another type ends each script",
        &[
            "a HSET h f v",
            "a EVAL $publish 1 h L v 1000",
            "a EVAL $release 1 h L",
            "a EVAL $renew 1 h L 1000",
            "a EVAL $touch 1 h L 1000",
            "a TYPE h",
        ],
    ),
    (
        "an error of a script names the script",
        &["a EVAL $ttl0 1 k", "a HSET h f v", "a EVAL $get 1 h"],
    ),
    (
        "a read in a script is tracked",
        &["a CLIENT TRACKING ON NOLOOP", "a EVAL $get 1 k", "b SET k 1", "a"],
    ),
    (
        "a read of a key that was not declared is not tracked",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "a EVAL $other 1 declared k",
            "b SET k 1",
            "a",
            "b SET declared 1",
            "a",
            "a EVAL $other 0 k",
            "b SET k 2",
            "a",
        ],
    ),
    (
        "declared keys that are not read are not tracked",
        &["a CLIENT TRACKING ON", "a EVAL $one 1 k", "b SET k 1", "a"],
    ),
    (
        "a read in a script tracks every declared key",
        &["a CLIENT TRACKING ON", "a EVAL $get 2 k l", "b SET k 1 ; SET l 1", "a"],
    ),
    (
        "a script that writes tracks nothing",
        &["a CLIENT TRACKING ON NOLOOP", "a EVAL $set 1 k 1", "b SET k 2", "a"],
    ),
    (
        "a script that reads, then writes, leaves its client untracked",
        &["a CLIENT TRACKING ON NOLOOP", "a EVAL $getset 1 k 1", "b SET k 2", "a"],
    ),
    (
        "a script that writes, then reads, leaves its client tracked",
        &["a CLIENT TRACKING ON NOLOOP", "a EVAL $setget 1 k 1", "b SET k 2", "a"],
    ),
    (
        "without NOLOOP the own write of a script is reported after its reply",
        &["a CLIENT TRACKING ON", "a GET k", "a EVAL $setget 1 k 1 ; PING", "b SET k 2", "a"],
    ),
    (
        "without NOLOOP a script that reads and writes is reported once",
        &["a CLIENT TRACKING ON", "a EVAL $getset 1 k 1 ; PING", "b SET k 2", "a"],
    ),
    (
        "publish leaves the winner tracked and tells the others",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "b CLIENT TRACKING ON NOLOOP",
            "a GET k ; PTTL k ; SET k L NX PX 5000",
            "b GET k ; PTTL k ; SET k M NX PX 5000",
            "a EVAL $publish 1 k L v 100000",
            "a",
            "b",
            "c SET k w",
            "a",
            "b",
        ],
    ),
    (
        "publish leaves the loser tracked",
        &[
            "b SET k M",
            "a CLIENT TRACKING ON NOLOOP",
            "a EVAL $publish 1 k L v 1000",
            "b SET k w",
            "a",
        ],
    ),
    (
        "release leaves nobody tracked",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "b CLIENT TRACKING ON NOLOOP",
            "a SET k L PX 5000",
            "b GET k",
            "a EVAL $release 1 k L",
            "a",
            "b",
            "c SET k v",
            "a",
            "b",
        ],
    ),
    (
        "renew and touch are reported to others",
        &[
            "a SET k L PX 5000",
            "b CLIENT TRACKING ON",
            "b GET k",
            "a EVAL $renew 1 k L 5000",
            "b",
            "b GET k",
            "a EVAL $touch 1 k lock: 5000",
            "b",
        ],
    ),
    (
        "with OPTIN a script is tracked after CACHING",
        &[
            "a CLIENT TRACKING ON OPTIN",
            "a EVAL $get 1 k",
            "b SET k 1",
            "a",
            "a CLIENT CACHING YES ; EVAL $get 1 k",
            "b SET k 2",
            "a",
        ],
    ),
    (
        "an expired lock is no lock for a script",
        &[
            "a DEBUG SET-ACTIVE-EXPIRE 0",
            "a SET k L PX 5",
            "wait 10",
            "a EVAL $publish 1 k L v 1000",
            "a EXISTS k",
        ],
    ),
    (
        "scripts count as writes of their client",
        &["p EVAL $set 1 k 1", "p EVAL $get 1 k", "p EVAL $get 1 l", "a EVAL $get 1 l"],
    ),
];

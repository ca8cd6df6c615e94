//! Probes of the pushes for a client's own changes, with `NOLOOP` and without.

use super::super::probe::Probe;

pub(in super::super) const PROBES: &[Probe] = &[
    (
        "without NOLOOP an own write is reported after its reply",
        &["a CLIENT TRACKING ON", "a GET k", "a SET k 1 ; PING"],
    ),
    (
        "an own write is reported once",
        &["a CLIENT TRACKING ON", "a GET k", "a SET k 1 ; SET k 2 ; PING"],
    ),
    (
        "an own write of several keys is reported key by key",
        &["b SET k 1 ; SET l 1", "a CLIENT TRACKING ON", "a MGET k l", "a DEL l k ; PING"],
    ),
    (
        "an own PEXPIRE is reported",
        &[
            "b SET k 1",
            "a CLIENT TRACKING ON",
            "a GET k",
            "a PEXPIRE k 100000 ; PING",
            "a GET k",
            "a PEXPIRE k -1 ; PING",
        ],
    ),
    (
        "an own GETDEL is reported after its reply",
        &["b SET k 1", "a CLIENT TRACKING ON", "a GET k", "a GETDEL k ; PING"],
    ),
    (
        "an own flush is reported after its reply",
        &["a CLIENT TRACKING ON", "a GET k", "a FLUSHALL ; PING", "a FLUSHDB ; PING"],
    ),
    (
        "an own flush is reported in spite of NOLOOP",
        &["a CLIENT TRACKING ON NOLOOP", "a GET k", "a FLUSHALL ; PING", "b FLUSHDB", "a"],
    ),
    (
        "NOLOOP hides an own write",
        &["a CLIENT TRACKING ON NOLOOP", "a GET k", "a SET k 1 ; PING", "a"],
    ),
    (
        "NOLOOP forgets the key at an own write, without a word",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k",
            "a SET k 1",
            "b SET k 2",
            "a",
            "a GET k",
            "b SET k 3",
            "a",
        ],
    ),
    (
        "an own write under NOLOOP is reported to others",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "b CLIENT TRACKING ON NOLOOP",
            "a GET k",
            "b GET k",
            "a SET k 1",
            "a",
            "b",
            "b SET k 2",
            "a",
        ],
    ),
    (
        "an own write that changed nothing forgets nothing",
        &[
            "b SET k 1",
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k",
            "a SET k 2 NX",
            "a DEL l",
            "a PEXPIRE k 5 GT",
            "b SET k 3",
            "a",
        ],
    ),
    (
        "the pipeline that reads or locks leaves the winner untracked",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k ; PTTL k ; SET k L NX PX 5000 ; PING",
            "b SET k 2",
            "a",
        ],
    ),
    (
        "the pipeline that reads or locks leaves the loser tracked",
        &[
            "b SET k L PX 5000",
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k ; PTTL k ; SET k M NX PX 5000",
            "b SET k v",
            "a",
        ],
    ),
    (
        "the same pipeline without NOLOOP reports the lock to its owner",
        &["a CLIENT TRACKING ON", "a GET k ; PTTL k ; SET k L NX PX 5000 ; PING"],
    ),
    (
        "a command that reads and locks tracks nothing, and is reported once if the key was tracked",
        &[
            "a CLIENT TRACKING ON",
            "a SET k L NX GET PX 5000 ; PING",
            "b SET k 2",
            "a PING",
            "a SET k M NX GET PX 5000 ; PING",
            "b SET k 3",
            "a GET l ; SET l L NX GET PX 5000 ; PING",
        ],
    ),
    (
        "an expired key met by an own read is not reported under NOLOOP, but tracked again",
        &[
            "b DEBUG SET-ACTIVE-EXPIRE 0",
            "a CLIENT TRACKING ON NOLOOP",
            "a SET k v PX 20 ; GET k",
            "wait 25",
            "a GET k ; PING",
            "b SET k v",
            "a",
        ],
    ),
    (
        "an expired key met by an own write is forgotten under NOLOOP",
        &[
            "b DEBUG SET-ACTIVE-EXPIRE 0",
            "a CLIENT TRACKING ON NOLOOP",
            "a SET k v PX 20 ; SET l v PX 20 ; SET m v PX 20 ; MGET k l m",
            "wait 25",
            "a SET k v NX ; DEL l ; PEXPIRE m 5 ; PING",
            "b SET k 1 ; SET l 1 ; SET m 1",
            "a",
        ],
    ),
    (
        "an expired key met by an own write is reported once without NOLOOP",
        &[
            "b DEBUG SET-ACTIVE-EXPIRE 0",
            "a CLIENT TRACKING ON",
            "a SET k v PX 20 ; SET l v PX 20 ; SET m v PX 20 ; SET n v PX 20 ; MGET k l m n",
            "wait 25",
            "a SET k v NX ; DEL l ; PEXPIRE m 5 ; SET n w ; PING",
        ],
    ),
    (
        "under NOLOOP a full table forgets keys at an own read, without a word",
        &[
            "b CONFIG SET tracking-table-max-keys 1",
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k1 ; GET k2 ; PING",
            "b SET k1 1 ; SET k2 1",
            "~a",
        ],
    ),
    (
        "a full table reports keys that it forgets at a command of others even under NOLOOP",
        &[
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k1 ; GET k2",
            "b CONFIG SET tracking-table-max-keys 1 ; PING",
            "~a",
            "b SET k1 1 ; SET k2 1",
            "~a",
        ],
    ),
    (
        "keys evicted at an own command are reported before its reply",
        &[
            "b SET k v",
            "a CLIENT TRACKING ON",
            "a GET k",
            "a CONFIG SET maxmemory-policy allkeys-random maxmemory 1 ; GET l ; CONFIG SET maxmemory 0",
        ],
    ),
    (
        "under NOLOOP keys evicted at an own command are not reported",
        &[
            "b SET k v",
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k",
            "a CONFIG SET maxmemory-policy allkeys-random maxmemory 1 ; GET l ; CONFIG SET maxmemory 0",
            "b SET k w",
            "a",
        ],
    ),
    (
        "keys evicted at a command of others are reported even under NOLOOP",
        &[
            "b SET k v",
            "a CLIENT TRACKING ON NOLOOP",
            "a GET k",
            "b CONFIG SET maxmemory-policy allkeys-random maxmemory 1 ; GET l ; CONFIG SET maxmemory 0",
            "a",
        ],
    ),
];

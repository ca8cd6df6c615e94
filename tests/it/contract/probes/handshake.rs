//! Probes of the handshake: protocol versions, passwords, names, databases.

use super::super::probe::Probe;

pub(in super::super) const PROBES: &[Probe] = &[
    (
        "HELLO chooses the version of the protocol",
        &["p HELLO 3", "p HELLO", "p HELLO 2", "p HELLO"],
    ),
    (
        "HELLO refuses other versions",
        &["p HELLO 4", "p HELLO 1", "p HELLO three", "p HELLO 3x", "p HELLO"],
    ),
    (
        "HELLO names the option that it does not know",
        &["p HELLO 3 FOO", "p HELLO 3 AUTH default", "p HELLO 3 SETNAME", "p CLIENT GETNAME"],
    ),
    (
        "HELLO sets the client's name",
        &[
            "p HELLO 3 SETNAME me",
            "p CLIENT GETNAME",
            "p HELLO 3 SETNAME a\\sb",
            "p CLIENT GETNAME",
        ],
    ),
    (
        "without a password anybody is the default user",
        &[
            "p HELLO 3 AUTH default x",
            "p HELLO 3 AUTH other x",
            "p AUTH default x",
            "p AUTH other x",
        ],
    ),
    ("ROLE says that the server is a primary", &["p ROLE", "p HELLO 3", "p ROLE", "p ROLE x"]),
    ("AUTH without a password set says so", &["p AUTH x", "p AUTH", "p AUTH a b c"]),
    (
        "a password keeps commands out until it is said",
        &[
            "a CONFIG SET requirepass pw",
            "p GET k",
            "p PING",
            "p FOO",
            "p GET",
            "p CLIENT ID",
            "p AUTH wrong",
            "p AUTH default wrong",
            "p AUTH other pw",
            "p AUTH pw",
            "p GET k",
        ],
    ),
    (
        "HELLO needs the password too",
        &[
            "a CONFIG SET requirepass pw",
            "p HELLO",
            "p HELLO 2",
            "p HELLO 3",
            "p HELLO 4",
            "p HELLO 3 AUTH default wrong",
            "p PING",
            "p HELLO 3 AUTH default pw",
            "p PING",
        ],
    ),
    (
        "HELLO takes its options one after the other",
        &[
            "a CONFIG SET requirepass pw",
            "p HELLO 3 SETNAME n",
            "p HELLO 3 AUTH default pw SETNAME bad\\sname",
            "p PING",
            "p HELLO",
            "p CLIENT GETNAME",
        ],
    ),
    (
        "a client that is connected stays when a password is set",
        &["a CONFIG SET requirepass pw", "a PING"],
    ),
    (
        "RESET takes everything back",
        &[
            "a CONFIG SET requirepass pw",
            "p HELLO 3 AUTH default pw SETNAME me",
            "p SELECT 3",
            "p CLIENT TRACKING ON",
            "p RESET",
            "p GET k",
            "p AUTH pw",
            "p CLIENT GETNAME",
            "p CLIENT TRACKINGINFO",
            "p SET k v",
            "a GET k",
        ],
    ),
    (
        "a client's name is set, read and taken away",
        &[
            "p CLIENT GETNAME",
            "a CLIENT GETNAME",
            "a CLIENT SETNAME me",
            "a CLIENT GETNAME",
            "a CLIENT SETNAME two\\swords",
            "a CLIENT SETNAME line\\n",
            "a CLIENT SETNAME ''",
            "a CLIENT GETNAME",
        ],
    ),
    ("the id of a client stays", &["a CLIENT ID", "a RESET", "a CLIENT ID", "a CLIENT ID x"]),
    (
        "databases are apart",
        &[
            "a SET k zero",
            "a SELECT 5",
            "a GET k",
            "a SET k five",
            "a DBSIZE",
            "b GET k",
            "a SELECT 16",
            "a SELECT -1",
            "a SELECT x",
            "a GET k",
        ],
    ),
    ("QUIT says goodbye", &["a QUIT", "a end", "p QUIT now", "p end"]),
    ("what follows QUIT is not answered", &["a QUIT ; PING", "a end"]),
    (
        "PING and ECHO give back what they are given",
        &["a PING", "a PING x", "a PING x y", "a ECHO x\\r\\ny", "a ECHO"],
    ),
    (
        "CLIENT NO-EVICT is a switch",
        &[
            "a CLIENT NO-EVICT ON",
            "a CLIENT NO-EVICT off",
            "a CLIENT NO-EVICT x",
            "a CLIENT NO-EVICT",
        ],
    ),
    (
        "CLIENT KILL ends a connection by its id",
        &["a PING", "b CLIENT KILL ID $a", "a end", "b CLIENT KILL ID $a", "b PING"],
    ),
    (
        "a client spares itself unless told otherwise",
        &[
            "a CLIENT KILL ID $a",
            "a CLIENT KILL ID $a SKIPME yes",
            "a CLIENT KILL ID $a SKIPME no ; PING",
            "a end",
        ],
    ),
    (
        "CLIENT KILL says what it cannot do",
        &[
            "a CLIENT KILL ID 0",
            "a CLIENT KILL ID x",
            "a CLIENT KILL FOO 1",
            "a CLIENT KILL ID 1 SKIPME",
            "a CLIENT KILL ID 1 SKIPME maybe",
            "a CLIENT KILL 1.2.3.4:5",
            "a CLIENT KILL",
            "a CLIENT KILL ID 999999",
        ],
    ),
    (
        "a full server says so before it is asked",
        &["a CONFIG SET maxclients 2", "p end", "a CONFIG SET maxclients 1000", "q PING"],
    ),
];

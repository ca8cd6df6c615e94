//! Probes of requests that the server accepts or rejects.

use super::super::probe::Probe;

pub(in super::super) const PROBES: &[Probe] = &[
    (
        "an unknown command is quoted",
        &["a FOO", "a FOO bar baz", "a foo\\r\\nbar x\\ry", "a FOO ''", "a ''"],
    ),
    (
        "a long unknown command is quoted in part",
        &[
            "a FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF x",
            "a F AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB C",
        ],
    ),
    (
        "a wrong number of words is told by the command's full name",
        &[
            "a GET",
            "a get a b",
            "a SET k",
            "a MGET",
            "a DEL",
            "a HSET h f",
            "a HSET h f v g",
            "a CLIENT",
            "a CLIENT SETNAME",
            "a client tracking",
            "a CLIENT CACHING",
            "a SCRIPT",
            "a SCRIPT LOAD",
            "a SCRIPT EXISTS",
            "a EVAL x",
            "a CONFIG GET",
            "a CONFIG SET maxmemory",
            "a CONFIG SET maxmemory 0 maxclients",
            "a DBSIZE x",
            "a CLUSTER",
        ],
    ),
    (
        "an unknown subcommand is quoted",
        &["a CLIENT FOO", "a client foo", "a SCRIPT FOO x", "a CONFIG FOO", "a CLIENT FOO\\nBAR"],
    ),
    (
        "a server without a cluster says so",
        &["a CLUSTER KEYSLOT k", "a CLUSTER SHARDS", "a CLUSTER SLOTS"],
    ),
    (
        "commands are known in letters of any case",
        &["a pInG", "a Client gEtName", "a eVaL $one 0", "a sEt k v pX 100000 nX"],
    ),
    (
        "a request that comes in pieces is one request",
        &[
            "a bytes *2\\r\\n$4\\r\\nEC",
            "a bytes HO\\r\\n$2\\r",
            "a bytes \\nhi\\r",
            "a bytes \\n",
            "a PING",
        ],
    ),
    ("empty requests are passed over", &["a bytes *0\\r\\n*-1\\r\\n*-5\\r\\n", "a PING"]),
    ("a request without an array length ends the connection", &["a bytes *x\\r\\n", "a end"]),
    ("a request of too many words ends the connection", &["a bytes *9999999999\\r\\n", "a end"]),
    ("a word without its length ends the connection", &["a bytes *1\\r\\n+4\\r\\n", "a end"]),
    ("a word of negative length ends the connection", &["a bytes *1\\r\\n$-1\\r\\n", "a end"]),
    (
        "a word that is too long ends the connection",
        &["a bytes *1\\r\\n$9999999999\\r\\n", "a end"],
    ),
    (
        "what came before a malformed request is answered",
        &["a bytes *1\\r\\n$4\\r\\nPING\\r\\n*1\\r\\n!\\r\\n", "a end"],
    ),
    (
        "settings are read, changed and refused",
        &[
            "a CONFIG GET maxmemory",
            "a CONFIG GET MaxMemory",
            "a CONFIG GET nope",
            "p CONFIG GET maxmemory-policy",
            "a CONFIG GET tracking-table-max-keys",
            "a CONFIG SET maxmemory 10mb maxclients 99",
            "a CONFIG GET maxmemory",
            "a CONFIG GET maxclients",
            "a CONFIG SET maxmemory much",
            "a CONFIG SET maxmemory-policy x",
            "a CONFIG SET tracking-table-max-keys -1",
            "a CONFIG SET tracking-table-max-keys x",
            "a CONFIG SET maxclients 0",
            "a CONFIG SET nope 1",
            "a CONFIG SET maxmemory 5mb nope 1",
            "a CONFIG GET maxmemory",
            "a CONFIG SET maxmemory-policy AllKeys-LRU",
            "a CONFIG GET maxmemory-policy",
        ],
    ),
];

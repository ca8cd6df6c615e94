//! The help texts.

const INTRODUCTION: &str = "\
redcache examines a Redis or Valkey server and the keys that the cache library
redcache keeps in it.

Usage:
  redcache doctor URL             find out whether redcache works with a server
  redcache inspect URL KEY        show what is stored under a key
  redcache watch URL [PREFIX]     show changed keys as they change
  redcache bench URL              measure the cache against this server
  redcache COMMAND --help         describe a command
  redcache --version
";

const SHARED: &str = "
The URL is that of your application:
  redis://user:password@host:port/db         one server
  redis-cluster://host:port,host:port        a cluster, by some of its nodes
  redis-sentinel://host:port,host:port/name  the primary that sentinels name
  redis+unix:///path/to.sock                 a Unix domain socket
  rediss://...                               the same with TLS; also
                                             rediss-cluster, rediss-sentinel
  env:NAME                                   the URL in the variable NAME, which
                                             keeps a password out of `ps`
No output contains a password.

Options:
  --json                write JSON, one object per line
  --timeout SECONDS     limit each step that waits for a server (default: 5)
  -h, --help            print this help
";

const STATUSES: &str = "
Exit status:
  0  it worked; for doctor: redcache works with all its functions
  1  doctor: redcache works with a part of its functions
  2  the arguments or the URL cannot be used
  3  there is no server at the address, or it does not answer, or TLS is on one
     side only
  4  the server refuses the login, or wants one
  5  the URL is the wrong one for this server: a sentinel, a replica, or a node
     of a cluster
  6  the server refuses a command that redcache cannot do without
";

const DOCTOR: &str = "\
redcache doctor URL [--prefix PREFIX] [--json] [--timeout SECONDS]

Says whether redcache works with a server, and what does not. It connects as an
application would, reads what the server says of itself, and runs each command
that redcache uses on a key of its own, which it deletes and which also expires
within 10 seconds. It writes that key from a second connection and waits for the
invalidation. At the end it prints the ACL lines for the login of the URL. In a
cluster it does so on each primary.

  --prefix PREFIX       begin the key with this text, for a login that may only
                        use such keys
";

const INSPECT: &str = "\
redcache inspect URL KEY [--value] [--json] [--timeout SECONDS]

Shows what is stored under a key: nothing, a value with its envelope, the marker
for \"not found\", or a lock with its holder and its age. It prints lengths and
not the value. It changes nothing.

  --value               print the value, too
";

const WATCH: &str = "\
redcache watch URL [PREFIX] [--for SECONDS] [--count N] [--json]

Prints each key that changes, as the server invalidates it. With a prefix, only
keys that begin with it. It watches every primary of a cluster. The server
reports each change to this connection, which costs it some work. Ctrl-C ends
it.

  --for SECONDS         end after this time
  --count N             end after this number of keys
";

const BENCH: &str = "\
redcache bench URL [--calls N] [--prefix PREFIX] [--json]

Measures three reads by one thread: a hit in the near cache, a hit in Redis, and
a miss whose value is loaded and stored. Its keys have a prefix of their own; it
deletes them at the end, and they expire within a minute.

  --calls N             reads of each kind (default: 2000, at most 100000)
  --prefix PREFIX       begin the keys with this text
";

/// Return the help of the program.
pub(crate) fn whole() -> String {
    [INTRODUCTION, SHARED, STATUSES].concat()
}

/// Return the help of one command; `None` if there is no such command.
pub(crate) fn of(subcommand: &str) -> Option<String> {
    let text = match subcommand {
        "doctor" => DOCTOR,
        "inspect" => INSPECT,
        "watch" => WATCH,
        "bench" => BENCH,
        _ => return None,
    };
    Some([text, SHARED, STATUSES].concat())
}

//! Properties that the contract tests cannot observe from outside: time, disturbances and queries.

use std::time::{Duration, Instant};

use super::{ClientId, CommandCount, Config, Event, HelloSupport, Reply, Server};

const HELLO_3: &str = "HELLO 3";

/// A server and its clients with a clock.
struct World {
    now: Instant,
    server: Server,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let now = Instant::now();
        Self { now, server: Server::new(now, config) }
    }

    fn connect(&mut self) -> ClientId {
        let client = self.server.connect(self.now);
        self.ask(client, HELLO_3);
        client
    }

    /// Send a command of `client` and return what the server sends back.
    fn ask(&mut self, client: ClientId, command: &str) -> String {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let mut request = Vec::new();
        redcache_core::resp::command(&mut request, &words);
        self.server.handle_bytes(self.now, client, &request);
        self.sent_to(client)
    }

    /// Return what the server sends to `client`; nothing may go to another client.
    fn sent_to(&mut self, client: ClientId) -> String {
        let mut sent = String::new();
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Transmit { client: to, bytes } if to == client => {
                    sent.push_str(&String::from_utf8_lossy(&bytes));
                }
                Event::HangUp { client: of } if of == client => sent.push_str("<end>"),
                other => panic!("unexpected {other:?}"),
            }
        }
        sent
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.server.handle_timeout(self.now);
    }

    fn check(&mut self, client: ClientId, dialogue: &[(&str, &str)]) {
        for (command, expected) in dialogue {
            assert_eq!(self.ask(client, command), *expected, "{command}");
        }
    }
}

#[test]
fn the_server_requests_a_timeout_for_an_expiring_key_and_then_invalidates_it() {
    let mut world = World::new();
    let client = world.connect();
    world.ask(client, "CLIENT TRACKING ON");
    assert_eq!(world.server.poll_timeout(), None);
    world.check(client, &[("SET k v PX 150", "+OK\r\n"), ("GET k", "$1\r\nv\r\n")]);
    let wakes_at = world.server.poll_timeout().unwrap();
    assert_eq!(wakes_at - world.now, Duration::from_millis(200));
    assert_eq!(world.server.ttl(0, b"k"), Some(Duration::from_millis(150)));
    world.wait(199);
    assert_eq!(world.sent_to(client), "");
    assert_eq!(world.server.value(0, b"k"), None, "logically it has expired");
    world.wait(1);
    assert_eq!(world.sent_to(client), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    assert_eq!((world.server.expires_at(0, b"k"), world.server.poll_timeout()), (None, None));
}

#[test]
fn without_active_expiry_the_server_requests_no_timeout() {
    let mut world = World::with(Config { active_expiry: false, ..Config::default() });
    let client = world.connect();
    world.check(client, &[("SET k v PX 1", "+OK\r\n")]);
    assert_eq!(world.server.poll_timeout(), None);
    world.wait(1000);
    assert_eq!(world.ask(client, "DBSIZE"), ":1\r\n");
}

#[test]
fn an_overfull_tracking_table_shrinks_in_the_background() {
    let mut world = World::with(Config { tracking_keys_max: 1, ..Config::default() });
    let client = world.connect();
    world.ask(client, "CLIENT TRACKING ON NOLOOP");
    world.check(client, &[("MGET k l", "*2\r\n_\r\n_\r\n")]);
    assert_eq!(world.server.tracked_keys(), 2);
    let wakes_at = world.server.poll_timeout().unwrap();
    assert!(wakes_at - world.now <= Duration::from_millis(100));
    world.wait(100);
    assert_eq!(world.server.tracked_keys(), 1);
    // No command of the client is running, so NOLOOP does not apply.
    assert!(world.sent_to(client).starts_with(">2\r\n$10\r\ninvalidate\r\n"));
}

#[test]
fn equal_inputs_give_equal_outputs() {
    let run = || {
        let mut world = World::with(Config { tracking_keys_max: 2, seed: 7, ..Config::default() });
        let client = world.connect();
        world.ask(client, "CLIENT TRACKING ON");
        (0..50).map(|key| world.ask(client, &format!("GET k{key}"))).collect::<String>()
    };
    assert_eq!(run(), run());
}

#[test]
fn queries_return_the_tracking_state() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    world.ask(one, "CLIENT TRACKING ON NOLOOP");
    world.ask(one, "GET k");
    assert!(world.server.is_tracked(one, b"k") && !world.server.is_tracked(two, b"k"));
    assert!(world.server.tracking(one).unwrap().noloop);
    assert_eq!(world.server.tracking(two), None);
    assert_eq!(world.server.clients().collect::<Vec<_>>(), [one, two]);
    world.ask(one, "SET k v");
    assert!(!world.server.is_tracked(one, b"k"), "an own write ends it");
}

#[test]
fn commands_are_counted_and_logged_up_to_a_limit() {
    let mut world = World::with(Config { log_max: 2, ..Config::default() });
    let client = world.connect();
    for command in ["HSET h f v", "GET h", "GET k", "GET", "client id"] {
        world.ask(client, command);
    }
    let counted = CommandCount { calls: 2, rejected: 1, failed: 1 };
    assert_eq!(world.server.count("get"), counted);
    assert_eq!(world.server.count("client|id").calls, 1);
    let log: Vec<_> = world.server.log().map(|command| command.args.concat()).collect();
    assert_eq!(log, [&b"GET"[..], b"clientid"]);
    world.server.clear_record();
    assert_eq!((world.server.count("get"), world.server.log().len()), (CommandCount::default(), 0));
}

#[test]
fn a_loading_server_refuses_commands_on_keys() {
    let mut world = World::new();
    let client = world.connect();
    world.server.set_loading(true);
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    world.check(client, &[("GET k", loading), ("PING", loading), ("CLIENT ID", ":1\r\n")]);
    world.server.set_loading(false);
    world.check(client, &[("GET k", "_\r\n")]);
}

#[test]
fn a_refusal_applies_once_to_the_next_command_of_its_name() {
    let mut world = World::new();
    let client = world.connect();
    world.server.reject_next("get", "TRYAGAIN one");
    world.server.reject_next("get", "TRYAGAIN two");
    world.check(
        client,
        &[
            ("PING", "+PONG\r\n"),
            ("GET k", "-TRYAGAIN one\r\n"),
            ("Get k", "-TRYAGAIN two\r\n"),
            ("GET k", "_\r\n"),
        ],
    );
}

#[test]
fn a_server_out_of_memory_refuses_only_commands_that_need_memory() {
    let mut world = World::new();
    let client = world.connect();
    world.server.set_out_of_memory(true);
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    world.check(client, &[("SET k v", oom), ("GET k", "_\r\n"), ("DEL k", ":0\r\n")]);
}

#[test]
fn an_evicted_key_is_invalidated() {
    let mut world = World::new();
    let client = world.connect();
    world.ask(client, "CLIENT TRACKING ON NOLOOP");
    world.check(client, &[("SET k v", "+OK\r\n"), ("GET k", "$1\r\nv\r\n")]);
    assert!(world.server.evict(0, b"k") && !world.server.evict(0, b"k"));
    assert_eq!(world.sent_to(client), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
}

#[test]
fn a_restart_ends_connections_and_clears_scripts_and_optionally_keys() {
    for keep_keys in [true, false] {
        let mut world = World::new();
        world.server.learn_script("return 1", |_| Ok(Reply::Integer(1)));
        let client = world.connect();
        world.check(client, &[("SET k v", "+OK\r\n")]);
        world.ask(client, "SCRIPT LOAD return 1");
        world.server.restart(world.now, keep_keys);
        assert_eq!(world.sent_to(client), "<end>");
        assert_eq!(world.server.script_hashes().count(), 0);
        assert_eq!(world.server.value(0, b"k").is_some(), keep_keys);
        assert_eq!(world.server.clients().count(), 0);
    }
}

#[test]
fn a_client_beyond_the_limit_gets_an_error_and_is_disconnected() {
    let mut world = World::with(Config { clients_max: 1, ..Config::default() });
    world.connect();
    let second = world.server.connect(world.now);
    let told = world.sent_to(second);
    assert_eq!(told, "-ERR max number of clients reached\r\n<end>");
}

#[test]
fn old_servers_refuse_hello_or_version_3() {
    for (hello, reply) in [
        (HelloSupport::Unknown, "-ERR unknown command 'HELLO', with args beginning with: '3' \r\n"),
        (HelloSupport::NoProto, "-NOPROTO unsupported protocol version\r\n"),
    ] {
        let mut world = World::with(Config { hello, ..Config::default() });
        let client = world.server.connect(world.now);
        world.check(client, &[(HELLO_3, reply), ("PING", "+PONG\r\n"), ("GET k", "$-1\r\n")]);
    }
}

#[test]
fn newer_servers_support_setinfo_and_track_keys_that_scripts_read() {
    let mut world = World::with(Config { version: (7, 2, 0), ..Config::default() });
    world.server.learn_script("read", |script| script.call(&[b"GET", b"undeclared"]));
    let client = world.connect();
    world.ask(client, "CLIENT TRACKING ON");
    world.check(
        client,
        &[("CLIENT SETINFO LIB-NAME redcache", "+OK\r\n"), ("EVAL read 1 declared", "_\r\n")],
    );
    assert!(world.server.is_tracked(client, b"undeclared"));
    assert!(!world.server.is_tracked(client, b"declared"));
}

#[test]
fn unsupported_commands_get_an_error_that_says_so() {
    let mut world = World::new();
    let client = world.connect();
    for command in [
        "SET k v PXAT 5",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKING ON REDIRECT 1",
        "CLIENT KILL TYPE normal",
        "EVAL something 0",
        "SCRIPT LOAD something",
        "DEBUG SLEEP 1",
    ] {
        let reply = world.ask(client, command);
        assert!(reply.starts_with("-ERR redcache-sim does not model "), "{command}: {reply}");
    }
}

#[test]
fn a_disconnected_client_cannot_run_commands() {
    let mut world = World::new();
    let (client, other) = (world.connect(), world.connect());
    assert!(world.server.is_connected(client));
    world.server.hang_up(client);
    assert!(!world.server.is_connected(client));
    world.server.handle_bytes(world.now, client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    assert_eq!(world.sent_to(client), "<end>");
    world.check(other, &[("GET k", "_\r\n")]);
    world.server.disconnect(other);
    world.server.handle_bytes(world.now, other, b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(world.server.poll_event(), None);
}

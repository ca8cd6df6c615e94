use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::api::config::ConfigBuilder;
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::lock::LockSettings;
use crate::resp::{Frame, Limits, Scanner, decode};
use crate::rng::Rng;

/// A router with simulated sentinels (ports from 100) and servers (ports below).
struct World {
    router: Router,
    config: Config,
    locks: LockSettings,
    now: Instant,
    open: Vec<(ConnId, u16)>,
    dialed: Vec<u16>,
    /// The primary that each sentinel names. A sentinel without an entry refuses connections.
    sentinels: BTreeMap<u16, Option<u16>>,
    /// The servers that accept connections.
    servers: Vec<u16>,
    /// The commands that each port received.
    asked: Vec<(u16, String)>,
    /// The greetings and logins that each port received. Passwords with `old` are refused.
    greetings: Vec<(u16, String)>,
    /// The first word of the commands that sentinels refuse.
    forbidden: &'static str,
    /// The requests to the credentials provider.
    logins: Vec<(LoginId, LoginRequest)>,
    events: Vec<RouterEvent>,
}

impl World {
    fn new(url: &str, sentinels: &[(u16, Option<u16>)], servers: &[u16]) -> Self {
        Self::with(Config::from_url(url).unwrap(), sentinels, servers)
    }

    fn with(config: Config, sentinels: &[(u16, Option<u16>)], servers: &[u16]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let locks = LockSettings {
            lock_prefix: b"lock:".to_vec(),
            lock_base: b"lock:".to_vec(),
            lock_ttl: Duration::from_secs(10),
        };
        let router = Router::new(now, &config, Rng::new(7));
        let (sentinels, servers) = (sentinels.iter().copied().collect(), servers.to_vec());
        let mut world = Self {
            router,
            config,
            locks,
            now,
            open: Vec::new(),
            dialed: Vec::new(),
            sentinels,
            servers,
            asked: Vec::new(),
            greetings: Vec::new(),
            forbidden: "",
            logins: Vec::new(),
            events: Vec::new(),
        };
        world.settle();
        world
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Router, Context<'_>) -> T) -> T {
        let Self { router, config, locks, now, events, .. } = self;
        let result = act(router, Context { now: *now, config, lock_settings: locks });
        events.extend(std::iter::from_fn(|| router.poll_event()));
        result
    }

    /// Let everything happen that needs no time.
    fn settle(&mut self) {
        for _ in 0..30 {
            self.step(|router, ctx| router.handle_timeout(ctx));
            while let Some(action) = self.router.poll_action() {
                match action {
                    Action::HangUp { conn } => self.open.retain(|(open, _)| *open != conn),
                    Action::Dial { conn, address: Address::Tcp { port, .. } } => {
                        self.dialed.push(port);
                        if self.sentinels.contains_key(&port) || self.servers.contains(&port) {
                            self.open.push((conn, port));
                            self.step(|router, ctx| router.handle_connected(ctx, conn));
                        } else {
                            self.step(|router, ctx| {
                                router.handle_disconnected(ctx, conn, "refused");
                            });
                        }
                    }
                    Action::Dial { .. } => panic!("no sockets here"),
                    Action::Login { login, request } => self.logins.push((login, request)),
                }
            }
            for (conn, port) in self.open.clone() {
                let mut bytes = Vec::new();
                if self.router.take_transmit(conn, &mut bytes) {
                    let reply = self.reply(port, &bytes);
                    self.hear(conn, reply.as_bytes());
                }
            }
        }
    }

    fn reply(&mut self, port: u16, mut bytes: &[u8]) -> String {
        let mut reply = String::new();
        while let Some(end) = Scanner::new(Limits::default()).scan(bytes).unwrap() {
            let Frame::Array(words) = decode(&bytes[..end]).unwrap() else { panic!() };
            let word = |at: usize| match words.get(at) {
                Some(Frame::Bulk(word)) => String::from_utf8_lossy(word).into_owned(),
                _ => String::new(),
            };
            let command = format!("{} {}", word(0), word(1));
            if matches!(&word(0)[..], "HELLO" | "AUTH") {
                let words: Vec<_> = (0..words.len()).map(word).collect();
                self.greetings.push((port, words.join(" ")));
                if words.iter().any(|word| word.contains("old")) {
                    reply += "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
                    bytes = &bytes[end..];
                    continue;
                }
            }
            if word(0) == self.forbidden && word(0) == "HELLO" {
                reply += "-ERR unknown command 'HELLO'\r\n";
                bytes = &bytes[end..];
                continue;
            }
            if word(0) == self.forbidden {
                reply += "-NOPERM User u has no permissions to run the command\r\n";
                bytes = &bytes[end..];
                continue;
            }
            reply += &match (command.trim(), self.sentinels.get(&port)) {
                ("HELLO 3", sentinel) => {
                    let mode = if sentinel.is_some() { "sentinel" } else { "standalone" };
                    let mode = format!("$4\r\nmode\r\n${}\r\n{mode}\r\n", mode.len());
                    let role = "$4\r\nrole\r\n$6\r\nmaster\r\n";
                    format!("%3\r\n$5\r\nproto\r\n:3\r\n{mode}{role}")
                }
                (ping, _) if ping.starts_with("PING") => "+PONG\r\n".to_owned(),
                ("ROLE", _) => "*1\r\n$6\r\nmaster\r\n".to_owned(),
                ("SUBSCRIBE +switch-master", _) => {
                    ">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".to_owned()
                }
                ("SENTINEL GET-MASTER-ADDR-BY-NAME", Some(Some(primary))) => {
                    let primary = primary.to_string();
                    format!("*2\r\n$1\r\nh\r\n${}\r\n{primary}\r\n", primary.len())
                }
                ("SENTINEL GET-MASTER-ADDR-BY-NAME", _) => "_\r\n".to_owned(),
                ("SENTINEL SENTINELS", _) => {
                    "*1\r\n%2\r\n$2\r\nip\r\n$1\r\nh\r\n$4\r\nport\r\n$3\r\n109\r\n".to_owned()
                }
                _ => "+OK\r\n".to_owned(),
            };
            self.asked.push((port, command));
            bytes = &bytes[end..];
        }
        reply
    }

    fn hear(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut input = Input::new(bytes);
        while let Some(event) = self.step(|router, ctx| router.receive(ctx, conn, &mut input)) {
            self.events.push(event);
        }
    }

    fn conn(&self, port: u16) -> Option<ConnId> {
        self.open.iter().find(|(_, open)| *open == port).map(|(conn, _)| *conn)
    }

    fn lose(&mut self, port: u16) {
        let conn = self.conn(port).unwrap();
        self.open.retain(|(open, _)| *open != conn);
        self.step(|router, ctx| router.handle_disconnected(ctx, conn, "gone"));
        self.settle();
    }

    /// Let time pass in steps, and handle every deadline.
    fn pass(&mut self, time: Duration) {
        for _ in 0..20 {
            self.now += time / 20;
            self.settle();
        }
    }

    fn publish(&mut self, sentinel: u16, message: &str) {
        let push = format!(
            ">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n${}\r\n{message}\r\n",
            message.len()
        );
        let conn = self.conn(sentinel).unwrap();
        self.hear(conn, push.as_bytes());
    }

    fn failures(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events).into_iter();
        let reason = |event| match event {
            RouterEvent::NotUp { reason, .. } | RouterEvent::Down { reason, .. } => Some(reason),
            _ => None,
        };
        events.filter_map(reason).map(|reason| reason.to_string()).collect()
    }
}

const URL: &str = "redis-sentinel://h:100,h:101/svc?heartbeat_interval=1s";

#[test]
fn the_server_that_a_sentinel_names_is_dialed_and_no_other() {
    let world = World::new(URL, &[(100, Some(1)), (101, Some(2))], &[1, 2]);
    assert_eq!(world.dialed, [100, 1]);
    assert!(world.router.is_ready() && world.router.is_tracked());
    // The subscription comes first, so that no switch is missed.
    let asked: Vec<_> = world.asked.iter().filter(|(port, _)| *port == 100).collect();
    assert!(asked[1].1.starts_with("SUBSCRIBE") && asked[2].1.contains("GET-MASTER"), "{asked:?}");
}

#[test]
fn a_switch_leaves_the_old_primary_before_the_next_byte() {
    let mut world = World::new(URL, &[(100, Some(1))], &[1, 2]);
    world.publish(100, "other h 1 h 3");
    assert!(world.conn(1).is_some() && world.router.is_ready());
    world.publish(100, "svc h 1 h 2");
    assert!(!world.router.is_ready(), "the old primary would still be read");
    assert!(matches!(world.router.poll_action(), Some(Action::HangUp { .. })));
    world.sentinels.insert(100, Some(2));
    world.settle();
    assert!(world.router.is_ready());
    assert_eq!(world.dialed.last(), Some(&2));
    assert!(world.failures().iter().any(|reason| reason.contains("the primary is h:2 now")));
}

#[test]
fn a_lost_primary_is_dialed_again_only_when_a_sentinel_names_it() {
    let mut world = World::new(URL, &[(100, Some(1))], &[1]);
    let asked = |world: &World| world.asked.iter().filter(|(_, it)| it.contains("GET-M")).count();
    let before = asked(&world);
    world.sentinels.insert(100, Some(2));
    world.lose(1);
    assert!(asked(&world) > before, "no sentinel was asked");
    assert!(!world.router.is_ready());
    assert_eq!(world.dialed.iter().filter(|port| **port == 1).count(), 1, "{:?}", world.dialed);
    world.servers.push(2);
    world.pass(Duration::from_secs(2));
    assert!(world.router.is_ready());
    assert_eq!(world.dialed.last(), Some(&2));
}

#[test]
fn the_next_sentinel_takes_over_from_one_that_is_gone_silent_or_ignorant() {
    // The first refuses connections, the second knows no such service.
    let mut world = World::new(URL, &[(101, None)], &[1]);
    assert!(!world.router.is_ready());
    let reasons = world.failures();
    assert!(reasons.iter().any(|it| it.contains("sentinel h:101") && it.contains("`svc`")));
    world.sentinels.insert(100, Some(1));
    world.pass(Duration::from_secs(4));
    assert!(world.router.is_ready());
    // The end of the sentinel does not affect the primary; the other sentinel, which it named, is
    // used.
    world.sentinels.remove(&100);
    world.sentinels.remove(&101);
    world.sentinels.insert(109, Some(1));
    world.lose(100);
    world.pass(Duration::from_secs(4));
    assert!(world.router.is_ready() && world.conn(109).is_some(), "{:?}", world.dialed);
}

#[test]
fn while_no_sentinel_has_answered_for_the_command_timeout_commands_fail_at_once() {
    let mut world = World::new(URL, &[], &[1]);
    world.pass(world.config.command_timeout * 2);
    world.events.clear();
    let remove = || Command::Remove { key: Key::from("k") };
    let token = Token { sender: 1, slot: 0 };
    world.step(|router, ctx| router.send(ctx, token, remove()));
    let [RouterEvent::Failed { error, .. }] = &world.events[..] else { panic!() };
    assert!(error.to_string().contains("sentinel h:10"), "{error}");
    world.sentinels.insert(100, Some(1));
    world.pass(world.config.command_timeout * 2);
    assert!(world.router.is_ready());
    world.events.clear();
    world.step(|router, ctx| router.send(ctx, token, remove()));
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn a_sentinel_that_does_not_answer_is_left_in_time() {
    let mut world = World::new(URL, &[(100, Some(1)), (101, Some(1))], &[1]);
    let silent = world.conn(100).unwrap();
    world.now += Duration::from_secs(1);
    world.step(|router, ctx| router.handle_timeout(ctx));
    let mut bytes = Vec::new();
    assert!(world.router.take_transmit(silent, &mut bytes), "it was not probed");
    world.pass(world.config.command_timeout * 2);
    assert!(world.conn(101).is_some() && world.conn(100).is_none());
    assert!(world.router.is_ready());
}

#[test]
fn a_server_in_the_place_of_a_sentinel_is_told_by_name() {
    let mut world = World::new("redis-sentinel://h:1/svc", &[], &[1]);
    let reasons = world.failures();
    assert!(
        reasons[0].contains("sentinel h:1") && reasons[0].contains("no sentinel"),
        "{reasons:?}"
    );
    assert!(!world.router.is_ready());
}

#[test]
fn a_command_that_the_acl_of_the_sentinels_forbids_is_named() {
    for forbidden in ["SENTINEL", "SUBSCRIBE"] {
        let mut world = World::new(URL, &[(100, Some(1))], &[1]);
        world.forbidden = forbidden;
        world.lose(100);
        world.lose(1);
        world.pass(Duration::from_secs(4));
        let reasons = world.failures();
        let expected =
            format!("sentinel h:100: the user of `sentinel_username` may not run `{forbidden}`");
        assert!(reasons.iter().any(|it| it.contains(&expected)), "{reasons:?}");
    }
}

#[test]
fn commands_fail_with_the_reason_of_the_sentinels() {
    let mut world = World::new(URL, &[], &[]);
    let token = Token { sender: 1, slot: 0 };
    world.step(|router, ctx| router.send(ctx, token, Command::Remove { key: Key::from("k") }));
    world.pass(Duration::from_secs(5));
    let failed = world.events.iter().find_map(|event| match event {
        RouterEvent::Failed { error, .. } => Some(error.to_string()),
        _ => None,
    });
    assert!(failed.unwrap().contains("sentinel h:10"), "no sentinel is named");
}

#[test]
fn a_closed_router_hangs_up_on_its_sentinel() {
    let mut world = World::new(URL, &[(100, Some(1))], &[1]);
    world.router.close();
    world.router.hang_up();
    world.settle();
    assert_eq!((world.open.len(), world.dialed.len()), (0, 2));
    assert_eq!(world.router.poll_timeout(&world.config), None);
}

/// Return a world whose server and sentinel both have a provider.
fn with_providers() -> World {
    let builder: ConfigBuilder = URL.parse().unwrap();
    let none = |_: LoginRequest| Err("the test answers".into());
    let config = builder
        .blocking_credentials_provider(none)
        .blocking_sentinel_credentials_provider(none)
        .build()
        .unwrap();
    World::with(config, &[(100, Some(1)), (101, Some(1))], &[1])
}

impl World {
    /// Answer the oldest request, which must concern `port`.
    fn answer(&mut self, port: u16, answer: Result<Credentials, String>) -> LoginRequest {
        let (login, request) = self.logins.remove(0);
        assert_eq!(request.address().to_string(), format!("h:{port}"));
        self.step(|router, ctx| router.handle_credentials(ctx, login, answer));
        self.settle();
        request
    }

    fn pass_until_asked(&mut self) {
        while self.logins.is_empty() {
            self.pass(Duration::from_secs(1));
        }
    }

    fn last_greeting(&self) -> (u16, &str) {
        self.greetings.last().map(|(port, text)| (*port, &text[..])).unwrap()
    }
}

const LIFETIME: Duration = Duration::from_secs(100);

fn token(text: &str) -> Result<Credentials, String> {
    Ok(Credentials::new("app", text).expires_in(LIFETIME))
}

#[test]
fn nothing_is_sent_before_the_provider_has_answered() {
    let mut world = with_providers();
    assert!(world.greetings.is_empty() && world.asked.is_empty());
    let request = world.answer(100, Ok(Credentials::password("s1")));
    assert!(!request.was_refused());
    assert_eq!(world.greetings, [(100, "HELLO 3 AUTH default s1".to_owned())]);
    assert!(!world.router.is_ready());
    world.answer(1, token("t1"));
    assert_eq!(world.last_greeting(), (1, "HELLO 3 AUTH app t1"));
    assert!(world.router.is_ready() && world.router.is_tracked());
}

#[test]
fn the_live_connection_logs_in_again_before_its_credentials_expire() {
    let mut world = with_providers();
    world.answer(100, token("s1"));
    world.answer(1, token("t1"));
    world.events.clear();
    let begun = world.now;
    for round in 2..4 {
        for _ in 0..2 {
            world.pass_until_asked();
            let is_of_sentinel = world.logins[0].0.is_to_sentinel();
            let port = if is_of_sentinel { 100 } else { 1 };
            world.answer(port, token(&format!("t{round}")));
            assert_eq!(world.last_greeting(), (port, &format!("AUTH app t{round}")[..]));
        }
    }
    assert!(world.now - begun < 2 * LIFETIME);
    assert_eq!((world.dialed.len(), world.events.len()), (2, 0), "the connections stay");
}

#[test]
fn a_provider_that_fails_or_hangs_on_a_live_connection_leaves_it_open() {
    let mut world = with_providers();
    world.answer(100, Ok(Credentials::password("s1")));
    world.answer(1, token("t1"));
    world.pass_until_asked();
    world.answer(1, Err("no network".to_owned()));
    world.pass_until_asked();
    // This request is not answered in time.
    let (late, _) = world.logins.remove(0);
    world.pass(world.config.connect_timeout * 3);
    world.step(|router, ctx| router.handle_credentials(ctx, late, token("late")));
    world.settle();
    assert!(world.router.is_ready());
    assert!(!world.greetings.iter().any(|(_, text)| text.contains("late")));
    world.pass(2 * LIFETIME);
    assert!(world.router.is_ready() && world.dialed == [100, 1], "{:?}", world.dialed);
}

#[test]
fn an_old_token_is_asked_for_again_once_on_the_same_connection() {
    let mut world = with_providers();
    world.answer(100, token("old"));
    assert!(world.answer(100, token("s1")).was_refused());
    assert!(!world.answer(1, token("old")).was_refused());
    assert!(world.answer(1, token("t1")).was_refused());
    assert!(world.router.is_ready());
    assert_eq!(world.dialed, [100, 1]);
    world.pass(LIFETIME / 10 * 8);
    while !world.logins.is_empty() {
        let is_of_sentinel = world.logins[0].0.is_to_sentinel();
        world.answer(if is_of_sentinel { 100 } else { 1 }, token("old"));
    }
    assert!(world.router.is_ready(), "a refused renewal leaves the connection");
    assert_eq!(world.dialed, [100, 1]);
}

#[test]
fn a_token_that_is_refused_twice_ends_the_attempt_to_connect() {
    let mut world = with_providers();
    world.answer(100, Ok(Credentials::password("s1")));
    world.answer(1, token("old"));
    world.answer(1, token("older"));
    assert!(!world.router.is_ready() && world.conn(1).is_none());
    assert!(world.failures().iter().any(|reason| reason.contains("WRONGPASS")));
    world.pass(world.config.reconnect_delay_max);
    assert!(!world.answer(1, token("t1")).was_refused());
    assert!(world.router.is_ready());
}

#[test]
fn a_provider_that_fails_or_hangs_at_login_is_told_with_its_reason() {
    let mut world = with_providers();
    world.answer(100, Err("no network".to_owned()));
    // The provider gets a request for the next sentinel and does not answer.
    world.pass(world.config.connect_timeout * 3);
    let reasons = world.failures();
    let has = |part: &str| reasons.iter().any(|reason| reason.contains(part));
    assert!(has("within `connect_timeout`"), "{reasons:?}");
    let mut world = with_providers();
    world.answer(100, Ok(Credentials::password("s1")));
    world.answer(1, Err("no network".to_owned()));
    let reasons = world.failures();
    let whole = "h:1: the credentials provider failed: no network";
    assert!(reasons.iter().any(|reason| reason.contains(whole)), "{reasons:?}");
}

#[test]
fn an_answer_for_a_lost_connection_is_ignored() {
    let mut world = with_providers();
    world.answer(100, Ok(Credentials::password("s1")));
    let (lost, _) = world.logins.remove(0);
    world.lose(1);
    world.pass(world.config.reconnect_delay_max);
    world.step(|router, ctx| router.handle_credentials(ctx, lost, token("t1")));
    world.settle();
    assert_eq!(world.greetings.len(), 1);
    world.answer(1, token("t2"));
    assert_eq!(world.last_greeting(), (1, "HELLO 3 AUTH app t2"));
}

#[test]
fn sentinels_and_servers_without_hello_are_used_without_a_subscription() {
    for login in ["", "?sentinel_password=p"] {
        let mut world = World::new(&format!("redis-sentinel://h:100/svc{login}"), &[], &[1]);
        world.forbidden = "HELLO";
        world.sentinels.insert(100, Some(1));
        world.pass(Duration::from_secs(4));
        assert!(world.router.is_ready(), "{:?}", world.failures());
        let is_sent = |port, asked: &str| world.asked.contains(&(port, asked.to_owned()));
        assert!(!is_sent(100, "SUBSCRIBE +switch-master") && is_sent(1, "ROLE "));
        assert_eq!(is_sent(100, "AUTH p"), !login.is_empty());
        world.sentinels.insert(100, Some(2));
        world.servers.push(2);
        world.pass(Duration::from_secs(4));
        assert_eq!(world.dialed.last(), Some(&2), "the sentinel is queried again and again");
    }
}

//! A group of real servers under Redis Sentinel: one primary, its replicas, and the sentinels.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::process::Process;
use crate::raw::Raw;
use crate::redis_server::{RedisServer, SERVER_VARIABLE, free_port};

/// The name of the service that the sentinels watch.
const SERVICE: &str = "cache";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// The silence after which the sentinels take a primary for dead.
const DOWN_AFTER: Duration = Duration::from_millis(1000);
/// How long a group may take to start, or to agree on another primary.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// A primary, two replicas and three sentinels.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    process: Option<Process>,
}

impl RedisSentinel {
    /// Start a group and waits until its sentinels know each other and the replicas.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or if the group does not start.
    pub fn start() -> Self {
        let primary = RedisServer::start();
        let port = primary.port().to_string();
        let replica = || RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        let servers: Vec<_> =
            std::iter::once(primary).chain((0..REPLICAS).map(|_| replica())).collect();
        let mut group = Self { servers, sentinels: Vec::new() };
        for _ in 0..SENTINELS {
            let sentinel = group.launch();
            group.sentinels.push(sentinel);
        }
        group.wait_until("the sentinels know the group", |group| {
            (0..SENTINELS).all(|number| {
                let state = group.ask(number, &["SENTINEL", "MASTER", SERVICE]);
                state.contains(&format!("num-slaves\r\n$1\r\n{REPLICAS}\r\n"))
                    && state
                        .contains(&format!("num-other-sentinels\r\n$1\r\n{}\r\n", SENTINELS - 1))
            })
        });
        group
    }

    fn launch(&self) -> Sentinel {
        let port = free_port();
        let file = self.servers[0].directory().join(format!("sentinel-{port}.conf"));
        let primary = self.servers[0].port();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} {}\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            DOWN_AFTER.as_millis()
        );
        fs::write(&file, settings).expect("the directory of a server is writable");
        let program = env::var(SERVER_VARIABLE).unwrap_or_else(|_| "redis-server".to_owned());
        let mut command = Command::new(program);
        command.arg(&file).arg("--sentinel").arg("--dir").arg(self.servers[0].directory());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command).expect("a sentinel is a `redis-server`");
        Sentinel { port, process: Some(process) }
    }

    /// Return the URL of the service by all of its sentinels.
    pub fn url(&self) -> String {
        let sentinels = self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port));
        format!("redis-sentinel://{}/{SERVICE}", sentinels.collect::<Vec<_>>().join(","))
    }

    /// Return the number of the primary in the eyes of the first sentinel that runs.
    ///
    /// # Panics
    ///
    /// If it names none of the servers.
    pub fn primary(&self) -> usize {
        let number = self.sentinels.iter().position(|it| it.process.is_some());
        let number = number.expect("a sentinel runs");
        let reply = self.ask(number, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        let is_named = |server: &RedisServer| reply.contains(&format!("\r\n{}\r\n", server.port()));
        self.servers.iter().position(is_named).expect("the primary is one of the servers")
    }

    /// Return a server by its number.
    pub fn server(&self, number: usize) -> &RedisServer {
        &self.servers[number]
    }

    /// Return a server by its number, to stop or restart it.
    pub fn server_mut(&mut self, number: usize) -> &mut RedisServer {
        &mut self.servers[number]
    }

    /// Connects a client of the tests to each sentinel.
    pub fn connect_to_sentinels(&self) -> impl Iterator<Item = Raw> + '_ {
        let ports = self.sentinels.iter().map(|it| it.port);
        ports.map(|port| Raw::connect((Ipv4Addr::LOCALHOST, port).into()))
    }

    /// Kill a sentinel.
    pub fn stop_sentinel(&mut self, number: usize) {
        self.sentinels[number].process = None;
    }

    /// Make the sentinels promote a replica, and wait until they have.
    ///
    /// # Panics
    ///
    /// If they do not agree in time.
    pub fn fail_over(&self) {
        let before = self.primary();
        self.wait_until("a failover begins", |group| {
            group.ask(0, &["SENTINEL", "FAILOVER", SERVICE]).starts_with("+OK")
        });
        self.wait_for_another_primary(before);
    }

    /// Wait until the sentinels name another primary than `before`.
    ///
    /// # Panics
    ///
    /// If they do not agree in time.
    pub fn wait_for_another_primary(&self, before: usize) {
        self.wait_until("another primary", |group| group.primary() != before);
    }

    fn ask(&self, number: usize, command: &[&str]) -> String {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.sentinels[number].port));
        let reply = Raw::try_connect(address).and_then(|mut client| client.try_call(command));
        reply.map_or_else(|_| String::new(), |reply| String::from_utf8_lossy(&reply).into_owned())
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let given_up_at = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < given_up_at, "in vain: {what}");
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }
}

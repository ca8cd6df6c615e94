//! A group of real servers under Redis Sentinel: one primary, its replicas, and the sentinels.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::process::Process;
use crate::raw::Raw;
use crate::redis_server::{RedisServer, SERVER_VARIABLE, free_port};
use crate::tls_group::TlsGroup;

/// The name of the service that the sentinels watch.
const SERVICE: &str = "cache";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// The silence after which the sentinels consider a primary dead.
const DOWN_AFTER: Duration = Duration::from_millis(1000);
/// The time that a group has to start, or to agree on another primary.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// A primary, two replicas and three sentinels.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    tls: Option<TlsGroup>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    tls_port: Option<u16>,
    process: Option<Process>,
}

impl RedisSentinel {
    /// Start a group and wait until its sentinels know each other and the replicas.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or if the group does not start.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Start a group whose servers and sentinels speak TLS with their clients and with each other.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server` with TLS, or if the group does not start.
    pub fn start_with_tls() -> Self {
        Self::start_with(Some(TlsGroup::new(1 + REPLICAS)))
    }

    fn start_with(tls: Option<TlsGroup>) -> Self {
        let mut group = Self { servers: Vec::new(), sentinels: Vec::new(), tls };
        for number in 0..=REPLICAS {
            let mut args = group.tls_args(number);
            if number > 0 {
                let port = group.own_port(0).to_string();
                args.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), port]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let server = RedisServer::start_with(&args);
            group.servers.push(server);
        }
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

    /// Return the arguments of a server for TLS.
    fn tls_args(&self, number: usize) -> Vec<String> {
        let Some(tls) = &self.tls else { return Vec::new() };
        tls.args(tls.ports[number])
    }

    /// Return the port by which the group knows a server.
    fn own_port(&self, number: usize) -> u16 {
        let tls = self.tls.as_ref().map(|tls| tls.ports[number]);
        tls.unwrap_or_else(|| self.servers[number].port())
    }

    fn launch(&self) -> Sentinel {
        let port = free_port();
        let tls_port = self.tls.as_ref().map(|_| free_port());
        let file = self.servers[0].directory().join(format!("sentinel-{port}.conf"));
        let primary = self.own_port(0);
        let mut settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} {}\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            DOWN_AFTER.as_millis()
        );
        if let (Some(tls), Some(port)) = (&self.tls, tls_port) {
            for pair in tls.args(port).chunks(2) {
                settings += &format!("{} {}\n", pair[0].trim_start_matches("--"), pair[1]);
            }
        }
        fs::write(&file, settings).expect("the directory of a server is writable");
        let program = env::var(SERVER_VARIABLE).unwrap_or_else(|_| "redis-server".to_owned());
        let mut command = Command::new(program);
        command.arg(&file).arg("--sentinel").arg("--dir").arg(self.servers[0].directory());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command).expect("a sentinel is a `redis-server`");
        Sentinel { port, tls_port, process: Some(process) }
    }

    /// Return the URL of the service by all of its sentinels.
    pub fn url(&self) -> String {
        let sentinels = self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port));
        format!("redis-sentinel://{}/{SERVICE}", sentinels.collect::<Vec<_>>().join(","))
    }

    /// Return the URL for TLS of the service by all of its sentinels, with a certificate of the
    /// client.
    ///
    /// # Panics
    ///
    /// Panics if the group does not speak TLS.
    pub fn tls_url(&self) -> String {
        let options = self.tls.as_ref().expect("the group speaks TLS").url_options();
        let ports = self.sentinels.iter().filter_map(|it| it.tls_port);
        let sentinels: Vec<_> = ports.map(|port| format!("localhost:{port}")).collect();
        format!("rediss-sentinel://{}/{SERVICE}?{options}", sentinels.join(","))
    }

    /// Return the URL of the service by its sentinels without TLS, for servers with TLS.
    ///
    /// # Panics
    ///
    /// Panics if the group does not speak TLS.
    pub fn mixed_url(&self) -> String {
        let options = self.tls.as_ref().expect("the group speaks TLS").url_options();
        let url = self.url().replacen("redis-sentinel", "rediss-sentinel", 1);
        format!("{url}?sentinel_tls=false&{options}")
    }

    /// Return the number of the primary that the first running sentinel names.
    ///
    /// # Panics
    ///
    /// Panics if the sentinel names none of the servers in time.
    pub fn primary(&self) -> usize {
        let given_up_at = Instant::now() + PATIENCE;
        loop {
            if let Some(primary) = self.named_primary() {
                return primary;
            }
            assert!(Instant::now() < given_up_at, "in vain: a primary");
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    /// Return the number of the primary; `None` if the sentinel does not answer, or names none.
    fn named_primary(&self) -> Option<usize> {
        let number = self.sentinels.iter().position(|it| it.process.is_some());
        let number = number.expect("a sentinel runs");
        let reply = self.ask(number, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        let is_named = |server| reply.contains(&format!("\r\n{}\r\n", self.own_port(server)));
        (0..self.servers.len()).find(|server| is_named(*server))
    }

    /// Return a server by its number.
    pub fn server(&self, number: usize) -> &RedisServer {
        &self.servers[number]
    }

    /// Return a server by its number, to stop or restart it.
    pub fn server_mut(&mut self, number: usize) -> &mut RedisServer {
        &mut self.servers[number]
    }

    /// Connect a client of the tests to each sentinel.
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
    /// Panics if they do not agree in time.
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
    /// Panics if they do not agree in time.
    pub fn wait_for_another_primary(&self, before: usize) {
        self.wait_until("another primary", |group| {
            group.named_primary().is_some_and(|primary| primary != before)
        });
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

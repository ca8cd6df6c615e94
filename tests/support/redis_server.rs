//! A real Redis for one test: started on a free port, stopped when the test is over.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use crate::{Process, Raw};

/// The variable that names the server to start, if it is not the `redis-server` of the path.
pub(crate) const SERVER_VARIABLE: &str = "REDIS_SERVER";

const NOT_FOUND: &str = "these tests need a Redis server, version 7.0 or later: install the package \
    `redis-server` (Debian, Ubuntu) or `redis` (Fedora, Homebrew), or set REDIS_SERVER to the program";

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);

/// How often another port is tried when somebody else took the one that was free.
const PORTS_MAX: usize = 5;

/// How long to wait between two looks at a server that is starting.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A running `redis-server` that keeps nothing on disk, in a directory of its own.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    directory: PathBuf,
    args: Vec<String>,
    /// The port on which it talks to the other nodes of its cluster.
    bus_port: Option<u16>,
    process: Option<Process>,
}

impl RedisServer {
    /// Starts a server as installed, without persistence.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`, or it does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments: `&["--maxmemory", "10mb"]`.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`, or it does not start.
    pub fn start_with(args: &[&str]) -> Self {
        Self::try_ports(args, false)
    }

    /// Starts a node of a cluster that knows no other node yet.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`, or it does not start.
    pub(crate) fn start_node(args: &[&str]) -> Self {
        Self::try_ports(args, true)
    }

    /// Starts a node of a cluster that has all that it knows of it from `view`, as in a `nodes.conf`, and waits until
    /// it serves its slots. The other nodes need not be there.
    ///
    /// # Panics
    ///
    /// When there is no `redis-server`, or it does not start, or finds fault with the view.
    pub fn start_member(view: &str) -> Self {
        let directory = new_directory();
        fs::write(directory.join("nodes.conf"), view).expect("a new directory is writable");
        // Nobody misses the others, however long they are away.
        let args = ["--cluster-node-timeout", "3600000", "--cluster-require-full-coverage", "no"];
        let server = Self::try_ports_in(directory, &args, true);
        let given_up_at = Instant::now() + START_MAX;
        let mut client = server.connect();
        while !client.call(&["CLUSTER", "INFO"]).windows(16).any(|it| it == b"cluster_state:ok") {
            assert!(Instant::now() < given_up_at, "the node does not serve:\n{}", server.output());
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        server
    }

    fn try_ports(args: &[&str], is_node: bool) -> Self {
        Self::try_ports_in(new_directory(), args, is_node)
    }

    fn try_ports_in(directory: PathBuf, args: &[&str], is_node: bool) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut server = Self { port: 0, directory, args, bus_port: None, process: None };
        for _ in 0..PORTS_MAX {
            server.port = free_port();
            server.bus_port = is_node.then(free_port);
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server did not start:\n{}", server.output());
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on which a node of a cluster talks to the others.
    pub(crate) fn bus_port(&self) -> Option<u16> {
        self.bus_port
    }

    /// Says whether the server runs, as far as it is known here.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The address on the loopback interface.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The address as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The Unix socket that the server listens on as well.
    pub fn socket_path(&self) -> PathBuf {
        self.directory.join("redis.sock")
    }

    /// The directory that the server works in; it is deleted with the server.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The id of the server's process.
    ///
    /// # Panics
    ///
    /// When the server was stopped.
    pub fn pid(&self) -> u32 {
        self.running().id()
    }

    /// Connects a client of the tests.
    ///
    /// # Panics
    ///
    /// When the server does not accept.
    pub fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// Kills the server at once; its keys are lost. Does nothing when it was stopped already.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Kills the server if it runs and starts an empty one on the same port.
    ///
    /// # Panics
    ///
    /// When the server does not start again.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.launch(), "redis-server did not start again:\n{}", self.output());
    }

    /// Freezes the process: connections stay open, nothing answers.
    ///
    /// # Panics
    ///
    /// When the server was stopped.
    pub fn pause(&self) {
        self.running().pause();
    }

    /// Lets a frozen process go on.
    ///
    /// # Panics
    ///
    /// When the server was stopped.
    pub fn resume(&self) {
        self.running().resume();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server was stopped")
    }

    /// Starts the process and waits until it answers; says whether it does.
    fn launch(&mut self) -> bool {
        let program = env::var(SERVER_VARIABLE).unwrap_or_else(|_| "redis-server".to_owned());
        let bus_port = self.bus_port.map(|port| port.to_string());
        let bus = bus_port.iter().flat_map(|port| {
            [
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                "nodes.conf",
                "--cluster-port",
                port,
            ]
        });
        let mut command = Command::new(&program);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"])
            .arg("--dir")
            .arg(&self.directory)
            .arg("--logfile")
            .arg(self.log_path())
            .arg("--unixsocket")
            .arg(self.socket_path())
            .args(bus)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match Process::spawn(&mut command) {
            Ok(process) => self.process = Some(process),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("`{program}` was not found: {NOT_FOUND}")
            }
            Err(error) => panic!("`{program}` cannot be run: {error}"),
        }
        let answers = self.wait_until_it_answers();
        if !answers {
            self.stop();
        }
        answers
    }

    fn wait_until_it_answers(&mut self) -> bool {
        let given_up_at = Instant::now() + START_MAX;
        while Instant::now() < given_up_at {
            if self.has_ended() {
                return false;
            }
            if self.answers() {
                return true;
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        false
    }

    fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_none_or(|process| process.ended().is_some())
    }

    /// Says whether our process, and not somebody else's on the same port, answers.
    fn answers(&self) -> bool {
        let Ok(mut client) = Raw::try_connect(self.address()) else {
            return false;
        };
        match client.try_call(&["INFO", "server"]) {
            // A server with a password does not say who it is. That it runs must do.
            Ok(reply) if reply.starts_with(b"-NOAUTH") => true,
            Ok(reply) => {
                let ours = format!("process_id:{}\r\n", self.pid());
                String::from_utf8_lossy(&reply).contains(&ours)
            }
            Err(_) => false,
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("redis.log")
    }

    fn output(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
        // What cannot be deleted is left to the system's own cleaning.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn new_directory() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("redcache-tests-{}-{number}", process::id()));
    fs::create_dir_all(&directory).expect("the directory for temporary files is writable");
    directory
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_server_has_its_port_but_not_its_keys() {
        let mut server = RedisServer::start();
        let (port, pid) = (server.port(), server.pid());
        server.connect().ok(&["SET", "k", "v"]);
        server.restart();
        assert_eq!((server.port(), server.connect().get("k")), (port, None));
        assert_ne!(server.pid(), pid);
    }

    #[test]
    fn a_paused_server_answers_when_it_may_go_on() {
        let server = RedisServer::start_with(&["--databases", "2"]);
        let mut client = server.connect();
        server.pause();
        client.send(&["SELECT", "2"]).unwrap();
        server.resume();
        assert_eq!(client.read_frame().unwrap(), b"-ERR DB index is out of range\r\n");
    }

    #[test]
    fn a_stopped_server_is_gone_with_its_directory() {
        let mut server = RedisServer::start();
        let (address, directory) = (server.address(), server.directory().to_owned());
        assert!(server.socket_path().exists());
        server.stop();
        assert!(Raw::try_connect(address).is_err());
        drop(server);
        assert!(!directory.exists());
    }
}

//! A real Redis for one test, on a free port, which is stopped at the end of the test.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use crate::process::Process;
use crate::raw::Raw;

/// The variable that names the server to start, if it is not the `redis-server` of the path.
pub(crate) const SERVER_VARIABLE: &str = "REDIS_SERVER";

const NOT_FOUND: &str = "these tests need a Redis server, version 7.0 or later: install the package \
    `redis-server` (Debian, Ubuntu) or `redis` (Fedora, Homebrew), or set REDIS_SERVER to the program";

/// The time that a server has to answer.
const START_MAX: Duration = Duration::from_secs(20);

/// The number of ports to try, for the case that another process takes the free one.
const PORTS_MAX: usize = 5;

/// The pause between two polls of a starting server.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A running `redis-server` without persistence, in its own directory.
#[derive(Debug)]
pub struct RedisServer {
    program: String,
    port: u16,
    directory: PathBuf,
    args: Vec<String>,
    /// The port for the other nodes of its cluster.
    bus_port: Option<u16>,
    process: Option<Process>,
}

impl RedisServer {
    /// Start a server without persistence.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or it does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Start a server with further arguments: `&["--maxmemory", "10mb"]`.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or it does not start.
    pub fn start_with(args: &[&str]) -> Self {
        Self::try_ports(args, false)
    }

    /// Start a node of a cluster that knows no other node.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or it does not start.
    pub(crate) fn start_node(args: &[&str]) -> Self {
        Self::try_ports(args, true)
    }

    /// Start a node of a cluster that knows the others from `view`, a `nodes.conf`, and wait until
    /// it serves its slots. The other nodes need not run.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or it does not start, or rejects the view.
    pub fn start_member(view: &str) -> Self {
        let directory = new_directory();
        fs::write(directory.join("nodes.conf"), view).expect("a new directory is writable");
        // The node does not declare the others failed.
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
        let program = env::var(SERVER_VARIABLE).unwrap_or_else(|_| "redis-server".to_owned());
        let mut server = Self { program, port: 0, directory, args, bus_port: None, process: None };
        for _ in 0..PORTS_MAX {
            server.port = free_port();
            server.bus_port = is_node.then(free_port);
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server did not start:\n{}", server.output());
    }

    /// Return the TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Return the port for the other nodes of its cluster.
    pub(crate) fn bus_port(&self) -> Option<u16> {
        self.bus_port
    }

    /// Return whether the server was started and not stopped.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Return the address on the loopback interface.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Return the address as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Return the path of the Unix socket that the server also listens on.
    pub fn socket_path(&self) -> PathBuf {
        self.directory.join("redis.sock")
    }

    /// Return the working directory of the server, which is deleted with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Return the process id of the server.
    ///
    /// # Panics
    ///
    /// Panics if the server was stopped.
    pub fn pid(&self) -> u32 {
        self.running().id()
    }

    /// Connect a client of the tests.
    ///
    /// # Panics
    ///
    /// Panics if the server does not accept.
    pub fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// Return whether the server is a Valkey, which compares and writes without scripts.
    ///
    /// # Panics
    ///
    /// Panics if the server does not answer.
    pub fn is_valkey(&self) -> bool {
        let info = self.connect().call(&["INFO", "server"]);
        String::from_utf8_lossy(&info).contains("server_name:valkey")
    }

    /// Kill the server, if it runs; its keys are lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Restart the server without keys on the same port.
    ///
    /// # Panics
    ///
    /// Panics if the server does not start again.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.launch(), "redis-server did not start again:\n{}", self.output());
    }

    /// Restart the server like [`restart`](Self::restart), with another program.
    ///
    /// # Panics
    ///
    /// Panics if the program is not a server, or does not start.
    pub fn restart_as(&mut self, program: &str) {
        program.clone_into(&mut self.program);
        self.restart();
    }

    /// Freeze the process: connections stay open, nothing answers.
    ///
    /// # Panics
    ///
    /// Panics if the server was stopped.
    pub fn pause(&self) {
        self.running().pause();
    }

    /// Resume a frozen process.
    ///
    /// # Panics
    ///
    /// Panics if the server was stopped.
    pub fn resume(&self) {
        self.running().resume();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server was stopped")
    }

    /// Start the process and wait for its first answer. Return whether it arrived.
    fn launch(&mut self) -> bool {
        let program = &self.program;
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
        let mut command = Command::new(program);
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

    /// Return whether our own process answers on the port.
    fn answers(&self) -> bool {
        let Ok(mut client) = Raw::try_connect(self.address()) else {
            return false;
        };
        match client.try_call(&["INFO", "server"]) {
            // A server with a password does not name its process, so any answer counts.
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
        // Files that cannot be deleted are left to the system.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn new_directory() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("redcache-tests-{}-{number}", process::id()));
    fs::create_dir_all(&directory).expect("the directory for temporary files is writable");
    directory
}

/// Return a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    // The system may give one port to two tests before the first has used it.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
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

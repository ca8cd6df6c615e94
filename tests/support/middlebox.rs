//! Proxies that services put in front of Redis: twemproxy and HAProxy.
//!
//! Each comes as the real program, where it is installed, and as a stand-in in this process, which
//! treats its clients the same way. The tests use both, so that they also run where the packages
//! `nutcracker` and `haproxy` (Debian, Ubuntu) are missing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::raw::Raw;
use crate::redis_server::{free_port, new_directory};

mod stand_in;

use stand_in::{Manner, StandIn};

/// The time that a program has to listen.
const START_MAX: Duration = Duration::from_secs(20);
/// The pause between two attempts to reach the program.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A proxy in front of one server. Dropping it ends the proxy.
#[derive(Debug)]
pub struct Middlebox {
    address: SocketAddr,
    _running: Running,
}

#[derive(Debug)]
enum Running {
    StandIn { _it: StandIn },
    Program { _process: Process, directory: PathBuf },
}

impl Middlebox {
    /// Start twemproxy's stand-in, and twemproxy if it is installed, in front of a server.
    ///
    /// # Panics
    ///
    /// Panics if the program does not start.
    pub fn twemproxies(server: SocketAddr) -> Vec<Self> {
        let stand_in = Self::stand_in(server, Manner::HangsUpAtUnknownCommands);
        [Some(stand_in), Self::twemproxy(&[server])].into_iter().flatten().collect()
    }

    /// Start twemproxy in front of several servers; `None` if it is not installed.
    ///
    /// # Panics
    ///
    /// Panics if the program does not start.
    pub fn twemproxy(servers: &[SocketAddr]) -> Option<Self> {
        let servers: String = servers.iter().map(|it| format!("    - {it}:1\n")).collect();
        let config = |port| {
            format!(
                "pool:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  \
                 distribution: modula\n  redis: true\n  servers:\n{servers}"
            )
        };
        let args = |file: String| {
            let stats = free_port().to_string();
            vec!["-c".to_owned(), file, "-s".to_owned(), stats, "-a".to_owned(), "127.0.0.1".into()]
        };
        Self::program("nutcracker", config, args)
    }

    /// Start HAProxy's stand-in, and HAProxy in TCP mode if it is installed, in front of a server.
    /// They end a connection that is idle for the time `idle`.
    ///
    /// # Panics
    ///
    /// Panics if the program does not start.
    pub fn haproxies(server: SocketAddr, idle: Duration) -> Vec<Self> {
        let config = |port| {
            let idle = idle.as_millis();
            format!(
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client {idle}ms\n  \
                 timeout server {idle}ms\nlisten redis\n  bind 127.0.0.1:{port}\n  server only \
                 {server}\n"
            )
        };
        let args = |file: String| vec!["-db".to_owned(), "-f".to_owned(), file];
        let stand_in = Self::stand_in(server, Manner::EndsIdle(idle));
        [Some(stand_in), Self::program("haproxy", config, args)].into_iter().flatten().collect()
    }

    fn stand_in(server: SocketAddr, manner: Manner) -> Self {
        let stand_in = StandIn::start(server, manner);
        Self { address: stand_in.address(), _running: Running::StandIn { _it: stand_in } }
    }

    /// Start a program; `None` if it is not installed.
    fn program(
        name: &str,
        config: impl Fn(u16) -> String,
        args: impl Fn(String) -> Vec<String>,
    ) -> Option<Self> {
        let directory = new_directory();
        let file = directory.join("proxy.conf");
        let port = free_port();
        fs::write(&file, config(port)).expect("a new directory is writable");
        let mut command = Command::new(name);
        command.args(args(file.to_string_lossy().into_owned())).current_dir(&directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = match Process::spawn(&mut command) {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("`{name}` cannot be run: {error}"),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let running = Running::Program { _process: process, directory };
        let proxy = Self { address, _running: running };
        let given_up_at = Instant::now() + START_MAX;
        while !Raw::try_connect(address)
            .is_ok_and(|mut client| client.try_call(&["PING"]).is_ok_and(|it| it == b"+PONG\r\n"))
        {
            assert!(Instant::now() < given_up_at, "`{name}` does not start");
            thread::sleep(LOOK_AGAIN_AFTER);
        }
        Some(proxy)
    }

    /// Return the address as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Self::StandIn { .. } => {}
            // Files that cannot be deleted are left to the system.
            Self::Program { directory, .. } => drop(fs::remove_dir_all(directory)),
        }
    }
}

//! The Redis server under test, or a cluster of them: running servers, or servers that we start.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, process, thread};

use redcache_core::protocol::Slot;
use redis::{Connection, Pipeline};

use crate::Failure;
use crate::cli::Redis;
use crate::cluster::{self, NODES, Shard};
use crate::tls::{Certificates, TlsPort};

/// Number of commands sent before their replies are read.
const PIPELINE: usize = 1000;

/// Lifetime of keys, so that keys of a killed run expire.
const KEY_TTL: Duration = Duration::from_secs(3600);

/// Longest time for our own server to answer its first PING.
const START_WITHIN: Duration = Duration::from_secs(10);

/// Shell script that stops our own server after our end of its standard input closes. The server
/// does not outlive us even if we are killed.
const WATCH: &str = r#""$@" >/dev/null & server=$!; read -r _; kill $server; wait $server"#;

/// The Redis server under test, or a cluster; our own servers stop on drop.
pub struct Server {
    address: String,
    tls: Option<TlsPort>,
    nodes: Vec<Node>,
    own: Vec<Own>,
    /// The files of our own nodes, deleted after these have stopped.
    _folder: Option<Folder>,
}

/// A server, or one node of a cluster.
struct Node {
    slots: RangeInclusive<u16>,
    /// One connection for all commands outside the measurement, so that its setup is not counted.
    control: Mutex<Connection>,
}

impl Node {
    fn control(&self) -> MutexGuard<'_, Connection> {
        // A connection that broke in the middle of a command fails at the next command.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Own {
    port: u16,
    tls: Option<TlsPort>,
    watch: Child,
    lifeline: Option<ChildStdin>,
    /// The server reads them only when it starts.
    _certificates: Option<Certificates>,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // The system cleans up files that cannot be deleted here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// Connect to the server or the cluster at the address, or start one.
    ///
    /// # Errors
    ///
    /// Fails if no server answers at the address, or if redis-server is missing or does not start.
    pub fn take(redis: Redis) -> Result<Self, Failure> {
        let Redis { address: Some(address), tls, cluster } = redis else {
            return if redis.cluster { Self::start_cluster() } else { Self::start() };
        };
        Self::reach(address, tls, cluster)
    }

    fn reach(address: String, tls: Option<TlsPort>, is_cluster: bool) -> Result<Self, Failure> {
        let no_redis = |why| format!("no Redis at {address}: {why}");
        let mut control = connect(&address).map_err(no_redis)?;
        let nodes = if is_cluster {
            let node = |Shard { slots, address }| {
                Ok::<_, Failure>(Node { slots, control: Mutex::new(connect(&address)?) })
            };
            cluster::shards(&mut control)?.into_iter().map(node).collect::<Result<_, _>>()?
        } else {
            vec![Node { slots: 0..=u16::MAX, control: Mutex::new(control) }]
        };
        Ok(Self { address, tls, nodes, own: Vec::new(), _folder: None })
    }

    /// Return the port with TLS. Our own server has none if it was built without TLS.
    pub fn tls(&self) -> Option<&TlsPort> {
        self.tls.as_ref()
    }

    /// Return the address of the server: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Return the name and the version of the server.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn release(&self) -> Result<String, Failure> {
        let info: String = redis::cmd("INFO").arg("server").query(&mut *self.nodes[0].control())?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        Ok(match (field("valkey_version:"), field("redis_version:")) {
            (Some(version), _) => format!("Valkey {}", version.trim()),
            (None, version) => format!("Redis {}", version.unwrap_or("?").trim()),
        })
    }

    /// Set every key to the value.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn fill(&self, keys: &[String], value: &[u8]) -> Result<(), Failure> {
        self.pipeline(keys, |pipeline, key| {
            let seconds = KEY_TTL.as_secs();
            pipeline.cmd("SET").arg(key).arg(value).arg("EX").arg(seconds).ignore();
        })
    }

    /// Delete the keys, and with them the tracking state of the server.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn forget(&self, keys: &[String]) -> Result<(), Failure> {
        self.pipeline(keys, |pipeline, key| {
            pipeline.cmd("DEL").arg(key).ignore();
        })
    }

    /// Return the number of nodes; 1 without a cluster.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Return the number of commands since the start of the server. Each call adds one command per
    /// node.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn commands(&self) -> Result<u64, Failure> {
        let mut commands = 0;
        for node in &self.nodes {
            let stats: String = redis::cmd("INFO").arg("stats").query(&mut *node.control())?;
            let line =
                stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            commands += line.ok_or("INFO counts no commands")?.trim().parse::<u64>()?;
        }
        Ok(commands)
    }

    /// Return the processor time of the server so far; of a cluster, that of its nodes together.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn processor_time(&self) -> Result<Duration, Failure> {
        let mut total = Duration::ZERO;
        for node in &self.nodes {
            let text: String = redis::cmd("INFO").arg("cpu").query(&mut *node.control())?;
            for name in ["used_cpu_user:", "used_cpu_sys:"] {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let seconds: f64 = line.ok_or("INFO tells no processor time")?.trim().parse()?;
                total += Duration::try_from_secs_f64(seconds)?;
            }
        }
        Ok(total)
    }

    fn pipeline(&self, keys: &[String], add: impl Fn(&mut Pipeline, &str)) -> Result<(), Failure> {
        let slot = |key: &String| u16::try_from(Slot::of(key.as_bytes()).index());
        for node in &self.nodes {
            let mut connection = node.control();
            for keys in keys.chunks(PIPELINE) {
                let mut pipeline = redis::pipe();
                for key in keys {
                    if node.slots.contains(&slot(key)?) {
                        add(&mut pipeline, key);
                    }
                }
                pipeline.query::<()>(&mut *connection)?;
            }
        }
        Ok(())
    }

    fn start() -> Result<Self, Failure> {
        let program = program()?;
        // Another process may take the free port before the server does, so a few ports are tried.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let certificates = has_tls(&program)?.then(Certificates::create).transpose()?;
            match Own::start(&program, certificates, &[]) {
                Err(failure) if attempts == 0 => return Err(failure),
                Err(_) => {}
                Ok(own) => {
                    let (address, tls) = (own.address(), own.tls.clone());
                    return Ok(Self { own: vec![own], ..Self::reach(address, tls, false)? });
                }
            }
        }
    }

    fn start_cluster() -> Result<Self, Failure> {
        let program = program()?;
        let folder = env::temp_dir().join(format!("redcache-compare-cluster-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let folder = Folder(folder);
        let (mut own, mut nodes, mut ports) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..NODES {
            let bus = free_port()?;
            let directory = folder.0.join(number.to_string());
            fs::create_dir_all(&directory)?;
            let node = Own::start(
                &program,
                None,
                &[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus.to_string(),
                    "--dir",
                    &directory.display().to_string(),
                ],
            )?;
            nodes.push(connect(&node.address())?);
            ports.push((node.port, bus));
            own.push(node);
        }
        cluster::form(&mut nodes, &ports)?;
        let reached = Self::reach(own[0].address(), None, true)?;
        Ok(Self { own, _folder: Some(folder), ..reached })
    }
}

impl Own {
    fn start(
        program: &str,
        certificates: Option<Certificates>,
        options: &[&str],
    ) -> Result<Self, Failure> {
        let port = free_port()?;
        let tls = match &certificates {
            Some(certificates) => Some(TlsPort { port: free_port()?, ca: certificates.ca() }),
            None => None,
        };
        let tls_arguments = certificates.as_ref().zip(tls.as_ref());
        let tls_arguments = tls_arguments.map(|(files, tls)| files.server_arguments(tls.port));
        let mut watch = Command::new("/bin/sh")
            .args(["-c", WATCH, "sh", program, "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--port", &port.to_string()])
            // The tracking table has no limit, so that it holds a near cache of a million entries.
            .args(["--tracking-table-max-keys", "0"])
            .args(tls_arguments.unwrap_or_default())
            .args(options)
            .current_dir(env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|why| format!("cannot start {program}: {why}"))?;
        // From now on, dropping `own` stops the server.
        let lifeline = watch.stdin.take();
        let own = Self { port, tls, watch, lifeline, _certificates: certificates };
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match connect(&own.address()) {
                Ok(_) => return Ok(own),
                Err(why) if Instant::now() > deadline => {
                    return Err(format!("{program} does not answer on port {port}: {why}").into());
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, tls, nodes, own, _folder: _ } = self;
        let (nodes, own) = (nodes.len(), !own.is_empty());
        let mut text = f.debug_struct("Server");
        text.field("address", address).field("tls", tls).field("nodes", &nodes);
        text.field("own", &own).finish()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The server was asked to stop; an error of the wait has no consequence.
        let _ = self.watch.wait();
    }
}

/// Return the program of the server, if it can run.
fn program() -> Result<String, Failure> {
    let program = env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let version = Command::new(&program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match version {
        Ok(_) => Ok(program),
        Err(why) if why.kind() == ErrorKind::NotFound => Err(format!(
            "{program} not found: install Redis, name the program in REDIS_SERVER, or name a \
             running server with --redis ADDR"
        )
        .into()),
        Err(why) => Err(format!("cannot run {program}: {why}").into()),
    }
}

/// Return whether a server was built with TLS. Without its certificate the server ends at once, and
/// names the missing option only if it was built with TLS.
fn has_tls(program: &str) -> Result<bool, Failure> {
    let output = Command::new(program)
        .args(["--port", "0", "--tls-port", "1", "--save", ""])
        .current_dir(env::temp_dir())
        .stdin(Stdio::null())
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("tls-cert-file"))
}

fn connect(address: &str) -> Result<Connection, Failure> {
    let mut connection = redis::Client::open(format!("redis://{address}/"))?.get_connection()?;
    redis::cmd("PING").query::<()>(&mut connection)?;
    Ok(connection)
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

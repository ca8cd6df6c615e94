//! The Redis server under test: a running server, or a server that we start.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use redis::{Connection, Pipeline};

use crate::Failure;
use crate::cli::Redis;
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

/// The Redis server under test; our own server stops on drop.
pub struct Server {
    address: String,
    tls: Option<TlsPort>,
    /// One connection for all commands outside the measurement, so that its setup is not counted.
    control: Mutex<Connection>,
    own: Option<Own>,
}

struct Own {
    watch: Child,
    lifeline: Option<ChildStdin>,
    /// The server reads them only when it starts.
    _certificates: Option<Certificates>,
}

impl Server {
    /// Connect to the server at the address, or start a server.
    ///
    /// # Errors
    ///
    /// Fails if no server answers at the address, or if redis-server is missing or does not start.
    pub fn take(redis: Redis) -> Result<Self, Failure> {
        let Redis { address: Some(address), tls } = redis else {
            return Self::start();
        };
        let control = connect(&address).map_err(|why| format!("no Redis at {address}: {why}"))?;
        Ok(Self { address, tls, control: Mutex::new(control), own: None })
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
        let info: String = redis::cmd("INFO").arg("server").query(&mut *self.control())?;
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

    /// Return the number of commands since the start of the server. Each call adds one command.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn commands(&self) -> Result<u64, Failure> {
        let stats: String = redis::cmd("INFO").arg("stats").query(&mut *self.control())?;
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        Ok(line.ok_or("INFO counts no commands")?.trim().parse()?)
    }

    /// Return the processor time of the server so far.
    ///
    /// # Errors
    ///
    /// Fails with the error of the connection or the server.
    pub fn processor_time(&self) -> Result<Duration, Failure> {
        let text: String = redis::cmd("INFO").arg("cpu").query(&mut *self.control())?;
        let mut total = Duration::ZERO;
        for name in ["used_cpu_user:", "used_cpu_sys:"] {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let seconds: f64 = line.ok_or("INFO tells no processor time")?.trim().parse()?;
            total += Duration::try_from_secs_f64(seconds)?;
        }
        Ok(total)
    }

    fn pipeline(&self, keys: &[String], add: impl Fn(&mut Pipeline, &str)) -> Result<(), Failure> {
        let mut connection = self.control();
        for keys in keys.chunks(PIPELINE) {
            let mut pipeline = redis::pipe();
            for key in keys {
                add(&mut pipeline, key);
            }
            pipeline.query::<()>(&mut *connection)?;
        }
        Ok(())
    }

    fn control(&self) -> MutexGuard<'_, Connection> {
        // A connection that broke in the middle of a command fails at the next command.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start() -> Result<Self, Failure> {
        let program = env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        check(&program)?;
        // Another process may take the free port before the server does, so a few ports are tried.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let certificates = has_tls(&program)?.then(Certificates::create).transpose()?;
            match Self::start_on(&program, free_port()?, certificates) {
                Err(failure) if attempts == 0 => return Err(failure),
                Err(_) => {}
                Ok(server) => return Ok(server),
            }
        }
    }

    fn start_on(
        program: &str,
        port: u16,
        certificates: Option<Certificates>,
    ) -> Result<Self, Failure> {
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
            .current_dir(env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|why| format!("cannot start {program}: {why}"))?;
        // From now on, dropping `own` stops the server.
        let own = Own { lifeline: watch.stdin.take(), watch, _certificates: certificates };
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match connect(&address) {
                Ok(control) => {
                    let control = Mutex::new(control);
                    return Ok(Self { address, tls, control, own: Some(own) });
                }
                Err(why) if Instant::now() > deadline => {
                    return Err(format!("{program} does not answer on port {port}: {why}").into());
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, tls, control: _, own } = self;
        let own = own.is_some();
        let mut text = f.debug_struct("Server");
        text.field("address", address).field("tls", tls).field("own", &own).finish()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The server was asked to stop; an error of the wait has no consequence.
        let _ = self.watch.wait();
    }
}

fn check(program: &str) -> Result<(), Failure> {
    let version = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match version {
        Ok(_) => Ok(()),
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

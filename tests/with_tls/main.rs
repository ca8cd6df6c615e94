//! Runs a program with `REDIS_URL` set to a server with TLS, to one with mutual TLS, and to a
//! cluster with mutual TLS, one after the other: `with_tls PROGRAM ARGUMENTS…`.

use std::env;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use redcache_tests::{RedisCluster, TlsServer};

fn main() -> io::Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let Some(program) = words.next() else {
        writeln!(io::stderr(), "with_tls: name a program to run")?;
        return Ok(ExitCode::from(2));
    };
    let mut command = Command::new(program);
    command.args(words);
    let (server, mutual) = (TlsServer::start("server", false), TlsServer::start("server", true));
    let cluster = RedisCluster::start_with_tls();
    for url in [server.url(), mutual.mutual_url(), cluster.tls_url()] {
        writeln!(io::stderr(), "with_tls: REDIS_URL={url}")?;
        if !command.env("REDIS_URL", url).status()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

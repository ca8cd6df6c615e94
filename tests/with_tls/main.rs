//! Runs a program with `REDIS_URL` set to a server with TLS, and then to one with mutual TLS:
//! `with_tls PROGRAM ARGUMENTS…`.

use std::env;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use redcache_tests::TlsServer;

fn main() -> io::Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let Some(program) = words.next() else {
        writeln!(io::stderr(), "with_tls: name a program to run")?;
        return Ok(ExitCode::from(2));
    };
    let arguments: Vec<_> = words.collect();
    for is_mutual in [false, true] {
        let server = TlsServer::start("server", is_mutual);
        let url = if is_mutual { server.mutual_url() } else { server.url() };
        writeln!(io::stderr(), "with_tls: REDIS_URL={url}")?;
        let status = Command::new(&program).args(&arguments).env("REDIS_URL", url).status()?;
        if !status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

//! One workload against one peer, or the whole table: see `compare --help`.
#![expect(clippy::print_stdout, reason = "the lines on standard output are the interface")]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::{env, io};

use redcache_benches::cli::{self, Redis, Run, USAGE};
use redcache_benches::growth;
use redcache_benches::line::Line;
use redcache_benches::peers::{self, NoMeasurement};
use redcache_benches::rounds;
use redcache_benches::runtime::WORKERS;
use redcache_benches::server::Server;
use redcache_benches::staleness;
use redcache_benches::versions::Versions;

fn main() -> ExitCode {
    let outcome =
        cli::Command::parse(env::args().skip(1)).map_err(NoMeasurement::from).and_then(execute);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(NoMeasurement::Unsupported(reason)) => {
            eprintln!("compare: {reason}");
            ExitCode::from(2)
        }
        Err(NoMeasurement::Failed(failure)) => {
            eprintln!("compare: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: cli::Command) -> Result<(), NoMeasurement> {
    match command {
        cli::Command::Help => println!("{USAGE}"),
        cli::Command::One(redis, run) => one(redis, &run)?,
        cli::Command::Growth(redis) => {
            let server = Server::take(redis)?;
            eprintln!("# {}, {Versions}", server.release()?);
            growth::growth(&server, |text| println!("{text}"))?;
        }
        cli::Command::Staleness(redis, each) => {
            eprintln!("# {Versions}");
            let server = Server::take(redis)?;
            staleness::staleness(&server, each, |text| println!("{text}"))?;
        }
        cli::Command::All(redis, all) => {
            let server = Server::take(redis)?;
            let cluster = Server::take(Redis { cluster: true, ..Redis::default() })?;
            eprintln!("# {}, {Versions}", server.release()?);
            rounds::all(&all, (&server, &cluster), |text| println!("{text}"))?;
        }
    }
    Ok(())
}

fn one(redis: Redis, run: &Run) -> Result<(), NoMeasurement> {
    let ready = |(name, value)| env::var(name).is_ok_and(|given| given == value);
    if !WORKERS.into_iter().all(ready) {
        return Err(NoMeasurement::Failed(start_over().into()));
    }
    let server = Server::take(redis)?;
    if !run.quiet {
        eprintln!("# {}, {Versions}", server.release()?);
    }
    let measurement = peers::measure(run, &server)?;
    println!("{}", Line::new(run, measurement));
    Ok(())
}

/// Replace this process with the same program in an environment that sets the number of workers of
/// every runtime, because a process cannot safely change its own. Return only an error.
fn start_over() -> io::Error {
    match env::current_exe() {
        Ok(program) => Command::new(program).args(env::args_os().skip(1)).envs(WORKERS).exec(),
        Err(why) => why,
    }
}

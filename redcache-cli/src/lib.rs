//! The command `redcache`, which examines a Redis and the keys that redcache keeps in it.
//!
//! `redcache --help` describes the command. This library is its implementation; [`run`] is what the
//! program calls. Decisions are functions of a server's replies; sockets are in `session`.

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod doctor;
mod exit;
mod greeting;
mod help;
mod inspect;
mod invalidation;
mod nodes;
mod output;
mod probe_key;
mod session;
mod watch;

use std::ffi::OsString;
use std::io::Write;

use arguments::{Command, Options};
pub use doctor::PERMISSIONS;
pub use exit::Exit;
use output::Output;

/// Run the command with these arguments, without the name of the program. Results go to `out`,
/// errors to `err`.
///
/// # Examples
///
/// ```
/// let mut out = Vec::new();
/// let exit = redcache_cli::run(["--help".into()], &mut out, &mut Vec::new());
/// assert_eq!(exit, redcache_cli::Exit::Good);
/// assert!(String::from_utf8(out).unwrap().contains("redcache doctor"));
/// ```
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let command = match arguments::parse(arguments) {
        Ok(command) => command,
        Err(text) => {
            // Nothing is left to do if the errors cannot be written.
            let _ = writeln!(err, "redcache: {text}\nTry `redcache --help`.");
            return Exit::Usage;
        }
    };
    let (options, done) = match command {
        Command::Help(text) => {
            let _ = out.write_all(text.as_bytes());
            return Exit::Good;
        }
        Command::Doctor { options, prefix } => {
            let mut output = Output::new(out, &options);
            let done = doctor::run(&options, &prefix, &mut output);
            (options, done)
        }
        Command::Inspect { options, key, shows_value } => {
            let mut output = Output::new(out, &options);
            let done = inspect::run(&options, &key, shows_value, &mut output);
            (options, done)
        }
        Command::Watch { options, prefix, limits } => {
            let mut output = Output::new(out, &options);
            let done = watch::run(&options, &prefix, limits, &mut output);
            (options, done)
        }
        Command::Bench { options, prefix, calls } => {
            let mut output = Output::new(out, &options);
            let done = bench::run(&options, &prefix, calls, &mut output);
            (options, done)
        }
    };
    done.unwrap_or_else(|failure| {
        report(&options, &failure, err);
        failure.exit
    })
}

fn report(options: &Options, failure: &exit::Failure, err: &mut dyn Write) {
    let exit::Failure { exit, text } = failure;
    let _ = if options.is_json {
        writeln!(err, "{}", serde_json::json!({ "error": text, "status": exit.status() }))
    } else {
        writeln!(err, "redcache: {text}")
    };
}

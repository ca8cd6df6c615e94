//! The program `redcache`.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    redcache_cli::run(arguments, &mut io::stdout(), &mut io::stderr()).into()
}

//! Mutation test in a build without mutants: build the program with them and run it.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::arguments::{Arguments, Hunt};

/// Build with mutants in a separate target folder and run the mutation test there.
pub(crate) fn hunt(arguments: &Arguments, hunt: &Hunt) -> io::Result<bool> {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["run", "--release", "--locked", "--quiet", "--bin", "simulate", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_directory()?.join("mutants"))
        .env("RUSTFLAGS", format!("{flags} --cfg redcache_mutants"))
        // Cargo prefers this variable over `RUSTFLAGS`.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .arg("--");
    match hunt {
        Hunt::All => command.arg("--mutants"),
        Hunt::One(name) => command.args(["--mutant", name]),
    };
    let Arguments { seeds, from, threads, .. } = arguments;
    for (option, number) in [("--seeds", *seeds), ("--from", *from), ("--threads", *threads as u64)]
    {
        command.arg(option).arg(number.to_string());
    }
    Ok(command.status()?.success())
}

/// Return the target folder of this program, two levels above the executable.
fn target_directory() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let directory = program.ancestors().nth(2).map(PathBuf::from);
    directory.ok_or_else(|| io::Error::other("this program is not in a target folder"))
}

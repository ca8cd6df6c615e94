//! The hunt for bugs on purpose, as seen by a build that has none: it makes one that has, and runs that.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::arguments::{Arguments, Hunt};

/// Builds with the bugs, in a folder of its own so that no other build takes anything from it, and hunts them there.
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
        // It would be used instead of the other.
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

/// Where this program was built: two floors above it.
fn target_directory() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let directory = program.ancestors().nth(2).map(PathBuf::from);
    directory.ok_or_else(|| io::Error::other("this program is not where cargo puts it"))
}

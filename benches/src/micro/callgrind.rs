//! Instructions, as valgrind counts them.

use std::env;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::cases::Case;
use crate::Failure;

/// Count the instructions of one operation of a case. Return `None` if valgrind is not installed.
/// The program runs itself with `--case CASE --ops N`.
///
/// # Errors
///
/// Fails if valgrind fails, or if its output contains no count.
pub fn instructions(case: Case) -> Result<Option<f64>, Failure> {
    let (few, many) = case.sizes();
    let (Some(fewer), Some(more)) = (count(case, few)?, count(case, many)?) else {
        return Ok(None);
    };
    Ok(Some((more as f64 - fewer as f64) / (many - few) as f64))
}

fn count(case: Case, ops: usize) -> Result<Option<u64>, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["--case", case.name(), "--ops", &ops.to_string()])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind on {case}: {said}").into());
    }
    collected(&said).map(Some).ok_or_else(|| format!("valgrind counts nothing: {said}").into())
}

fn collected(said: &str) -> Option<u64> {
    let (_, count) = said.lines().find_map(|line| line.split_once("Collected : "))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        let said =
            "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n==7== I   refs: 123,456\n";
        assert_eq!(collected(said), Some(123_456));
        assert_eq!(collected("==7== nothing"), None);
    }
}

//! Versions of the measured crates, from the lock file of the build.

use std::fmt;

/// The crates of the peers.
const CRATES: [&str; 6] = ["redis", "fred", "rustis", "moka", "quick_cache", "tokio"];

const LOCK_FILE: &str = include_str!("../../Cargo.lock");

/// The versions of all peers, printed as `redis 1.8.1, fred 10.1.0, …`.
#[derive(Debug)]
pub struct Versions;

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redcache {}", env!("CARGO_PKG_VERSION"))?;
        for name in CRATES {
            write!(f, ", {name} {}", version(name).unwrap_or("?"))?;
        }
        Ok(())
    }
}

fn version(name: &str) -> Option<&'static str> {
    let mut lines = LOCK_FILE.lines();
    lines.find(|line| {
        line.strip_prefix("name = ").is_some_and(|rest| rest.trim_matches('"') == name)
    })?;
    lines.next()?.strip_prefix("version = ").map(|version| version.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_version() {
        for name in CRATES {
            let version = version(name).unwrap_or_else(|| panic!("{name} is not in the lock file"));
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{name} {version}");
        }
    }
}

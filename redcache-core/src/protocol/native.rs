//! The native commands that read or compare, and write, in one step without a script.
//!
//! | server     | read or lock   | compare and set | compare and delete |
//! |------------|----------------|-----------------|--------------------|
//! | Redis 7.0  | `SET … NX GET` |                 |                    |
//! | Valkey     | `SET … NX GET` |                 |                    |
//! | Valkey 8.1 | `SET … NX GET` | `SET … IFEQ`    |                    |
//! | Valkey 9   | `SET … NX GET` | `SET … IFEQ`    | `DELIFEQ`          |
//! | Redis 8.4  | `SET … NX GET` | `SET … IFEQ`    | `DELEX … IFEQ`     |

/// The native commands of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NativeCommands {
    /// The server knows `SET … NX GET`.
    pub(crate) set_get: bool,
    /// The server knows `SET … IFEQ`.
    pub(crate) set: bool,
    /// The command that deletes a key if it holds a value.
    pub(crate) delete: Option<Delete>,
}

/// A command that deletes a key if it holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delete {
    /// `DELIFEQ key value` of Valkey.
    DelIfEq,
    /// `DELEX key IFEQ value` of Redis.
    DelEx,
}

impl NativeCommands {
    /// Return the commands of a server with this name and version, from its reply to `HELLO`.
    pub(crate) fn of(server: &[u8], version: &[u8]) -> Self {
        let (since, delete) = match server {
            b"valkey" => ((8, 1), Delete::DelIfEq),
            b"redis" => ((8, 4), Delete::DelEx),
            _ => return Self::default(),
        };
        let Some(version) = major_and_minor(version).filter(|version| *version >= (7, 0)) else {
            return Self::default();
        };
        let set = version >= since;
        let is_without_delete = delete == Delete::DelIfEq && version < (9, 0);
        let delete = Some(delete).filter(|_| set && !is_without_delete);
        Self { set_get: true, set, delete }
    }
}

fn major_and_minor(version: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = std::str::from_utf8(version).ok()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_the_commands_of_its_version() {
        let of = |server: &str, version: &str| {
            let commands = NativeCommands::of(server.as_bytes(), version.as_bytes());
            (commands.set_get, commands.set, commands.delete)
        };
        assert_eq!(of("valkey", "9.1.2"), (true, true, Some(Delete::DelIfEq)));
        assert_eq!(of("valkey", "10.0.0-rc1"), (true, true, Some(Delete::DelIfEq)));
        assert_eq!(of("valkey", "8.1.0"), (true, true, None));
        assert_eq!(of("valkey", "8.0.9"), (true, false, None));
        assert_eq!(of("redis", "8.4.0"), (true, true, Some(Delete::DelEx)));
        assert_eq!(of("redis", "255.255.255"), (true, true, Some(Delete::DelEx)));
        assert_eq!(of("redis", "8.2.3"), (true, false, None));
        assert_eq!(of("redis", "7.0.15"), (true, false, None));
        for (server, version) in [
            ("redis", "6.2.14"),
            ("redis", "9"),
            ("redis", ""),
            ("redis", "nine.one"),
            ("valkey", "99999999999999999999.0"),
            ("dragonfly", "9.9.9"),
        ] {
            assert_eq!(of(server, version), (false, false, None), "{server} {version}");
        }
    }
}

//! A server's description of itself.

use redcache_core::resp::Frame;

/// A server's reply to `HELLO`, or to `INFO` if it has no `HELLO`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Greeting {
    /// The name of the program, as `redis` or `valkey`.
    pub(crate) program: String,
    pub(crate) version: String,
    pub(crate) mode: Mode,
    pub(crate) is_replica: bool,
    pub(crate) has_resp3: bool,
}

/// The mode of a server. An unknown mode counts as standalone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    #[default]
    Standalone,
    Sentinel,
    Cluster,
}

impl Mode {
    fn of(name: &str) -> Self {
        match name {
            "sentinel" => Self::Sentinel,
            "cluster" => Self::Cluster,
            _ => Self::Standalone,
        }
    }

    /// Return the mode as one word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

impl Greeting {
    /// Read the reply to `HELLO`; `None` if it is another one.
    pub(crate) fn of_hello(frame: &Frame<'_>) -> Option<Self> {
        let Frame::Map(fields) = frame else { return None };
        let mut greeting = Self::default();
        for (name, value) in fields {
            match (text(name).as_str(), value) {
                ("proto", Frame::Integer(proto)) => greeting.has_resp3 = *proto == 3,
                ("server", value) => greeting.program = text(value),
                ("version", value) => greeting.version = text(value),
                ("mode", value) => greeting.mode = Mode::of(&text(value)),
                ("role", value) => {
                    greeting.is_replica = matches!(text(value).as_str(), "replica" | "slave");
                }
                _ => {}
            }
        }
        Some(greeting)
    }

    /// Read the reply to `INFO`.
    pub(crate) fn of_info(info: &str) -> Self {
        let field = |name: &str| {
            let fields = info.lines().filter_map(|line| line.trim().split_once(':'));
            fields.into_iter().find(|(key, _)| *key == name).map(|(_, value)| printed(value))
        };
        let valkey = field("valkey_version").map(|version| ("valkey", version));
        let named = valkey.or_else(|| Some(("redis", field("redis_version")?)));
        let (program, version) = named.unwrap_or_default();
        let modes = field("redis_mode").or_else(|| field("server_mode"));
        Self {
            program: program.to_owned(),
            version,
            mode: Mode::of(&modes.unwrap_or_default()),
            is_replica: field("role").as_deref() == Some("slave"),
            has_resp3: false,
        }
    }

    /// Return the program, its version and its role in one phrase.
    pub(crate) fn describe(&self) -> String {
        let program = match (self.program.as_str(), self.version.as_str()) {
            ("", _) => "an unknown program".to_owned(),
            (program, "") => program.to_owned(),
            (program, version) => format!("{program} {version}"),
        };
        let role = match (self.mode, self.is_replica) {
            (Mode::Sentinel, _) => "sentinel",
            (Mode::Cluster, false) => "primary of a cluster",
            (Mode::Cluster, true) => "replica of a cluster",
            (Mode::Standalone, false) => "primary",
            (Mode::Standalone, true) => "replica",
        };
        let protocol = if self.has_resp3 { "RESP3" } else { "RESP2 only" };
        format!("{program}, {role}, {protocol}")
    }
}

fn text(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Bulk(text) | Frame::Simple(text) => printed(&String::from_utf8_lossy(text)),
        _ => String::new(),
    }
}

/// Return a word that a terminal shows as it is. A server may send anything.
fn printed(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_describes_itself_by_hello_or_by_info() {
        let bulk = |text: &'static str| Frame::Bulk(text.as_bytes());
        let hello = Frame::Map(vec![
            (bulk("server"), bulk("redis")),
            (bulk("version"), bulk("7.0.15\x1b")),
            (bulk("proto"), Frame::Integer(3)),
            (bulk("mode"), bulk("cluster")),
            (bulk("role"), bulk("replica")),
        ]);
        let greeting = Greeting::of_hello(&hello).unwrap();
        assert_eq!(greeting.describe(), "redis 7.0.15, replica of a cluster, RESP3");
        assert_eq!(Greeting::of_hello(&Frame::Null), None);
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\n";
        assert_eq!(Greeting::of_info(info).describe(), "redis 7.0.15, primary, RESP2 only");
        let valkey = "redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nrole:slave\r\n";
        assert_eq!(Greeting::of_info(valkey).describe(), "valkey 9.1.2, replica, RESP2 only");
        assert_eq!(Greeting::of_info("").describe(), "an unknown program, primary, RESP2 only");
    }
}

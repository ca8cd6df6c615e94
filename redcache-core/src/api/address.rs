//! The address of a server.

use std::fmt;

use super::config_error::ConfigError;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A TCP endpoint.
    Tcp {
        /// Host name, IPv4 address, or IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The path of a Unix domain socket.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl Address {
    /// Reject an address that cannot exist. The error does not quote it: a part of a malformed URL
    /// may be a password.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Tcp { host, .. } if host.is_empty() || host.contains(is_foreign_to_hosts) => {
                let text = "the host must be a host name or an IP address";
                Err(ConfigError::unquoted("host", text))
            }
            Self::Tcp { port: 0, .. } => Err(ConfigError::new("port", 0, "1 to 65535")),
            Self::Unix(path) if path.is_empty() || path.contains('\0') => {
                let text = "the path must be that of a Unix domain socket";
                Err(ConfigError::unquoted("path", text))
            }
            Self::Tcp { .. } | Self::Unix(_) => Ok(()),
        }
    }
}

/// Return `true` for a character that no host name and no IP address contains.
fn is_foreign_to_hosts(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "/\\?#@,[]<>\"'`^|{}".contains(c)
}

//! TLS for redcache without I/O: bytes of the network in, bytes of Redis out, and the reverse.
//!
//! A [`Connector`] is made once for a cache, from its [`TlsConfig`]. It makes a [`Session`] for
//! each connection. The same session serves async tasks and threads, because the owner of the
//! socket carries the bytes:
//!
//! ```text
//!  engine ── plaintext ──▶ Session::write ──▶ Session::take_output ──▶ socket
//!  engine ◀── plaintext ── Session::read ◀─────────────────────────── socket
//! ```
//!
//! Users do not depend on this crate. They switch on the feature `tls` of the crate that they use.

#![forbid(unsafe_code)]

mod connector;
mod error;
mod insecure;
mod pem;
mod session;

pub use connector::{Connector, with_client_config};
pub use error::TlsError;
pub use redcache_core::TlsConfig;
pub use session::Session;

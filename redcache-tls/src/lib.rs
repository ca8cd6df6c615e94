//! TLS for redcache without I/O: a session decrypts bytes from the network and encrypts bytes for
//! it.
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
//! Applications do not depend on this crate. They enable the feature `tls` of their adapter.

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

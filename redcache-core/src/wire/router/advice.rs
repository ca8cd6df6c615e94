//! Advice for a connection that ends before the first reply.

/// The advice for a server without TLS. It waits silently for the bytes that it considers the rest
/// of a command.
pub(super) const OTHER_THAN_TLS: &str =
    "; if it speaks without TLS on this port, connect with redis://";
/// The advice for a server with TLS. It hangs up silently on other bytes.
pub(super) const TLS: &str = "; if it speaks TLS on this port, connect with rediss://";
/// The advice for a sentinel without TLS.
pub(super) const SENTINEL_OTHER_THAN_TLS: &str =
    "; if the sentinel speaks without TLS, set `sentinel_tls=false`";
/// The advice for a sentinel with TLS.
pub(super) const SENTINEL_TLS: &str =
    "; if the sentinel speaks TLS, connect with rediss-sentinel:// or set `sentinel_tls=true`";

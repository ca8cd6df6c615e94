//! A real Redis that speaks TLS on one port and plain text on another.

use std::path::PathBuf;

use crate::certificates::Certificates;
use crate::redis_server::{RedisServer, free_port, new_directory};

/// A server with TLS, and the certificates of the test.
#[derive(Debug)]
pub struct TlsServer {
    server: RedisServer,
    port: u16,
    certificates: Certificates,
    directory: PathBuf,
}

impl TlsServer {
    /// Start a server that presents the certificate `name` of [`Certificates`]. It requires a
    /// certificate of its clients if `is_mutual`.
    ///
    /// # Panics
    ///
    /// Panics if there is no `redis-server`, or if it was built without TLS.
    pub fn start(name: &str, is_mutual: bool) -> Self {
        let directory = new_directory();
        let certificates = Certificates::new(&directory);
        let port = free_port();
        let args = certificates.server_args(name, port, is_mutual);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let server = RedisServer::start_with(&args);
        Self { server, port, certificates, directory }
    }

    /// Return the server, whose own address is the plain one.
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    /// Return the certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Return the port for TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Return a URL that trusts the authority of the test.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}/?{}", self.port, self.certificates.url_options(false))
    }

    /// Return a URL that presents the client's certificate as well.
    pub fn mutual_url(&self) -> String {
        format!("rediss://localhost:{}/?{}", self.port, self.certificates.url_options(true))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.server.stop();
        // Files that cannot be deleted are left to the system.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

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
    /// Start a server that presents the certificate `name` of [`Certificates`], and that wants one
    /// of its clients if `is_mutual`.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or if it was built without TLS.
    pub fn start(name: &str, is_mutual: bool) -> Self {
        let directory = new_directory();
        let certificates = Certificates::new(&directory);
        let port = free_port();
        let (port_text, mutual) = (port.to_string(), if is_mutual { "yes" } else { "no" });
        let server = RedisServer::start_with(&[
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            &certificates.path(&format!("{name}.crt")),
            "--tls-key-file",
            &certificates.path(&format!("{name}.key")),
            "--tls-ca-cert-file",
            &certificates.path("ca.crt"),
            "--tls-auth-clients",
            mutual,
        ]);
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
        format!("rediss://localhost:{}/?tls_ca={}", self.port, self.certificates.path("ca.crt"))
    }

    /// Return a URL that presents the client's certificate as well.
    pub fn mutual_url(&self) -> String {
        let [certificate, key] = ["client.crt", "client.key"].map(|it| self.certificates.path(it));
        format!("{}&tls_cert={certificate}&tls_key={key}", self.url())
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.server.stop();
        // What cannot be deleted is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

//! The encryption of a group of servers: certificates, and a port for TLS for each of them.

use std::fs;
use std::path::PathBuf;

use crate::certificates::Certificates;
use crate::redis_server::{free_port, new_directory};

/// The certificates of a group, and the ports of its servers for TLS.
#[derive(Debug)]
pub(crate) struct TlsGroup {
    certificates: Certificates,
    directory: PathBuf,
    /// The port of each server for TLS.
    pub(crate) ports: Vec<u16>,
}

impl TlsGroup {
    pub(crate) fn new(servers: usize) -> Self {
        let directory = new_directory();
        let certificates = Certificates::new(&directory);
        Self { certificates, directory, ports: (0..servers).map(|_| free_port()).collect() }
    }

    /// Return the arguments of a server that speaks TLS on `port`, also with the others.
    pub(crate) fn args(&self, port: u16) -> Vec<String> {
        let mut args = self.certificates.server_args("server", port, true);
        args.extend(["--tls-replication", "yes"].map(str::to_owned));
        args
    }

    /// Return the options of a URL that presents a certificate of the client.
    pub(crate) fn url_options(&self) -> String {
        self.certificates.url_options(true)
    }
}

impl Drop for TlsGroup {
    fn drop(&mut self) {
        // Files that cannot be deleted are left to the system.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

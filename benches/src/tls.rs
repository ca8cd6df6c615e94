//! The TLS port of the server under test, and the certificates of our own server.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::Failure;

/// The TLS port of the server, and the certificates that a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPort {
    /// Port on `localhost`.
    pub port: u16,
    /// PEM file with the certificates to trust.
    pub ca: PathBuf,
}

/// PEM files for one server: `ca.crt`, `server.crt` and `server.key`. They are deleted on drop.
#[derive(Debug)]
pub(crate) struct Certificates(PathBuf);

impl Certificates {
    /// Create an authority, and a certificate of a server on `localhost`.
    ///
    /// # Errors
    ///
    /// Fails if the system has no place for temporary files.
    pub(crate) fn create() -> Result<Self, Failure> {
        let folder = env::temp_dir().join(format!("redcache-compare-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let certificates = Self(folder);
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["localhost".to_owned()])?;
        fs::write(certificates.ca(), authority.pem())?;
        fs::write(certificates.certificate(), server.signed_by(&key, &authority)?.pem())?;
        fs::write(certificates.key(), key.serialize_pem())?;
        Ok(certificates)
    }

    /// Return the arguments of a `redis-server` that speaks TLS on a port.
    pub(crate) fn server_arguments(&self, port: u16) -> Vec<String> {
        let file = |path: PathBuf| path.display().to_string();
        let options = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", file(self.certificate())),
            ("--tls-key-file", file(self.key())),
            ("--tls-ca-cert-file", file(self.ca())),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Return the file with the authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("server.crt")
    }

    fn key(&self) -> PathBuf {
        self.0.join("server.key")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // The system cleans up files that cannot be deleted here.
        let _ = fs::remove_dir_all::<&Path>(self.0.as_ref());
    }
}

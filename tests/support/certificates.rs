//! Certificates for servers and clients of one test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate authority and the certificates that it has signed, as PEM files in one directory.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Create an authority, a server certificate for `localhost` and 127.0.0.1, an expired one, one
    /// for another name, and a client certificate.
    ///
    /// # Panics
    ///
    /// Panics if the directory cannot be written.
    pub fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let authority = CertifiedIssuer::self_signed(params, key()).expect("the key can sign");
        let certificates = Self { directory: directory.to_owned() };
        certificates.write("ca.crt", &authority.pem());
        let names = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            CertificateParams::new(names).expect("the names are valid")
        };
        let mut expired = names(&["localhost", "127.0.0.1"]);
        expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
        for (name, params) in [
            ("server", names(&["localhost", "127.0.0.1"])),
            ("expired", expired),
            ("elsewhere", names(&["elsewhere.example"])),
            ("client", names(&["client"])),
        ] {
            let key = key();
            let signed = params.signed_by(&key, &authority).expect("the authority can sign");
            certificates.write(&format!("{name}.crt"), &signed.pem());
            certificates.write(&format!("{name}.key"), &key.serialize_pem());
        }
        certificates
    }

    /// Return the path of a file, `ca.crt` or `server.key` for example.
    pub fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }

    /// Return the arguments of a server that speaks TLS on `port` with the certificate `name`. It
    /// requires a certificate of its clients if `is_mutual`.
    pub fn server_args(&self, name: &str, port: u16, is_mutual: bool) -> Vec<String> {
        let args = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", self.path(&format!("{name}.crt"))),
            ("--tls-key-file", self.path(&format!("{name}.key"))),
            ("--tls-ca-cert-file", self.path("ca.crt")),
            ("--tls-auth-clients", (if is_mutual { "yes" } else { "no" }).to_owned()),
        ];
        args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Return the options of a URL that trusts the authority, and presents the certificate of a
    /// client if `is_mutual`.
    pub fn url_options(&self, is_mutual: bool) -> String {
        let [ca, certificate, key] = ["ca.crt", "client.crt", "client.key"].map(|it| self.path(it));
        let mutual = if is_mutual {
            format!("&tls_cert={certificate}&tls_key={key}")
        } else {
            String::new()
        };
        format!("tls_ca={ca}{mutual}")
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.join(file), text).expect("the directory is writable");
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

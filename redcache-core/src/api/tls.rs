//! The settings of encrypted connections.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The TLS settings of a cache: the certificates that it trusts, and the one that it presents.
///
/// The default trusts the root certificates of the operating system and presents no certificate of
/// its own. `rediss://` and the other TLS schemes of a URL use this default, with the options
/// `tls_ca`, `tls_cert`, `tls_key`, `tls_server_name` and `tls_insecure`.
///
/// # Examples
///
/// ```
/// use redcache_core::TlsConfig;
///
/// let tls = TlsConfig::new()
///     .ca_file("/etc/redis/ca.crt")
///     .client_certificate_files("/etc/redis/client.crt", "/etc/redis/client.key");
/// ```
#[derive(Clone, Default)]
pub struct TlsConfig {
    ca: Option<Pem>,
    client_certificate: Option<(Pem, Pem)>,
    server_name: Option<String>,
    insecure: bool,
    custom: Option<Arc<dyn Any + Send + Sync>>,
}

/// Certificates or a private key in PEM form.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pem {
    /// The path of a file, which is read when a cache is created.
    File(String),
    /// The text itself.
    Text(Arc<[u8]>),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(..)"),
        }
    }
}

impl TlsConfig {
    /// Return the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trust the certificates of this PEM file, and no others.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<String>) -> Self {
        self.ca = Some(Pem::File(path.into()));
        self
    }

    /// Trust the certificates of this PEM text, and no others.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca = Some(Pem::Text(pem.as_ref().into()));
        self
    }

    /// Present the certificate chain of one PEM file with the private key of another: mutual TLS.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        self.client_certificate = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Present the certificate chain of one PEM text with the private key of another: mutual TLS.
    #[must_use]
    pub fn client_certificate_pem(
        mut self,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Self {
        let [certificate, key] =
            [certificate.as_ref(), key.as_ref()].map(|pem| Pem::Text(pem.into()));
        self.client_certificate = Some((certificate, key));
        self
    }

    /// Expect the server's certificate to be for this name, instead of for the host connected to.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accept any certificate. The connection is encrypted, but the server is not authenticated:
    /// for tests only.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Keep a configuration of the TLS library instead of all settings except the server name. Only
    /// the TLS crate calls this, because it knows the type.
    #[doc(hidden)]
    #[must_use]
    pub fn custom(mut self, config: Arc<dyn Any + Send + Sync>) -> Self {
        self.custom = Some(config);
        self
    }

    /// Return the trusted certificates, if they replace those of the operating system.
    pub fn ca(&self) -> Option<&Pem> {
        self.ca.as_ref()
    }

    /// Return the client's certificate chain and private key.
    pub fn client_certificate(&self) -> Option<(&Pem, &Pem)> {
        self.client_certificate.as_ref().map(|(certificate, key)| (certificate, key))
    }

    /// Return the name that the server's certificate must be for, if it is not the host's.
    pub fn expected_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Return `true` if any certificate is accepted.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// Return the configuration that [`custom`](Self::custom) has set.
    #[doc(hidden)]
    pub fn custom_config(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.custom.as_ref()
    }
}

impl PartialEq for TlsConfig {
    fn eq(&self, other: &Self) -> bool {
        let custom = |it: &Self| it.custom.as_ref().map(Arc::as_ptr);
        let is_same_custom = match (custom(self), custom(other)) {
            (Some(one), Some(other)) => std::ptr::addr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same_custom
            && self.ca == other.ca
            && self.client_certificate == other.client_certificate
            && self.server_name == other.server_name
            && self.insecure == other.insecure
    }
}

impl Eq for TlsConfig {}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("ca", &self.ca)
            .field("client_certificate", &self.client_certificate)
            .field("server_name", &self.server_name)
            .field("insecure", &self.insecure)
            .field("custom", &self.custom.is_some())
            .finish()
    }
}

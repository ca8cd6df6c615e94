//! The connector: it turns the TLS settings into sessions.

use std::fmt;
use std::sync::Arc;

use redcache_core::TlsConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::error::TlsError;
use crate::insecure::AcceptAny;
use crate::pem;
use crate::session::Session;

/// Use a configuration of rustls instead of the settings of `tls`, except for its server name.
#[must_use]
pub fn with_client_config(tls: TlsConfig, config: Arc<ClientConfig>) -> TlsConfig {
    tls.custom(Arc::new(config))
}

/// Makes the sessions of one cache.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
    presents: bool,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Read the certificates that the settings name.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or holds no certificate or key, if a key does not belong to
    /// its certificate, if there are no root certificates, or if the crypto provider is ambiguous.
    /// The error names the setting.
    pub fn new(tls: &TlsConfig) -> Result<Self, TlsError> {
        let custom = tls.custom_config().and_then(|it| it.downcast_ref::<Arc<ClientConfig>>());
        let config = match custom {
            Some(config) => Arc::clone(config),
            None => Arc::new(client_config(tls)?),
        };
        Ok(Self {
            config,
            server_name: tls.expected_name().map(str::to_owned),
            // A configuration of the user may present a certificate.
            presents: tls.client_certificate().is_some() || custom.is_some(),
        })
    }

    /// Begin a session with the server at `host`, a name or an address.
    ///
    /// # Errors
    ///
    /// Fails if `host`, or the setting `tls_server_name`, is neither a DNS name nor an IP address.
    pub fn session(&self, host: &str) -> Result<Session, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            TlsError::new(format!("`{name}` is no name of a server: set `tls_server_name`"))
        })?;
        let connection = ClientConnection::new(Arc::clone(&self.config), server)
            .map_err(|error| TlsError::explain(&error, self.presents))?;
        Ok(Session::new(connection, self.presents))
    }
}

fn client_config(tls: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let provider = provider()?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(format!("the crypto provider cannot do TLS: {error}")))?;
    let builder = if tls.is_insecure() {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        trusting(builder, tls)?
    };
    let Some((certificate, key)) = tls.client_certificate() else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = pem::certificates("tls_cert", certificate)?;
    let key = pem::private_key("tls_key", key)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        TlsError::new(format!("`tls_key` and `tls_cert` cannot be used together: {error}"))
    })
}

type WantsClientCertificate = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn trusting(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    tls: &TlsConfig,
) -> Result<WantsClientCertificate, TlsError> {
    let roots = match tls.ca() {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in pem::certificates("tls_ca", ca)? {
                roots.add(certificate).map_err(|error| {
                    TlsError::new(format!("`tls_ca` has a certificate that is not valid: {error}"))
                })?;
            }
            roots
        }
        None => default_roots(),
    };
    if roots.is_empty() {
        return Err(TlsError::new(
            "no root certificates: set `tls_ca`, or install the system's CA certificates",
        ));
    }
    Ok(builder.with_root_certificates(roots))
}

/// Return the roots of the operating system and those compiled in, as far as features provide them.
fn default_roots() -> RootCertStore {
    #[cfg_attr(
        not(any(feature = "native-roots", feature = "webpki-roots")),
        expect(unused_mut, reason = "each source of roots is a feature")
    )]
    let mut roots = RootCertStore::empty();
    #[cfg(feature = "native-roots")]
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    #[cfg(feature = "webpki-roots")]
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots
}

/// Return the provider that the process has installed, else the one that was compiled in.
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    Err(TlsError::new(
        "no crypto provider: switch on the feature `tls` or `tls-ring`, or install one with \
         `rustls::crypto::CryptoProvider::install_default`",
    ))
}

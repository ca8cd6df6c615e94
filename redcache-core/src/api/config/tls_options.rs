//! The options of a URL that concern TLS.

use super::settings::{Config, Setting};
use crate::api::config_error::ConfigError;
use crate::api::tls::TlsConfig;

/// The option that gives the sentinels another encryption than the servers.
pub(super) const SENTINEL_TLS: &str = "sentinel_tls";

const fn setting(name: &'static str, meaning: &'static str, allowed: &'static str) -> Setting {
    Setting { name, meaning, default: "none", allowed }
}

impl Config {
    /// Every option of a URL with a TLS scheme; [`TlsConfig`] has the setters.
    pub const TLS_SETTINGS: &[Setting] = &[
        setting("tls_ca", "the certificates to trust instead of the system's", "a PEM file"),
        setting("tls_cert", "the client's certificate chain", "a PEM file"),
        setting("tls_key", "the private key of `tls_cert`", "a PEM file"),
        setting("tls_server_name", "the name in the server's certificate", "a host name"),
        setting("tls_insecure", "whether any certificate is accepted", "true or false"),
        setting(
            SENTINEL_TLS,
            "whether sentinels speak TLS, if not as the servers",
            "true or false",
        ),
    ];
}

/// The TLS options of one URL.
#[derive(Debug, Default)]
pub(super) struct TlsOptions {
    tls: TlsConfig,
    certificate: Option<String>,
    key: Option<String>,
    /// Whether the sentinels speak TLS.
    pub(super) sentinels: Option<bool>,
}

impl TlsOptions {
    /// Return `true` if `name` is one of these options.
    pub(super) fn has(name: &str) -> bool {
        Config::TLS_SETTINGS.iter().any(|setting| setting.name == name)
    }

    pub(super) fn set(mut self, name: &str, value: String) -> Result<Self, ConfigError> {
        match name {
            "tls_ca" => self.tls = self.tls.ca_file(value),
            "tls_cert" => self.certificate = Some(value),
            "tls_key" => self.key = Some(value),
            "tls_server_name" => self.tls = self.tls.server_name(value),
            SENTINEL_TLS => self.sentinels = Some(flag(name, &value)?),
            _ => self.tls = self.tls.insecure(flag(name, &value)?),
        }
        Ok(self)
    }

    pub(super) fn build(self) -> Result<TlsConfig, ConfigError> {
        match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => {
                Ok(self.tls.client_certificate_files(certificate, key))
            }
            (None, None) => Ok(self.tls),
            (Some(_), None) => {
                Err(ConfigError::unquoted("tls_key", "`tls_cert` needs `tls_key`: set both"))
            }
            (None, Some(_)) => {
                Err(ConfigError::unquoted("tls_cert", "`tls_key` needs `tls_cert`: set both"))
            }
        }
    }
}

fn flag(name: &str, value: &str) -> Result<bool, ConfigError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(ConfigError::new(name, other, "true or false")),
    }
}

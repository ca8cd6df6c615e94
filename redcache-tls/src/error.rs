//! Errors of TLS, in words that say what to do.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error};

/// An error of a TLS connection. Its text says what to do.
///
/// It never contains a key, a certificate's bytes, or anything that was sent through the
/// connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Return the error for a server that replies without TLS.
    pub(crate) fn plain_server() -> Self {
        Self::new("the server answers without TLS on this port: connect with `redis://`")
    }

    /// Explain an error of the library. `presents` is `true` if the client has a certificate.
    pub(crate) fn explain(error: &Error, presents: bool) -> Self {
        match error {
            Error::InvalidCertificate(error) => certificate(error),
            Error::AlertReceived(alert) => Self::new(alert_text(*alert, presents)),
            Error::InvalidMessage(_) => {
                Self::new("the server's bytes are not TLS: connect with `redis://` to a plain port")
            }
            Error::PeerIncompatible(reason) => Self::new(format!(
                "client and server have no TLS version or cipher suite in common ({reason:?})"
            )),
            other => Self::new(format!("TLS failed: {other}")),
        }
    }
}

fn certificate(error: &CertificateError) -> TlsError {
    TlsError::new(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: check the clocks of both machines"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            "the server's certificate is for another name: set `tls_server_name`".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is for {}, not for `{}`: connect by its name or set \
             `tls_server_name`",
            presented.join(", "),
            expected.to_str()
        ),
        // A trusted authority has the same name but another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is self-signed or of an unknown authority: set `tls_ca` to \
             the PEM file of the authority"
                .to_owned()
        }
        CertificateError::Revoked => "the server's certificate was revoked: renew it".to_owned(),
        // The library has no variant for it.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of an authority (`openssl req -x509` makes such \
             ones): let the authority sign one with `CA:FALSE` for the server"
                .to_owned()
        }
        other => format!("the server's certificate is not accepted ({other:?})"),
    })
}

fn alert_text(alert: AlertDescription, presents: bool) -> String {
    let name = format!("{alert:?}");
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure if !presents => {
            format!(
                "the server wants a client certificate: set `tls_cert` and `tls_key` (alert {name})"
            )
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRequired
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied
            if presents =>
        {
            format!("the server does not accept the client certificate (alert {name})")
        }
        AlertDescription::UnrecognisedName => {
            "the server does not know the name that it was asked for: set `tls_server_name`"
                .to_owned()
        }
        _ => format!("the server ended TLS with the alert {name}"),
    }
}

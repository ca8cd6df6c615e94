//! Certificates and keys from PEM files or texts.

use std::fs;

use redcache_core::Pem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::TlsError;

/// Return the certificates of `pem`. `option` names the setting in errors.
pub(crate) fn certificates(
    option: &str,
    pem: &Pem,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(option, pem)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsError::new(format!("`{option}` has no certificate in PEM form"))),
        Err(_) => Err(TlsError::new(format!("`{option}` is not valid PEM"))),
    }
}

/// Return the private key of `pem`.
pub(crate) fn private_key(option: &str, pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = text(option, pem)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        TlsError::new(format!("`{option}` has no private key in PEM form (PKCS#8, PKCS#1 or SEC1)"))
    })
}

fn text(option: &str, pem: &Pem) -> Result<Vec<u8>, TlsError> {
    match pem {
        Pem::File(path) => fs::read(path).map_err(|error| {
            TlsError::new(format!("`{option}`: the file `{path}` cannot be read: {error}"))
        }),
        Pem::Text(text) => Ok(text.to_vec()),
        _ => Err(TlsError::new(format!("`{option}` has an unknown form"))),
    }
}

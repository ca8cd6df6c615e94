//! Sessions against a server of the TLS library, in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redcache_tls::{Connector, Session, TlsConfig, TlsError};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

/// A certificate authority that signs the certificates of the tests.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, params: CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn server(&self, name: &str) -> ServerConfig {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        server(self.sign(params), None)
    }
}

fn server(
    (certificate, key): (rcgen::Certificate, KeyPair),
    clients: Option<&Authority>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
}

fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Return a connector that uses ring, with any features of this build.
fn connector(tls: &TlsConfig) -> Result<Connector, TlsError> {
    let _ = provider().install_default();
    Connector::new(tls)
}

/// Send `PING` through a session to a server that echoes it, in pieces of `piece` bytes.
fn echo(session: &mut Session, config: ServerConfig, piece: usize) -> Result<Vec<u8>, TlsError> {
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    session.write(b"PING")?;
    let mut answer = Vec::new();
    loop {
        let mut there = Vec::new();
        session.take_output(&mut there);
        for chunk in there.chunks(piece) {
            let mut chunk = chunk;
            while !chunk.is_empty() {
                server.read_tls(&mut chunk).unwrap();
                // The client must explain the alert that follows a failure.
                let _ = server.process_new_packets();
            }
        }
        let mut heard = [0; 64];
        if let Ok(count) = server.reader().read(&mut heard) {
            server.writer().write_all(&heard[..count]).unwrap();
        }
        let mut back = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        if there.is_empty() && back.is_empty() {
            return Ok(answer);
        }
        for chunk in back.chunks(piece) {
            session.read(chunk, &mut answer)?;
        }
    }
}

fn connect(tls: &TlsConfig, host: &str, config: ServerConfig) -> Result<Vec<u8>, String> {
    let session = connector(tls).and_then(|connector| connector.session(host));
    let mut session = session.map_err(|error| error.to_string())?;
    echo(&mut session, config, usize::MAX).map_err(|error| error.to_string())
}

#[test]
fn bytes_arrive_whole_however_they_are_cut() {
    let authority = Authority::new();
    let connector = connector(&TlsConfig::new().ca_pem(authority.pem())).unwrap();
    for piece in [1, 2, 7, 100, usize::MAX] {
        let mut session = connector.session("localhost").unwrap();
        assert_eq!(echo(&mut session, authority.server("localhost"), piece).unwrap(), b"PING");
        assert!(!session.has_output());
    }
}

#[test]
fn a_server_is_found_by_its_address_or_by_the_name_that_is_set() {
    let authority = Authority::new();
    let tls = TlsConfig::new().ca_pem(authority.pem());
    assert_eq!(connect(&tls, "127.0.0.1", authority.server("127.0.0.1")).unwrap(), b"PING");
    let renamed = tls.clone().server_name("cache.internal");
    assert_eq!(connect(&renamed, "10.1.2.3", authority.server("cache.internal")).unwrap(), b"PING");
    let error = connect(&tls, "not a name", authority.server("localhost")).unwrap_err();
    assert_eq!(error, "`not a name` is no name of a server: set `tls_server_name`");
}

#[test]
fn a_certificate_for_another_name_is_refused_with_both_names() {
    let authority = Authority::new();
    let tls = TlsConfig::new().ca_pem(authority.pem());
    let error = connect(&tls, "localhost", authority.server("cache.internal")).unwrap_err();
    assert!(error.contains("cache.internal") && error.contains("localhost"), "{error}");
    assert!(error.contains("tls_server_name"), "{error}");
}

#[test]
fn a_certificate_that_has_expired_is_refused() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let config = server(authority.sign(params), None);
    let tls = TlsConfig::new().ca_pem(authority.pem());
    let error = connect(&tls, "localhost", config).unwrap_err();
    assert_eq!(error, "the server's certificate has expired: renew it");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_unless_any_is_accepted() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let tls = TlsConfig::new().ca_pem(known.pem());
    let error = connect(&tls, "localhost", unknown.server("localhost")).unwrap_err();
    assert!(error.contains("self-signed") && error.contains("tls_ca"), "{error}");
    let any = TlsConfig::new().insecure(true);
    assert_eq!(connect(&any, "localhost", unknown.server("elsewhere")).unwrap(), b"PING");
}

#[test]
fn a_server_with_the_certificate_of_its_authority_is_told_what_it_needs() {
    let authority = Authority::new();
    let tls = TlsConfig::new().ca_pem(authority.pem());
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let error = connect(&tls, "localhost", server(authority.sign(params), None)).unwrap_err();
    assert!(error.contains("`CA:FALSE`"), "{error}");
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it_or_the_error_says_so() {
    let authority = Authority::new();
    let config = |clients| {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        server(authority.sign(params), Some(clients))
    };
    let (certificate, key) = authority.sign(CertificateParams::new(Vec::new()).unwrap());
    let tls = TlsConfig::new().ca_pem(authority.pem());
    let mutual = tls.clone().client_certificate_pem(certificate.pem(), key.serialize_pem());
    assert_eq!(connect(&mutual, "localhost", config(&authority)).unwrap(), b"PING");

    let error = connect(&tls, "localhost", config(&authority)).unwrap_err();
    assert!(error.contains("`tls_cert` and `tls_key`"), "{error}");
    let error = connect(&mutual, "localhost", config(&Authority::new())).unwrap_err();
    assert!(error.contains("does not accept the client certificate"), "{error}");
}

#[test]
fn a_server_without_tls_is_told_at_its_first_byte() {
    let connector = connector(&TlsConfig::new().insecure(true)).unwrap();
    for answer in ["-ERR unknown command", "+PONG", "HTTP/1.1 400"] {
        let mut session = connector.session("localhost").unwrap();
        let error = session.read(answer.as_bytes(), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("redis://"), "{error}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_refused_by_name() {
    let authority = Authority::new();
    let (certificate, _) = authority.sign(CertificateParams::new(Vec::new()).unwrap());
    let other = KeyPair::generate().unwrap();
    let refused = |tls: TlsConfig, parts: &[&str]| {
        let error = connector(&tls).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(TlsConfig::new().ca_file("/nowhere/ca.crt"), &["tls_ca", "/nowhere/ca.crt"]);
    refused(TlsConfig::new().ca_pem("no certificate"), &["tls_ca"]);
    let tls = || TlsConfig::new().ca_pem(authority.pem());
    refused(tls().client_certificate_pem("", other.serialize_pem()), &["tls_cert"]);
    refused(tls().client_certificate_pem(certificate.pem(), "secret"), &["tls_key"]);
    refused(
        tls().client_certificate_pem(certificate.pem(), other.serialize_pem()),
        &["tls_key", "tls_cert"],
    );
}

#[test]
fn no_bytes_of_a_server_panic_a_session() {
    let connector = connector(&TlsConfig::new().insecure(true)).unwrap();
    let mut state = 1_u64;
    for length in 0..400 {
        let mut session = connector.session("localhost").unwrap();
        let mut bytes = vec![0x16, 3, 3];
        bytes.extend((0..length).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        }));
        let _ = session.read(&bytes, &mut Vec::new());
        session.take_output(&mut Vec::new());
        session.close();
    }
}

//! The encryption of connections, or its absence.
//!
//! A face passes every byte through the [`Channel`] of a connection: outgoing bytes through
//! [`seal`](Channel::seal) in the order in which they are written, incoming bytes through
//! [`open`](Channel::open) in the order in which they are read.

use std::fmt::Display;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redcache_core::{Address, Config, Error, TlsConfig};

use crate::dials::Dial;

#[cfg(feature = "tls-no-provider")]
use redcache_tls::{Connector, Session};

#[cfg(not(feature = "tls-no-provider"))]
use without::{Connector, Session};

/// The encryption of one cache.
#[derive(Debug)]
pub struct Encryption {
    servers: Option<Connector>,
    /// The encryption of the sentinels, or its absence, if it is not that of the servers.
    sentinels: Option<Option<Connector>>,
}

impl Encryption {
    /// Read the certificates that the settings name.
    ///
    /// # Errors
    ///
    /// Fails if the settings require TLS and it is not compiled in, or if a TLS setting cannot be
    /// used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let connector = |tls: Option<&TlsConfig>| tls.map(Connector::new).transpose();
        let (servers, sentinels) = (config.tls(), config.sentinel_tls());
        let differ = servers != sentinels;
        let sentinels = differ.then(|| connector(sentinels)).transpose().map_err(Error::tls)?;
        Ok(Self { servers: connector(servers).map_err(Error::tls)?, sentinels })
    }

    /// Begin a connection to the server or the sentinel of an attempt to connect.
    ///
    /// # Errors
    ///
    /// Fails if the name of the server cannot be the name in a certificate.
    pub fn channel_of(&self, config: &Config, dial: &Dial) -> io::Result<Channel> {
        match &self.sentinels {
            Some(sentinels) if dial.conn.is_to_sentinel() => {
                Channel::begin(sentinels.as_ref(), config.tls_name(&dial.address))
            }
            Some(_) | None => self.channel(config, &dial.address),
        }
    }

    /// Begin a connection to the server at `address`, as the engine named it.
    ///
    /// # Errors
    ///
    /// Fails if the name of the server cannot be the name in a certificate.
    pub fn channel(&self, config: &Config, address: &Address) -> io::Result<Channel> {
        Channel::begin(self.servers.as_ref(), config.tls_name(address))
    }
}

/// The encryption of one connection.
#[derive(Debug)]
pub struct Channel(Option<Mutex<Session>>);

impl Channel {
    fn begin(connector: Option<&Connector>, name: &str) -> io::Result<Self> {
        let session = connector.map(|connector| connector.session(name));
        let session = session.transpose().map_err(io::Error::other)?;
        Ok(Self(session.map(Mutex::new)))
    }

    /// Return a channel that encrypts nothing.
    pub fn plain() -> Self {
        Self(None)
    }

    fn session(&self) -> Option<MutexGuard<'_, Session>> {
        self.0.as_ref().map(|session| session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Encrypt bytes of the engine for the network. During the handshake, the result may be empty
    /// or contain handshake bytes instead; check [`has_output`](Self::has_output) after every
    /// [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// Fails if the session has failed.
    pub fn seal(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let Some(mut session) = self.session() else { return Ok(()) };
        let written = session.write(buffer);
        buffer.clear();
        written.map_err(io::Error::other)?;
        session.take_output(buffer);
        Ok(())
    }

    /// Decrypt bytes of the network for the engine. `plaintext` is a buffer for them.
    ///
    /// # Errors
    ///
    /// Fails if the connection must end: the certificate is not accepted, the server refuses the
    /// client, or the bytes are not TLS. The text says what to do.
    pub fn open<'a>(&self, bytes: &'a [u8], plaintext: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let Some(mut session) = self.session() else { return Ok(bytes) };
        plaintext.clear();
        session.read(bytes, plaintext).map_err(io::Error::other)?;
        Ok(plaintext)
    }

    /// Return the reason of a connection that the network has ended. Within the handshake, it says
    /// what to do.
    pub fn lost(&self, reason: impl Display) -> String {
        const ADVICE: &str = "; if it speaks without TLS on this port, connect with redis://, or \
                              set `sentinel_tls=false` for a sentinel";
        let is_handshaking = self.session().is_some_and(|session| session.is_handshaking());
        if is_handshaking { format!("{reason}{ADVICE}") } else { reason.to_string() }
    }

    /// Return `true` if [`seal`](Self::seal) would return bytes even without input.
    pub fn has_output(&self) -> bool {
        self.session().is_some_and(|session| session.has_output())
    }
}

/// Types without a value, which replace TLS if it is not compiled in.
#[cfg(not(feature = "tls-no-provider"))]
mod without {
    use std::convert::Infallible;

    use redcache_core::TlsConfig;

    const TEXT: &str = "the settings ask for TLS: switch on the feature `tls` of the crate";

    #[derive(Debug)]
    pub(super) enum Connector {}

    #[derive(Debug)]
    pub(super) enum Session {}

    impl Connector {
        pub(super) fn new(_: &TlsConfig) -> Result<Self, &'static str> {
            Err(TEXT)
        }

        pub(super) fn session(&self, _: &str) -> Result<Session, Infallible> {
            match *self {}
        }
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "the signatures are those of redcache-tls")]
    impl Session {
        pub(super) fn write(&mut self, _: &[u8]) -> Result<(), Infallible> {
            match *self {}
        }

        pub(super) fn read(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Infallible> {
            match *self {}
        }

        pub(super) fn take_output(&mut self, _: &mut Vec<u8>) {
            match *self {}
        }

        pub(super) fn has_output(&self) -> bool {
            match *self {}
        }

        pub(super) fn is_handshaking(&self) -> bool {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_channel_changes_no_byte() {
        let config = Config::from_url("redis://h").unwrap();
        let address = Address::Tcp { host: "h".to_owned(), port: 1 };
        let channel = Encryption::new(&config).unwrap().channel(&config, &address).unwrap();
        let mut buffer = b"PING".to_vec();
        channel.seal(&mut buffer).unwrap();
        assert_eq!(buffer, b"PING");
        assert_eq!(channel.open(b"+PONG", &mut Vec::new()).unwrap(), b"+PONG");
        assert!(!channel.has_output());
        assert_eq!(channel.lost("gone"), "gone");
    }

    #[cfg(not(feature = "tls-no-provider"))]
    #[test]
    fn tls_that_is_not_compiled_in_is_told_with_the_name_of_the_feature() {
        let config = Config::from_url("rediss://h").unwrap();
        let error = Encryption::new(&config).unwrap_err();
        assert_eq!(error.kind(), redcache_core::ErrorKind::Config);
        assert!(error.to_string().contains("feature `tls`"), "{error}");
    }

    #[cfg(feature = "tls-no-provider")]
    #[test]
    fn an_encrypted_channel_begins_with_a_handshake_of_its_own() {
        let config = Config::from_url("rediss://h?tls_insecure=true").unwrap();
        let address = Address::Tcp { host: "h".to_owned(), port: 1 };
        let Ok(encryption) = Encryption::new(&config) else { return };
        let channel = encryption.channel(&config, &address).unwrap();
        assert!(channel.has_output() && channel.lost("gone").contains("redis://"));
        let mut buffer = b"PING".to_vec();
        channel.seal(&mut buffer).unwrap();
        assert!(buffer.starts_with(&[0x16]) && !buffer.windows(4).any(|it| it == b"PING"));
        let error = channel.open(b"-ERR", &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("redis://"), "{error}");
    }
}

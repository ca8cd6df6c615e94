//! The events of a server.

use super::client::ClientId;

/// An action that the server requests from its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Send these bytes to the client.
    Transmit {
        /// The client.
        client: ClientId,
        /// The bytes; never empty.
        bytes: Vec<u8>,
    },
    /// Close the connection. The server has removed the client already.
    HangUp {
        /// The client whose connection ends once all its bytes are sent.
        client: ClientId,
    },
}

//! RESP3, the language of the server: where a frame ends, what it says, and how a command is spelled.
//!
//! Bytes from the network pass the boundary [`Scanner`] first. It remembers where it stopped, allocates nothing
//! from a length that was only announced, and refuses frames beyond its [`Limits`]; so what [`decode`] sees is
//! whole, checked and shallow.

mod decode;
mod encode;
mod header;
mod scan;

pub use decode::{Frame, decode};
pub use encode::command;
pub use scan::{DecodeError, Limits, Scanner};

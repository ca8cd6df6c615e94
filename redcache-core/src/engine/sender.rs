//! The sender of a command, and the token that names it to the router.

use crate::flow::call::{Caller, OpId};
use crate::flow::flights::FlightId;
use crate::protocol::command::Token;

/// The receiver of a command's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Flight(FlightId),
    Call(Caller),
    Nobody,
}

const FLIGHT_TAG: u64 = 1 << 63;

impl Sender {
    pub(crate) fn token(self) -> Token {
        match self {
            Self::Flight(FlightId { index, generation }) => {
                let sender = FLIGHT_TAG | u64::from(generation) << 32 | u64::from(index);
                Token { sender, slot: 0 }
            }
            Self::Call(Caller { op, slot }) => {
                Token { sender: u64::from(op.generation) << 32 | u64::from(op.index), slot }
            }
            Self::Nobody => Token { sender: u64::MAX, slot: 0 },
        }
    }

    pub(crate) fn of(token: Token) -> Self {
        // The lower half holds the index, and the cast keeps only that half.
        let index = token.sender as u32;
        match token.sender {
            u64::MAX => Self::Nobody,
            sender if sender & FLIGHT_TAG != 0 => {
                let generation = (sender >> 32) as u32 & (u32::MAX >> 1);
                Self::Flight(FlightId { index, generation })
            }
            sender => {
                let generation = (sender >> 32) as u32;
                Self::Call(Caller { op: OpId { index, generation }, slot: token.slot })
            }
        }
    }
}

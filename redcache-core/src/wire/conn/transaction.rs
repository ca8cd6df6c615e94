//! A transaction whose replies have not all arrived.

use crate::protocol::refusal::Refusal;
use crate::protocol::reply::WrongType;
use crate::resp::Frame;

/// The replies to the first awaited transaction that have arrived.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// The number of replies.
    pub(super) replies: usize,
    /// The first refusal, after which nothing is executed as a transaction.
    pub(super) refusal: Option<Refusal>,
    /// The server has refused `MULTI` and executed a command after it.
    pub(super) has_leaked: bool,
}

impl Transaction {
    /// Handle a reply before the last one.
    pub(super) fn on_queued(&mut self, frame: &Frame<'_>) -> Result<(), WrongType> {
        let is_multi = self.replies == 0;
        self.replies += 1;
        match frame {
            Frame::Error(text) => {
                self.refusal.get_or_insert_with(|| Refusal::of(text));
                Ok(())
            }
            Frame::Simple(_) if is_multi => Ok(()),
            Frame::Simple(b"QUEUED") => Ok(()),
            Frame::Simple(_) | Frame::Null | Frame::Integer(_) if self.refusal.is_some() => {
                self.has_leaked |= matches!(frame, Frame::Simple(_));
                Ok(())
            }
            _ => Err(WrongType),
        }
    }
}

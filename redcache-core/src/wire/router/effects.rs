//! The outputs of the router: events for the engine, actions for the adapter.

use std::collections::VecDeque;

use super::id::{ConnId, LoginId};
use crate::api::config::Address;
use crate::api::credentials::LoginRequest;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;
use crate::wire::issued::{self, Issued};

/// An event for the engine.
#[derive(Debug)]
pub(crate) enum RouterEvent {
    /// A command was answered.
    Reply {
        issued: Issued,
        reply: Reply,
        /// Whether the server tracks the key of the reply.
        is_tracked: bool,
    },
    /// A command got no answer.
    Failed {
        token: Token,
        command: Command,
        error: Error,
    },
    /// The answer did not arrive in time. It will arrive without a token.
    Overdue {
        token: Token,
        command: Command,
        /// The last refusal of the command, after which it was sent again.
        last_refusal: Option<Refusal>,
    },
    /// A command whose answer was overdue will get none.
    Unanswered {
        command: Command,
    },
    Invalidated(Vec<Key>),
    Flushed {
        slots: SlotSet,
    },
    /// The connection that tracked these keys no longer does. Their values may be unchanged.
    Untracked {
        keys: Vec<Key>,
    },
    /// These slots have another owner, and the previous one no longer reports all changes.
    Moved {
        slots: SlotSet,
    },
    /// A connection is ready; `untracked` is the reason why the server does not track keys.
    Up {
        address: Address,
        untracked: Option<String>,
        slots: SlotSet,
    },
    /// A connection is lost, and with it all tracking.
    Down {
        address: Address,
        reason: Error,
        slots: SlotSet,
    },
    /// The server hangs up at every script, lately at those of these keys. None is sent for a
    /// while.
    HangsUpAtScripts {
        keys: Vec<Key>,
    },
    /// A connection for large values is ready.
    LargeUp,
    /// An attempt to connect failed. No address means that no node could be reached.
    NotUp {
        address: Option<Address>,
        reason: Error,
    },
}

/// A request to the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Dial { conn: ConnId, address: Address },
    HangUp { conn: ConnId },
    Login { login: LoginId, request: LoginRequest },
}

/// Events and actions that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) events: VecDeque<RouterEvent>,
    pub(super) actions: VecDeque<Action>,
}

impl Effects {
    /// Fail a command. The server's last refusal of it is a better reason than `error`.
    pub(super) fn fail(&mut self, issued: Issued, error: Error) {
        let issued::State { token, command, last_refusal, .. } = issued.into_state();
        self.events.push_back(match token {
            Some(token) => {
                let error = last_refusal.map_or(error, Refusal::into_error);
                RouterEvent::Failed { token, command, error }
            }
            None => RouterEvent::Unanswered { command },
        });
    }

    pub(super) fn fail_all(&mut self, commands: impl IntoIterator<Item = Issued>, error: &Error) {
        for issued in commands {
            self.fail(issued, error.clone());
        }
    }
}

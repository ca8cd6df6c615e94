//! The table of commands.

mod client;
mod cluster;
pub(super) mod command;
pub(super) mod connection;
mod expiry;
mod key;
mod scripting;
mod string;
mod system;
mod transaction;

use self::command::Command;

/// Return the command of this name, ignoring case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let all = [
        string::COMMANDS,
        key::COMMANDS,
        expiry::COMMANDS,
        scripting::COMMANDS,
        client::COMMANDS,
        cluster::COMMANDS,
        connection::COMMANDS,
        transaction::COMMANDS,
        system::COMMANDS,
    ];
    all.into_iter().flatten().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

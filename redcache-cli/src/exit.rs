//! The exit statuses of the command.

use std::process::ExitCode;

use redcache_core::{Error, ErrorKind};

/// The result of the command, which decides the exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Exit {
    /// Status 0: success. For `doctor`, redcache works with all its functions on this server.
    Good,
    /// Status 1: `doctor` found that redcache works on this server with a part of its functions.
    Limited,
    /// Status 2: the arguments or the URL cannot be used. Nothing was sent.
    Usage,
    /// Status 3: there is no server at the address, or it does not answer.
    Unreachable,
    /// Status 4: the server refuses the login, or wants one.
    LoginRefused,
    /// Status 5: the URL is the wrong one for this server, which is a sentinel, a replica or a node
    /// of a cluster.
    WrongServer,
    /// Status 6: the server refuses a command that redcache cannot do without.
    CommandRefused,
}

impl Exit {
    /// Return the exit status.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(redcache_cli::Exit::LoginRefused.status(), 4);
    /// ```
    pub fn status(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Limited => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::LoginRefused => 4,
            Self::WrongServer => 5,
            Self::CommandRefused => 6,
        }
    }

    /// Return the name of the result in the JSON output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Limited => "limited",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::LoginRefused => "login_refused",
            Self::WrongServer => "wrong_server",
            Self::CommandRefused => "command_refused",
        }
    }

    /// Return the result that an error of a cache means.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Authentication => Self::LoginRefused,
            ErrorKind::Config => Self::WrongServer,
            ErrorKind::Server => Self::CommandRefused,
            ErrorKind::InvalidInput => Self::Usage,
            _ => Self::Unreachable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

/// The reason why a command ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::of(error.kind()), error.to_string())
    }
}

//! The execution of a request: look up the command, check that it may run, run it.

use bytes::Bytes;

use super::call::Call;
use super::client::ClientId;
use super::commands;
use super::commands::command::{
    ALLOW_BUSY, ALLOW_LOADING, Command, DENY_OOM, NO_AUTH, READ, WRITE,
};
use super::commands::connection::quit;
use super::config::HelloSupport;
use super::instance::{Running, Server};
use super::reply::{Reply, ReplyError};

/// The longest part of an unknown command that an error quotes.
const QUOTED_MAX: usize = 128;

impl Server {
    /// Run a command of `client` and append its reply and its invalidations to the client's output.
    pub(super) fn execute(&mut self, client: ClientId, args: &[Bytes]) {
        self.record.log(client, args, self.config.log_max);
        if self.faults.is_fatal(args) || self.hangs_up_at(&args[0]) {
            return self.kill(client);
        }
        self.running = Some(Running { client, executing: false });
        let outcome = self.answer(client, args);
        self.running = None;
        if let Some(state) = self.clients.get_mut(&client) {
            match outcome {
                Ok(reply) => reply.write(state.protocol, &mut state.output),
                Err(error) => error.write(&mut state.output),
            }
            // `CLIENT CACHING` applies until the next command other than `CLIENT`.
            if let Some(tracking) = &mut state.tracking
                && !args[0].eq_ignore_ascii_case(b"client")
            {
                tracking.caching = false;
            }
            // `ASKING` applies until the next other command.
            state.is_asking &= args[0].eq_ignore_ascii_case(b"asking");
        }
        self.push_pending(client);
    }

    fn hangs_up_at(&self, name: &[u8]) -> bool {
        let is_unknown = |known: &&[u8]| name.eq_ignore_ascii_case(known);
        let is_without_hello = self.config.hello == HelloSupport::HangsUp
            && [&b"hello"[..], b"client"].iter().any(is_unknown);
        let is_script = [&b"eval"[..], b"evalsha"].iter().any(is_unknown);
        is_without_hello || self.config.hangs_up_at_scripts && is_script
    }

    fn answer(&mut self, client: ClientId, args: &[Bytes]) -> Result<Reply, ReplyError> {
        if args[0].eq_ignore_ascii_case(b"quit") {
            return Ok(quit(&mut Call { server: self, client, args }));
        }
        let command = match self.accept(client, args) {
            Ok(command) => command,
            Err(refusal) => return Err(self.abort(client, args, refusal)),
        };
        if let Some(reply) = self.queue(client, command, args) {
            return reply;
        }
        if let Some(running) = &mut self.running {
            running.executing = true;
        }
        let outcome = self.call(client, command, args);
        if command.has(READ) {
            self.remember_read(client, command.keys(args));
        }
        outcome
    }

    /// Return the command of a request if it may run.
    fn accept(&mut self, client: ClientId, args: &[Bytes]) -> Result<&'static Command, ReplyError> {
        if let Some(error) = self.faults.take_rejection(&args[0]) {
            return Err(error);
        }
        let command = self.identify(args).map_err(|unknown| {
            let is_asked_first = self.config.is_valkey() && !self.is_authenticated(client);
            if is_asked_first { ReplyError::NO_AUTH.into() } else { unknown }
        })?;
        if let Err(error) = self.admit(client, command, args) {
            self.record.count(command.name).rejected += 1;
            return Err(error);
        }
        Ok(command)
    }

    /// Run and count a command that is allowed.
    pub(super) fn call(
        &mut self,
        client: ClientId,
        command: &Command,
        args: &[Bytes],
    ) -> Result<Reply, ReplyError> {
        let outcome = command.run(&mut Call { server: self, client, args });
        let count = self.record.count(command.name);
        count.calls += 1;
        count.failed += u64::from(outcome.is_err());
        outcome
    }

    fn identify(&self, args: &[Bytes]) -> Result<&'static Command, ReplyError> {
        let hello_is_unknown = self.config.hello == HelloSupport::Unknown;
        let command = commands::find(&args[0])
            .filter(|command| !(hello_is_unknown && command.name == "hello"))
            .filter(|command| self.config.knows(command.name))
            .ok_or_else(|| unknown_command(args))?;
        if command.subcommands.is_empty() || args.len() < 2 {
            return Ok(command);
        }
        let known = command.subcommand(&args[1]);
        let known = known.filter(|it| it.name != "client|setinfo" || self.config.knows_setinfo());
        known.ok_or_else(|| unknown_subcommand(command.name, &args[1]))
    }

    fn is_authenticated(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_some_and(|it| it.authenticated)
    }

    /// Check that a command may run now, in the order of Redis's checks.
    fn admit(
        &mut self,
        client: ClientId,
        command: &Command,
        args: &[Bytes],
    ) -> Result<(), ReplyError> {
        let needs_auth = !self.is_authenticated(client) && !command.has(NO_AUTH);
        if needs_auth && self.config.is_valkey() {
            return Err(ReplyError::NO_AUTH.into());
        }
        if !command.accepts(args.len()) {
            return Err(ReplyError::arity(command.name));
        }
        if needs_auth {
            return Err(ReplyError::NO_AUTH.into());
        }
        if self.config.forbidden.contains(command.name) {
            return Err(self.config.forbidden(command.name));
        }
        self.check_slots(client, command, args)?;
        self.check_state(command)
    }

    /// Check that the state of the server allows a command.
    pub(super) fn check_state(&mut self, command: &Command) -> Result<(), ReplyError> {
        self.out_of_memory = self.is_short_of_memory();
        if self.out_of_memory && command.has(DENY_OOM) {
            return Err(ReplyError::OUT_OF_MEMORY.into());
        }
        self.limit_tracking();
        if self.is_replica() && command.has(WRITE) {
            return Err(ReplyError::READ_ONLY.into());
        }
        if self.faults.loading && !command.has(ALLOW_LOADING) {
            return Err(ReplyError::LOADING.into());
        }
        let runs_while_busy =
            command.has(ALLOW_BUSY) || self.config.allows_while_busy(command.name);
        if self.faults.busy && !runs_while_busy {
            return Err(self.config.busy());
        }
        Ok(())
    }
}

fn unknown_command(args: &[Bytes]) -> ReplyError {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(shortened(&args[0], QUOTED_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut quoted = 0;
    for arg in &args[1..] {
        if quoted >= QUOTED_MAX {
            break;
        }
        let arg = shortened(arg, QUOTED_MAX - quoted);
        quoted += arg.len() + "'' ".len();
        text.extend_from_slice(b"'");
        text.extend_from_slice(arg);
        text.extend_from_slice(b"' ");
    }
    ReplyError::new(text)
}

fn unknown_subcommand(command: &str, name: &[u8]) -> ReplyError {
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(shortened(name, QUOTED_MAX));
    text.extend_from_slice(format!("'. Try {} HELP.", command.to_uppercase()).as_bytes());
    ReplyError::new(text)
}

fn shortened(bytes: &[u8], max: usize) -> &[u8] {
    &bytes[..bytes.len().min(max)]
}

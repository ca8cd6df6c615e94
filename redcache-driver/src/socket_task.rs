//! The task of a connection, which reads until the socket is empty and writes until the engine has
//! no more bytes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use futures_io::AsyncRead;
use redcache_adapter::{LONG_READ, READ_BUFFER};
use redcache_core::engine::{ConnId, LongValue};

use crate::any_runtime::Reader;
use crate::shared::{Shared, State};
use crate::sync;
use crate::write_half::WriteHalf;

/// The number of consecutive polls, of about two microseconds each, after which the task yields.
const PAUSES_MAX: u8 = 16;
/// The number of consecutive reads after which the task yields.
const READS_MAX: usize = 32;

/// Carry bytes until the connection ends, and report its end.
pub(crate) async fn run(shared: &Shared, write_half: &WriteHalf, reader: Reader) {
    let mut task = SocketTask {
        shared,
        write_half,
        reader,
        buffer: vec![0; READ_BUFFER],
        plaintext: Vec::new(),
        long_value: LongValue::default(),
        has_yielded: false,
        pauses: 0,
    };
    let reason = loop {
        match poll_fn(|cx| task.poll(cx)).await {
            Step::Yield => shared.runtime.yield_now().await,
            // The reply may wait for another thread.
            Step::Pause => sync::yield_now(),
            Step::Failed(reason) => break Some(reason),
            Step::HungUp => break None,
        }
    };
    if let Some(reason) = reason {
        let connection = shared.step(|state, now| {
            let conn = write_half.conn;
            state.host.engine.handle_disconnected(now, conn, &reason);
            state.take_connection(conn)
        });
        drop(connection);
    }
}

struct SocketTask<'a> {
    shared: &'a Shared,
    write_half: &'a WriteHalf,
    reader: Reader,
    buffer: Vec<u8>,
    /// The decrypted bytes, if the connection is encrypted.
    plaintext: Vec<u8>,
    long_value: LongValue,
    has_yielded: bool,
    /// The number of polls for a reply since other tasks have run.
    pauses: u8,
}

/// The way in which the task continues.
enum Step {
    /// After other tasks have run.
    Yield,
    /// In a moment, with another poll for a reply.
    Pause,
    Failed(String),
    HungUp,
}

/// The next action of the task.
enum NextAction {
    HungUp,
    /// Sleep: there is nothing to write, and a task with bytes to write wakes this one.
    Park,
    /// Poll: there is nothing to write, and a reply may come before the task could be woken for it.
    Poll,
    /// Write.
    Write,
    /// Write once other tasks have run: they may have more to write.
    Gather,
}

impl SocketTask<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut action = match self.read(cx) {
            Err(reason) => return Poll::Ready(Step::Failed(reason)),
            Ok(Some(action)) => action,
            // The task was woken for something other than bytes.
            Ok(None) => self.next_action(cx),
        };
        loop {
            match action {
                NextAction::HungUp => return Poll::Ready(Step::HungUp),
                NextAction::Gather if !self.has_yielded => {
                    self.has_yielded = true;
                    return Poll::Ready(Step::Yield);
                }
                NextAction::Park | NextAction::Poll
                    if self.write_half.is_behind() || self.write_half.channel.has_output() => {}
                NextAction::Park => return Poll::Pending,
                NextAction::Poll => return Poll::Ready(self.pause()),
                NextAction::Write | NextAction::Gather => {}
            }
            self.has_yielded = false;
            let (shared, conn) = (self.shared, self.write_half.conn);
            let refill = |buffer: &mut _| shared.lock().host.engine.take_transmit(conn, buffer);
            let on_progress = || {
                let clock = shared.runtime.now();
                let mut state = shared.lock();
                let now = state.host.advance(clock);
                state.host.engine.handle_written(now, conn);
            };
            if let Err(error) = ready!(self.write_half.poll_write_all(cx, on_progress, refill)) {
                // The server may have sent the reason why it stopped reading.
                let _ = self.read(cx);
                return Poll::Ready(Step::Failed(error.to_string()));
            }
            action = self.next_action(cx);
        }
    }

    fn pause(&mut self) -> Step {
        self.pauses = (self.pauses + 1) % PAUSES_MAX;
        if self.pauses == 0 { Step::Yield } else { Step::Pause }
    }

    fn next_action(&self, cx: &Context<'_>) -> NextAction {
        let conn = self.write_half.conn;
        self.shared.step_in_connection(conn, |state, now| state.next_action(now, conn, cx.waker()))
    }

    /// Read until the socket is empty. Return `None` if it was already empty.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Option<NextAction>, String> {
        let conn = self.write_half.conn;
        let mut action = None;
        for _ in 0..READS_MAX {
            match Pin::new(&mut self.reader).poll_read(cx, &mut self.buffer) {
                Poll::Ready(Ok(0)) => {
                    let reason = "the server closed the connection";
                    return Err(self.write_half.channel.lost(reason));
                }
                Poll::Ready(Ok(count)) => {
                    let bytes = &self.buffer[..count];
                    let opened = self.write_half.channel.open(bytes, &mut self.plaintext);
                    let bytes = opened.map_err(|error| error.to_string())?;
                    action = Some(self.long_value.receive(bytes, |received| {
                        self.shared.step_in_connection(conn, |state, now| {
                            let rest = state.host.engine.handle_received(now, conn, received);
                            state.on_bytes(now, conn);
                            (rest, state.next_action(now, conn, cx.waker()))
                        })
                    }));
                    if count > LONG_READ {
                        sync::yield_now();
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Err(self.write_half.channel.lost(error)),
                Poll::Pending => return Ok(action),
            }
        }
        cx.waker().wake_by_ref();
        Ok(action)
    }
}

impl State {
    /// Record that bytes have arrived on a connection, and that more may follow soon.
    fn on_bytes(&mut self, now: Instant, conn: ConnId) {
        let is_awaited = self.host.engine.is_busier_than(0);
        if let Some(connection) = self.connection(conn)
            && connection.busy_poll.on_found(now)
            && is_awaited
        {
            connection.busy_poll.begin(now);
        }
    }

    /// Return the next action of a connection's task. Its waker is stored under the same lock that
    /// looks for bytes to write, so that no wake-up is lost.
    fn next_action(&mut self, now: Instant, conn: ConnId, waker: &Waker) -> NextAction {
        let has_bytes = self.host.engine.transmits().any(|transmit| transmit.conn == conn);
        let is_awaited = self.host.engine.is_busier_than(0);
        let is_quiet = self.host.engine.is_quiet();
        let Some(connection) = self.connection(conn) else { return NextAction::HungUp };
        match &connection.waker {
            Some(stored) if stored.will_wake(waker) => {}
            _ => connection.waker = Some(waker.clone()),
        }
        let polls = is_awaited && is_quiet && connection.busy_poll.goes_on(now);
        connection.is_awake = has_bytes || polls;
        match (has_bytes, is_quiet) {
            (false, _) if polls => NextAction::Poll,
            (false, _) => NextAction::Park,
            (true, true) => NextAction::Write,
            (true, false) => NextAction::Gather,
        }
    }
}

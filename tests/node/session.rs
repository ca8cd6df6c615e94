//! The session: lines in, answers out, calls in flight, and the end.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use smol::channel::{self, Receiver, Sender};
use smol::future::{self, FutureExt};

use crate::adapter::Adapter;
use crate::call;
use crate::outcome::Outcome;
use crate::request::{Op, Order, Request};

/// The time that calls have after the last line.
const LAST_CALLS_MAX: Duration = Duration::from_secs(2);

/// The time that calls have after the cache is closed.
const LATE_MAX: Duration = Duration::from_millis(500);

/// The longest accepted line.
const LINE_MAX: u64 = 16 << 20;

/// Answer every line of standard input.
pub(crate) fn run(cache: impl Adapter) {
    let session = Arc::new(Session { cache, calls: Mutex::default(), ended: Condvar::new() });
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while matches!(read_line(&mut input, &mut line), Ok(true)) {
        if !line.trim_ascii().is_empty() {
            session.obey(&line);
        }
    }
    session.finish();
}

/// Read a line, or the start of one that is too long, which is no JSON.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let length = input.take(LINE_MAX).read_until(b'\n', line)?;
    if length as u64 == LINE_MAX && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(length > 0)
}

struct Session<A> {
    cache: A,
    calls: Mutex<Calls>,
    /// Notified when a task ends.
    ended: Condvar,
}

/// The calls in flight, oldest first. The code that removes one answers it.
#[derive(Default)]
struct Calls {
    count: u64,
    table: BTreeMap<u64, InFlight>,
    /// Tasks and threads that may still answer.
    running: usize,
}

/// A running task, which is counted until this value is dropped.
struct Running<A: Adapter>(Arc<Session<A>>);

impl<A: Adapter> Drop for Running<A> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_all();
    }
}

struct InFlight {
    id: Value,
    began: Instant,
    loads: Arc<AtomicU32>,
    /// Remove a call to answer it once it has been dropped.
    cancel: Sender<Pending>,
}

/// An outstanding answer, and its start.
struct Pending {
    id: Value,
    began: Instant,
}

impl Pending {
    fn answer(self, outcome: Outcome) {
        say(&outcome.line(self.id, 0, self.began.elapsed()));
    }
}

impl InFlight {
    fn answer(self, outcome: Outcome) {
        say(&outcome.line(self.id, self.loads.load(Ordering::Relaxed), self.began.elapsed()));
    }
}

impl<A: Adapter> Session<A> {
    fn obey(self: &Arc<Self>, line: &[u8]) {
        let began = Instant::now();
        let Request { id, order } = Request::parse(line);
        let pending = Pending { id, began };
        match order {
            Ok(Order::Call(op)) => self.start(pending, op),
            Ok(Order::Cancel { target }) => self.cancel(pending, &target),
            Err(fault) => pending.answer(Outcome::failed("Malformed", fault)),
        }
    }

    fn start(self: &Arc<Self>, pending: Pending, op: Op) {
        let Pending { id, began } = pending;
        let loads = op.loads();
        let (cancel, cancelled) = channel::bounded(1);
        let mut calls = self.lock();
        if calls.table.len() >= A::CALLS_MAX {
            drop(calls);
            let why = format!("{} calls are in flight already", A::CALLS_MAX);
            return Pending { id, began }.answer(Outcome::failed("Unable", why));
        }
        let number = calls.count;
        calls.count += 1;
        calls.table.insert(number, InFlight { id, began, loads, cancel });
        calls.running += 1;
        drop(calls);
        let running = Running(Arc::clone(self));
        let started = self.cache.start(async move { running.0.call(number, op, cancelled).await });
        if let Err(error) = started {
            self.end(number, Outcome::failed("Unable", error));
        }
    }

    /// Make a call, unless it is cancelled before its end.
    async fn call(&self, number: u64, op: Op, cancelled: Receiver<Pending>) {
        // A loader that panics ends only its call.
        let call = AssertUnwindSafe(call::make(&self.cache, op)).catch_unwind();
        let call = async { Ok(call.await) };
        let cancel = async {
            match cancelled.recv().await {
                Ok(pending) => Err(pending),
                // It ends when `cancel` or the end of the session has answered the call.
                Err(_) => future::pending().await,
            }
        };
        // The future is dropped before its answer is written.
        match future::or(call, cancel).await {
            Ok(Ok(outcome)) => self.end(number, outcome),
            Ok(Err(_)) => self.end(number, Outcome::failed("Panicked", "the loader panicked")),
            Err(pending) => {
                self.end(number, Outcome::failed("Cancelled", "the call was cancelled"));
                pending.answer(Outcome::ok(true));
            }
        }
        // The call has ended already.
        if let Ok(pending) = cancelled.try_recv() {
            pending.answer(Outcome::ok(false));
        }
    }

    fn cancel(&self, pending: Pending, target: &Value) {
        if !A::CANCELS {
            let why = "a blocking call cannot be dropped before its end";
            return pending.answer(Outcome::failed("Unable", why));
        }
        let calls = self.lock();
        let target = calls.table.values().rev().find(|call| call.id == *target);
        let refused = match target {
            Some(call) => call.cancel.try_send(pending).err().map(|error| error.into_inner()),
            None => Some(pending),
        };
        drop(calls);
        if let Some(pending) = refused {
            pending.answer(Outcome::ok(false));
        }
    }

    /// Let calls end, close the cache, and answer calls that end too late.
    fn finish(&self) {
        self.wait_until_idle(LAST_CALLS_MAX);
        smol::block_on(self.cache.close());
        self.wait_until_idle(LATE_MAX);
        let late = std::mem::take(&mut self.lock().table);
        for call in late.into_values() {
            call.answer(Outcome::failed("Closed", "the cache is closed"));
        }
    }

    fn wait_until_idle(&self, time_max: Duration) {
        let is_busy = |calls: &mut Calls| calls.running > 0;
        drop(self.ended.wait_timeout_while(self.lock(), time_max, is_busy));
    }

    fn end(&self, number: u64, outcome: Outcome) {
        let call = self.lock().table.remove(&number);
        if let Some(call) = call {
            call.answer(outcome);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Write a line at once.
fn say(line: &Value) {
    let mut output = io::stdout().lock();
    // A closed output means that the input ends, too.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_beyond_all_bounds_is_cut_and_the_next_one_is_whole() {
        let mut input = vec![b'x'; LINE_MAX as usize + 5];
        input.extend_from_slice(b"\nnext\nlast");
        let (mut input, mut line) = (&input[..], Vec::new());
        assert!(read_line(&mut input, &mut line).unwrap());
        assert_eq!(line.len() as u64, LINE_MAX);
        assert!(read_line(&mut input, &mut line).unwrap());
        assert_eq!(line, b"next\n");
        assert!(read_line(&mut input, &mut line).unwrap());
        assert_eq!(line, b"last");
        assert!(!read_line(&mut input, &mut line).unwrap());
    }
}

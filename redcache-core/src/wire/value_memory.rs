//! The memory of a long value, of which bytes are still missing.
//!
//! To copy a long value takes long, and so do the page faults of new memory. The engine therefore
//! lends the memory to its adapter, which fills it without the engine's lock.

use std::fmt;

/// The long value that a connection is receiving, if there is one. An adapter has one for each
/// connection, and all bytes that it reads go through it.
///
/// ```
/// # use std::time::Instant;
/// # use redcache_core::{Config, engine::{Engine, Event, LongValue, Seed}};
/// # let config = Config::from_url("redis://localhost")?;
/// # let now = Instant::now();
/// # let mut engine = Engine::new(now, &Seed::new([7; 32], 0), config);
/// # let Some(Event::Dial { conn, .. }) = engine.poll_event() else { panic!() };
/// # engine.handle_connected(now, conn);
/// # let reads = [&b"$70000\r\nabc"[..], b"def", b"ghi"];
/// let mut long_value = LongValue::default();
/// for bytes in reads {
///     long_value.receive(bytes, |received| {
///         // Only this needs the engine's lock.
///         (engine.handle_received(now, conn, received), ())
///     });
/// }
/// # Ok::<(), redcache_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct LongValue {
    memory: Option<ValueMemory>,
}

/// Bytes of a connection, and the memory of a long value. In the argument of
/// [`Engine::handle_received`](crate::engine::Engine::handle_received) the bytes follow the value;
/// in its result they belong to it.
pub struct Received<'b> {
    pub(crate) memory: Option<ValueMemory>,
    pub(crate) bytes: &'b [u8],
}

/// The memory of a value.
pub(crate) struct ValueMemory {
    bytes: Vec<u8>,
    /// The length at which the engine has lent the memory.
    lent_at: usize,
    missing: usize,
    total: Total,
}

/// The memory for the next piece of a value.
#[derive(Debug)]
pub(super) struct Room<'m> {
    /// The pieces before this one.
    pub(super) memory: &'m mut Vec<u8>,
    /// The length of the piece.
    pub(super) piece: usize,
    pub(super) total: Total,
}

/// The expected length of memory that is being filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    length: usize,
    /// The largest size of the memory, in multiples of the bytes that have arrived.
    growth: usize,
}

impl LongValue {
    /// Copy the bytes of the value, and pass the others on.
    ///
    /// `pass` calls [`Engine::handle_received`](crate::engine::Engine::handle_received) and returns
    /// its result, beside the result of this function.
    pub fn receive<'b, T>(
        &mut self,
        mut bytes: &'b [u8],
        pass: impl FnOnce(Received<'b>) -> (Received<'b>, T),
    ) -> T {
        let mut memory = self.memory.take();
        if let Some(memory) = &mut memory {
            bytes = memory.fill(bytes);
        }
        let (Received { memory, bytes }, result) = pass(Received { memory, bytes });
        self.memory = memory.map(|mut memory| {
            memory.fill(bytes);
            memory
        });
        result
    }
}

impl ValueMemory {
    /// Return memory that waits for this number of `missing` bytes.
    pub(super) fn new(bytes: Vec<u8>, missing: usize, total: Total) -> Self {
        Self { lent_at: bytes.len(), bytes, missing, total }
    }

    /// Copy bytes into the memory until it is full. Return the other bytes.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (own, others) = bytes.split_at(self.missing.min(bytes.len()));
        append(&mut self.bytes, own, self.total);
        self.missing -= own.len();
        others
    }

    /// Return the bytes, and how many of them the adapter has filled in.
    pub(super) fn into_parts(self) -> (Vec<u8>, usize) {
        let filled = self.bytes.len() - self.lent_at;
        (self.bytes, filled)
    }
}

impl fmt::Debug for Received<'_> {
    /// Show lengths only, because values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("memory", &self.memory)
            .field("length", &self.bytes.len())
            .finish()
    }
}

impl fmt::Debug for ValueMemory {
    /// Show lengths only, because values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueMemory")
            .field("length", &self.bytes.len())
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl Total {
    /// Return a length that a server has announced. It may never send the bytes.
    pub(super) fn announced(length: usize) -> Self {
        Self { length, growth: 4 }
    }

    /// Return the length of a value that has arrived before. Growing copies what has arrived, so
    /// the memory grows only once, up to 32 MiB.
    pub(super) fn known(length: usize) -> Self {
        Self { length, growth: 256 }
    }
}

/// Append bytes. The memory grows to its `total` length, but only as bytes arrive.
pub(super) fn append(memory: &mut Vec<u8>, bytes: &[u8], total: Total) {
    let needed = memory.len() + bytes.len();
    if needed > memory.capacity() {
        let room = total.length.max(needed).min(total.growth * needed);
        memory.reserve_exact(room - memory.len());
    }
    memory.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_to_the_memory_until_it_is_full() {
        let mut value = LongValue::default();
        let lend = ValueMemory::new(b"ab".to_vec(), 5, Total::announced(7));
        value.receive(b"cd", |received| {
            assert!(received.memory.is_none() && received.bytes == b"cd");
            (Received { memory: Some(lend), ..received }, ())
        });
        for (bytes, filled, rest) in [("", 2, ""), ("e", 3, ""), ("fghi", 5, "hi"), ("jk", 5, "jk")]
        {
            value.receive(bytes.as_bytes(), |Received { memory, bytes }| {
                let memory = memory.unwrap();
                assert_eq!(bytes, rest.as_bytes());
                assert_eq!(
                    (memory.bytes.len(), memory.bytes.len() - memory.lent_at),
                    (2 + filled, filled)
                );
                assert!("abcdefg".as_bytes().starts_with(&memory.bytes));
                (Received { memory: Some(memory), bytes: b"" }, ())
            });
        }
        assert!(!format!("{value:?}").contains("97"), "{value:?}");
    }

    #[test]
    fn memory_grows_with_what_has_arrived() {
        for (total, most) in [(Total::announced(1 << 20), 4), (Total::known(1 << 20), 256)] {
            let mut memory = Vec::new();
            append(&mut memory, &[b'x'; 1000], total);
            assert_eq!(memory.capacity(), 1000 * most);
            append(&mut memory, &vec![b'x'; 600_000], total);
            assert_eq!(memory.capacity(), 1 << 20);
        }
    }
}

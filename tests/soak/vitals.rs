//! Memory, threads and descriptors of this process.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The memory that an allocator may keep for itself.
const KIB_SPARE: u64 = 96 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vitals {
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    pub(crate) kib: u64,
}

impl Vitals {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
        Self { threads: number("Threads:"), descriptors, kib: number("VmRSS:") }
    }

    pub(crate) fn is_back_at(&self, start: &Self) -> bool {
        self.threads <= start.threads
            && self.descriptors <= start.descriptors
            && self.kib <= start.kib + KIB_SPARE
    }
}

/// Wait until the process is back at `start`, for `patience` at most. Return the final measurement.
pub(crate) fn settled(start: &Vitals, patience: Duration) -> Vitals {
    let given_up_at = Instant::now() + patience;
    loop {
        let now = Vitals::now();
        if now.is_back_at(start) || Instant::now() > given_up_at {
            return now;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

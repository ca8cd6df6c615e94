//! Tasks of a workload: its keys, the loops that read them, and the clock around both.

use std::hint::black_box;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::Failure;
use crate::beside::Beside;
use crate::cli::{Load, Run, Workload};
use crate::measure::{Measurement, Samples, peak_kib};
use crate::peer::{Peer, Setup, Source};
use crate::runtime::{Gate, Runtime};
use crate::server::Server;

/// Number of clock reads in the loop of `local_hit`.
const SLICES: usize = 100;

/// Largest number of calls of all tasks together before the measurement.
const WARM_UP_MAX: usize = 10_000;

/// Size of a value from which near caches are full before the measurement. Until then each value
/// takes memory that the process has never used, and the page faults cost more than the read.
const LARGE: usize = 32 << 10;

/// Size of all values that fill a near cache.
const NEAR_FULL: usize = 192 << 20;

/// Default capacity of near caches, enough for a workload that reads each key once.
const NEAR_KEYS_MIN: usize = 10_000;

/// Lifetime of a value in near caches, and of a loaded value in Redis.
const TTL: Duration = Duration::from_secs(600);

/// Number of keys from which on a near cache is filled in batches of [`FILLED_AT_ONCE`].
const MANY_KEYS: usize = 100_000;
/// Failure of a run over TLS on a server without it.
const NO_TLS: &str = "the server was built without TLS";
const FILLED_AT_ONCE: usize = 100;

/// Run one workload against one peer.
///
/// # Errors
///
/// Fails with the first error of the peer or the server.
pub fn run<P: Peer>(run: &Run, server: &Server) -> Result<Measurement, Failure> {
    P::Runtime::block_on(measure::<P>(run, server))?
}

async fn measure<P: Peer>(run: &Run, server: &Server) -> Result<Measurement, Failure> {
    let course = Course::new(run.workload, run.load);
    let prefix = unique_prefix();
    let keys = Arc::new(Keys::new(&course, course.calls, &prefix));
    let value = Bytes::from(vec![b'v'; run.load.value]);
    let tls = run.tls.then(|| server.tls().cloned().ok_or(NO_TLS)).transpose()?;
    let peer = P::connect(&Setup {
        redis: server.address().to_owned(),
        tls,
        cluster: run.cluster,
        near_keys: course.near_keys(&keys),
        ttl: TTL,
    })
    .await?;
    if !course.cold() {
        server.fill(&keys.all, &value)?;
    }
    let warm = warm_up(&peer, &course, &keys, &prefix, &value, server).await?;

    let beside = Beside::start(&peer, run.load.beside, &prefix, server).await?;
    let source = Arc::new(Source::new(value, course.loader_takes()));
    let server_before = server.processor_time()?;
    let commands_before = server.commands()?;
    let (elapsed, samples) = together(&peer, &course, course.calls, &keys, &source).await?;
    // The count is itself a command on each node.
    let commands = server.commands()?.saturating_sub(commands_before + server.nodes() as u64);
    let server_time = server.processor_time()?.saturating_sub(server_before);
    beside.end().await?;
    drop(peer);
    server.forget(&keys.all)?;
    server.forget(&warm.all)?;

    let stampede = course.workload == Workload::Stampede;
    Ok(Measurement {
        ops: course.calls * course.load.tasks,
        elapsed,
        samples,
        loads: source.loads(),
        added: stampede.then(|| elapsed.saturating_sub(source.last_took())),
        commands,
        server: server_time,
        peak_kib: peak_kib(),
        keys: keys.all.len(),
    })
}

/// Warm up every connection, pool and allocator, and fill near caches where the workload needs it.
/// Return the keys of the warm-up: a near cache keeps their values as long as Redis does.
async fn warm_up<P: Peer>(
    peer: &P,
    course: &Course,
    keys: &Arc<Keys>,
    prefix: &str,
    value: &Bytes,
    server: &Server,
) -> Result<Arc<Keys>, Failure> {
    let source = Arc::new(Source::new(value.clone(), Duration::ZERO));
    if course.local() {
        let course = course.filling::<P>(keys.per_task);
        // The first round may leave out TTLs, the second fills the near cache, the third hits it.
        let calls = 3 * keys.per_task / course.batch();
        together(peer, &course, calls, keys, &source).await?;
        return Ok(keys.clone());
    }
    let calls = (course.calls / 5).min(WARM_UP_MAX / course.load.tasks).max(1);
    let calls = if value.len() < LARGE {
        calls
    } else {
        let values = course.batch() * course.load.tasks;
        calls.max((NEAR_FULL / value.len()).div_ceil(values))
    };
    let keys = Arc::new(Keys::new(course, calls, &format!("{prefix}:warm")));
    if !course.cold() {
        server.fill(&keys.all, value)?;
    }
    together(peer, course, calls, &keys, &source).await?;
    Ok(keys)
}

/// Start all tasks at once, wait for the last call and return the time between. No task ends before
/// that: the end of a thread takes longer than a call.
async fn together<P: Peer>(
    peer: &P,
    course: &Course,
    calls: usize,
    keys: &Arc<Keys>,
    source: &Arc<Source>,
) -> Result<(Duration, Samples), Failure> {
    let start = Arc::new(Gate::new(course.load.tasks));
    let end = Arc::new(Gate::new(course.load.tasks));
    let mut tasks = Vec::with_capacity(course.load.tasks);
    for task in 0..course.load.tasks {
        let mut walker = Walker {
            peer: peer.fork().await?,
            keys: keys.clone(),
            task,
            source: source.clone(),
            samples: Samples::with_capacity(calls),
        };
        let (start, end, course) = (start.clone(), end.clone(), *course);
        tasks.push(P::Runtime::spawn(async move {
            let arrival = Arrival(&end);
            start.pass().await;
            let walked = walker.walk(&course, calls).await;
            let ended = Instant::now();
            drop(arrival);
            end.wait().await;
            walked.map(|()| (ended, walker.samples))
        }));
    }
    let opened = start.open().await;
    end.open().await;
    let mut last = opened;
    let mut samples = Samples::default();
    for task in tasks {
        let (ended, more) = task.await??;
        last = last.max(ended);
        samples.append(more);
    }
    Ok((last - opened, samples))
}

/// Arrives at a gate when it is dropped, also if its task panics.
struct Arrival<'a>(&'a Gate);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.arrive();
    }
}

/// A workload with its computed sizes.
#[derive(Clone, Copy, Debug)]
struct Course {
    workload: Workload,
    load: Load,
    /// Calls per task.
    calls: usize,
}

impl Course {
    fn new(workload: Workload, load: Load) -> Self {
        Self { workload, load, calls: load.ops.div_ceil(load.tasks) }
    }

    /// Return the number of keys per call.
    fn batch(&self) -> usize {
        match self.workload {
            Workload::LocalMulti | Workload::RemoteMulti | Workload::ColdMulti => self.load.batch,
            Workload::LocalHit | Workload::RemoteHit | Workload::ColdMiss | Workload::Stampede => 1,
        }
    }

    fn local(&self) -> bool {
        matches!(self.workload, Workload::LocalHit | Workload::LocalMulti)
    }

    /// Return the course that fills a near cache: single reads as in the workload, or batches if
    /// single reads would take minutes.
    fn filling<P: Peer>(&self, keys: usize) -> Self {
        let has_batches = P::WORKLOADS.contains(&Workload::LocalMulti);
        if !has_batches || keys < MANY_KEYS || !keys.is_multiple_of(FILLED_AT_ONCE) {
            return *self;
        }
        let load = Load { batch: FILLED_AT_ONCE, ..self.load };
        Self { workload: Workload::LocalMulti, load, ..*self }
    }

    fn cold(&self) -> bool {
        matches!(self.workload, Workload::ColdMiss | Workload::ColdMulti | Workload::Stampede)
    }

    fn loader_takes(&self) -> Duration {
        match self.workload {
            Workload::Stampede => Duration::from_millis(self.load.loader_ms),
            Workload::LocalHit
            | Workload::RemoteHit
            | Workload::ColdMiss
            | Workload::LocalMulti
            | Workload::RemoteMulti
            | Workload::ColdMulti => Duration::ZERO,
        }
    }

    /// Return a capacity of four times the keys that must stay. Caches split their capacity into
    /// shards, and some shards receive more keys than others.
    fn near_keys(&self, keys: &Keys) -> usize {
        let stay = if self.local() { keys.all.len() } else { 0 };
        NEAR_KEYS_MIN.max(4 * stay)
    }
}

/// The keys of a workload and their distribution over tasks.
#[derive(Debug)]
struct Keys {
    all: Vec<String>,
    per_task: usize,
    /// Whether all tasks read the same key, as in a stampede. No tasks share a key elsewhere.
    shared: bool,
}

impl Keys {
    fn new(course: &Course, calls: usize, prefix: &str) -> Self {
        let per_task = match course.workload {
            Workload::LocalHit => (course.load.keys / course.load.tasks).max(1),
            Workload::LocalMulti => course.load.batch,
            Workload::RemoteHit
            | Workload::ColdMiss
            | Workload::RemoteMulti
            | Workload::ColdMulti => calls * course.batch(),
            Workload::Stampede => 1,
        };
        let shared = course.workload == Workload::Stampede;
        let len = if shared { 1 } else { per_task * course.load.tasks };
        let all = (0..len).map(|index| format!("{prefix}:{index}")).collect();
        Self { all, per_task, shared }
    }

    fn of_task(&self, task: usize) -> &[String] {
        let first = if self.shared { 0 } else { task * self.per_task };
        &self.all[first..first + self.per_task]
    }
}

fn unique_prefix() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench:{:x}:{:x}", process::id(), since.as_micros())
}

/// One task that reads its keys in a cycle until all calls are made.
struct Walker<P> {
    peer: P,
    keys: Arc<Keys>,
    task: usize,
    source: Arc<Source>,
    samples: Samples,
}

impl<P: Peer> Walker<P> {
    async fn walk(&mut self, course: &Course, calls: usize) -> Result<(), Failure> {
        match course.workload {
            Workload::LocalHit => self.round(calls, course.load.value).await,
            Workload::RemoteHit | Workload::ColdMiss | Workload::Stampede => {
                self.one_by_one(calls, course.load.value).await
            }
            Workload::LocalMulti | Workload::RemoteMulti | Workload::ColdMulti => {
                self.batch_by_batch(calls, course.load.batch).await
            }
        }
    }

    /// Run the loop and read the clock only once per slice, because a hit takes no longer than a
    /// clock read.
    async fn round(&mut self, calls: usize, value: usize) -> Result<(), Failure> {
        let slice_len = calls.div_ceil(SLICES);
        let mut keys = self.keys.of_task(self.task).iter().cycle();
        let mut left = calls;
        while left > 0 {
            let slice = slice_len.min(left);
            left -= slice;
            let started = Instant::now();
            for key in keys.by_ref().take(slice) {
                check(value, &self.peer.read(key, &self.source).await?)?;
            }
            self.samples.record(started.elapsed() / u32::try_from(slice)?);
        }
        Ok(())
    }

    async fn one_by_one(&mut self, calls: usize, value: usize) -> Result<(), Failure> {
        for key in self.keys.of_task(self.task).iter().cycle().take(calls) {
            let started = Instant::now();
            let read = self.peer.read(key, &self.source).await?;
            self.samples.record(started.elapsed());
            check(value, &read)?;
        }
        Ok(())
    }

    async fn batch_by_batch(&mut self, calls: usize, batch: usize) -> Result<(), Failure> {
        for keys in self.keys.of_task(self.task).chunks(batch).cycle().take(calls) {
            let started = Instant::now();
            let found = self.peer.read_many(keys, &self.source).await?;
            self.samples.record(started.elapsed());
            if found != batch {
                return Err(format!("{found} values for {batch} keys").into());
            }
        }
        Ok(())
    }
}

/// Fail on a value of the wrong length, and keep the compiler from removing the read.
fn check(expected: usize, value: &impl AsRef<[u8]>) -> Result<(), Failure> {
    let value = black_box(value.as_ref());
    if value.len() == expected {
        return Ok(());
    }
    Err(format!("a value of {} bytes instead of {expected}", value.len()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(workload: Workload, tasks: usize) -> Keys {
        let mut load = Load::of(workload, Some(tasks));
        (load.ops, load.keys, load.batch) = (10 * tasks, 6, 5);
        let course = Course::new(workload, load);
        Keys::new(&course, course.calls, "k")
    }

    #[test]
    fn tasks_share_no_keys_except_in_a_stampede() {
        for (workload, per_task, all) in [
            (Workload::LocalHit, 3, 6),
            (Workload::RemoteHit, 10, 20),
            (Workload::ColdMiss, 10, 20),
            (Workload::LocalMulti, 5, 10),
            (Workload::RemoteMulti, 50, 100),
            (Workload::ColdMulti, 50, 100),
            (Workload::Stampede, 1, 1),
        ] {
            let keys = keys(workload, 2);
            assert_eq!((keys.per_task, keys.all.len()), (per_task, all), "{workload}");
            let apart = keys.of_task(0).iter().all(|key| !keys.of_task(1).contains(key));
            assert_eq!(apart, workload != Workload::Stampede, "{workload}");
        }
    }

    #[test]
    fn more_tasks_than_local_keys_get_one_key_each() {
        assert_eq!(keys(Workload::LocalHit, 8).all.len(), 8);
    }
}

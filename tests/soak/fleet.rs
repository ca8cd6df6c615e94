//! The caches of all adapters, each behind its own proxy, and their callers.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use redcache_driver::{Config, Key, Loaded};
use redcache_tests::{FaultyProxy, Rng};

use crate::caller::{Caller, Progress};
use crate::client::{Adapter, AsyncClient, BlockingClient, Client, Refresher};
use crate::database::{self, Database};
use crate::limits::{CALL_MAX, SETTINGS, STOP_MAX};
use crate::options::Options;
use crate::output::say;
use crate::server::Target;

/// Caches of one adapter, as processes of a fleet.
const CACHES: usize = 2;
/// Callers of one cache.
const CALLERS: usize = 8;

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("tokio starts")
});

pub(crate) struct Fleet {
    database: Arc<Database>,
    proxies: Vec<FaultyProxy>,
    progress: Vec<Arc<Progress>>,
    stopping: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Fleet {
    /// Start the callers of every adapter, and let the proxies begin to disturb.
    pub(crate) fn start(
        options: &Options,
        target: &Target,
        rng: &Rng,
        database: &Arc<Database>,
    ) -> Self {
        let (ends, ended) = mpsc::channel();
        let mut fleet = Self {
            database: Arc::clone(database),
            proxies: Vec::new(),
            progress: Vec::new(),
            stopping: Arc::default(),
            ended,
        };
        for (number, adapter) in options.adapters.iter().flat_map(|it| [*it; CACHES]).enumerate() {
            let proxy = FaultyProxy::start(target.address(), rng.fork(number as u64));
            let place =
                Place { adapter, number, pace: options.pace, rng: rng.fork(1000 + number as u64) };
            fleet.start_cache(place, proxy.address(), &ends);
            fleet.proxies.push(proxy);
        }
        for proxy in &fleet.proxies {
            proxy.set_fault_rate(options.faults);
        }
        fleet
    }

    fn start_cache(&mut self, place: Place, address: SocketAddr, ends: &Sender<()>) {
        let url = format!("redis://{address}?{SETTINGS}");
        let config = Config::from_url(&url).expect("the settings are valid");
        let refresher = refresher(&self.database);
        match place.adapter {
            Adapter::Tokio => {
                let _entered = TOKIO.enter();
                let cache = redcache_tokio::connect_lazy(config);
                let client = cache.and_then(|cache| AsyncClient::open(cache, refresher));
                self.start_callers(place, client.expect("it opens"), ends, |task| {
                    drop(TOKIO.spawn(task))
                });
            }
            Adapter::Smol => {
                let cache = redcache_smol::connect_lazy(config);
                let client = cache.and_then(|cache| AsyncClient::open(cache, refresher));
                self.start_callers(place, client.expect("it opens"), ends, |task| {
                    smol::spawn(task).detach()
                });
            }
            Adapter::AsyncStd => {
                let cache = redcache_async_std::connect_lazy(config);
                let client = cache.and_then(|cache| AsyncClient::open(cache, refresher));
                self.start_callers(place, client.expect("it opens"), ends, |task| {
                    drop(async_std::task::spawn(task));
                });
            }
            Adapter::Blocking => {
                let cache = redcache_blocking::connect_lazy(config);
                let client = cache.and_then(|cache| BlockingClient::open(cache, refresher));
                self.start_callers(place, client.expect("it opens"), ends, |task| {
                    drop(thread::spawn(|| smol::block_on(task)));
                });
            }
        }
    }

    fn start_callers<C: Client>(
        &mut self,
        place: Place,
        client: C,
        ends: &Sender<()>,
        spawn: impl Fn(Task),
    ) {
        // The last caller closes the cache.
        let closing = Arc::new(Closing { client, ends: ends.clone() });
        for number in 0..CALLERS {
            let progress = Arc::new(Progress::default());
            self.progress.push(Arc::clone(&progress));
            let caller = Caller {
                client: closing.client.clone(),
                database: Arc::clone(&self.database),
                adapter: place.adapter.name(),
                cache: place.number,
                rng: place.rng.fork(number as u64),
                pace: place.pace,
                progress,
            };
            let (stopping, closing) = (Arc::clone(&self.stopping), Arc::clone(&closing));
            spawn(Box::pin(async move {
                caller.run(&stopping).await;
                if let Some(closing) = Arc::into_inner(closing) {
                    closing.client.close().await;
                    drop(closing.ends);
                }
            }));
        }
    }

    /// Report calls that take too long, and write bytes of the proxies to files if one was wrong.
    pub(crate) fn check_calls(&self) {
        for progress in &self.progress {
            if let Some(call) = progress.overdue(CALL_MAX) {
                self.database.tally.violation("call beyond its time", call);
            }
        }
        if self.database.take_dump() {
            let folder = std::env::temp_dir().join(format!("soak-{}", std::process::id()));
            if let Err(error) = self.dump(&folder) {
                say(&format!("no bytes written: {error}"));
            }
        }
    }

    fn dump(&self, folder: &PathBuf) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (number, proxy) in self.proxies.iter().enumerate() {
            proxy.dump(folder, &format!("cache{number}"))?;
        }
        say(&format!("the latest bytes of every connection are in {}", folder.display()));
        Ok(())
    }

    /// Stop the callers and close the caches, then the proxies.
    pub(crate) fn stop(self) {
        let tally = &self.database.tally;
        for proxy in &self.proxies {
            for (fault, count) in proxy.faults() {
                tally.add("faults", format!("{fault:?}"), count);
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
        let until = Instant::now() + STOP_MAX;
        let left = until.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            let waiting = self.progress.iter().filter_map(|it| it.overdue(Duration::ZERO));
            let waiting: Vec<_> = waiting.collect();
            tally.violation("fleet does not stop", format!("{waiting:?}"));
        }
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A cache in the fleet.
struct Place {
    adapter: Adapter,
    number: usize,
    pace: Duration,
    rng: Rng,
}

struct Closing<C> {
    client: C,
    ends: Sender<()>,
}

fn refresher(database: &Arc<Database>) -> Refresher {
    let database = Arc::clone(database);
    Arc::new(move |keys| {
        let load = |key: Key| {
            let row = database::row(key.as_bytes()).ok_or("it is no row")?;
            Ok((key, Loaded::value(database.load(row))))
        };
        keys.into_iter().map(load).collect()
    })
}

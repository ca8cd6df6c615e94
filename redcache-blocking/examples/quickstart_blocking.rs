//! A service without async code keeps its rows in a SQL database and reads them through redcache.
//!
//! ```sh
//! cargo run --example quickstart_blocking
//! REDIS_URL=redis://localhost:6379 cargo run --example quickstart_blocking
//! ```
//!
//! `Repository` is all the code that such a service needs. The rest of this file calls it, prints
//! the source of each answer, and fails if an answer came from the wrong source.

#![expect(clippy::print_stdout, reason = "an example is there to show something")]

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redcache_blocking::{Answer, Cache, Key, LoadError, Source};

#[path = "shared/stage.rs"]
mod stage;

use stage::{BoxError, Redis, Report, Table};

/// Lifetime of a row in Redis, unless the row is removed earlier.
const TTL: Duration = Duration::from_secs(60);

/// Longest wait before the example fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rows of `mytab`, read through a cache.
struct Repository {
    cache: Cache,
    table: Arc<Table>,
}

impl Repository {
    fn open(redis: &Redis, table: &Arc<Table>) -> Result<Self, BoxError> {
        let cache = redcache_blocking::connect(&redis.url)?;
        let table = Arc::clone(table);
        Ok(Self { cache, table })
    }

    /// Read a row. On a miss in this process and in Redis, one caller among all processes queries
    /// the database. The cache stores the absence of a row as well.
    fn get_by_id(&self, id: u32) -> Result<Answer, LoadError<rusqlite::Error>> {
        let load = || self.table.find(id);
        self.cache.get_with(self.key(id), TTL, load)
    }

    /// Read several rows, and load all missing rows with one query. An id without a row in the
    /// result has no row in the database.
    fn get_by_ids(&self, ids: &[u32]) -> Result<Vec<Answer>, LoadError<rusqlite::Error>> {
        let load = |missing: Vec<Key>| {
            let ids: Vec<u32> = missing.iter().filter_map(id_of).collect();
            let rows = self.table.find_many(&ids)?;
            Ok(rows.into_iter().map(|(id, val)| (self.key(id), val)))
        };
        let keys = ids.iter().map(|&id| self.key(id));
        let answers = self.cache.get_many_with(keys, TTL, load)?;
        // Each key has its own outcome; here one failure fails the whole call.
        answers.into_iter().collect()
    }

    /// Change a row in the database, then invalidate it in the caches. This client reads the new
    /// value after the call returns, other clients after Redis pushes the invalidation to them.
    fn update(&self, id: u32, val: &str) -> Result<(), BoxError> {
        self.table.update(id, val)?;
        self.cache.remove(self.key(id))?;
        Ok(())
    }

    /// Remove rows from every cache.
    fn forget(&self, ids: impl IntoIterator<Item = u32>) -> Result<(), BoxError> {
        let outcomes = self.cache.remove_many(ids.into_iter().map(|id| self.key(id)))?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(|_| ()))?;
        Ok(())
    }

    fn key(&self, id: u32) -> Key {
        Key::from(format!("{}:mytab:{id}", self.table.unique_name()))
    }
}

fn id_of(key: &Key) -> Option<u32> {
    let key = std::str::from_utf8(key.as_bytes()).ok()?;
    key.rsplit(':').next()?.parse().ok()
}

fn main() -> Result<(), BoxError> {
    let redis = Redis::find()?;
    let table = Arc::new(Table::create()?);
    let report = Report::new(&table);

    // Each repository has its own connection and near cache, like two processes of one service.
    let here = Repository::open(&redis, &table)?;
    let there = Repository::open(&redis, &table)?;

    read_a_row(&report, &here, &there)?;
    read_a_row_a_thousand_times_at_once(&report, &here, &there)?;
    read_many_rows(&report, &here, &there)?;
    change_a_row(&report, &here, &there)?;

    // Other users of this Redis find no keys of this example.
    here.forget((1..=90).chain(10_001..=10_010))?;
    here.cache.close();
    there.cache.close();
    report.finish();
    Ok(())
}

fn read_a_row(report: &Report<'_>, here: &Repository, there: &Repository) -> Result<(), BoxError> {
    let step = report.step("a row that nobody has read");
    let row = here.get_by_id(42)?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Loaded, 1));

    let step = report.step("the same row again");
    let row = here.get_by_id(42)?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Near, 0));

    let step = report.step("the same row, read by a second client");
    let row = there.get_by_id(42)?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Redis, 0));
    Ok(())
}

fn read_a_row_a_thousand_times_at_once(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("1,000 callers of a row that nobody has read");
    // The database is blocked, so that all callers arrive during the load.
    let busy = here.table.keep_busy();
    let rows = thread::scope(|scope| {
        let repositories = [here, there].into_iter().cycle().take(1_000);
        let callers: Vec<_> =
            repositories.map(|repository| scope.spawn(|| repository.get_by_id(43))).collect();
        let all_have_come =
            until(|| Ok(here.cache.stats().calls + there.cache.stats().calls == 1_000));
        drop(busy);
        all_have_come?;
        let rows = callers.into_iter().map(|caller| match caller.join() {
            Ok(row) => Ok(row?),
            Err(panic) => resume_unwind(panic),
        });
        rows.collect::<Result<Vec<_>, BoxError>>()
    })?;
    let queries = step.end(&rows);
    assert!(rows.iter().all(|row| text(row) == Some("row 43")));
    // One caller of one client queried the database. Each client shared its answer among its
    // callers.
    let from = |source| rows.iter().filter(|row| row.source == source).count();
    assert_eq!((from(Source::Loaded), from(Source::Redis), from(Source::Joined)), (1, 1, 998));
    assert_eq!(queries, 1);
    Ok(())
}

fn read_many_rows(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("20 rows, read by the second client");
    let rows = there.get_by_ids(&(1..=20).collect::<Vec<_>>())?;
    assert_eq!((rows.len(), step.end(&rows)), (20, 1));

    // Two rows are in the near cache, 20 in Redis, 68 only in the database, and 10 do not exist.
    let ids: Vec<u32> = (1..=90).chain(10_001..=10_010).collect();
    let step = report.step("100 ids, 10 of them without a row");
    let rows = here.get_by_ids(&ids)?;
    let queries = step.end(&rows);
    let from = |source| rows.iter().filter(|row| row.source == source).count();
    assert_eq!((from(Source::Near), from(Source::Redis), from(Source::Loaded)), (2, 20, 78));
    assert_eq!((rows.iter().filter(|row| row.value.is_none()).count(), queries), (10, 1));

    let step = report.step("the same 100 ids again");
    let rows = here.get_by_ids(&ids)?;
    let queries = step.end(&rows);
    // The first read of a large batch leaves out the TTLs, so the third read is near.
    assert!(rows.iter().all(|row| matches!(row.source, Source::Near | Source::Redis)));
    assert_eq!((rows.len(), queries), (100, 0));

    let step = report.step("the same 100 ids once more");
    let rows = here.get_by_ids(&ids)?;
    let queries = step.end(&rows);
    assert!(rows.iter().all(|row| row.source == Source::Near));
    assert_eq!((rows.len(), queries), (100, 0));

    let step = report.step("an id without a row, read by the second client");
    let row = there.get_by_id(10_001)?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (None, Source::Redis, 0));
    Ok(())
}

fn change_a_row(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("row 42, near to the second client by now");
    let row = there.get_by_id(42)?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Near, 0));

    let step = report.step("row 42, changed by the first client");
    here.update(42, "changed")?;
    assert_eq!(step.end([]), 1);

    // Redis pushes the invalidation to the second client a moment later.
    let step = report.step("until the second client reads the new value");
    let mut rows = Vec::new();
    until(|| {
        let row = there.get_by_id(42)?;
        let changed = text(&row) == Some("changed");
        rows.push(row);
        Ok(changed)
    })?;
    assert_eq!(step.end(&rows), 1);

    let step = report.step("the new value, read by the first client");
    let row = here.get_by_id(42)?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("changed"), Source::Redis, 0));
    Ok(())
}

fn until(mut is_so: impl FnMut() -> Result<bool, BoxError>) -> Result<(), BoxError> {
    let given_up_at = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > given_up_at {
            return Err("it took too long".into());
        }
        thread::yield_now();
    }
    Ok(())
}

fn text(row: &Answer) -> Option<&str> {
    std::str::from_utf8(row.value.as_ref()?).ok()
}

//! The tour of every async quickstart: a repository reads its rows through redcache.
//!
//! `Repository` is all the code that a service needs. The rest calls it, prints the source of each
//! answer, and fails if an answer came from the wrong source. The example supplies the functions of
//! its runtime: `spawn`, `unblock` and `yield_now`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stage::{BoxError, Redis, Report, Table};
use crate::{Answer, Cache, Key, LoadError, Source, connect, spawn, unblock, yield_now};

/// Lifetime of a row in Redis, unless the row is removed earlier.
const TTL: Duration = Duration::from_secs(60);

/// Longest wait before the example fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rows of `mytab`, read through a cache.
#[derive(Clone)]
struct Repository {
    cache: Cache,
    table: Arc<Table>,
}

impl Repository {
    async fn open(redis: &Redis, table: &Arc<Table>) -> Result<Self, BoxError> {
        let cache = connect(&redis.url).await?;
        let table = Arc::clone(table);
        Ok(Self { cache, table })
    }

    /// Read a row. On a miss in this process and in Redis, one caller among all processes queries
    /// the database. The cache stores the absence of a row as well.
    async fn get_by_id(&self, id: u32) -> Result<Answer, LoadError<BoxError>> {
        let load = || self.query(move |table| table.find(id));
        self.cache.get_with(self.key(id), TTL, load).await
    }

    /// Read several rows, and load all missing rows with one query. An id without a row in the
    /// result has no row in the database.
    async fn get_by_ids(&self, ids: &[u32]) -> Result<Vec<Answer>, LoadError<BoxError>> {
        let load = async |missing: Vec<Key>| {
            let ids: Vec<u32> = missing.iter().filter_map(id_of).collect();
            let rows = self.query(move |table| table.find_many(&ids)).await?;
            Ok(rows.into_iter().map(|(id, val)| (self.key(id), val)))
        };
        let keys = ids.iter().map(|&id| self.key(id));
        let answers = self.cache.get_many_with(keys, TTL, load).await?;
        // Each key has its own outcome; here one failure fails the whole call.
        answers.into_iter().collect()
    }

    /// Change a row in the database, then invalidate it in the caches. This client reads the new
    /// value after the call returns, other clients after Redis pushes the invalidation to them.
    async fn update(&self, id: u32, val: &'static str) -> Result<(), BoxError> {
        self.query(move |table| table.update(id, val)).await?;
        self.cache.remove(self.key(id)).await?;
        Ok(())
    }

    /// Remove rows from every cache.
    async fn forget(&self, ids: impl IntoIterator<Item = u32>) -> Result<(), BoxError> {
        let outcomes = self.cache.remove_many(ids.into_iter().map(|id| self.key(id))).await?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(|_| ()))?;
        Ok(())
    }

    fn key(&self, id: u32) -> Key {
        Key::from(format!("{}:mytab:{id}", self.table.unique_name()))
    }

    /// Query the database on a thread that may block.
    async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Table) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BoxError> {
        let table = Arc::clone(&self.table);
        Ok(unblock(move || ask(&table)).await?)
    }
}

fn id_of(key: &Key) -> Option<u32> {
    let key = std::str::from_utf8(key.as_bytes()).ok()?;
    key.rsplit(':').next()?.parse().ok()
}

/// Run every step against the Redis of [`Redis::find`].
pub(crate) async fn run() -> Result<(), BoxError> {
    let redis = Redis::find()?;
    let table = Arc::new(Table::create()?);
    let report = Report::new(&table);

    // Each repository has its own connection and near cache, like two processes of one service.
    let here = Repository::open(&redis, &table).await?;
    let there = Repository::open(&redis, &table).await?;

    read_a_row(&report, &here, &there).await?;
    read_a_row_a_thousand_times_at_once(&report, &here, &there).await?;
    read_many_rows(&report, &here, &there).await?;
    change_a_row(&report, &here, &there).await?;

    // Other users of this Redis find no keys of this example.
    here.forget((1..=90).chain(10_001..=10_010)).await?;
    here.cache.close().await;
    there.cache.close().await;
    report.finish();
    Ok(())
}

async fn read_a_row(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("a row that nobody has read");
    let row = here.get_by_id(42).await?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Loaded, 1));

    let step = report.step("the same row again");
    let row = here.get_by_id(42).await?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Near, 0));

    let step = report.step("the same row, read by a second client");
    let row = there.get_by_id(42).await?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Redis, 0));
    Ok(())
}

async fn read_a_row_a_thousand_times_at_once(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("1,000 callers of a row that nobody has read");
    // The database is blocked, so that all callers arrive during the load.
    let busy = here.table.keep_busy();
    let repositories = [here, there].into_iter().cycle().take(1_000).cloned();
    let call = |repository: Repository| spawn(async move { repository.get_by_id(43).await });
    let callers: Vec<_> = repositories.map(call).collect();
    let given_up_at = Instant::now() + PATIENCE;
    while here.cache.stats().calls + there.cache.stats().calls < 1_000 {
        wait_a_moment(given_up_at).await?;
    }
    drop(busy);
    let mut rows = Vec::new();
    for caller in callers {
        rows.push(caller.await?);
    }
    let queries = step.end(&rows);
    assert!(rows.iter().all(|row| text(row) == Some("row 43")));
    // One caller of one client queried the database. Each client shared its answer among its
    // callers.
    let from = |source| rows.iter().filter(|row| row.source == source).count();
    assert_eq!((from(Source::Loaded), from(Source::Redis), from(Source::Joined)), (1, 1, 998));
    assert_eq!(queries, 1);
    Ok(())
}

async fn read_many_rows(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("20 rows, read by the second client");
    let rows = there.get_by_ids(&(1..=20).collect::<Vec<_>>()).await?;
    assert_eq!((rows.len(), step.end(&rows)), (20, 1));

    // Two rows are in the near cache, 20 in Redis, 68 only in the database, and 10 do not exist.
    let ids: Vec<u32> = (1..=90).chain(10_001..=10_010).collect();
    let step = report.step("100 ids, 10 of them without a row");
    let rows = here.get_by_ids(&ids).await?;
    let queries = step.end(&rows);
    let from = |source| rows.iter().filter(|row| row.source == source).count();
    assert_eq!((from(Source::Near), from(Source::Redis), from(Source::Loaded)), (2, 20, 78));
    assert_eq!((rows.iter().filter(|row| row.value.is_none()).count(), queries), (10, 1));

    let step = report.step("the same 100 ids again");
    let rows = here.get_by_ids(&ids).await?;
    let queries = step.end(&rows);
    // The first read of a large batch leaves out the TTLs, so the third read is near.
    assert!(rows.iter().all(|row| matches!(row.source, Source::Near | Source::Redis)));
    assert_eq!((rows.len(), queries), (100, 0));

    let step = report.step("the same 100 ids once more");
    let rows = here.get_by_ids(&ids).await?;
    let queries = step.end(&rows);
    assert!(rows.iter().all(|row| row.source == Source::Near));
    assert_eq!((rows.len(), queries), (100, 0));

    let step = report.step("an id without a row, read by the second client");
    let row = there.get_by_id(10_001).await?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (None, Source::Redis, 0));
    Ok(())
}

async fn change_a_row(
    report: &Report<'_>,
    here: &Repository,
    there: &Repository,
) -> Result<(), BoxError> {
    let step = report.step("row 42, near to the second client by now");
    let row = there.get_by_id(42).await?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("row 42"), Source::Near, 0));

    let step = report.step("row 42, changed by the first client");
    here.update(42, "changed").await?;
    assert_eq!(step.end([]), 1);

    // Redis pushes the invalidation to the second client a moment later.
    let step = report.step("until the second client reads the new value");
    let mut rows = Vec::new();
    let given_up_at = Instant::now() + PATIENCE;
    loop {
        let row = there.get_by_id(42).await?;
        let changed = text(&row) == Some("changed");
        rows.push(row);
        if changed {
            break;
        }
        wait_a_moment(given_up_at).await?;
    }
    assert_eq!(step.end(&rows), 1);

    let step = report.step("the new value, read by the first client");
    let row = here.get_by_id(42).await?;
    let queries = step.end([&row]);
    assert_eq!((text(&row), row.source, queries), (Some("changed"), Source::Redis, 0));
    Ok(())
}

/// Yield to other tasks, or fail after the deadline.
async fn wait_a_moment(given_up_at: Instant) -> Result<(), BoxError> {
    if Instant::now() > given_up_at {
        return Err("it took too long".into());
    }
    yield_now().await;
    Ok(())
}

fn text(row: &Answer) -> Option<&str> {
    std::str::from_utf8(row.value.as_ref()?).ok()
}

//! Support code of every quickstart: a database that counts its queries, a Redis server, and a
//! report of each step. This file is not about redcache itself.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, iter, process};

use redcache_sim::listen::EmbeddedServer;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::Answer;

/// Any error of a database or an example.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Number of rows of the table; ids begin with 1.
const ROWS: u32 = 10_000;

/// The table `mytab(id, val)` in its own SQLite file. It counts its queries.
pub(crate) struct Table {
    connection: Mutex<Connection>,
    queries: AtomicU64,
    // The directory is deleted after the connection closes: fields drop from top to bottom.
    directory: Directory,
}

impl Table {
    pub(crate) fn create() -> Result<Self, BoxError> {
        let directory = Directory::create()?;
        let mut connection = Connection::open(directory.path.join("quickstart.sqlite"))?;
        let transaction = connection.transaction()?;
        transaction
            .execute_batch("CREATE TABLE mytab(id INTEGER PRIMARY KEY, val TEXT NOT NULL)")?;
        let mut insert = transaction.prepare("INSERT INTO mytab(id, val) VALUES (?1, ?2)")?;
        for id in 1..=ROWS {
            insert.execute((id, format!("row {id}")))?;
        }
        drop(insert);
        transaction.commit()?;
        println!("database: SQLite, mytab(id, val) with {ROWS} rows");
        Ok(Self { connection: Mutex::new(connection), queries: AtomicU64::new(0), directory })
    }

    /// Return the unique name of this run. Keys with this prefix do not collide in a shared Redis.
    pub(crate) fn unique_name(&self) -> &str {
        &self.directory.name
    }

    pub(crate) fn find(&self, id: u32) -> rusqlite::Result<Option<String>> {
        let connection = self.count_query();
        let mut select = connection.prepare_cached("SELECT val FROM mytab WHERE id = ?1")?;
        select.query_row([id], |row| row.get(0)).optional()
    }

    /// Find several rows with one query. The result omits missing rows.
    pub(crate) fn find_many(&self, ids: &[u32]) -> rusqlite::Result<Vec<(u32, String)>> {
        let connection = self.count_query();
        let places = iter::repeat_n("?", ids.len()).collect::<Vec<_>>().join(",");
        let sql = format!("SELECT id, val FROM mytab WHERE id IN ({places})");
        let mut select = connection.prepare(&sql)?;
        let rows = select.query_map(params_from_iter(ids), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    pub(crate) fn update(&self, id: u32, val: &str) -> rusqlite::Result<()> {
        let sql = "UPDATE mytab SET val = ?2 WHERE id = ?1";
        self.count_query().execute(sql, (id, val)).map(|_| ())
    }

    /// Block every query until the returned guard is dropped.
    pub(crate) fn keep_busy(&self) -> impl Sized {
        self.lock()
    }

    fn count_query(&self) -> MutexGuard<'_, Connection> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

/// A directory that is deleted on drop.
struct Directory {
    name: String,
    path: PathBuf,
}

impl Directory {
    fn create() -> Result<Self, BoxError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let name = format!("quickstart-{}-{}", process::id(), now.as_nanos());
        let path = env::temp_dir().join(&name);
        fs::create_dir(&path)?;
        Ok(Self { name, path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The system cleans up files that cannot be deleted here.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The Redis server: the server at `REDIS_URL`, or else a server inside this process.
pub(crate) struct Redis {
    pub(crate) url: String,
    _embedded: Option<EmbeddedServer>,
}

impl Redis {
    pub(crate) fn find() -> Result<Self, BoxError> {
        if let Some(url) = env::var("REDIS_URL").ok().filter(|url| !url.is_empty()) {
            // The URL may hold a password, so it is not shown.
            println!("redis:    the server in REDIS_URL");
            return Ok(Self { url, _embedded: None });
        }
        let embedded = EmbeddedServer::start()?;
        let url = embedded.url();
        println!("redis:    embedded, {url} (set REDIS_URL to use another)");
        Ok(Self { url, _embedded: Some(embedded) })
    }
}

/// A report with a line for each step: sources of the answers, duration and number of queries.
pub(crate) struct Report<'a> {
    table: &'a Table,
    reads: Cell<usize>,
}

/// A step that is being timed.
pub(crate) struct Step<'a> {
    report: &'a Report<'a>,
    title: &'a str,
    queries_before: u64,
    began: Instant,
}

impl<'a> Report<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        let reads = Cell::new(0);
        let report = Self { table, reads };
        println!();
        report.line("step", "answered from", "time", "queries");
        report
    }

    /// Start a step and its clock.
    pub(crate) fn step(&'a self, title: &'a str) -> Step<'a> {
        Step { report: self, title, queries_before: self.table.queries(), began: Instant::now() }
    }

    fn line(&self, title: &str, sources: &str, time: &str, queries: &str) {
        println!("{title:<46}  {sources:<30}  {time:>9}  {queries:>7}");
    }

    pub(crate) fn finish(&self) {
        let (reads, queries) = (self.reads.get(), self.table.queries());
        println!("\nquickstart: ok, {reads} reads, {queries} SQL queries");
    }
}

impl Step<'_> {
    /// Stop the clock, print the line of the step and return its number of SQL queries. `answers`
    /// are the answers that the step has read.
    pub(crate) fn end<'s>(self, answers: impl IntoIterator<Item = &'s Answer>) -> u64 {
        let took = self.began.elapsed();
        let queries = self.report.table.queries() - self.queries_before;
        let mut counts = BTreeMap::<_, usize>::new();
        for answer in answers {
            *counts.entry(answer.source.as_str()).or_default() += 1;
        }
        let reads = &self.report.reads;
        reads.set(reads.get() + counts.values().sum::<usize>());
        self.report.line(self.title, &listed(&counts), &rounded(took), &queries.to_string());
        queries
    }
}

fn listed(counts: &BTreeMap<&str, usize>) -> String {
    counts.iter().map(|(source, count)| format!("{source} {count}")).collect::<Vec<_>>().join(", ")
}

fn rounded(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    if us < 1e3 { format!("{us:.0} µs") } else { format!("{:.1} ms", us / 1e3) }
}

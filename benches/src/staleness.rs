//! `--staleness`: the number and the age of reads that are older than the row.
//!
//! A writer changes the rows of a table that stands for a database, and removes each key from Redis
//! after its change. Readers, each with its own connection, read the keys and load missing ones
//! from the table. A read is stale if the row had been changed, and the removal of its key had been
//! acknowledged, before the read began.

mod readers;
mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::runtime::{Runtime, Tokio};
use crate::server::Server;

use self::readers::Reader;
use self::rows::{ROWS, Rows};

/// The number of readers at a time.
const TASKS: usize = 4;

/// The pause of the writer between two changes.
const PAUSE: Duration = Duration::from_millis(2);

/// The reads of one client.
#[derive(Debug, Default)]
struct Count {
    reads: u64,
    /// The age of each stale read at its start.
    stale: Vec<Duration>,
}

/// Measure each client for the given time and print a row for each.
///
/// # Errors
///
/// Fails with the first error of a client or the server.
pub fn staleness(
    server: &Server,
    each: Duration,
    mut print: impl FnMut(&str),
) -> Result<(), Failure> {
    print("| client | reads | changes | stale reads | share | median age | stalest |");
    print("|---|---:|---:|---:|---:|---:|---:|");
    let address = server.address();
    for kind in readers::Kind::ALL {
        let rows = Arc::new(Rows::new(kind.name()));
        let (count, changes) = Tokio::block_on(measure(kind, address, &rows, each))??;
        print(&row(kind.name(), count, changes));
        server.forget(&rows.names)?;
    }
    Ok(())
}

async fn measure(
    kind: readers::Kind,
    address: &str,
    rows: &Arc<Rows>,
    each: Duration,
) -> Result<(Count, u64), Failure> {
    let reader = Reader::connect(kind, address).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut connection = redis::Client::open(format!("redis://{address}/"))?.get_connection()?;
    let writer = {
        let (rows, is_over) = (Arc::clone(rows), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut changes = 0;
            while !is_over.load(Ordering::SeqCst) {
                rows.change(changes as usize % ROWS, &mut connection)?;
                changes += 1;
                thread::sleep(PAUSE);
            }
            Ok::<u64, Failure>(changes)
        })
    };
    let until = Instant::now() + each;
    let tasks = (0..TASKS).map(|task| {
        let (reader, rows) = (reader.clone(), Arc::clone(rows));
        Tokio::spawn(read(reader, rows, task, until))
    });
    let mut total = Count::default();
    for task in tasks.collect::<Vec<_>>() {
        let count = task.await??;
        total.reads += count.reads;
        total.stale.extend(count.stale);
    }
    is_over.store(true, Ordering::SeqCst);
    let changes = writer.join().map_err(|_| "the writer panicked")??;
    Ok((total, changes))
}

/// Read one row after the other until the time has passed.
async fn read(
    mut reader: Reader,
    rows: Arc<Rows>,
    first: usize,
    until: Instant,
) -> Result<Count, Failure> {
    let mut count = Count::default();
    let mut row = first;
    loop {
        let begun = Instant::now();
        if begun >= until {
            return Ok(count);
        }
        let version = reader.read(row, &rows).await?;
        count.reads += 1;
        count.stale.extend(rows.staleness(row, version, begun));
        row = (row + 1) % ROWS;
        // A loop of hits would keep the other tasks of the runtime from running.
        tokio::task::yield_now().await;
    }
}

fn row(name: &str, mut count: Count, changes: u64) -> String {
    count.stale.sort_unstable();
    let millis = |age: Option<&Duration>| {
        age.map_or_else(|| "–".to_owned(), |age| format!("{:.1} ms", age.as_secs_f64() * 1e3))
    };
    let stale = count.stale.len();
    let share = 100.0 * stale as f64 / count.reads.max(1) as f64;
    let median = millis(count.stale.get(stale / 2));
    let stalest = millis(count.stale.last());
    format!(
        "| {name} | {} | {changes} | {stale} | {share:.4} % | {median} | {stalest} |",
        count.reads
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_tells_the_share_and_the_ages() {
        let stale = vec![Duration::from_millis(9), Duration::from_millis(1)];
        let text = row("x", Count { reads: 1000, stale }, 7);
        assert_eq!(text, "| x | 1000 | 7 | 2 | 0.2000 % | 9.0 ms | 9.0 ms |");
        let none = row("x", Count { reads: 10, stale: Vec::new() }, 7);
        assert!(none.ends_with("| 0 | 0.0000 % | – | – |"), "{none}");
    }
}

//! A caller, which makes one random call after another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redcache_driver::{Answer, Key, Loaded};
use redcache_tests::Rng;
use smol::Timer;
use smol::future::or;

use crate::client::{Client, Load, LoadMany};
use crate::database::{self, Call, Database, ROWS};

/// The call that a caller waits for.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Option<(&'static str, &'static str, Instant)>>);

impl Progress {
    fn set(&self, call: Option<(&'static str, &'static str, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }

    /// Return a description of the call if it has taken longer than `limit`, once.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<String> {
        let mut call = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (adapter, name, _) = call.take_if(|(.., began)| began.elapsed() > limit)?;
        Some(format!("{adapter} {name}"))
    }
}

pub(crate) struct Caller<C> {
    pub(crate) client: C,
    pub(crate) database: Arc<Database>,
    pub(crate) adapter: &'static str,
    pub(crate) cache: usize,
    pub(crate) rng: Rng,
    pub(crate) pace: Duration,
    pub(crate) progress: Arc<Progress>,
}

impl<C: Client> Caller<C> {
    /// Make calls until `stopping` is set.
    pub(crate) async fn run(mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Relaxed) {
            let pause = self.rng.below(2 * self.pace.as_micros() as u64);
            if pause > 0 {
                Timer::after(Duration::from_micros(pause)).await;
            }
            let patience = Duration::from_micros(self.rng.below(30_000));
            if C::CANCELS && self.rng.happens(3, 100) {
                let cut = async {
                    Timer::after(patience).await;
                    false
                };
                let call = async {
                    self.call().await;
                    true
                };
                if !or(call, cut).await {
                    self.database.tally.count("results", format!("{} cancelled", self.adapter));
                }
            } else {
                self.call().await;
            }
            self.progress.set(None);
        }
    }

    async fn call(&mut self) {
        // A few rows are read often, as in real workloads.
        let row = self.rng.below(ROWS as u64).min(self.rng.below(ROWS as u64)) as usize;
        match self.rng.below(100) {
            0..30 => self.get(row).await,
            30..38 => self.get_many().await,
            38..62 => self.get_with(row).await,
            62..70 => self.get_many_with().await,
            70..80 => self.get_refreshing(row).await,
            80..88 => self.remove(row).await,
            88..94 => self.insert(row).await,
            94..98 => self.insert_with(row).await,
            _ => self.touch(row).await,
        }
    }

    fn begin(&self, name: &'static str) -> Call {
        let began = Instant::now();
        self.progress.set(Some((self.adapter, name, began)));
        self.database.tally.count_call();
        Call { name, adapter: self.adapter, cache: self.cache, began }
    }

    /// Judge an answer; count an error.
    fn end<E: std::fmt::Display>(&self, call: &Call, row: usize, answer: Result<Answer, E>) {
        match answer {
            Ok(answer) => self.database.judge(call, row, &answer),
            Err(error) => self.fail(call, &error),
        }
    }

    fn fail(&self, call: &Call, error: &impl std::fmt::Display) {
        // Keys, addresses and times would make every text its own kind.
        let text = error.to_string();
        let kind = text.split([':', '(']).next().unwrap_or_default().trim();
        self.database.tally.count("errors", format!("{} {}: {kind}", self.adapter, call.name));
    }

    async fn get(&self, row: usize) {
        let call = self.begin("get");
        let answer = self.client.get(&database::key(row)).await;
        self.end(&call, row, answer);
    }

    fn rows(&mut self) -> Vec<usize> {
        let count = 2 + self.rng.below(7);
        (0..count).map(|_| self.rng.below(ROWS as u64) as usize).collect()
    }

    fn end_many<E: std::fmt::Display>(
        &self,
        call: &Call,
        rows: Vec<usize>,
        answers: Result<Vec<Result<Answer, E>>, E>,
    ) {
        match answers {
            Ok(answers) => {
                for (row, answer) in rows.into_iter().zip(answers) {
                    self.end(call, row, answer);
                }
            }
            Err(error) => self.fail(call, &error),
        }
    }

    async fn get_many(&mut self) {
        let rows = self.rows();
        let keys: Vec<_> = rows.iter().map(|row| database::key(*row)).collect();
        let call = self.begin("get_many");
        let answers = self.client.get_many(&keys).await;
        self.end_many(&call, rows, answers);
    }

    async fn get_with(&mut self, row: usize) {
        let load = load(&self.database, row, self.rng.fork(row as u64));
        self.rng.draw();
        let call = self.begin("get_with");
        let answer = self.client.get_with(&database::key(row), load).await;
        self.end(&call, row, answer);
    }

    async fn get_many_with(&mut self) {
        let rows = self.rows();
        let keys: Vec<_> = rows.iter().map(|row| database::key(*row)).collect();
        let (database, mut rng) = (&self.database, self.rng.fork(1));
        self.rng.draw();
        let load = |keys| {
            rng.draw();
            load_many(database, keys, rng.clone())
        };
        let call = self.begin("get_many_with");
        let answers = self.client.get_many_with(&keys, load).await;
        self.end_many(&call, rows, answers);
    }

    async fn get_refreshing(&self, row: usize) {
        let call = self.begin("get_refreshing");
        let answer = self.client.get_refreshing(&database::key(row)).await;
        self.end(&call, row, answer);
    }

    async fn remove(&self, row: usize) {
        let Some(write) = self.database.write(row, self.cache) else { return };
        let call = self.begin("remove");
        write.commit();
        match self.client.remove(&database::key(row)).await {
            Ok(_) => write.acknowledge(),
            Err(error) => self.fail(&call, &error),
        }
    }

    async fn insert(&self, row: usize) {
        let Some(write) = self.database.write(row, self.cache) else { return };
        let call = self.begin("insert");
        let value = write.commit();
        match self.client.insert(&database::key(row), value).await {
            Ok(()) => write.acknowledge(),
            Err(error) => self.fail(&call, &error),
        }
    }

    async fn insert_with(&mut self, row: usize) {
        let Some(write) = self.database.write(row, self.cache) else { return };
        let call = self.begin("insert_with");
        let mut rng = self.rng.fork(2);
        self.rng.draw();
        let load = async {
            pause(&mut rng).await;
            let value = write.commit();
            pause(&mut rng).await;
            Ok(Loaded::value(value))
        };
        match self.client.insert_with(&database::key(row), load).await {
            Ok(true) => write.acknowledge(),
            Ok(false) => self.fail(&call, &"nothing was stored"),
            Err(error) => self.fail(&call, &error),
        }
    }

    async fn touch(&self, row: usize) {
        let call = self.begin("touch");
        if let Err(error) = self.client.touch(&database::key(row)).await {
            self.fail(&call, &error);
        }
    }
}

/// Pause like a database: mostly not at all, sometimes for long.
async fn pause(rng: &mut Rng) {
    let micros = match rng.below(100) {
        0..60 => 0,
        60..98 => rng.below(10_000),
        _ => rng.below(1_500_000),
    };
    if micros > 0 {
        Timer::after(Duration::from_micros(micros)).await;
    }
}

async fn load(database: &Database, row: usize, mut rng: Rng) -> Load {
    pause(&mut rng).await;
    let value = database.load(row);
    pause(&mut rng).await;
    if rng.happens(1, 100) {
        return Err("the database is away".to_owned());
    }
    Ok(Loaded::value(value))
}

async fn load_many(database: &Database, keys: Vec<Key>, mut rng: Rng) -> LoadMany {
    pause(&mut rng).await;
    let load = |key: Key| {
        let row = database::row(key.as_bytes()).ok_or("it is no row")?;
        Ok((key, Loaded::value(database.load(row))))
    };
    let loaded = keys.into_iter().map(load).collect();
    pause(&mut rng).await;
    loaded
}

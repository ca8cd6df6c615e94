//! A web service of users: rows in SQLite, read through redcache.
//!
//! The absence of a user is cached, too. While Redis is unavailable, the service answers 503; with
//! `on_redis_down=load_direct` in the URL, it answers from the database.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json as Body, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use redcache::{BoxError, Cache, Health, Json, LoadError, Typed, TypedCache};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
}

/// The table `users(id, name)`.
#[derive(Debug)]
pub struct Database(Mutex<Connection>);

impl Database {
    /// Open a file, with the table. The file `:memory:` is a database in memory.
    pub fn open(file: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        let table = "CREATE TABLE IF NOT EXISTS users(id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
        connection.execute_batch(table)?;
        Ok(Self(Mutex::new(connection)))
    }

    async fn run<T: Send + 'static>(
        self: Arc<Self>,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BoxError> {
        let run = move || run(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(tokio::task::spawn_blocking(run).await??)
    }
}

/// The state of the service.
#[derive(Debug, Clone)]
pub struct App {
    users: TypedCache<i64, User>,
    cache: Cache,
    database: Arc<Database>,
    metrics: PrometheusHandle,
}

impl App {
    /// Create the service.
    pub fn new(
        cache: Cache,
        database: Arc<Database>,
        metrics: PrometheusHandle,
    ) -> Result<Self, redcache::Error> {
        let users = cache.typed("user", Json).ttl(Duration::from_secs(60));
        let users = users.not_found_ttl(Duration::from_secs(5)).jitter(0.1).build()?;
        Ok(Self { users, cache, database, metrics })
    }

    /// Return the routes.
    pub fn router(self) -> Router {
        let health = async |State(app): State<Self>| health(&app.cache.health());
        Router::new()
            .route("/users/{id}", get(read).put(write))
            .route("/health", get(health))
            .route("/metrics", get(async |State(app): State<Self>| app.metrics.render()))
            .with_state(self)
    }
}

async fn read(State(app): State<App>, Path(id): Path<i64>) -> Result<Response, StatusCode> {
    let load = || {
        app.database.clone().run(move |connection| {
            let mut select = connection.prepare_cached("SELECT name FROM users WHERE id = ?1")?;
            select.query_row([id], |row| Ok(User { name: row.get(0)? })).optional()
        })
    };
    Ok(match app.users.get_with(&id, load).await.map_err(status)?.value {
        Some(user) => Body(&*user).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn write(
    State(app): State<App>,
    Path(id): Path<i64>,
    Body(user): Body<User>,
) -> Result<StatusCode, StatusCode> {
    let sql = "INSERT INTO users VALUES (?1, ?2) ON CONFLICT DO UPDATE SET name = excluded.name";
    let write = move |connection: &Connection| connection.execute(sql, (id, user.name));
    app.database.run(write).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    app.users.remove(&id).await.map_err(|error| status(error.into()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Return the status of the service, and the reason if requests are likely to fail.
fn health(health: &Health) -> (StatusCode, String) {
    if health.is_connected && !health.is_breaker_open {
        return (StatusCode::OK, "ok".to_owned());
    }
    let reason = health.last_error.as_ref().map(ToString::to_string);
    (StatusCode::SERVICE_UNAVAILABLE, reason.unwrap_or_else(|| "no connection yet".to_owned()))
}

/// Return the status of an error: 503 if the same request may succeed later.
fn status(error: LoadError<BoxError>) -> StatusCode {
    if error.is_retryable() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY }
}

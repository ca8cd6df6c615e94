//! A web service of users: rows in SQLite, read through redcache.
//!
//! The absence of a user is cached, too. While Redis is unavailable, the service answers 503; with
//! `on_redis_down=load_direct` in the URL, it answers from the database.

#![forbid(unsafe_code)]

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use redcache::{Cache, Health, Json, LoadError, Typed, TypedCache};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
}

/// Open a database with the table `users(id, name)`. The URL `sqlite::memory:` is one in memory.
pub async fn open(url: &str) -> sqlx::Result<SqlitePool> {
    let database = SqlitePool::connect(url).await?;
    let table = "CREATE TABLE IF NOT EXISTS users(id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
    sqlx::query(table).execute(&database).await?;
    Ok(database)
}

/// The state of the service.
#[derive(Debug, Clone)]
pub struct App {
    users: TypedCache<i64, User>,
    cache: Cache,
    database: SqlitePool,
    metrics: PrometheusHandle,
}

impl App {
    /// Create the service.
    pub fn new(
        cache: Cache,
        database: SqlitePool,
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
            .route("/users", post(read_many))
            .route("/users/{id}", get(read).put(write))
            .route("/health", get(health))
            .route("/metrics", get(async |State(app): State<Self>| app.metrics.render()))
            .with_state(self)
    }
}

async fn read(State(app): State<App>, Path(id): Path<i64>) -> Result<Response, StatusCode> {
    let load = async || {
        let select = sqlx::query_scalar("SELECT name FROM users WHERE id = ?1").bind(id);
        let name = select.fetch_optional(&app.database).await?;
        Ok::<_, sqlx::Error>(name.map(|name| User { name }))
    };
    Ok(match app.users.get_with(&id, load).await.map_err(status)?.value {
        Some(user) => Body(&*user).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

/// Return the users with these ids, `null` for one that does not exist. One query loads them.
async fn read_many(
    State(app): State<App>,
    Body(ids): Body<Vec<i64>>,
) -> Result<Response, StatusCode> {
    let load = async |ids: Vec<i64>| {
        let sql = "SELECT id, name FROM users WHERE id IN (SELECT value FROM json_each(?1))";
        let select = sqlx::query_as(sql).bind(format!("{ids:?}"));
        let rows: Vec<(i64, String)> = select.fetch_all(&app.database).await?;
        Ok::<_, sqlx::Error>(rows.into_iter().map(|(id, name)| (id, User { name })))
    };
    let answers = app.users.get_many_with(ids, load).await.map_err(status)?;
    let users = answers.into_iter().map(|answer| answer.map(|it| it.value).map_err(status));
    let users = users.collect::<Result<Vec<_>, _>>()?;
    Ok(Body(users.iter().map(Option::as_deref).collect::<Vec<_>>()).into_response())
}

async fn write(
    State(app): State<App>,
    Path(id): Path<i64>,
    Body(user): Body<User>,
) -> Result<StatusCode, StatusCode> {
    let sql = "INSERT INTO users VALUES (?1, ?2) ON CONFLICT DO UPDATE SET name = excluded.name";
    let write = sqlx::query(sql).bind(id).bind(user.name).execute(&app.database).await;
    write.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
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
fn status(error: LoadError<sqlx::Error>) -> StatusCode {
    if error.is_retryable() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY }
}

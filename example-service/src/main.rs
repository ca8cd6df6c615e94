//! The program: `cargo run -p redcache-example-service`, with `REDIS_URL`, `DATABASE_URL` and
//! `ADDRESS` from the environment.

use std::env;

use metrics_exporter_prometheus::PrometheusBuilder;
use redcache::{BoxError, Config, Metrics};
use redcache_example_service::App;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let config = Config::from_url(&setting("REDIS_URL", "redis://localhost:6379"))?;
    let config = config.into_builder().observer(Metrics::new("users"));
    let cache = redcache::connect_lazy(config)?;
    let url = setting("DATABASE_URL", "sqlite://users.sqlite?mode=rwc");
    let database = redcache_example_service::open(&url).await?;
    let app = App::new(cache.clone(), database, PrometheusBuilder::new().install_recorder()?)?;
    let listener = TcpListener::bind(setting("ADDRESS", "127.0.0.1:8080")).await?;
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, app.router()).with_graceful_shutdown(stop).await?;
    // Locks are released, so that no other instance waits for them.
    cache.close().await;
    Ok(())
}

//! Two instances of the service on one Redis, which stops and starts again.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use redcache::{Cache, Config};
use redcache_example_service::{App, open};
use redcache_tests::RedisServer;
use sqlx::SqlitePool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// A running instance.
struct Instance {
    address: std::net::SocketAddr,
    cache: Cache,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Instance {
    async fn start(url: &str, database: &SqlitePool) -> Self {
        let cache = redcache::connect(Config::from_url(url).unwrap()).await.unwrap();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let app = App::new(cache.clone(), database.clone(), metrics).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel());
        let stopped = async { stopped.await.unwrap_or_default() };
        let server = axum::serve(listener, app.router()).with_graceful_shutdown(stopped);
        Self { address, cache, stop, server: tokio::spawn(server.into_future()) }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "").await
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.0\r\ncontent-type: application/json");
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// Repeat the request until the answer has this status.
    async fn wait_for(&self, path: &str, status: u16) {
        while self.get(path).await.0 != status {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_values_and_survive_the_loss_of_redis() {
    let mut redis = RedisServer::start();
    let url = format!("{}?command_timeout=5s", redis.url());
    let database = open("sqlite::memory:").await.unwrap();
    let one = Arc::new(Instance::start(&url, &database).await);
    let two = Arc::new(Instance::start(&url, &database).await);
    one.wait_for("/health", 200).await;

    assert_eq!(one.get("/users/1").await.0, 404);
    assert_eq!(one.request("PUT", "/users/1", r#"{"name":"Ada"}"#).await.0, 204);
    assert_eq!(two.get("/users/1").await, (200, r#"{"name":"Ada"}"#.to_owned()));
    assert_eq!(
        two.request("POST", "/users", "[1,7,1]").await,
        (200, r#"[{"name":"Ada"},null,{"name":"Ada"}]"#.to_owned())
    );
    let loads = |instance: &Instance| instance.cache.stats().loads;
    let before = loads(&one) + loads(&two);
    assert_eq!(one.request("PUT", "/users/1", r#"{"name":"Grace"}"#).await.0, 204);
    // A stampede: all requests get the new value or, within one push, the old one of the other
    // instance. At most one of them loads.
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (one, two) = (Arc::clone(&one), Arc::clone(&two));
        requests.spawn(async move {
            let (one, two) = tokio::join!(one.get("/users/1"), two.get("/users/1"));
            assert_eq!((one.0, one.1, two.0), (200, r#"{"name":"Grace"}"#.to_owned(), 200));
        });
    }
    requests.join_all().await;
    assert_eq!(loads(&one) + loads(&two) - before, 1);

    redis.stop();
    one.wait_for("/health", 503).await;
    assert_eq!(one.get("/users/2").await.0, 503);
    redis.restart();
    one.wait_for("/health", 200).await;
    one.wait_for("/users/1", 200).await;
    assert_eq!(one.get("/metrics").await.0, 200);

    for instance in [one, two] {
        let instance = Arc::into_inner(instance).unwrap();
        instance.stop.send(()).unwrap();
        instance.server.await.unwrap().unwrap();
        instance.cache.close().await;
    }
}

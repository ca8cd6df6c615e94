//! A reader of large values beside a workload.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::Failure;
use crate::peer::{Peer, Source};
use crate::runtime::Runtime as _;
use crate::server::Server;

/// A task that reads a large value over and over.
pub(crate) struct Beside {
    is_over: Arc<AtomicBool>,
    task: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

impl Beside {
    /// Start the task, unless the value has no bytes. Return once it has read the value a few
    /// times.
    pub(crate) async fn start<P: Peer>(
        peer: &P,
        bytes: usize,
        prefix: &str,
        server: &Server,
    ) -> Result<Self, Failure> {
        let is_over = Arc::new(AtomicBool::new(bytes == 0));
        if bytes == 0 {
            return Ok(Self { is_over, task: None });
        }
        let (key, value) = (format!("{prefix}:beside"), Bytes::from(vec![b'v'; bytes]));
        server.fill(std::slice::from_ref(&key), &value)?;
        let (mut peer, source) = (peer.fork().await?, Source::new(value, Duration::ZERO));
        for _ in 0..3 {
            peer.read(&key, &source).await?;
        }
        let is_ended = is_over.clone();
        let task = P::Runtime::spawn(async move {
            while !is_ended.load(Ordering::Relaxed) {
                black_box(peer.read(&key, &source).await?);
            }
            Ok(())
        });
        Ok(Self { is_over, task: Some(Box::pin(async { task.await? })) })
    }

    /// Stop reading. Fail with the error of a read.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        self.is_over.store(true, Ordering::Relaxed);
        match self.task {
            Some(task) => task.await,
            None => Ok(()),
        }
    }
}

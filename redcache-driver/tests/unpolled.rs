//! A runtime that polls none of the cache's tasks, and then ends.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use redcache_driver::{Address, Cache, Error, ErrorKind, LoadError, Runtime};

const TTL: Duration = Duration::from_secs(60);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime that keeps its tasks without polling them, until it ends.
#[derive(Clone)]
struct Unpolled(Arc<Mutex<Option<Vec<Task>>>>);

impl Unpolled {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// Drop all tasks, and later ones at once.
    fn end(&self) {
        let tasks = self.0.lock().unwrap().take();
        drop(tasks);
    }
}

impl Runtime for Unpolled {
    type Reader = &'static [u8];
    type Writer = Vec<u8>;

    async fn connect(&self, _: &Address, _: Duration) -> io::Result<(&'static [u8], Vec<u8>)> {
        unreachable!("only a task connects");
    }

    async fn sleep_until(&self, _: Instant) {
        unreachable!("only a task sleeps");
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.0.lock().unwrap().as_mut() {
            tasks.push(Box::pin(task));
        }
    }
}

fn poll<T>(call: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn open(runtime: Unpolled) -> Cache {
    Cache::connect_lazy_on(runtime, "redis://nowhere").unwrap()
}

fn check_closed(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Closed);
    let text = error.to_string();
    assert!(text.contains("the runtime on which it was opened has ended"), "{text}");
}

async fn load() -> Result<&'static str, io::Error> {
    Ok("v")
}

#[test]
fn calls_that_wait_for_a_task_end_with_the_runtime() {
    let runtime = Unpolled::new();
    let cache = open(runtime.clone());
    let mut connect = pin!(Cache::connect_on(runtime.clone(), "redis://nowhere"));
    let mut get = pin!(cache.get("k"));
    let mut get_with = pin!(cache.get_with("l", TTL, load));
    let mut insert = pin!(cache.insert("m", "v", TTL));
    let mut ready = pin!(cache.ready());
    assert!(poll(&mut connect).is_pending());
    assert!(poll(&mut get).is_pending());
    assert!(poll(&mut get_with).is_pending());
    assert!(poll(&mut insert).is_pending());
    assert!(poll(&mut ready).is_pending());
    runtime.end();
    let Poll::Ready(Err(error)) = poll(&mut connect) else { panic!("it hangs") };
    check_closed(&error);
    let Poll::Ready(Err(error)) = poll(&mut get) else { panic!("it hangs") };
    check_closed(&error);
    let Poll::Ready(Err(LoadError::Cache(error))) = poll(&mut get_with) else { panic!("it hangs") };
    check_closed(&error);
    let Poll::Ready(Err(error)) = poll(&mut insert) else { panic!("it hangs") };
    check_closed(&error);
    let Poll::Ready(Err(error)) = poll(&mut ready) else { panic!("it hangs") };
    check_closed(&error);
    assert!(poll(&mut pin!(cache.close())).is_ready());
}

#[test]
fn a_cache_that_is_opened_after_the_end_of_its_runtime_is_closed() {
    let runtime = Unpolled::new();
    runtime.end();
    let Poll::Ready(Err(error)) =
        poll(&mut pin!(Cache::connect_on(runtime.clone(), "redis://nowhere")))
    else {
        panic!("it hangs")
    };
    check_closed(&error);
    let cache = open(runtime);
    let Poll::Ready(Err(error)) = poll(&mut pin!(cache.get("k"))) else { panic!("it hangs") };
    check_closed(&error);
    assert!(poll(&mut pin!(cache.close())).is_ready());
}

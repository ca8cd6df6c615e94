//! A [`Runtime`] as an object, so that the driver is compiled once, for all runtimes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use redcache_core::Address;

use crate::runtime::Runtime;

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The methods of [`Runtime`] with boxed futures and halves.
pub(crate) trait AnyRuntime: Send + Sync {
    fn resolve<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Vec<Address>>>;
    fn connect<'a>(
        &'a self,
        address: &'a Address,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<(Reader, Writer)>>;
    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()>;
    fn spawn(&self, task: BoxFuture<'static, ()>);
    fn yield_now(&self) -> BoxFuture<'_, ()>;
    fn now(&self) -> Instant;
    fn coarse_now(&self) -> Instant;
    fn follows_system_clock(&self) -> bool;
}

impl<R: Runtime> AnyRuntime for R {
    fn resolve<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Vec<Address>>> {
        Box::pin(Runtime::resolve(self, address))
    }

    fn connect<'a>(
        &'a self,
        address: &'a Address,
        timeout: Duration,
    ) -> BoxFuture<'a, io::Result<(Reader, Writer)>> {
        Box::pin(async move {
            let (reader, writer) = Runtime::connect(self, address, timeout).await?;
            Ok((Box::new(reader) as Reader, Box::new(writer) as Writer))
        })
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()> {
        Box::pin(Runtime::sleep_until(self, at))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Runtime::spawn(self, task);
    }

    fn yield_now(&self) -> BoxFuture<'_, ()> {
        Box::pin(Runtime::yield_now(self))
    }

    fn now(&self) -> Instant {
        Runtime::now(self)
    }

    #[inline]
    fn coarse_now(&self) -> Instant {
        Runtime::coarse_now(self)
    }

    #[inline]
    fn follows_system_clock(&self) -> bool {
        Runtime::follows_system_clock(self)
    }
}

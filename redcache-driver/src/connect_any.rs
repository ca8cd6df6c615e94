//! Attempts to connect to the addresses that a host name resolves to.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// The longest wait before the next address is tried as well. RFC 8305 recommends it.
const DELAY_MAX: Duration = Duration::from_millis(250);

/// Connect to the first of several addresses that accepts.
///
/// The addresses are tried in their order. The next attempt begins when one fails, and at the
/// latest after a share of `timeout` or 250 ms. Earlier attempts continue meanwhile, so an address
/// that does not respond does not delay the others by the whole `timeout`. This is for
/// implementations of [`Runtime::connect`](crate::Runtime::connect).
///
/// # Errors
///
/// The error of the attempt that failed last. [`io::ErrorKind::NotFound`] if there is no address.
///
/// # Examples
///
/// ```
/// # use redcache_driver::connect_any;
/// # use std::time::Duration;
/// # smol::block_on(async {
/// let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
/// let addresses = [listener.local_addr()?];
/// let sleep = |delay| async move { let _ = smol::Timer::after(delay).await; };
/// let timeout = Duration::from_secs(1);
/// let stream = connect_any(addresses, timeout, smol::net::TcpStream::connect, sleep).await?;
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub async fn connect_any<A, T, C, S>(
    addresses: impl IntoIterator<Item = A>,
    timeout: Duration,
    mut connect: impl FnMut(A) -> C,
    sleep: impl Fn(Duration) -> S,
) -> io::Result<T>
where
    C: Future<Output = io::Result<T>>,
    S: Future<Output = ()>,
{
    let addresses: Vec<A> = addresses.into_iter().collect();
    // A name has few addresses.
    let shares = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let delay = DELAY_MAX.min(timeout / shares);
    let mut attempts = Attempts { under_way: Vec::new(), failure: None };
    for address in addresses {
        attempts.under_way.push(Box::pin(connect(address)));
        let mut sleep = pin!(sleep(delay));
        let next = poll_fn(|cx| match attempts.poll(cx) {
            Next::Connected(stream) => Poll::Ready(Some(stream)),
            Next::Failed => Poll::Ready(None),
            Next::Waiting => sleep.as_mut().poll(cx).map(|()| None),
        });
        if let Some(stream) = next.await {
            return Ok(stream);
        }
    }
    poll_fn(|cx| {
        loop {
            match attempts.poll(cx) {
                Next::Connected(stream) => return Poll::Ready(Ok(stream)),
                Next::Failed => {}
                Next::Waiting if attempts.under_way.is_empty() => {
                    let no_address =
                        || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                    return Poll::Ready(Err(attempts.failure.take().unwrap_or_else(no_address)));
                }
                Next::Waiting => return Poll::Pending,
            }
        }
    })
    .await
}

/// The attempts in progress, and the error of the last one that failed.
struct Attempts<C> {
    under_way: Vec<Pin<Box<C>>>,
    failure: Option<io::Error>,
}

/// The state of the attempts.
enum Next<T> {
    Connected(T),
    /// Another attempt has failed.
    Failed,
    /// All remaining attempts are in progress.
    Waiting,
}

impl<T, C: Future<Output = io::Result<T>>> Attempts<C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Next<T> {
        for at in 0..self.under_way.len() {
            match self.under_way[at].as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => return Next::Connected(stream),
                Poll::Ready(Err(error)) => {
                    self.failure = Some(error);
                    drop(self.under_way.swap_remove(at));
                    return Next::Failed;
                }
                Poll::Pending => {}
            }
        }
        Next::Waiting
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An address that does not respond, one that refuses, and one that accepts.
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Silent,
        Refuses,
        Accepts,
    }

    /// Connect to the addresses with delays that pass at once, and return the address that
    /// accepted.
    fn connected(addresses: &[Kind]) -> io::Result<usize> {
        let connect = |(at, kind)| async move {
            match kind {
                Kind::Silent => pending().await,
                Kind::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                Kind::Accepts => Ok(at),
            }
        };
        let addresses = addresses.iter().copied().enumerate();
        smol::block_on(connect_any(addresses, SECOND, connect, |_| ready(())))
    }

    #[test]
    fn an_address_that_does_not_respond_keeps_no_other_from_its_chance() {
        use Kind::{Accepts, Refuses, Silent};
        assert_eq!(connected(&[Silent, Accepts]).unwrap(), 1);
        assert_eq!(connected(&[Refuses, Silent, Refuses, Accepts, Accepts]).unwrap(), 3);
        assert_eq!(connected(&[Accepts, Silent]).unwrap(), 0);
    }

    #[test]
    fn without_an_address_that_accepts_the_last_failure_is_reported() {
        let refused = connected(&[Kind::Refuses, Kind::Refuses]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connected(&[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

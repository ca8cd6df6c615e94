//! Runtimes for the tasks of a workload, and the gate that starts them together.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::Failure;

/// Runtime for the tasks of a workload.
pub trait Runtime: Send + Sync + 'static {
    /// Start the runtime and run one future on it.
    ///
    /// # Errors
    ///
    /// Fails if the runtime cannot start.
    fn block_on<F: Future>(future: F) -> Result<F::Output, Failure>;

    /// Start a task and return a future that waits for its end.
    ///
    /// # Errors
    ///
    /// The future fails if the task panicked or could not start.
    fn spawn<F>(future: F) -> impl Future<Output = Result<F::Output, Failure>> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Sleep for the duration.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;
}

/// The multi-threaded tokio runtime with two workers, the same for every peer on tokio.
#[derive(Debug)]
pub struct Tokio;

impl Runtime for Tokio {
    fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let output = runtime.block_on(future);
        // A peer's background task may never end; its runtime must not wait for it.
        runtime.shutdown_timeout(Duration::from_millis(100));
        Ok(output)
    }

    fn spawn<F>(future: F) -> impl Future<Output = Result<F::Output, Failure>> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = tokio::spawn(future);
        async move { task.await.map_err(Failure::from) }
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

/// The global executor of async-std. It takes its number of threads from the environment: see
/// [`WORKERS`].
#[derive(Debug)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
        Ok(async_std::task::block_on(future))
    }

    fn spawn<F>(future: F) -> impl Future<Output = Result<F::Output, Failure>> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = async_std::task::spawn(future);
        async move { Ok(task.await) }
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        async_std::task::sleep(duration)
    }
}

/// The global executor of smol. It takes its number of threads from the environment: see
/// [`WORKERS`].
#[derive(Debug)]
pub struct Smol;

impl Runtime for Smol {
    fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
        Ok(smol::block_on(future))
    }

    fn spawn<F>(future: F) -> impl Future<Output = Result<F::Output, Failure>> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = smol::spawn(future);
        async move { Ok(task.await) }
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

/// Environment variables that set two workers for every async runtime.
pub const WORKERS: [(&str, &str); 2] = [("ASYNC_STD_THREAD_COUNT", "2"), ("SMOL_THREADS", "2")];

/// One thread per task, for peers whose calls block.
#[derive(Debug)]
pub struct Threads;

impl Runtime for Threads {
    fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
        Ok(block_on(future))
    }

    fn spawn<F>(future: F) -> impl Future<Output = Result<F::Output, Failure>> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let thread = thread::Builder::new().spawn(|| block_on(future));
        async move { thread?.join().map_err(|_| Failure::from("a task panicked")) }
    }

    async fn sleep(duration: Duration) {
        thread::sleep(duration);
    }
}

/// Run a future on this thread, which parks while the future is pending.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A gate that holds tasks back until all have arrived, on any runtime.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<GateState>,
}

#[derive(Debug)]
struct GateState {
    /// The number of tasks that have not arrived.
    missing: usize,
    open: bool,
    waiting: Vec<Waker>,
    opener: Option<Waker>,
}

impl Gate {
    /// Create a closed gate for the given number of tasks.
    pub fn new(tasks: usize) -> Self {
        let waiting = Vec::with_capacity(tasks);
        Self { state: Mutex::new(GateState { missing: tasks, open: false, waiting, opener: None }) }
    }

    /// Arrive and wait for the gate to open.
    pub async fn pass(&self) {
        self.arrive();
        self.wait().await;
    }

    /// Arrive, which each task does once.
    pub fn arrive(&self) {
        let mut state = self.lock();
        state.missing -= 1;
        let opener = if state.missing == 0 { state.opener.take() } else { None };
        drop(state);
        opener.into_iter().for_each(Waker::wake);
    }

    /// Wait for the gate to open.
    pub async fn wait(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.open {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Wait until all tasks have arrived, open the gate and return the time.
    pub async fn open(&self) -> Instant {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.missing > 0 {
                state.opener = Some(context.waker().clone());
                return Poll::Pending;
            }
            state.open = true;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            let opened = Instant::now();
            waiting.into_iter().for_each(Waker::wake);
            Poll::Ready(opened)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        // No code under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn tasks_pass_only_once_all_have_arrived<R: Runtime>() {
        let gate = Arc::new(Gate::new(10));
        let passed = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (gate, passed) = (gate.clone(), passed.clone());
                R::spawn(async move {
                    gate.pass().await;
                    passed.fetch_add(1, Ordering::SeqCst);
                    Instant::now()
                })
            })
            .collect();
        let opened = gate.open().await;
        for task in tasks {
            assert!(task.await.unwrap() >= opened);
        }
        assert_eq!(passed.load(Ordering::SeqCst), 10);
    }

    #[test]
    fn tokio_tasks_pass_only_once_all_have_arrived() {
        Tokio::block_on(tasks_pass_only_once_all_have_arrived::<Tokio>()).unwrap();
    }

    #[test]
    fn async_std_tasks_pass_only_once_all_have_arrived() {
        AsyncStd::block_on(tasks_pass_only_once_all_have_arrived::<AsyncStd>()).unwrap();
    }

    #[test]
    fn smol_tasks_pass_only_once_all_have_arrived() {
        Smol::block_on(tasks_pass_only_once_all_have_arrived::<Smol>()).unwrap();
    }

    #[test]
    fn threads_pass_only_once_all_have_arrived() {
        Threads::block_on(tasks_pass_only_once_all_have_arrived::<Threads>()).unwrap();
    }

    #[test]
    fn a_panicking_task_is_a_failure_and_not_a_hang() {
        let outcome = Threads::block_on(async {
            Threads::spawn(async { assert_eq!(1, 2, "on purpose") }).await
        });
        assert!(outcome.unwrap().is_err());
    }
}

//! Requests to the credentials provider, each in its own task.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use redcache_adapter::{Login, LoginAnswer, login_answer};
use redcache_core::engine::LoginId;

use crate::shared::{Shared, Watch};

/// Request credentials from the provider, and pass its answer to the engine. The provider runs
/// under no lock. Its future is dropped once the engine no longer wants the answer, and after
/// `connect_timeout`.
pub(crate) async fn run(shared: &Shared, login: Login) {
    let id = login.id;
    let mut end = End { shared, id, answer: None };
    end.answer = ask(shared, login).await;
}

async fn ask(shared: &Shared, login: Login) -> Option<LoginAnswer> {
    let id = login.id;
    let config = shared.lock().host.engine.config().clone();
    let provider = login.provider(&config)?;
    let asked = catch_unwind(AssertUnwindSafe(|| provider.ask(login.request)));
    let Ok(asked) = asked else { return Some(login_answer(None)) };
    let mut asked = asked?;
    let mut timeout = shared.runtime.sleep_until(shared.runtime.now() + config.connect_timeout());
    let mut watch = Watch { shared, key: None };
    poll_fn(|cx| {
        let poll = || asked.as_mut().poll(cx).map(|answer| login_answer(Some(answer)));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Ready(answer)) => return Poll::Ready(Some(answer)),
            Ok(Poll::Pending) => {}
            // The application's panic hook has reported the panic.
            Err(_) => return Poll::Ready(Some(login_answer(None))),
        }
        if timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("no answer within `connect_timeout`".to_owned())));
        }
        let waker = cx.waker().clone();
        let state = shared.lock();
        if state.host.is_closed() || !state.host.logins.is_wanted(id) {
            return Poll::Ready(None);
        }
        watch.renew(state, waker);
        Poll::Pending
    })
    .await
}

/// Ends the request with its answer, also if the runtime drops the task.
struct End<'a> {
    shared: &'a Shared,
    id: LoginId,
    answer: Option<LoginAnswer>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let answer = self.answer.take();
        self.shared.step(|state, now| state.host.end_login(now, self.id, answer));
    }
}

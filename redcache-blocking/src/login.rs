//! Requests to the credentials provider, each in its own thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redcache_adapter::{Login, login_answer};

use crate::shared::Shared;

/// Request credentials from the provider, and pass its answer to the engine, which ignores a late
/// one. The provider runs under no lock.
pub(crate) fn run(shared: &Shared, login: Login) {
    let id = login.id;
    let config = shared.lock().host.engine.config().clone();
    let answer = login.provider(&config).and_then(|provider| {
        let ask = || {
            let answer = provider.ask_blocking(login.request.clone())?;
            Some(login_answer(Some(answer)))
        };
        // The application's panic hook has reported a panic.
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| Some(login_answer(None)))
    });
    shared.step(|state, now| state.host.end_login(now, id, answer));
}

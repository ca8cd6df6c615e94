//! Requests to the credentials provider: the queue of the engine's requests, and those in progress.

use std::collections::VecDeque;

use redcache_core::engine::{ConnId, LoginId, SharedProvider};
use redcache_core::{BoxError, Config, Credentials, Error, LoginRequest};

/// The largest number of concurrent requests.
const LOGINS_MAX: usize = 16;

/// The answer of the provider, or the text of its error.
pub type LoginAnswer = Result<Credentials, String>;

/// A request to the credentials provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name of the request in the engine.
    pub id: LoginId,
    /// The login that the credentials are for.
    pub request: LoginRequest,
}

impl Login {
    /// Return the provider to call.
    pub fn provider<'a>(&self, config: &'a Config) -> Option<&'a SharedProvider> {
        if self.id.is_to_sentinel() { config.sentinel_provider() } else { config.provider() }
    }
}

/// Check that a face can call the providers of the settings.
///
/// # Errors
///
/// Fails if a provider belongs to the other face.
pub fn check_providers(config: &Config, is_blocking: bool) -> Result<(), Error> {
    let providers = [config.provider(), config.sentinel_provider()];
    if providers.into_iter().flatten().all(|provider| provider.is_blocking() == is_blocking) {
        return Ok(());
    }
    Err(Error::credentials(if is_blocking {
        "an async credentials provider cannot be asked by the blocking adapter: use \
         `blocking_credentials_provider` or `blocking_sentinel_credentials_provider`"
    } else {
        "a blocking credentials provider cannot be asked by an async adapter: use \
         `credentials_provider` or `sentinel_credentials_provider`"
    }))
}

/// Return the answer with the text of its error; `None` stands for a provider that panicked.
pub fn login_answer(answer: Option<Result<Credentials, BoxError>>) -> LoginAnswer {
    match answer {
        Some(Ok(credentials)) => Ok(credentials),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it panicked".to_owned()),
    }
}

#[derive(Debug)]
struct UnderWay {
    id: LoginId,
    /// The connection still needs the answer.
    is_wanted: bool,
}

/// The credentials requests of one cache.
#[derive(Debug, Default)]
pub struct Logins {
    queue: VecDeque<Login>,
    under_way: Vec<UnderWay>,
}

impl Logins {
    /// Add a request to the queue. It replaces an earlier request of the same connection.
    pub(crate) fn push(&mut self, login: Login) {
        self.queue.retain(|queued| queued.id.conn() != login.id.conn());
        self.queue.push_back(login);
    }

    /// Return `true` if [`start`](Self::start) would return a request.
    pub fn can_start(&self) -> bool {
        !self.queue.is_empty() && self.under_way.len() < LOGINS_MAX
    }

    /// Take the next request from the queue and count it as in progress.
    pub fn start(&mut self) -> Option<Login> {
        if !self.can_start() {
            return None;
        }
        let login = self.queue.pop_front()?;
        self.under_way.push(UnderWay { id: login.id, is_wanted: true });
        Some(login)
    }

    /// Return `true` if a request was started and its connection still needs the answer.
    pub fn is_wanted(&self, id: LoginId) -> bool {
        self.under_way.iter().any(|under_way| under_way.id == id && under_way.is_wanted)
    }

    /// End a request that was in progress.
    pub fn end(&mut self, id: LoginId) {
        self.under_way.retain(|under_way| under_way.id != id);
    }

    /// Cancel the requests of a connection. A request in progress ends later.
    pub(crate) fn cancel(&mut self, conn: ConnId) {
        self.queue.retain(|login| login.id.conn() != conn);
        for under_way in self.under_way.iter_mut().filter(|it| it.id.conn() == conn) {
            under_way.is_wanted = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use redcache_core::engine::{Engine, Event, Seed};

    use super::*;

    fn no_answer(_: LoginRequest) -> Result<Credentials, BoxError> {
        Err("no network".into())
    }

    fn config() -> Config {
        Config::builder().blocking_credentials_provider(no_answer).build().unwrap()
    }

    /// Return the first request of a new engine.
    fn login() -> Login {
        let now = Instant::now();
        let mut engine = Engine::new(now, &Seed::new([7; 32], 0), config());
        engine.handle_timeout(now);
        let Some(Event::Dial { conn, .. }) = engine.poll_event() else { panic!("no attempt") };
        engine.handle_connected(now, conn);
        match engine.poll_event() {
            Some(Event::Login { login: id, request }) => Login { id, request },
            other => panic!("no question: {other:?}"),
        }
    }

    #[test]
    fn the_questions_under_way_are_limited_and_a_queued_one_can_be_replaced_or_canceled() {
        let (mut logins, login) = (Logins::default(), login());
        for _ in 0..LOGINS_MAX {
            logins.push(login.clone());
            assert!(logins.start().is_some());
        }
        logins.push(login.clone());
        logins.push(login.clone());
        assert_eq!(logins.start(), None);
        logins.end(login.id);
        assert!(!logins.is_wanted(login.id));
        assert!(logins.start().is_some() && logins.start().is_none());
        assert!(logins.is_wanted(login.id));
        logins.push(login.clone());
        logins.cancel(login.id.conn());
        assert!(!logins.is_wanted(login.id));
        assert!(!logins.can_start());
    }

    #[test]
    fn a_provider_of_the_other_face_is_refused() {
        assert!(check_providers(&config(), true).is_ok());
        let refused = check_providers(&config(), false).unwrap_err();
        assert!(refused.to_string().contains("`credentials_provider`"), "{refused}");
        let asked = login().provider(&config()).map(SharedProvider::is_blocking);
        assert_eq!(asked, Some(true));
    }
}

//! Credentials of a provider. Each scenario runs on every adapter against its own real server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{env, thread};

use redcache_core::{Config, ConfigBuilder, ErrorKind, LoginRequest, Source};
use redcache_tests::{Raw, RedisCluster, RedisSentinel, RedisServer};

use crate::conformance::scene::{AT_ONCE, Kind, Notices, TTL, wait_until};

mod provider;

use provider::{Given, Provided, Provider};

with_a_server_of_its_own![
    a_password_that_is_rotated_again_and_again_costs_no_call_and_no_connection,
    a_password_that_the_server_does_not_know_yet_leaves_the_connection_open,
    a_password_that_the_server_no_longer_accepts_leaves_the_connection_open,
    tracking_and_the_near_cache_survive_a_login_on_the_live_connection,
    an_old_token_is_asked_for_again_on_the_same_connection,
    a_provider_that_fails_is_told_and_asked_again,
    a_provider_that_hangs_is_given_up_after_connect_timeout,
    a_provider_that_fails_or_hangs_on_a_live_connection_costs_no_call,
    a_provider_may_call_the_cache,
    every_node_of_a_cluster_logs_in_and_renews,
    servers_and_sentinels_have_providers_of_their_own,
    no_text_shows_what_the_provider_gave,
];

/// Let the user `app` log in with these passwords and no others.
fn accept(server: &mut Raw, passwords: &[&str]) {
    let mut command: Vec<String> =
        ["ACL", "SETUSER", "app", "on", "resetpass", "~*", "&*", "+@all"].map(str::to_owned).into();
    command.extend(passwords.iter().map(|password| format!(">{password}")));
    server.ok(&command);
}

/// Return the numbers of logins on live connections that a server has accepted and refused.
fn logins(server: &mut Raw) -> (u64, u64) {
    let stats = String::from_utf8(server.call(&["INFO", "commandstats"])).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_auth:")).unwrap_or_default();
    let field = |name: &str| {
        let field = line.split([':', ',']).find_map(|field| field.strip_prefix(name));
        field.map_or(0, |count| count.trim().parse().unwrap())
    };
    let failed = field("failed_calls=");
    (field("calls=") - failed, failed)
}

fn wait_for_renewal(server: &mut Raw) {
    let before = logins(server).0;
    wait_until("a login on the live connection", || logins(server).0 > before);
}

fn wait_for_refusal(server: &mut Raw) {
    let before = logins(server).1;
    wait_until("a refused login on the live connection", || logins(server).1 > before);
}

fn builder(url: &str) -> ConfigBuilder {
    format!("{url}?command_timeout=10s").parse().unwrap()
}

/// A server, a provider that returns its password `p0`, and a cache with an observer.
struct Scene<C> {
    server: RedisServer,
    provider: Provider,
    notices: Notices,
    cache: C,
}

impl<C: Provided> Scene<C> {
    fn new() -> Self {
        let server = RedisServer::start();
        accept(&mut server.connect(), &["p0"]);
        let (provider, notices) = (Provider::giving("p0"), Notices::default());
        let builder = builder(&server.url()).observer(notices.clone());
        let cache = C::connect(C::provide(builder, &provider)).unwrap();
        Self { server, provider, notices, cache }
    }

    /// Check that calls work, near hits included, and that the first connection still serves them.
    #[track_caller]
    fn check(&self) {
        self.cache.insert("k", "v", TTL).unwrap();
        assert_eq!(self.cache.get("k").unwrap().value.as_deref(), Some(&b"v"[..]));
        assert_eq!(self.cache.get("kept").unwrap().source, Source::Near);
        assert_eq!(self.notices.count(Kind::Disconnected), 0, "{}", self.notices.text());
        assert_eq!(self.notices.count(Kind::ConnectFailed), 0, "{}", self.notices.text());
    }

    fn keep_an_entry(&self) {
        self.cache.insert("kept", "v", 10 * TTL).unwrap();
        wait_until("the entry is near", || self.cache.get("kept").unwrap().source == Source::Near);
    }
}

fn a_password_that_is_rotated_again_and_again_costs_no_call_and_no_connection<C: Provided>() {
    let scene = Scene::<C>::new();
    let mut server = scene.server.connect();
    scene.keep_an_entry();
    let is_over = Over::default();
    thread::scope(|scope| {
        let _end = is_over.at_the_end();
        scope.spawn(|| {
            while !is_over.is_so() {
                scene.cache.insert("written", "v", TTL).unwrap();
                assert!(scene.cache.get("written").unwrap().value.is_some());
                // The entry of the first connection is a hit throughout.
                assert_eq!(scene.cache.get("kept").unwrap().source, Source::Near);
                thread::sleep(Duration::from_millis(1));
            }
        });
        for round in 1..=rotations() {
            let begun = Instant::now();
            let (old, new) = (format!("p{}", round - 1), format!("p{round}"));
            accept(&mut server, &[&old, &new]);
            scene.provider.give(&new);
            // One login may be in flight with the old password.
            wait_for_renewal(&mut server);
            wait_for_renewal(&mut server);
            accept(&mut server, &[&new]);
            scene.check();
            if is_paced() {
                wait_until("a second is over", || begun.elapsed() >= Duration::from_secs(1));
            }
        }
    });
    assert_eq!(logins(&mut server).1, 0);
}

/// The variable with the number of rotations, one per second. Without it, a few follow each other
/// as fast as the logins allow.
const ROTATIONS_VARIABLE: &str = "REDCACHE_ROTATIONS";

fn rotations() -> u32 {
    env::var(ROTATIONS_VARIABLE).map_or(20, |count| count.parse().unwrap())
}

fn is_paced() -> bool {
    env::var_os(ROTATIONS_VARIABLE).is_some()
}

/// A signal for callers to end, also when a scenario fails.
#[derive(Default)]
struct Over(AtomicBool);

impl Over {
    fn is_so(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn at_the_end(&self) -> End<'_> {
        End(self)
    }
}

/// Sends the signal when it is dropped.
struct End<'a>(&'a Over);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}

fn a_password_that_the_server_does_not_know_yet_leaves_the_connection_open<C: Provided>() {
    let scene = Scene::<C>::new();
    let mut server = scene.server.connect();
    scene.keep_an_entry();
    scene.provider.give("p1");
    wait_for_refusal(&mut server);
    wait_for_refusal(&mut server);
    scene.check();
    assert!(scene.provider.asked().iter().any(LoginRequest::was_refused));
    accept(&mut server, &["p1"]);
    wait_for_renewal(&mut server);
    scene.check();
}

fn a_password_that_the_server_no_longer_accepts_leaves_the_connection_open<C: Provided>() {
    let scene = Scene::<C>::new();
    let mut server = scene.server.connect();
    scene.keep_an_entry();
    accept(&mut server, &["p1"]);
    wait_for_refusal(&mut server);
    wait_for_refusal(&mut server);
    scene.check();
    scene.provider.give("p1");
    wait_for_renewal(&mut server);
    scene.check();
}

fn tracking_and_the_near_cache_survive_a_login_on_the_live_connection<C: Provided>() {
    let scene = Scene::<C>::new();
    let mut server = scene.server.connect();
    scene.keep_an_entry();
    wait_for_renewal(&mut server);
    scene.check();
    server.ok(&["SET", "kept", "changed"]);
    wait_until("the entry is invalidated", || {
        scene.cache.get("kept").unwrap().value.as_deref() == Some(b"changed")
    });
    assert!(scene.cache.is_tracked());
}

fn an_old_token_is_asked_for_again_on_the_same_connection<C: Provided>() {
    let server = RedisServer::start();
    accept(&mut server.connect(), &["new"]);
    let provider = Provider::giving("old");
    let cache = C::open(C::provide(builder(&server.url()), &provider));
    wait_until("a refused login", || provider.asked().iter().any(LoginRequest::was_refused));
    let error = cache.ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    provider.give("new");
    wait_until("a login", || cache.is_tracked());
    cache.insert("k", "v", TTL).unwrap();
    // A token that is outdated only once costs no connection.
    provider.give("old");
    server.connect().integer(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let before = provider.asked().len();
    wait_until("a refused login", || {
        provider.asked()[before..].iter().any(LoginRequest::was_refused)
    });
    provider.give("new");
    wait_until("a login", || cache.is_tracked() && cache.get("k").is_ok());
}

fn a_provider_that_fails_is_told_and_asked_again<C: Provided>() {
    let server = RedisServer::start();
    accept(&mut server.connect(), &["p0"]);
    let provider = Provider::giving("p0");
    provider.set(Given::Fails);
    let builder = C::provide(builder(&server.url()), &provider);
    let error = C::connect(builder.clone()).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the credentials provider failed: no network"), "{text}");
    assert!(error.is_retryable());
    let cache = C::open(builder);
    let before = provider.asked().len();
    wait_until("further questions", || provider.asked().len() >= before + 3);
    provider.give("p0");
    wait_until("a login", || cache.is_tracked());
    cache.insert("k", "v", TTL).unwrap();
}

fn a_provider_that_hangs_is_given_up_after_connect_timeout<C: Provided>() {
    let server = RedisServer::start();
    accept(&mut server.connect(), &["p0"]);
    let provider = Provider::giving("p0");
    provider.set(Given::Hangs);
    let builder = builder(&server.url()).connect_timeout(Duration::from_millis(200));
    let begun = Instant::now();
    let error = C::connect(C::provide(builder.clone(), &provider)).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("provider") && text.contains("`connect_timeout`"), "{text}");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let cache = C::open(C::provide(builder, &provider));
    let asked = provider.asked().len();
    wait_until("the next question", || provider.asked().len() > asked);
    cache.close();
    assert!(begun.elapsed() < 2 * AT_ONCE, "{:?}", begun.elapsed());
}

fn a_provider_that_fails_or_hangs_on_a_live_connection_costs_no_call<C: Provided>() {
    let server = RedisServer::start();
    accept(&mut server.connect(), &["p0"]);
    let provider = Provider::giving("p0");
    let builder = builder(&server.url()).connect_timeout(Duration::from_millis(500));
    let notices = Notices::default();
    let builder = C::provide(builder.observer(notices.clone()), &provider);
    let scene =
        Scene { cache: C::connect(builder).unwrap(), server, provider: provider.clone(), notices };
    let mut client = scene.server.connect();
    scene.keep_an_entry();
    for given in [Given::Fails, Given::Hangs] {
        provider.set(given);
        let asked = provider.asked().len();
        wait_until("further questions", || provider.asked().len() >= asked + 2);
        scene.check();
        provider.give("p0");
        wait_for_renewal(&mut client);
        scene.check();
    }
}

fn a_provider_may_call_the_cache<C: Provided>() {
    let server = RedisServer::start();
    accept(&mut server.connect(), &["p0"]);
    let (provider, own) = (Provider::giving("p0"), Arc::new(OnceLock::new()));
    let builder = C::provide_from_cache(builder(&server.url()), &provider, Arc::clone(&own));
    let cache = C::connect(builder).unwrap();
    own.set(cache.clone()).unwrap();
    let mut client = server.connect();
    wait_for_renewal(&mut client);
    wait_for_renewal(&mut client);
    cache.insert("k", "v", TTL).unwrap();
    cache.close();
}

fn every_node_of_a_cluster_logs_in_and_renews<C: Provided>() {
    let cluster = RedisCluster::start();
    let mut nodes: Vec<_> = cluster.running().map(|node| cluster.connect(node)).collect();
    nodes.iter_mut().for_each(|node| accept(node, &["p0"]));
    let provider = Provider::giving("p0");
    let cache = C::connect(C::provide(builder(&cluster.url()), &provider)).unwrap();
    let keys: Vec<_> = (0..60).map(|number| format!("k{number}")).collect();
    let write = || {
        for key in &keys {
            cache.insert(key, "v", TTL).unwrap();
        }
    };
    write();
    nodes.iter_mut().for_each(|node| accept(node, &["p0", "p1"]));
    provider.give("p1");
    for _ in 0..2 {
        for node in nodes.iter_mut().take(3) {
            wait_for_renewal(node);
        }
    }
    nodes.iter_mut().for_each(|node| accept(node, &["p1"]));
    write();
    let asked_for = |node: usize| {
        let port = cluster.node(node).port();
        provider
            .asked()
            .iter()
            .any(|login| login.address().to_string().ends_with(&format!(":{port}")))
    };
    assert!(cluster.running().filter(|node| asked_for(*node)).count() >= 3);
}

fn servers_and_sentinels_have_providers_of_their_own<C: Provided>() {
    let group = RedisSentinel::start();
    for number in 0..3 {
        accept(&mut group.server(number).connect(), &["server"]);
    }
    group.connect_to_sentinels().for_each(|mut sentinel| accept(&mut sentinel, &["sentinel"]));
    let (servers, sentinels) = (Provider::giving("server"), Provider::giving("sentinel"));
    let builder = C::provide_to_sentinels(builder(&group.url()), &sentinels);
    let builder = C::provide(builder.heartbeat_interval(Duration::from_secs(1)), &servers);
    let cache = C::connect(builder).unwrap();
    cache.insert("k", "v", TTL).unwrap();
    let (asked, asked_sentinels) = (servers.asked().len(), sentinels.asked().len());
    wait_until("both log in again", || {
        servers.asked().len() > asked + 1 && sentinels.asked().len() > asked_sentinels + 1
    });
    assert!(!sentinels.asked().iter().any(LoginRequest::was_refused));
    assert!(!servers.asked().iter().any(LoginRequest::was_refused));
    group.fail_over();
    let mut primary = group.server(group.primary()).connect();
    wait_until("the new primary is followed", || {
        cache.insert("k", "w", TTL).is_ok()
            && primary.get("k").is_some_and(|value| value.ends_with(b":w"))
    });
}

fn no_text_shows_what_the_provider_gave<C: Provided>() {
    const SECRET: &str = "hunter2";
    let server = RedisServer::start();
    accept(&mut server.connect(), &["other"]);
    let (provider, notices) = (Provider::giving(SECRET), Notices::default());
    let builder = C::provide(builder(&server.url()).observer(notices.clone()), &provider);
    let config: Config = builder.build().unwrap();
    let error = C::connect(config.clone()).map(drop).unwrap_err();
    let cache = C::open(config.clone());
    wait_until("a failure", || notices.count(Kind::ConnectFailed) > 0);
    let texts = format!("{config:?} {error} {error:?} {cache:?} {}", notices.text());
    assert!(!texts.contains(SECRET), "{texts}");
}

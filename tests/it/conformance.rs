//! Scenarios that run on every adapter, against a real Redis and against the embedded server:
//! `conformance::values::tokio::real::…`, `conformance::values::tokio::embedded::…`.
//!
//! To add a scenario:
//!
//! 1. Choose the file of its subject below; a new subject gets a file and a `mod` at the end here.
//! 2. Write `fn what_holds<C: Cache>()`, whose name is a sentence. [`cache::Cache`] has all calls.
//!    With [`cache::AsyncCache`], `cache.handle()` returns futures that the scenario polls and
//!    drops.
//! 3. Start the server with `Server::start()`, and the cache with [`scene::connected`] or, to see
//!    its events, [`scene::observed`].
//! 4. Make a loader wait with [`scene::gate`], and wait for others with [`scene::wait_until`] and
//!    its relatives. A `Proxy` in front of the server counts, holds or cuts what passes.
//! 5. Add the name to the list of the file: `on_every_adapter!`, `on_every_async_adapter!` or
//!    `with_a_server_of_its_own!`. Each name becomes a test per adapter and server.
//! 6. Run it: `cargo test -p redcache-tests --test it what_holds`.
//!
//! A scenario that needs faults of the server starts the embedded model or a scripted port.
//! Scenarios wait for events, with a limit; they never sleep.

/// Define tests of each scenario on every adapter, with either server.
macro_rules! on_every_adapter {
    [$($scenario:ident,)+] => {
        on_adapter!(blocking, redcache_blocking::Cache, either_server, $($scenario,)+);
        on_every_async_adapter!($($scenario,)+);
    };
}

/// For scenarios that drop the future of a call.
macro_rules! on_every_async_adapter {
    ($($scenario:ident,)+) => {
        on_adapter!(
            tokio,
            crate::conformance::cache::Async<redcache_tokio::Tokio>,
            either_server,
            $($scenario,)+
        );
        on_adapter!(
            smol,
            crate::conformance::cache::Async<redcache_smol::Smol>,
            either_server,
            $($scenario,)+
        );
        on_adapter!(
            async_std,
            crate::conformance::cache::Async<redcache_async_std::AsyncStd>,
            either_server,
            $($scenario,)+
        );
    };
}

/// For scenarios that start their own server: one that they kill, that has its own settings or that
/// behaves unlike the model; or a port without a server.
macro_rules! with_a_server_of_its_own {
    [$($scenario:ident,)+] => {
        mod own_server {
            use super::*;

            on_adapter!(blocking, redcache_blocking::Cache, own_server, $($scenario,)+);
            on_adapter!(
                tokio,
                crate::conformance::cache::Async<redcache_tokio::Tokio>,
                own_server,
                $($scenario,)+
            );
            on_adapter!(
                smol,
                crate::conformance::cache::Async<redcache_smol::Smol>,
                own_server,
                $($scenario,)+
            );
            on_adapter!(
                async_std,
                crate::conformance::cache::Async<redcache_async_std::AsyncStd>,
                own_server,
                $($scenario,)+
            );
        }
    };
}

macro_rules! on_adapter {
    ($adapter:ident, $cache:ty, either_server, $($scenario:ident,)+) => {
        mod $adapter {
            mod real {
                scenarios!([super super], $cache, Real, $($scenario,)+);
            }

            mod embedded {
                scenarios!([super super], $cache, Embedded, $($scenario,)+);
            }
        }
    };
    ($adapter:ident, $cache:ty, own_server, $($scenario:ident,)+) => {
        mod $adapter {
            scenarios!([super], $cache, Real, $($scenario,)+);
        }
    };
}

macro_rules! scenarios {
    ([$($up:tt)+], $cache:ty, $server:ident, $($scenario:ident,)+) => {
        mod place {
            pub(super) use super::$($up::)+*;
        }

        $(
            #[test]
            fn $scenario() {
                let name = concat!(module_path!(), "::", stringify!($scenario));
                let server = crate::conformance::server::Kind::$server;
                crate::conformance::scene::run(name, move || {
                    server.choose();
                    place::$scenario::<$cache>();
                });
            }
        )+
    };
}

mod boom;
pub(crate) mod cache;
pub(crate) mod port;
pub(crate) mod scene;
pub(crate) mod server;

mod budget;
mod cancelling;
mod change;
mod clocks;
mod closing;
mod connecting;
mod defects;
mod freshness;
mod from_within;
mod go;
mod hang_ups;
mod health;
mod large;
mod loads;
mod near;
mod observer;
mod options;
mod outage;
mod reads;
mod refresh;
mod set;
mod sharing;
mod spans;
mod stale;
mod stalled;
mod trouble;
mod values;
mod waiting;
mod writes;

//! Each scenario once, run on every adapter against a real Redis: `conformance::values::tokio::…`.
//!
//! Where a real server cannot be made to behave as badly as a scenario needs, it meets the embedded model or a port
//! that says what it is told to. Nothing waits for time to pass: scenarios wait for what must happen, with a bound.

/// Makes one test per scenario and adapter.
macro_rules! on_every_adapter {
    [$($scenario:ident,)+] => {
        on_adapter!(blocking, redcache_blocking::Cache, $($scenario,)+);
        on_every_async_adapter!($($scenario,)+);
    };
}

/// For scenarios that drop calls half way, which only a future can be.
macro_rules! on_every_async_adapter {
    ($($scenario:ident,)+) => {
        on_adapter!(tokio, redcache_tokio::Cache, $($scenario,)+);
        on_adapter!(smol, redcache_smol::Cache, $($scenario,)+);
        on_adapter!(async_std, redcache_async_std::Cache, $($scenario,)+);
    };
}

macro_rules! on_adapter {
    ($adapter:ident, $cache:ty, $($scenario:ident,)+) => {
        mod $adapter {
            $(
                #[test]
                fn $scenario() {
                    let name = concat!(module_path!(), "::", stringify!($scenario));
                    crate::conformance::scene::run(name, super::$scenario::<$cache>);
                }
            )+
        }
    };
}

mod cache;
mod port;
pub(crate) mod scene;

mod budget;
mod cancelling;
mod closing;
mod connecting;
mod defects;
mod go;
mod loads;
mod near;
mod options;
mod reads;
mod set;
mod sharing;
mod stale;
mod trouble;
mod values;
mod waiting;
mod writes;

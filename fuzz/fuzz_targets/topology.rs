//! See `redcache_sim::fuzz::topology`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| redcache_sim::fuzz::topology(bytes));

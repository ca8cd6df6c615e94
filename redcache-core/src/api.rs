//! The types of the public API: settings, options, keys, answers, errors, counters, observers.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod config;
pub(crate) mod config_error;
pub(crate) mod credentials;
pub(crate) mod credentials_provider;
pub(crate) mod error;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod load_error;
pub mod observer;
pub(crate) mod options;
pub(crate) mod secret;
pub(crate) mod stats;
pub(crate) mod tls;

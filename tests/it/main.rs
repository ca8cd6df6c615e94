//! Tests of redcache on real servers.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

#[macro_use]
mod conformance;
mod cluster;
mod command;
mod contract;
mod credentials;
mod defects;
mod middleboxes;
mod namespaces;
mod outage;
mod permissions;
mod processes;
mod restricted;
mod sentinel;
mod tidy;
mod tls;
mod virtual_time;

//! `redcache doctor`: an examination of a server, and of the functions of redcache that work with
//! it.
//!
//! ```text
//! examine ── facts ──▶ diagnosis ── verdict, paragraphs ──▶ report
//! (sockets)            (pure)                               (text, JSON)
//! ```

mod acl;
mod commands;
mod diagnosis;
mod examine;
mod facts;
mod report;

use crate::arguments::Options;
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub use acl::PERMISSIONS;

/// Examine the servers of the URL with keys that begin with `prefix`, and write a report.
///
/// # Errors
///
/// Fails if the report cannot be written, or no name for a key can be generated.
pub(crate) fn run(
    options: &Options,
    prefix: &str,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let facts = examine::examine(options, prefix)?;
    let diagnosis = diagnosis::diagnose(&facts);
    let login = acl::lines(&options.config, prefix, &facts);
    let report = report::Report { facts: &facts, diagnosis: &diagnosis, acl: &login };
    output.write(|| report.text(), || report.json())?;
    Ok(diagnosis.exit)
}

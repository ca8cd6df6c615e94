//! The command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::Adapter;

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) server: Option<String>,
    pub(crate) adapters: Vec<Adapter>,
    pub(crate) seed: u64,
    /// The rate of faults, in percent of the usual one.
    pub(crate) faults: u64,
    pub(crate) bound: Duration,
    /// The mean pause of a caller.
    pub(crate) pace: Duration,
}

impl Options {
    /// Parse arguments; `None` requests the help text.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut options = Self {
            seconds: 60,
            server: None,
            adapters: Adapter::ALL.to_vec(),
            seed: now.map_or(0, |now| now.as_nanos() as u64),
            faults: 100,
            bound: Duration::from_secs(1),
            pace: Duration::from_millis(2),
        };
        while let Some(name) = args.next() {
            if name == "--help" {
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("`{name}` needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("`{name}` needs a number"));
            match name.as_str() {
                "--seconds" => options.seconds = number()?,
                "--redis" => options.server = Some(value),
                "--adapters" => {
                    let adapters = value.split(',').map(Adapter::parse);
                    options.adapters = adapters.collect::<Result<_, _>>()?;
                }
                "--seed" => options.seed = number()?,
                "--faults" => options.faults = number()?,
                "--bound-ms" => options.bound = Duration::from_millis(number()?),
                "--pace-us" => options.pace = Duration::from_micros(number()?),
                _ => return Err(format!("there is no option `{name}`")),
            }
        }
        Ok(Some(options))
    }
}

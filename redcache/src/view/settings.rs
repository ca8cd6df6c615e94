//! The settings of a typed view.

use std::time::Duration;

use redcache_core::Error;
use redcache_core::engine::check_ttl;

/// The settings of a view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) ttl: Duration,
    pub(crate) not_found_ttl: Option<Duration>,
    /// The largest part of a TTL that is subtracted at random.
    pub(crate) jitter: f64,
    pub(crate) schema_version: u32,
    pub(crate) is_clearable: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let ttl = Duration::from_secs(60);
        Self { ttl, not_found_ttl: None, jitter: 0.0, schema_version: 0, is_clearable: false }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_ttl(self.ttl)?;
        self.not_found_ttl.map_or(Ok(()), check_ttl)?;
        if (0.0..=0.5).contains(&self.jitter) {
            return Ok(());
        }
        let jitter = self.jitter;
        Err(Error::invalid_input(format!("the jitter is {jitter}; it must be between 0 and 0.5")))
    }

    /// Return the TTL of a value.
    pub(crate) fn ttl(&self) -> Duration {
        self.shortened(self.ttl)
    }

    /// Return the TTL of "not found".
    pub(crate) fn not_found_ttl(&self) -> Duration {
        self.shortened(self.not_found_ttl.unwrap_or(self.ttl))
    }

    fn shortened(&self, ttl: Duration) -> Duration {
        if self.jitter == 0.0 {
            return ttl;
        }
        let kept = ttl.as_secs_f64() * (1.0 - self.jitter * fastrand::f64());
        // The longest TTL rounds up to more than a `Duration` holds.
        let shortened = Duration::try_from_secs_f64(kept).unwrap_or(ttl);
        shortened.max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_shortens_a_ttl_by_its_part_at_most() {
        let ttl = Duration::from_secs(100);
        let settings = Settings { ttl, jitter: 0.1, ..Settings::default() };
        let ttls: Vec<_> = (0..1000).map(|_| settings.ttl()).collect();
        assert!(ttls.iter().all(|it| (Duration::from_secs(90)..=ttl).contains(it)));
        assert!(ttls.iter().any(|it| *it != ttls[0]));
        assert_eq!(Settings { ttl, ..Settings::default() }.ttl(), ttl);
        let longest = Settings { ttl: Duration::MAX, jitter: 1e-18, ..Settings::default() };
        assert_eq!(longest.ttl(), Duration::MAX);
    }

    #[test]
    fn a_setting_out_of_its_range_is_refused() {
        let settings = Settings::default();
        assert!(settings.check().is_ok());
        for wrong in [
            Settings { ttl: Duration::ZERO, ..settings },
            Settings { not_found_ttl: Some(Duration::ZERO), ..settings },
            Settings { jitter: 0.6, ..settings },
            Settings { jitter: f64::NAN, ..settings },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}

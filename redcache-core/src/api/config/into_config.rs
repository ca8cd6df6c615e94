//! The argument of the `connect` functions of the adapters.

use super::settings::{Config, ConfigBuilder};
use crate::api::config_error::ConfigError;

/// A type that converts into a [`Config`]: a URL as `&str`, `String` or `&String`, a `Config`, or a
/// [`ConfigBuilder`].
///
/// This trait is sealed.
pub trait IntoConfig: sealed::Sealed {
    /// Return the settings.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] for an invalid URL or an invalid setting.
    fn into_config(self) -> Result<Config, ConfigError>;
}

mod sealed {
    #[expect(unnameable_types, reason = "outside code must not implement it")]
    pub trait Sealed {}
}

impl sealed::Sealed for Config {}
impl IntoConfig for Config {
    fn into_config(self) -> Result<Config, ConfigError> {
        Ok(self)
    }
}

impl sealed::Sealed for ConfigBuilder {}
impl IntoConfig for ConfigBuilder {
    fn into_config(self) -> Result<Config, ConfigError> {
        self.build()
    }
}

impl sealed::Sealed for &str {}
impl IntoConfig for &str {
    fn into_config(self) -> Result<Config, ConfigError> {
        self.parse()
    }
}

impl sealed::Sealed for String {}
impl IntoConfig for String {
    fn into_config(self) -> Result<Config, ConfigError> {
        self.parse()
    }
}

impl sealed::Sealed for &String {}
impl IntoConfig for &String {
    fn into_config(self) -> Result<Config, ConfigError> {
        self.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_builders_and_configs_convert_into_the_same_config() {
        fn converted(config: impl IntoConfig) -> Config {
            config.into_config().unwrap()
        }
        let url = String::from("redis://h:7000/2");
        let config = converted(url.as_str());
        assert_eq!(config, converted(&url));
        assert_eq!(config, converted(url));
        assert_eq!(config, converted(Config::builder().server("h", 7000).db(2)));
        assert_eq!(config, converted(config.clone()));
        assert!("nonsense".into_config().is_err());
    }
}

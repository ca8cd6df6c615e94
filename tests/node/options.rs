//! The command line.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redcache_driver::Config;

/// The adapter to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adapters {
    Tokio,
    AsyncStd,
    Smol,
    Blocking,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) adapter: Adapters,
}

impl Options {
    /// Parse `--option value` and `--option=value`; `None` requests the help text.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut url = "redis://127.0.0.1:6379".to_owned();
        let mut adapter = Adapters::Tokio;
        let mut settings = Vec::new();
        while let Some(arg) = args.next() {
            if arg == "--help" || arg == "-h" {
                return Ok(None);
            }
            let (option, value) = match arg.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None => (arg, args.next()),
            };
            let value = value.ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--redis" => url = value,
                "--runtime" => adapter = named(&value)?,
                "--lock-ttl-ms" => settings.push(format!("lock_ttl={value}ms")),
                "--lock-prefix" => {
                    let prefix = utf8_percent_encode(&value, NON_ALPHANUMERIC);
                    settings.push(format!("lock_prefix={prefix}"));
                }
                _ => return Err(format!("{option} is no option of node")),
            }
        }
        let start = if url.contains('?') { '&' } else { '?' };
        url.push(start);
        url.push_str(&settings.join("&"));
        let config = Config::from_url(&url).map_err(|error| error.to_string())?;
        Ok(Some(Self { config, adapter }))
    }
}

fn named(name: &str) -> Result<Adapters, String> {
    match name {
        "tokio" => Ok(Adapters::Tokio),
        "async-std" => Ok(Adapters::AsyncStd),
        "smol" => Ok(Adapters::Smol),
        "blocking" => Ok(Adapters::Blocking),
        _ => Err(format!("--runtime {name}: there are tokio, async-std, smol and blocking")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_come_on_top_of_those_in_the_url() {
        let line = "--redis redis://h:1?near_cache_bytes=0 --lock-ttl-ms 250 --lock-prefix=a&b% \
            --runtime blocking";
        let options = parse(line).unwrap().unwrap();
        let config = Config::builder()
            .server("h", 1)
            .near_cache_bytes(0)
            .lock_ttl(std::time::Duration::from_millis(250))
            .lock_prefix("a&b%")
            .build();
        assert_eq!(options.config, config.unwrap());
        assert_eq!(options.adapter, Adapters::Blocking);
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert!(parse("").unwrap().is_some());
        assert!(parse("--runtime smol --help").unwrap().is_none());
        for (line, fault) in [
            ("--redis", "--redis needs a value"),
            ("--color always", "--color is no option"),
            ("--runtime rayon", "--runtime rayon: there are"),
            ("--lock-ttl-ms soon", "lock_ttl"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(fault), "{line}: {error}");
        }
    }
}

//! The arguments of the command.

use std::env;
use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use redcache_core::{Config, Servers};

use crate::help;

/// The arguments that all subcommands share.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) is_json: bool,
    /// The limit for each step that waits for a server.
    pub(crate) timeout: Duration,
}

/// The limits of `watch`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) duration: Option<Duration>,
    pub(crate) count: Option<u64>,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) enum Command {
    Help(String),
    Doctor { options: Options, prefix: String },
    Inspect { options: Options, key: Vec<u8>, shows_value: bool },
    Watch { options: Options, prefix: String, limits: Limits },
    Bench { options: Options, prefix: String, calls: u32 },
}

/// The default of `--calls`.
pub(crate) const CALLS_DEFAULT: u32 = 2000;
/// The largest number of calls of each kind in `bench`.
pub(crate) const CALLS_MAX: u32 = 100_000;
/// The default of `--timeout`.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The longest duration of an argument.
const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The arguments as they are written.
#[derive(Default)]
struct Written {
    positional: Vec<OsString>,
    is_json: bool,
    shows_value: bool,
    prefix: Option<String>,
    timeout: Option<Duration>,
    limits: Limits,
    calls: Option<u32>,
    wants_help: bool,
}

/// Parse the arguments after the name of the program. An error says what is wrong, and quotes no
/// URL.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut written = Written::default();
    let mut parser = Parser::from_args(arguments);
    let mut allowed = Vec::new();
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Arg::Value(value) => written.positional.push(value),
            Arg::Short('h') | Arg::Long("help") => written.wants_help = true,
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(Command::Help(format!("redcache {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Arg::Long(name) => {
                let name = name.to_owned();
                option(&name, &mut parser, &mut written)?;
                allowed.push(name);
            }
            Arg::Short(_) => return Err(argument.unexpected().to_string()),
        }
    }
    let mut positional = written.positional.drain(..);
    let subcommand = positional.next().map(text).transpose()?;
    let rest: Vec<_> = positional.collect();
    let Some(subcommand) = subcommand else {
        return Ok(Command::Help(help::whole()));
    };
    let Some(help) = help::of(&subcommand) else {
        return Err("unknown command: the commands are doctor, inspect, watch and bench".to_owned());
    };
    if written.wants_help {
        return Ok(Command::Help(help));
    }
    if let Some(name) = allowed.iter().find(|name| !is_option_of(&subcommand, name)) {
        return Err(format!("`redcache {subcommand}` has no option `--{name}`"));
    }
    command(&subcommand, rest, written)
}

fn option(name: &str, parser: &mut Parser, written: &mut Written) -> Result<(), String> {
    let mut value = || {
        let value = parser.value().map_err(|_| format!("`--{name}` needs a value"))?;
        text(value)
    };
    match name {
        "json" => written.is_json = true,
        "value" => written.shows_value = true,
        "prefix" => written.prefix = Some(value()?),
        "timeout" => written.timeout = Some(seconds(name, &value()?)?),
        "for" => written.limits.duration = Some(seconds(name, &value()?)?),
        "count" => written.limits.count = Some(number(name, &value()?, u64::MAX)?),
        "calls" => {
            let calls = number(name, &value()?, u64::from(CALLS_MAX))?;
            written.calls = u32::try_from(calls).ok();
        }
        _ => return Err(format!("unknown option `--{name}`")),
    }
    Ok(())
}

fn is_option_of(subcommand: &str, option: &str) -> bool {
    match option {
        "json" | "timeout" => true,
        "value" => subcommand == "inspect",
        "for" | "count" => subcommand == "watch",
        "calls" => subcommand == "bench",
        "prefix" => matches!(subcommand, "doctor" | "bench"),
        _ => false,
    }
}

fn command(subcommand: &str, rest: Vec<OsString>, written: Written) -> Result<Command, String> {
    let mut rest = rest.into_iter();
    let missing = |what: &str| format!("`redcache {subcommand}` needs {what}");
    let url = text(rest.next().ok_or_else(|| missing("the URL of a server"))?)?;
    let options = Options {
        config: configured(&url)?,
        is_json: written.is_json,
        timeout: written.timeout.unwrap_or(TIMEOUT_DEFAULT),
    };
    let prefix = written.prefix.unwrap_or_default();
    let command = match subcommand {
        "doctor" => Command::Doctor { options, prefix },
        "inspect" => {
            let key = rest.next().ok_or_else(|| missing("a key after the URL"))?;
            let key = text(key)?.into_bytes();
            Command::Inspect { options, key, shows_value: written.shows_value }
        }
        "watch" => {
            let prefix = rest.next().map(text).transpose()?.unwrap_or_default();
            Command::Watch { options, prefix, limits: written.limits }
        }
        _ => {
            let calls = written.calls.unwrap_or(CALLS_DEFAULT);
            Command::Bench { options, prefix, calls }
        }
    };
    match rest.next() {
        // It may be a password that the shell has cut off a URL.
        Some(_) => Err(format!("`redcache {subcommand}` has too many arguments")),
        None => Ok(command),
    }
}

/// Read a URL, or the URL in the environment variable that `env:NAME` names.
fn configured(url: &str) -> Result<Config, String> {
    let url = match url.strip_prefix("env:") {
        Some(name) => {
            env::var(name).map_err(|_| format!("the variable `{name}` has no URL: set it"))?
        }
        None => url.to_owned(),
    };
    let config = Config::from_url(&url).map_err(|error| error.to_string())?;
    if matches!(config.servers(), Servers::None) {
        return Err("the URL disables the cache, so there is no server".to_owned());
    }
    if config.client_name().is_some() {
        return Ok(config);
    }
    let named = config.into_builder().client_name("redcache-cli").build();
    named.map_err(|error| error.to_string())
}

fn text(argument: OsString) -> Result<String, String> {
    argument.string().map_err(|_| "an argument is not UTF-8".to_owned())
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    let duration = text.parse::<f64>().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
    let duration = duration.filter(|it| (Duration::from_millis(1)..=DURATION_MAX).contains(it));
    duration.ok_or_else(|| format!("`--{name}` needs a number of seconds, as in `--{name} 10`"))
}

fn number(name: &str, text: &str, max: u64) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| match max {
        u64::MAX => format!("`--{name}` needs a number from 1"),
        max => format!("`--{name}` needs a number from 1 to {max}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn each_command_takes_its_own_options() {
        let Ok(Command::Doctor { options, prefix }) =
            parsed("doctor redis://h --json --timeout 0.5 --prefix app:")
        else {
            panic!("doctor");
        };
        assert_eq!((options.is_json, options.timeout), (true, Duration::from_millis(500)));
        assert_eq!(prefix, "app:");
        assert_eq!(options.config.client_name(), Some("redcache-cli"));
        let Ok(Command::Inspect { key, shows_value, .. }) = parsed("inspect redis://h k --value")
        else {
            panic!("inspect");
        };
        assert_eq!((key, shows_value), (b"k".to_vec(), true));
        let Ok(Command::Watch { prefix, limits, .. }) =
            parsed("watch --for 2 redis://h user: --count 3")
        else {
            panic!("watch");
        };
        let expected = Limits { duration: Some(Duration::from_secs(2)), count: Some(3) };
        assert_eq!((prefix.as_str(), limits), ("user:", expected));
        let Ok(Command::Bench { calls, .. }) = parsed("bench redis://h --calls 10") else {
            panic!("bench");
        };
        assert_eq!(calls, 10);
    }

    #[test]
    fn wrong_arguments_are_named_and_urls_are_not_quoted() {
        for (line, expected) in [
            ("observe", "the commands are doctor, inspect, watch and bench"),
            ("doctor", "needs the URL"),
            ("inspect redis://h", "needs a key"),
            ("doctor redis://h --value", "`redcache doctor` has no option `--value`"),
            ("doctor redis://h --loud", "unknown option `--loud`"),
            ("watch redis://h --for never", "`--for` needs a number of seconds"),
            ("bench redis://h --calls 0", "`--calls` needs a number from 1 to 100000"),
            ("doctor redis://h secret", "too many arguments"),
            ("doctor env:REDCACHE_CLI_NO_SUCH_VARIABLE", "has no URL"),
            ("doctor redis://user:secret@", "host"),
            ("doctor redis://:secret@h/no", "database"),
            ("doctor disabled://", "there is no server"),
        ] {
            match parsed(line) {
                Err(text) => {
                    assert!(text.contains(expected), "{line}: {text}");
                    assert!(!text.contains("secret"), "{line}: {text}");
                }
                // An empty host is `localhost`.
                Ok(command) => assert!(line.ends_with('@'), "{line}: {command:?}"),
            }
        }
    }

    #[test]
    fn help_is_there_for_the_program_and_for_each_command() {
        for line in ["", "--help", "doctor --help", "inspect -h", "watch --help", "bench --help"] {
            let Ok(Command::Help(text)) = parsed(line) else { panic!("{line}") };
            assert!(text.contains("redcache"), "{line}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{line}: {text}");
        }
        let Ok(Command::Help(text)) = parsed("--version") else { panic!("--version") };
        assert_eq!(text, format!("redcache {}\n", env!("CARGO_PKG_VERSION")));
    }
}

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::api::config::{Address, Servers};
use crate::api::tls::TlsConfig;

fn parsed(url: &str) -> Config {
    url.parse().unwrap()
}

fn rejected(url: &str) -> String {
    Config::from_url(url).unwrap_err().to_string()
}

#[test]
fn the_parts_of_a_url_are_found() {
    let config = parsed("valkey://user:p%40ss@example.org:7000/3?client_name=me&lock_ttl=2s");
    assert_eq!(config.servers.to_string(), "example.org:7000");
    assert_eq!(config.username(), Some("user"));
    assert_eq!(config.password.as_ref().unwrap().reveal(), "p@ss");
    assert_eq!((config.db(), config.lock_ttl()), (3, Duration::from_secs(2)));
    assert_eq!(parsed("redis://").servers.to_string(), "localhost:6379");
    assert_eq!(parsed("REDIS://h/").servers.to_string(), "h:6379");
    assert_eq!(parsed("redis://[::1]").servers.to_string(), "[::1]:6379");
    assert_eq!(parsed("redis://[::1]:7/").servers.to_string(), "[::1]:7");
}

#[test]
fn a_password_may_contain_at_signs_and_colons() {
    let reveal = |url: &str| parsed(url).password.unwrap().reveal().to_owned();
    assert_eq!(reveal("redis://u:a@b:c@h"), "a@b:c");
    assert_eq!(reveal("redis://:p@@h"), "p@");
    assert_eq!(reveal("redis+unix://:p@@/run/redis.sock"), "p@");
    assert_eq!(reveal("redis://h?password=p%40ss"), "p@ss");
}

#[test]
fn a_unix_socket_has_a_path_a_login_and_options() {
    let unix = parsed("redis+unix://u:pw@/run/redis.sock?db=2");
    assert_eq!(unix.servers, Servers::One(Address::Unix("/run/redis.sock".into())));
    assert_eq!((unix.db(), unix.username()), (2, Some("u")));
    assert_eq!(parsed("unix:///a%20b").servers, Servers::One(Address::Unix("/a b".into())));
}

#[test]
fn a_cluster_has_seeds_and_a_database() {
    let config = parsed("valkey-cluster://u:p@h1:7000,h2,[::1]:7001/1?lock_ttl=2s");
    assert_eq!(config.servers.to_string(), "cluster of h1:7000, h2:6379, [::1]:7001");
    assert_eq!(config.username(), Some("u"));
    assert_eq!((config.lock_ttl(), config.db()), (Duration::from_secs(2), 1));
    assert_eq!(parsed("redis-cluster://h/0").servers.to_string(), "cluster of h:6379");
}

#[test]
fn sentinels_have_a_service_a_database_and_a_login_of_their_own() {
    let config = parsed("redis-sentinel://u:p@s1,s2:7,[::1]/my%20svc/3?sentinel_password=sp");
    let servers = config.servers.to_string();
    assert_eq!(servers, "service my svc of the sentinels s1:26379, s2:7, [::1]:26379");
    assert_eq!((config.username(), config.db()), (Some("u"), 3));
    assert_eq!(config.sentinel_password.as_ref().unwrap().reveal(), "sp");
    assert!(!format!("{config:?}").contains("sp\""), "{config:?}");
    let other = "redis-sentinel://u:p@s1/3?node=s2:7&node=[::1]&sentinelServiceName=my%20svc&\
                 sentinelPassword=sp";
    assert_eq!(parsed(other), config);
    for (url, text) in [
        ("redis-sentinel://s1", "redis-sentinel://HOST:PORT/SERVICE"),
        ("redis-sentinel://s1,/svc", "HOST:PORT,HOST:PORT/SERVICE"),
        ("redis-sentinel://s1/svc?sentinel_username=u", "sentinel_password"),
        ("redis-sentinel://s1/svc/x", "database"),
    ] {
        assert!(rejected(url).contains(text), "{url}: {}", rejected(url));
    }
}

#[test]
fn a_scheme_with_tls_has_its_options() {
    let config = parsed(
        "rediss://h/?tls_ca=/ca.crt&tls_cert=/c.crt&tls_key=/c.key&tls_server_name=n&lock_ttl=2s",
    );
    let tls = TlsConfig::new()
        .ca_file("/ca.crt")
        .client_certificate_files("/c.crt", "/c.key")
        .server_name("n");
    assert_eq!(config.tls(), Some(&tls));
    assert_eq!(config.lock_ttl(), Duration::from_secs(2));
    for scheme in ["rediss", "valkeys", "rediss-cluster", "valkeys+cluster"] {
        assert_eq!(parsed(&format!("{scheme}://h")).tls(), Some(&TlsConfig::new()), "{scheme}");
    }
    let any = TlsConfig::new().insecure(true);
    assert_eq!(parsed("rediss-sentinel://h/svc?tls_insecure=true").tls(), Some(&any));
    assert_eq!(parsed("rediss://h#insecure").tls(), Some(&any));
    let own = |url: &str| {
        let config = parsed(url);
        (config.tls().cloned(), config.sentinel_tls().cloned())
    };
    let tls = || Some(TlsConfig::new());
    assert_eq!(own("rediss-sentinel://h/svc"), (tls(), tls()));
    assert_eq!(own("rediss-sentinel://h/svc?sentinel_tls=true"), (tls(), tls()));
    assert_eq!(own("rediss-sentinel://h/svc?sentinel_tls=false"), (tls(), None));
    assert_eq!(own("redis-sentinel://h/svc?sentinel_tls=true"), (None, tls()));
    assert_eq!(own("redis-sentinel://h/svc?sentinel_tls=true&tls_insecure=true").1, Some(any));
    assert_eq!(parsed("redis://h").tls(), None);
    for (url, text) in [
        ("redis://h?tls_ca=/ca.crt", "rediss://"),
        ("rediss://h?tls_cert=/c.crt", "tls_key"),
        ("rediss://h?tls_key=/c.key", "tls_cert"),
        ("rediss://h?tls_insecure=yes", "true or false"),
        ("redis://h#insecure", "fragment"),
        ("rediss://h?sentinel_tls=false", "redis-sentinel://"),
        ("redis-sentinel://h/svc?sentinel_tls=false&tls_ca=/ca.crt", "rediss://"),
        ("redis-sentinel://h/svc?sentinel_tls=1", "true or false"),
        ("rediss+unix:///s", "unknown scheme"),
    ] {
        assert!(rejected(url).contains(text), "{url}: {}", rejected(url));
    }
}

#[test]
fn a_certificate_is_for_the_host_or_for_the_seed_of_a_cluster() {
    let at = |host: &str| Address::Tcp { host: host.to_owned(), port: 1 };
    let name = |url: &str, host: &str| parsed(url).tls_name(&at(host)).to_owned();
    assert_eq!(name("rediss://10.0.0.1", "10.0.0.1"), "10.0.0.1");
    assert_eq!(name("rediss-cluster://seed", "node.example"), "node.example");
    assert_eq!(name("rediss-cluster://seed", "10.0.0.1"), "seed");
    assert_eq!(name("rediss-cluster://10.0.0.9", "10.0.0.1"), "10.0.0.1");
}

/// The error names the wrong part of the URL and what to write.
#[test]
fn a_malformed_url_is_rejected_with_what_to_write() {
    for (url, text) in [
        ("localhost", "write redis://HOST:PORT"),
        ("localhost:6379", "write redis://HOST:PORT"),
        ("http://localhost", "unknown scheme: write redis://"),
        ("redis://localhost ", "white space"),
        (" redis://localhost", "unknown scheme"),
        ("redis://local host", "white space"),
        ("redis://localhost\n", "white space"),
        ("redis://localhost#0", "fragment"),
        ("redis://h#insecure", "fragment"),
        ("redis://h/0#x", "fragment"),
        ("redis://h:99999", "port of a URL must be 1 to 65535"),
        ("redis://h:0", "`port` cannot be `0`"),
        ("redis://h:6379x", "port"),
        ("redis://a,b", "host"),
        ("redis://h/x", "database"),
        ("redis://h/0/1", "database"),
        ("redis://[::1]6379", "write redis://[::1]:6379"),
        ("redis://[::1", "write redis://[::1]:6379"),
        ("redis://[h]:1", "write redis://[::1]:6379"),
        ("redis://::1", "brackets"),
        ("redis://user@h", "user:password@"),
        ("redis-cluster://a:1,", "redis-cluster://HOST:PORT,HOST:PORT"),
        ("redis-cluster://", "redis-cluster://HOST:PORT,HOST:PORT"),
        ("redis-cluster://,a", "redis-cluster://HOST:PORT,HOST:PORT"),
        ("redis-cluster://h:1,h:0", "`port`"),
        ("redis+unix://", "redis+unix:///path/to.sock"),
        ("redis+unix://:pw/run/redis.sock", "redis+unix://user:password@/path/to.sock"),
        ("redis://h?lock_ttl=5", "(us, ms, s, m, h, d)"),
        ("redis://h?near_cache_bytes=5MB", "MiB"),
        ("redis://h?lock_tll=5s", "`lock_ttl`"),
        ("redis://h?colour=red", "setters of `ConfigBuilder`"),
        ("redis://h?lock_prefix=__redcache:v1:0", "`lock_prefix`"),
        ("redis://h,u:pass@g", "before the first server"),
        ("redis-cluster://u:pass@h,u:pass@g", "before the first server"),
        ("redis-sentinel://h,u:pass@g/service", "before the first server"),
        ("redis://u:pa/ss@h", "%2F"),
        ("redis://u:pa?ss@h", "%3F"),
        ("redis://u:pa#ss@h", "%23"),
        ("redis://h?client_name=me@host", "%40"),
    ] {
        let error = rejected(url);
        assert!(error.contains(text), "{url}: {error}");
    }
}

#[test]
fn an_encoded_password_is_read_whole() {
    let config = parsed("redis://u:%2F%3F%23%40%20%25@h");
    assert_eq!(config.password.unwrap().reveal(), "/?#@ %");
}

const SECRET: &str = "hunter2";

/// Generate a password that contains the marked secret between any other characters.
fn passwords() -> impl Strategy<Value = String> {
    let around = "[a-z0-9:/?#@,&=%\\[\\] .ü_-]{0,12}";
    (around, around).prop_map(|(before, after)| format!("{before}{SECRET}{after}"))
}

fn urls() -> impl Strategy<Value = String> {
    let schemes = prop::sample::select(vec![
        "redis://",
        "valkey://",
        "redis-cluster://",
        "redis+unix://",
        "unix://",
        "http://",
        "",
        "x",
    ]);
    let users = prop::sample::select(vec!["", "u", "user%40", "a:b"]);
    let hosts = prop::sample::select(vec![
        "",
        "h",
        "h:1",
        "h:x",
        "h:99999",
        "[::1]",
        "[::1]6",
        "a:1,",
        "a,b:2",
        "/run/redis.sock",
        "h#x",
        "h ",
    ]);
    let tails = prop::sample::select(vec![
        "",
        "/",
        "/1",
        "/x",
        "?db=2",
        "/?lock_ttl=1s",
        "?lock_ttl=x",
        "?x=y",
        "#0",
        " ",
        "/1?db=@",
    ]);
    (schemes, users, passwords(), hosts, tails, 0..4u8).prop_map(
        |(scheme, user, password, host, tail, place)| match place {
            0 => format!("{scheme}{user}:{password}@{host}{tail}"),
            1 => format!("{scheme}{}@{host}{tail}", password.replace(':', "")),
            2 => format!("{scheme}{host}?password={password}"),
            // The text after an `@` is a host.
            _ => format!("{scheme}{user}:{}{host}{tail}", password.replace('@', "")),
        },
    )
}

proptest! {
    #[test]
    fn no_error_quotes_a_password_of_any_url(url in urls()) {
        match Config::from_url(&url) {
            Err(error) => {
                prop_assert!(!error.to_string().contains(SECRET), "{}", error);
                prop_assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
            }
            // A URL without an `@` has no password.
            Ok(config) => if let Some(password) = &config.password {
                prop_assert!(!format!("{config:?}").contains(SECRET), "{config:?}");
                prop_assert!(password.reveal().contains(SECRET));
            }
        }
    }

    #[test]
    fn every_password_survives_a_url_that_encodes_it(password in "\\PC{1,20}") {
        let encoded =
            percent_encoding::utf8_percent_encode(&password, percent_encoding::NON_ALPHANUMERIC);
        let config = parsed(&format!("redis://u:{encoded}@h"));
        let revealed = config.password.unwrap().reveal().to_owned();
        prop_assert_eq!(revealed, password);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = Config::from_url(&text);
        let _ = Config::from_url(&format!("redis://{text}"));
    }
}

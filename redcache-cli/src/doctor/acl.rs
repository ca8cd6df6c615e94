//! The ACL rules for the login of an application.

use redcache_core::Config;

use super::facts::{Facts, Kind, Tracking};
use crate::output::printable;

/// The rules for the commands of a login, as `SECURITY.md` of the project lists them.
pub const PERMISSIONS: &str = "+get +mget +getrange +getex +exists +pttl +set +del +eval +evalsha \
                               +pexpire +ping +select +client|caching +client|tracking";

const CLUSTER: &str = "+cluster|shards +cluster|slots +cluster|info +asking";

const SENTINEL: &str =
    "&+switch-master +subscribe +ping +sentinel|get-master-addr-by-name +sentinel|sentinels";

/// Return the ACL commands for a login with keys that begin with `prefix`.
pub(super) fn lines(config: &Config, prefix: &str, facts: &Facts) -> Vec<String> {
    let user = printable(config.username().unwrap_or("app").as_bytes());
    let keys = match prefix {
        "" => "~*".to_owned(),
        // The locks of refreshes have keys of their own.
        prefix => format!("~{prefix}* ~{}{{{prefix}*", config.lock_prefixes()[1]),
    };
    let mut rules = PERMISSIONS.to_owned();
    if config.db() == 0 {
        rules = rules.replace(" +select", "");
    }
    if facts.kind == Kind::Cluster {
        rules = format!("{rules} {CLUSTER}");
    }
    let mut lines = vec![format!("ACL SETUSER {user} on >PASSWORD {keys} {rules}")];
    if facts.kind == Kind::Sentinel {
        lines.push(format!("ACL SETUSER {user} on >PASSWORD {SENTINEL}"));
    }
    let refused = facts.nodes.iter().flat_map(|node| &node.commands).filter(|tried| {
        let refusal = tried.refusal.as_deref().unwrap_or_default();
        refusal.starts_with("NOPERM") && !refusal.contains("key")
    });
    let mut missing: Vec<String> = refused.map(|tried| format!("+{}", tried.name)).collect();
    let is_tracking_denied = facts.nodes.iter().any(
        |node| matches!(&node.tracking, Tracking::Refused(text) if text.starts_with("NOPERM")),
    );
    missing.extend(is_tracking_denied.then(|| "+client|tracking".to_owned()));
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        lines.push(format!("ACL SETUSER {user} {}", missing.join(" ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::commands::Need;
    use super::super::diagnosis::tests::{good, node};
    use super::super::facts::Tried;
    use super::*;

    fn config(url: &str) -> Config {
        Config::from_url(url).unwrap()
    }

    #[test]
    fn the_lines_have_the_commands_that_the_servers_need() {
        let mut facts = good();
        assert_eq!(
            lines(&config("redis://shop:secret@h"), "app:", &facts),
            ["ACL SETUSER shop on >PASSWORD ~app:* ~__redcache:refresh:{app:* +get +mget \
              +getrange +getex +exists +pttl +set +del +eval +evalsha +pexpire +ping \
              +client|caching +client|tracking"]
        );
        facts.kind = Kind::Cluster;
        assert!(lines(&config("redis://h/1"), "", &facts)[0].ends_with(
            "+client|tracking +cluster|shards \
             +cluster|slots +cluster|info +asking"
        ));
        facts.kind = Kind::Sentinel;
        assert!(lines(&config("redis://h/1"), "", &facts)[1].ends_with("+sentinel|sentinels"));
    }

    #[test]
    fn what_a_login_lacks_has_a_line_of_its_own() {
        let mut facts = good();
        let mut node = node();
        node.commands.push(Tried {
            name: "eval",
            need: Need::Locks,
            refusal: Some("NOPERM User ... has no permissions to run the 'eval' command".into()),
        });
        node.commands.push(Tried {
            name: "get",
            need: Need::Everything,
            refusal: Some("NOPERM No permissions to access a key".into()),
        });
        node.tracking = Tracking::Refused("NOPERM User ... has no permissions".into());
        facts.nodes = vec![node.clone(), node];
        let lines = lines(&config("redis://h"), "", &facts);
        assert_eq!(lines.last().unwrap(), "ACL SETUSER app +client|tracking +eval");
    }
}

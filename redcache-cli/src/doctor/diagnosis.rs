//! The conclusions from the facts: a result, a paragraph that explains it, and the effects on the
//! functions of a cache.

use super::commands::Need;
use super::facts::{Facts, Kind, NodeFacts, Tracking};
use crate::exit::{Exit, Failure};
use crate::greeting::{Greeting, Mode};

/// The conclusions of the doctor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) exit: Exit,
    /// One paragraph.
    pub(crate) summary: String,
    /// A line for each function of the cache.
    pub(crate) effects: Vec<Effect>,
}

/// The state of one function of the cache on these servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) function: &'static str,
    pub(crate) works: bool,
    pub(crate) text: String,
}

/// Conclude from the facts.
pub(crate) fn diagnose(facts: &Facts) -> Diagnosis {
    if let Some(replica) = facts.nodes.iter().find(|node| is_plain_replica(node)) {
        return ended(Exit::WrongServer, replica_text(replica));
    }
    if let Err(refused) = &facts.cache {
        return ended(refused.exit, unconnected_text(facts, refused));
    }
    if let Some((node, refused)) =
        facts.nodes.iter().find_map(|node| Some((node, unreached(node)?)))
    {
        let text = format!(
            "The cache connects, but {} cannot be used: {}. Its keys are unavailable until it can.",
            node.address, refused.text
        );
        return ended(refused.exit, text);
    }
    if let Some((node, name, refusal)) = refused_command(facts, is_vital) {
        return ended(Exit::CommandRefused, vital_text(node, name, refusal));
    }
    let effects = effects(facts);
    let exit = if effects.iter().all(|it| it.works) { Exit::Good } else { Exit::Limited };
    Diagnosis { exit, summary: summary(facts, &effects), effects }
}

fn ended(exit: Exit, summary: String) -> Diagnosis {
    Diagnosis { exit, summary, effects: Vec::new() }
}

fn is_plain_replica(node: &NodeFacts) -> bool {
    let greeting = node.greeting.as_ref();
    greeting.is_ok_and(|it| it.is_replica && it.mode == Mode::Standalone)
}

fn unreached(node: &NodeFacts) -> Option<&Failure> {
    node.greeting.as_ref().err()
}

fn replica_text(node: &NodeFacts) -> String {
    format!(
        "The server at {} is a replica, which accepts no writes: redcache could read, and every \
         load, `insert` and `remove` would fail. Use the address of its primary. If the primary \
         changes, name the sentinels that watch it instead: redis-sentinel://HOST:PORT/SERVICE.",
        node.address
    )
}

/// Explain why the cache has no connection. The error of the cache names the remedy for a server of
/// another kind.
fn unconnected_text(facts: &Facts, refused: &Failure) -> String {
    let servers = &facts.servers;
    let reason = &refused.text;
    match refused.exit {
        Exit::LoginRefused => format!(
            "The server answers at {servers} and refuses the login of the URL: {reason}. Check the \
             user name and the password, with `%40` for `@` and `%2F` for `/`. A password alone, \
             as in redis://:password@host, is that of the user `default`."
        ),
        Exit::WrongServer => format!("The URL is the wrong one for {servers}: {reason}."),
        Exit::Good | Exit::Limited | Exit::Usage | Exit::Unreachable | Exit::CommandRefused => {
            let remedy = match facts.kind {
                Kind::One => {
                    "Check the host and the port, that the server runs, and that no \
                              firewall is between"
                }
                Kind::Cluster => {
                    "Check the nodes of the URL, and that the addresses that they \
                                  announce are reachable from here"
                }
                Kind::Sentinel => {
                    "Check the sentinels, the name of the service, and that the \
                                   address that they name is reachable from here"
                }
            };
            format!("There is no connection to {servers}: {reason}. {remedy}.")
        }
    }
}

fn is_vital(need: Need) -> bool {
    match need {
        Need::Everything | Need::Writes | Need::Cluster => true,
        Need::Locks | Need::Speed => false,
    }
}

/// Return the first refusal of a command with this need, with its node.
fn refused_command(
    facts: &Facts,
    needed: impl Fn(Need) -> bool,
) -> Option<(&NodeFacts, &'static str, &str)> {
    facts.nodes.iter().find_map(|node| {
        let mut tried = node.commands.iter().filter(|tried| needed(tried.need));
        tried.find_map(|tried| Some((node, tried.name, tried.refusal.as_deref()?)))
    })
}

fn vital_text(node: &NodeFacts, name: &str, refusal: &str) -> String {
    let remedy = if refusal.contains("access") && refusal.contains("key") {
        "The login may not use the key of this examination: pass `--prefix` with the beginning of \
         the keys that it may use"
    } else if refusal.starts_with("NOPERM") {
        "Give the login the permissions below"
    } else if refusal.starts_with("OOM") {
        "The memory of the server is full and its policy evicts nothing: raise `maxmemory`, or set \
         `maxmemory-policy` to `allkeys-lru`"
    } else {
        "redcache works only with servers that run this command"
    };
    format!(
        "The server at {} refuses `{}`, which redcache cannot do without: {refusal}. {remedy}.",
        node.address,
        name.to_uppercase().replace('|', " ")
    )
}

fn effects(facts: &Facts) -> Vec<Effect> {
    let locks = refused_command(facts, |need| need == Need::Locks);
    let shared_reads = refused_command(facts, |need| need == Need::Speed);
    let mut effects = vec![near_cache(facts)];
    effects.push(Effect {
        function: "loads",
        works: locks.is_none(),
        text: match locks {
            None => "a missing key is loaded by one caller of all processes".to_owned(),
            Some((_, name, refusal)) => format!(
                "each process loads a missing key once, and stores nothing: `{}` is refused \
                 ({refusal})",
                name.to_uppercase()
            ),
        },
    });
    effects.push(Effect {
        function: "writes",
        works: locks.is_none(),
        text: match locks {
            None => "`insert`, `insert_with`, `remove`, `touch` and refreshes work".to_owned(),
            Some(_) => {
                "`insert` and `remove` work; `insert_with`, `touch` and refreshes do not".to_owned()
            }
        },
    });
    if let Some((_, name, refusal)) = shared_reads {
        let name = name.to_uppercase();
        let text = format!("reads share no command, because `{name}` is refused ({refusal})");
        effects.push(Effect { function: "batches", works: false, text });
    }
    effects
}

fn near_cache(facts: &Facts) -> Effect {
    let effect = |works, text: String| Effect { function: "near cache", works, text };
    let untracked = facts.nodes.iter().find_map(|node| match &node.tracking {
        Tracking::Invalidated(_) => None,
        Tracking::Silent => Some("the server sent no invalidation of the probe".to_owned()),
        Tracking::Refused(refusal) => Some(format!("`CLIENT TRACKING` is refused ({refusal})")),
        Tracking::NoResp3 => {
            Some("the server has no RESP3, in which invalidations are sent".to_owned())
        }
        Tracking::NotProbed(reason) => Some(format!("the probe was not possible ({reason})")),
    });
    match untracked {
        None => effect(true, "reads of a key cost one round trip until it changes".to_owned()),
        Some(reason) => {
            effect(false, format!("off: every read is a round trip, and waits poll: {reason}"))
        }
    }
}

fn summary(facts: &Facts, effects: &[Effect]) -> String {
    let place = match (&facts.nodes[..], facts.kind) {
        ([node], Kind::One) => format!("The server at {} is {}", node.address, described(node)),
        ([node], Kind::Sentinel) => {
            format!("The primary of the {} is {}, {}", facts.servers, node.address, described(node))
        }
        (nodes, _) => format!(
            "The {} has {} primaries, each of which {}",
            facts.servers,
            nodes.len() + facts.left_out,
            nodes.first().map_or_else(String::new, |node| format!("is {}", described(node)))
        ),
    };
    let limits: Vec<&str> = effects.iter().filter(|it| !it.works).map(|it| it.function).collect();
    if !limits.is_empty() {
        return format!(
            "{place}. redcache works with a part of its functions; limited are: {}.",
            limits.join(", ")
        );
    }
    format!(
        "{place}. redcache works with all its functions: the server runs every command that it \
         uses, and sent the invalidation of a changed key."
    )
}

fn described(node: &NodeFacts) -> String {
    node.greeting.as_ref().map_or_else(|refused| refused.text.clone(), Greeting::describe)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::commands::{Need, PROBES};
    use super::super::facts::Tried;
    use super::*;

    /// Return the facts about a server on which everything works.
    pub(in super::super) fn good() -> Facts {
        Facts {
            servers: "h:6379".to_owned(),
            kind: Kind::One,
            has_tls: false,
            cache: Ok(()),
            nodes: vec![node()],
            left_out: 0,
        }
    }

    /// Return the facts about one node on which everything works.
    pub(in super::super) fn node() -> NodeFacts {
        let greeting = Greeting {
            program: "redis".to_owned(),
            version: "7.0.15".to_owned(),
            has_resp3: true,
            ..Greeting::default()
        };
        let tried = |probe: &super::super::commands::Probe| Tried {
            name: probe.name,
            need: probe.need,
            refusal: None,
        };
        NodeFacts {
            address: "h:6379".to_owned(),
            greeting: Ok(greeting),
            commands: PROBES.iter().map(tried).collect(),
            tracking: Tracking::Invalidated(Duration::from_micros(200)),
            latency: None,
            memory: None,
        }
    }

    fn refuse(facts: &mut Facts, name: &str, refusal: &str) {
        for tried in facts.nodes.iter_mut().flat_map(|node| &mut node.commands) {
            if tried.name == name {
                tried.refusal = Some(refusal.to_owned());
            }
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), exit: Exit, parts: &[&str]) -> Diagnosis {
        let mut facts = good();
        change(&mut facts);
        let diagnosis = diagnose(&facts);
        assert_eq!(diagnosis.exit, exit, "{diagnosis:?}");
        let texts: Vec<_> = diagnosis.effects.iter().map(|it| it.text.as_str()).collect();
        let all = format!("{}\n{}", diagnosis.summary, texts.join("\n"));
        for part in parts {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(diagnosis.summary.ends_with('.') && !diagnosis.summary.contains(".."), "{all}");
        diagnosis
    }

    #[test]
    fn a_server_that_runs_everything_is_good() {
        check(|_| {}, Exit::Good, &["redis 7.0.15, primary, RESP3", "all its functions"]);
    }

    #[test]
    fn a_missing_permission_limits_the_functions_that_need_it() {
        let denied = "NOPERM User ... has no permissions to run the 'eval' command";
        let limited = check(
            |facts| refuse(facts, "eval", denied),
            Exit::Limited,
            &["limited are: loads, writes", "stores nothing: `EVAL` is refused", denied],
        );
        assert!(limited.effects[0].works);
        check(
            |facts| facts.nodes[0].tracking = Tracking::Refused("NOPERM".to_owned()),
            Exit::Limited,
            &["limited are: near cache", "`CLIENT TRACKING` is refused (NOPERM)"],
        );
        check(|facts| refuse(facts, "mget", "NOPERM"), Exit::Limited, &["reads share no command"]);
    }

    #[test]
    fn a_server_without_resp3_has_no_near_cache() {
        let change = |facts: &mut Facts| facts.nodes[0].tracking = Tracking::NoResp3;
        check(change, Exit::Limited, &["limited are: near cache", "no RESP3"]);
        let change = |facts: &mut Facts| facts.nodes[0].tracking = Tracking::Silent;
        check(change, Exit::Limited, &["no invalidation of the probe"]);
    }

    #[test]
    fn a_command_that_nothing_works_without_ends_the_diagnosis() {
        let key = "NOPERM this user has no permissions to access one of the keys used as arguments";
        check(|facts| refuse(facts, "set", key), Exit::CommandRefused, &["`SET`", "`--prefix`"]);
        let denied = "NOPERM this user has no permissions to run the 'get' command";
        let parts = ["`GET`", "permissions below"];
        check(|facts| refuse(facts, "get", denied), Exit::CommandRefused, &parts);
        let full = "OOM command not allowed when used memory > 'maxmemory'";
        check(|facts| refuse(facts, "set", full), Exit::CommandRefused, &["maxmemory-policy"]);
        let unknown = "ERR unknown command 'pttl'";
        check(|facts| refuse(facts, "pttl", unknown), Exit::CommandRefused, &["only with servers"]);
    }

    #[test]
    fn a_replica_is_the_wrong_server_although_the_cache_connects() {
        let change = |facts: &mut Facts| {
            facts.nodes[0].greeting.as_mut().unwrap().is_replica = true;
        };
        check(change, Exit::WrongServer, &["is a replica", "redis-sentinel://"]);
    }

    #[test]
    fn a_cache_without_a_connection_is_explained_by_its_error() {
        let refused = |exit, text: &str| {
            let refused = Failure { exit, text: text.to_owned() };
            move |facts: &mut Facts| {
                facts.cache = Err(refused);
                facts.nodes.clear();
            }
        };
        let change = refused(Exit::LoginRefused, "WRONGPASS");
        check(change, Exit::LoginRefused, &["refuses the login", "WRONGPASS"]);
        let change = refused(Exit::WrongServer, "the server is a sentinel");
        check(change, Exit::WrongServer, &["wrong one for h:6379: the server is a sentinel."]);
        let change = refused(Exit::Unreachable, "connection refused");
        check(change, Exit::Unreachable, &["no connection to h:6379: connection refused", "port"]);
    }

    #[test]
    fn a_node_of_a_cluster_that_cannot_be_reached_is_named() {
        let change = |facts: &mut Facts| {
            facts.kind = Kind::Cluster;
            let mut lost = node();
            lost.address = "h:7001".to_owned();
            let text = "connection refused".to_owned();
            lost.greeting = Err(Failure { exit: Exit::Unreachable, text });
            facts.nodes.push(lost);
        };
        check(change, Exit::Unreachable, &["but h:7001 cannot be used: connection refused"]);
    }

    #[test]
    fn a_cluster_counts_its_primaries() {
        let change = |facts: &mut Facts| {
            facts.kind = Kind::Cluster;
            facts.servers = "cluster of h:6379".to_owned();
            facts.nodes.push(node());
            facts.left_out = 1;
            let cluster = |node: &mut NodeFacts| {
                node.greeting.as_mut().unwrap().mode = Mode::Cluster;
            };
            facts.nodes.iter_mut().for_each(cluster);
        };
        check(change, Exit::Good, &["The cluster of h:6379 has 3 primaries", "of a cluster"]);
    }

    #[test]
    fn every_need_is_that_of_a_command() {
        for need in [Need::Everything, Need::Writes, Need::Locks, Need::Speed] {
            assert!(PROBES.iter().any(|probe| probe.need == need), "{need:?}");
        }
    }
}

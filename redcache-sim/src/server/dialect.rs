//! The differences between the servers that the model represents: Redis 7.0, Redis 8.2 and Valkey
//! 9.1.

use super::config::{Config, Product};
use super::reply::{Reply, ReplyError};

impl Config {
    pub(super) fn version_text(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    pub(super) fn product_name(&self) -> &'static str {
        match self.product {
            Product::Redis => "redis",
            Product::Valkey => "valkey",
        }
    }

    /// Return the modules that a server has as installed.
    pub(super) fn modules(&self) -> Reply {
        let (name, path) = match self.product {
            Product::Redis if !self.is_redis_8() => return Reply::Array(Vec::new()),
            Product::Redis => ("vectorset", ""),
            Product::Valkey => ("lua", "lua"),
        };
        Reply::Array(vec![Reply::named([
            ("name", Reply::bulk(name)),
            ("ver", Reply::Integer(1)),
            ("path", Reply::bulk(path)),
            ("args", Reply::Array(Vec::new())),
        ])])
    }

    pub(super) fn is_valkey(&self) -> bool {
        self.product == Product::Valkey
    }

    fn is_redis_8(&self) -> bool {
        self.product == Product::Redis && self.version >= (8, 0, 0)
    }

    fn is_since_7_2(&self) -> bool {
        self.version >= (7, 2, 0)
    }

    pub(super) fn knows_setinfo(&self) -> bool {
        self.is_since_7_2()
    }

    /// Return whether the server has a command that not every modelled server has.
    pub(super) fn knows(&self, command: &str) -> bool {
        match command {
            "delifeq" => self.is_valkey() && self.version >= (9, 0, 0),
            "delex" => !self.is_valkey() && self.knows_set_ifeq(),
            _ => true,
        }
    }

    /// Return whether `SET` has the option `IFEQ`.
    pub(super) fn knows_set_ifeq(&self) -> bool {
        let since = if self.is_valkey() { (8, 1, 0) } else { (8, 4, 0) };
        self.version >= since
    }

    pub(super) fn tracks_what_scripts_read(&self) -> bool {
        self.is_since_7_2()
    }

    /// Return whether `HELLO` checks all its options before the first takes effect.
    pub(super) fn checks_hello_first(&self) -> bool {
        self.is_since_7_2()
    }

    /// Return whether the push about an own flush precedes the flush's reply.
    pub(super) fn pushes_own_flush_first(&self) -> bool {
        self.is_redis_8()
    }

    pub(super) fn hello_needs_auth(&self) -> ReplyError {
        let option = if self.is_since_7_2() { "<proto> AUTH" } else { "AUTH" };
        ReplyError::new(format!(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO {option} <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time"
        ))
    }

    pub(super) fn forbidden(&self, command: &str) -> ReplyError {
        let user = if self.is_since_7_2() { "User default" } else { "this user" };
        ReplyError::new(format!("NOPERM {user} has no permissions to run the '{command}' command"))
    }

    pub(super) fn no_script(&self) -> ReplyError {
        match self.product {
            Product::Redis => "NOSCRIPT No matching script. Please use EVAL.".into(),
            Product::Valkey => "NOSCRIPT No matching script.".into(),
        }
    }

    /// Return the end of an error in a script.
    pub(super) fn in_script(&self, hash: &str, line: u8) -> String {
        match self.product {
            Product::Redis => format!(" script: {hash}, on @user_script:{line}."),
            Product::Valkey => format!(" script: on @user_script:{line}."),
        }
    }

    pub(super) fn busy(&self) -> ReplyError {
        let product = match self.product {
            Product::Redis => "Redis",
            Product::Valkey => "Valkey",
        };
        ReplyError::new(format!(
            "BUSY {product} is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
             NOSAVE."
        ))
    }

    /// Return whether a command runs while a script keeps the server busy, in spite of its flags.
    pub(super) fn allows_while_busy(&self, command: &str) -> bool {
        self.is_valkey() && ["client|id", "select"].contains(&command)
    }

    /// Return the refusal of a database other than 0 in a cluster.
    pub(super) fn no_database_in_cluster(&self) -> ReplyError {
        match self.product {
            Product::Redis => "ERR SELECT is not allowed in cluster mode".into(),
            Product::Valkey => "ERR DB index is out of range".into(),
        }
    }

    /// Return the lines of `CLUSTER INFO` that count nodes by failure.
    pub(super) fn failing_nodes(&self) -> &'static str {
        match self.product {
            Product::Redis => "",
            Product::Valkey => {
                "cluster_nodes_pfail:0\r\ncluster_nodes_fail:0\r\n\
                 cluster_voting_nodes_pfail:0\r\ncluster_voting_nodes_fail:0\r\n"
            }
        }
    }

    /// Return the reason why a number is no value of a setting.
    pub(super) fn out_of_range(&self, min: i64, max: i64) -> String {
        if self.is_redis_8() && max == i64::MAX {
            format!("argument must be greater or equal to {min}")
        } else {
            format!("argument must be between {min} and {max} inclusive")
        }
    }
}

//! Plan of `--all`: the rows of the table and the peers of each row.

use crate::cli::{Load, Peer, Run, Workload, names};

/// Number of calls per task and round in the near cache.
const LOCAL_OPS: usize = 500_000;

/// Number of calls of many tasks together per round.
const REMOTE_OPS: usize = 60_000;

/// The adapters of redcache; every row is measured on each.
pub const ADAPTERS: [Peer; 4] =
    [Peer::RedcacheTokio, Peer::RedcacheAsyncStd, Peer::RedcacheSmol, Peer::RedcacheBlocking];

names! {
    /// One row of the table: a workload at one size.
    Row {
        /// One task, always the same key.
        LocalOneKey = "local_hit, 1 key",
        /// One task.
        LocalManyKeys = "local_hit, 10 k keys",
        /// Two tasks with keys of their own.
        LocalTwoTasks = "local_hit, 10 k keys, 2 tasks",
        /// One round trip after the other.
        RemoteOne = "remote_hit, 1 task",
        /// A busy process.
        RemoteSome = "remote_hit, 64 tasks",
        /// A saturated process.
        RemoteMany = "remote_hit, 512 tasks",
        /// One round trip after the other, with values of 64 KiB.
        RemoteLarge = "remote_hit, 1 task, 64 KiB values",
        /// One round trip after the other, with values of 1 MiB.
        RemoteHuge = "remote_hit, 1 task, 1 MiB values",
        /// One round trip after the other, over TLS.
        RemoteOneTls = "remote_hit, 1 task, TLS",
        /// A busy process, over TLS.
        RemoteSomeTls = "remote_hit, 64 tasks, TLS",
        /// One round trip after the other, in a cluster.
        RemoteOneCluster = "remote_hit, 1 task, cluster",
        /// A busy process, in a cluster.
        RemoteSomeCluster = "remote_hit, 64 tasks, cluster",
        /// A batch of keys from all nodes of a cluster.
        RemoteMultiCluster = "remote_multi, 1000 keys, cluster",
        /// A single miss.
        ColdOne = "cold_miss, 1 task",
        /// Many misses at once.
        ColdSome = "cold_miss, 64 tasks",
        /// A batch of hits.
        LocalMulti = "local_multi, 100 keys",
        /// A batch of keys from Redis.
        RemoteMulti = "remote_multi, 100 keys",
        /// A batch of misses.
        ColdMulti = "cold_multi, 100 keys",
        /// A thousand callers of one missing key.
        Stampede = "stampede, 1000 tasks, 50 ms loader",
    }
}

impl Row {
    /// Return the workload of the row.
    pub fn workload(self) -> Workload {
        match self {
            Self::LocalOneKey | Self::LocalManyKeys | Self::LocalTwoTasks => Workload::LocalHit,
            Self::RemoteOne
            | Self::RemoteSome
            | Self::RemoteMany
            | Self::RemoteLarge
            | Self::RemoteHuge
            | Self::RemoteOneTls
            | Self::RemoteSomeTls
            | Self::RemoteOneCluster
            | Self::RemoteSomeCluster => Workload::RemoteHit,
            Self::ColdOne | Self::ColdSome => Workload::ColdMiss,
            Self::LocalMulti => Workload::LocalMulti,
            Self::RemoteMulti | Self::RemoteMultiCluster => Workload::RemoteMulti,
            Self::ColdMulti => Workload::ColdMulti,
            Self::Stampede => Workload::Stampede,
        }
    }

    /// Return whether the connections of the row are encrypted.
    pub fn tls(self) -> bool {
        matches!(self, Self::RemoteOneTls | Self::RemoteSomeTls)
    }

    /// Return whether the servers of the row are a cluster.
    pub fn cluster(self) -> bool {
        matches!(self, Self::RemoteOneCluster | Self::RemoteSomeCluster | Self::RemoteMultiCluster)
    }

    /// Return whether the row's calls reach the server.
    pub fn needs_server(self) -> bool {
        !matches!(self.workload(), Workload::LocalHit | Workload::LocalMulti)
    }

    /// Return the peers of the row, references first.
    pub fn peers(self) -> Vec<Peer> {
        let others: &[Peer] = match self.workload() {
            Workload::LocalHit | Workload::LocalMulti => {
                &[Peer::QuickCache, Peer::Moka, Peer::RedisRsCache, Peer::RustisCache]
            }
            Workload::RemoteHit | Workload::RemoteMulti if self.tls() || self.cluster() => {
                &[Peer::RedisRs, Peer::RedisRsSync]
            }
            Workload::RemoteHit | Workload::RemoteMulti => &[
                Peer::RedisRs,
                Peer::RedisRsSync,
                Peer::RedisRsCache,
                Peer::Fred,
                Peer::RustisCache,
            ],
            Workload::ColdMiss | Workload::ColdMulti => &[],
            Workload::Stampede => &[Peer::QuickCache, Peer::Moka],
        };
        others.iter().copied().chain(ADAPTERS).collect()
    }

    /// Return the run of one peer in this row.
    pub fn run(self, peer: Peer) -> Run {
        let tasks = match self {
            Self::LocalTwoTasks => Some(2),
            Self::RemoteSome | Self::RemoteSomeTls | Self::RemoteSomeCluster | Self::ColdSome => {
                Some(64)
            }
            Self::RemoteMany => Some(512),
            Self::LocalOneKey
            | Self::LocalManyKeys
            | Self::RemoteOne
            | Self::RemoteLarge
            | Self::RemoteHuge
            | Self::RemoteOneTls
            | Self::RemoteOneCluster
            | Self::RemoteMultiCluster
            | Self::ColdOne
            | Self::LocalMulti
            | Self::RemoteMulti
            | Self::ColdMulti
            | Self::Stampede => None,
        };
        let workload = self.workload();
        let mut load = Load::of(workload, tasks);
        if self == Self::LocalOneKey {
            load.keys = 1;
        }
        // A thread per task makes fewer calls per second.
        let threads = matches!(peer, Peer::RedisRsSync | Peer::RedcacheBlocking);
        match self {
            Self::LocalOneKey | Self::LocalManyKeys | Self::LocalTwoTasks => {
                load.ops = LOCAL_OPS * load.tasks;
            }
            Self::RemoteSome | Self::RemoteMany | Self::RemoteSomeTls | Self::RemoteSomeCluster => {
                load.ops = if threads { REMOTE_OPS / 4 } else { REMOTE_OPS };
            }
            Self::ColdSome if threads => load.ops = REMOTE_OPS / 8,
            Self::ColdSome => load.ops = REMOTE_OPS / 2,
            Self::RemoteMultiCluster => (load.ops, load.batch) = (200, 1_000),
            // The server keeps one value per call.
            Self::RemoteLarge => (load.ops, load.value) = (2_000, 64 << 10),
            Self::RemoteHuge => (load.ops, load.value) = (200, 1 << 20),
            Self::RemoteOne
            | Self::RemoteOneTls
            | Self::RemoteOneCluster
            | Self::ColdOne
            | Self::LocalMulti
            | Self::RemoteMulti
            | Self::ColdMulti
            | Self::Stampede => {}
        }
        Run { workload, peer, load, tls: self.tls(), cluster: self.cluster(), quiet: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_and_every_peer_takes_part() {
        let rows = || Row::ALL.iter();
        for workload in Workload::ALL {
            assert!(rows().any(|row| row.workload() == *workload), "{workload}");
        }
        for peer in Peer::ALL {
            assert!(rows().any(|row| row.peers().contains(peer)), "{peer}");
        }
    }
}

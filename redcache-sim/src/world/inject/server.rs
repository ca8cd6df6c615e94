//! Faults of servers.

use crate::clock::Micros;
use bytes::Bytes;

use crate::fault::{FATAL, FORBIDDABLE, Fault, REFUSABLE};
use crate::invariant::Checked;
use crate::rng::Rng;
use crate::server::HelloSupport;
use crate::state::executed::Cause;
use crate::state::queue::Event;
use crate::state::world::World;

impl World {
    /// Inject a fault into one of the servers.
    pub(super) fn inject_server(&mut self, fault: Fault) -> Checked {
        let number = self.some_server();
        let now = self.now;
        let has_pieces = self.plan.large_value_bytes > 0;
        let node = &mut self.nodes[number];
        match fault {
            Fault::DialRefused => {
                node.refused_until = now + self.fault_rng.below(200_000);
                return self.inject_link(Fault::CutAfter);
            }
            Fault::DialHangs => {
                node.hanging_until = now + self.fault_rng.below(200_000);
                return self.inject_link(Fault::CutAfter);
            }
            Fault::RestartKeep | Fault::RestartEmpty | Fault::Down => {
                return self.inject_restart(number, fault);
            }
            Fault::Eviction => return self.evict(),
            Fault::HangUp => return self.inject_hang_up(),
            Fault::FlushAll => {
                self.tally.fault(fault);
                let word: &[u8] = if self.fault_rng.chance(500) { b"FLUSHALL" } else { b"FLUSHDB" };
                return self.execute_foreign(number, &[word]);
            }
            Fault::TableOverflow => {
                node.server.configure(|config| config.tracking_keys_max = 1);
                self.recover_later(number, fault, 300_000);
            }
            Fault::HelloLost => {
                node.server.configure(|config| config.hello = HelloSupport::HangsUp);
                self.recover_later(number, fault, 400_000);
                self.inject_link(Fault::CutAfter)?;
            }
            Fault::ScriptsLost => {
                node.server.configure(|config| config.hangs_up_at_scripts = true);
                self.recover_later(number, fault, 2_000_000);
            }
            Fault::ScriptFlush => node.server.flush_scripts(),
            Fault::TryAgain => {
                node.rejections += 1;
                let command = self.fault_rng.pick(&REFUSABLE);
                let command = of_pieces(command, has_pieces, &mut self.fault_rng);
                let error = self.fault_rng.pick(&[
                    "TRYAGAIN not now",
                    "LOADING not now",
                    "MASTERDOWN not now",
                    "ERR no reason",
                    "NOSCRIPT No matching script.",
                    "NOPERM not allowed now",
                    "OOM not now",
                    "NOAUTH not now",
                ]);
                node.server.reject_next(command, error);
            }
            Fault::Forbidden => {
                let command = self.fault_rng.pick(&FORBIDDABLE);
                let command = of_pieces(command, has_pieces, &mut self.fault_rng);
                node.server.configure(|config| _ = config.forbidden.insert(command.to_owned()));
                self.recover_later(number, fault, 250_000);
            }
            _ => return self.inject_refusals(number, fault),
        }
        self.tally.fault(fault);
        self.apply_server_events(number, None)
    }

    /// Return a server that receives commands: one of the primaries in a cluster.
    fn some_server(&mut self) -> usize {
        match &self.cluster {
            None => 0,
            Some(cluster) => cluster.shards[self.fault_rng.index(cluster.shards.len())].primary,
        }
    }

    fn evict(&mut self) -> Checked {
        let key = self.fault_rng.index(self.keys.len());
        let home = self.home(key);
        if self.nodes[home].server.evict(0, self.keys[key].name.as_bytes()) {
            self.tally.fault(Fault::Eviction);
        }
        self.observe_keys(&Cause::Fault)?;
        self.apply_server_events(home, None)
    }

    fn inject_hang_up(&mut self) -> Checked {
        self.tally.fault(Fault::HangUp);
        let key = self.fault_rng.index(self.keys.len());
        let home = self.home(key);
        let name = Bytes::copy_from_slice(self.keys[key].name.as_bytes());
        self.fatal_keys.insert(key);
        self.nodes[home].server.set_fatal(Some((&FATAL, name)));
        self.recover_later(home, Fault::HangUp, 250_000);
        Ok(())
    }

    fn inject_refusals(&mut self, number: usize, fault: Fault) -> Checked {
        self.tally.fault(fault);
        let server = &mut self.nodes[number].server;
        match fault {
            Fault::Loading => server.set_loading(true),
            Fault::ReadOnly => server.set_read_only(true),
            Fault::OutOfMemory => server.set_out_of_memory(true),
            Fault::Busy => server.set_busy(true),
            _ => {
                let connected = server.clients().count();
                server.configure(|config| config.clients_max = connected);
                self.inject_link(Fault::CutAfter)?;
            }
        }
        self.recover_later(number, fault, 250_000);
        Ok(())
    }

    fn inject_restart(&mut self, number: usize, fault: Fault) -> Checked {
        self.tally.fault(fault);
        let at = self.server_clock.at(self.now);
        let keeps =
            fault == Fault::RestartKeep || fault == Fault::Down && self.fault_rng.chance(500);
        self.nodes[number].server.restart(at, keeps);
        self.replace_server(number);
        if fault == Fault::Down {
            self.nodes[number].refused_until = self.now + self.fault_rng.below(300_000);
        }
        self.observe_keys(&Cause::Fault)?;
        self.apply_server_events(number, None)
    }

    /// Give a server one of the planned releases.
    pub(crate) fn replace_server(&mut self, node: usize) {
        let (servers, rng) = (self.plan.servers, &mut self.fault_rng);
        let server = &mut self.nodes[node].server;
        let was_native = server.has_native_commands();
        server.configure(|config| servers.replace(config, rng));
        if server.has_native_commands() != was_native {
            self.tally.fault(Fault::OtherServer);
        }
    }

    pub(super) fn recover_later(&mut self, node: usize, fault: Fault, within: Micros) {
        let at = self.now + self.fault_rng.below(within);
        self.queue.plan(at, Event::Recover(node, fault));
    }

    /// End a fault of a server.
    pub(crate) fn recover(&mut self, node: usize, fault: Fault) -> Checked {
        self.trace.line(self.now, || format!("no longer: {}", fault.name()));
        self.restore_view(node, Some(fault));
        let server = &mut self.nodes[node].server;
        match fault {
            Fault::Loading => server.set_loading(false),
            Fault::ReadOnly => server.set_read_only(false),
            Fault::OutOfMemory => server.set_out_of_memory(false),
            Fault::Busy => server.set_busy(false),
            Fault::HangUp => server.set_fatal(None),
            Fault::Forbidden => {
                let forbidden = self.plan.server.forbidden.clone();
                server.configure(|config| config.forbidden = forbidden);
            }
            Fault::HelloLost => {
                let hello = self.plan.server.hello;
                server.configure(|config| config.hello = hello);
            }
            Fault::ScriptsLost => server.configure(|config| config.hangs_up_at_scripts = false),
            Fault::MaxClients => server.configure(|config| config.clients_max = 10_000),
            Fault::TableOverflow => {
                server.configure(|config| config.tracking_keys_max = 1_000_000);
            }
            _ => {}
        }
        self.observe_keys(&Cause::Fault)?;
        self.apply_server_events(node, None)
    }
}

/// Return the command that stands for `GET` if values are read in pieces, or the same command.
fn of_pieces(command: &'static str, has_pieces: bool, rng: &mut Rng) -> &'static str {
    let may_replace = has_pieces && command == "get";
    if may_replace && rng.chance(500) { "getrange" } else { command }
}

//! The products and versions of the servers. Some of them compare and write without a script.

use crate::fault::Fault;
use crate::plan::faults::Faults;
use crate::rng::Rng;
use crate::server::{Config, Product};

/// A product and its version.
type Release = (Product, (u8, u8, u8));

/// The servers with native commands.
const NATIVE: [Release; 3] =
    [(Product::Valkey, (9, 1, 2)), (Product::Valkey, (8, 1, 0)), (Product::Redis, (8, 4, 0))];

/// The native commands that a login may lack.
const FORBIDDEN: [&str; 4] = ["delifeq", "delex", "multi", "exec"];

/// The releases of the servers of a world.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Servers {
    /// All servers have the planned release.
    Same,
    /// Each server has one of these releases, and may have the other after a restart.
    Mixed([Release; 2]),
}

impl Servers {
    /// Choose the servers that have native commands, and the native commands that the login may
    /// use.
    pub(super) fn choose(server: &mut Config, faults: &mut Faults, rng: &mut Rng) -> Self {
        let native = rng.pick(&NATIVE);
        let forbidden = rng.pick(&FORBIDDEN);
        let servers = match rng.below(10) {
            0..4 => return Self::Same,
            4..7 => {
                (server.product, server.version) = native;
                Self::Same
            }
            _ => {
                faults.add(Fault::OtherServer);
                Self::Mixed([(server.product, server.version), native])
            }
        };
        if rng.chance(250) {
            server.forbidden.insert(forbidden.to_owned());
            faults.add(Fault::NativeForbidden);
        }
        servers
    }

    /// Give a server one of the releases.
    pub(crate) fn replace(self, config: &mut Config, rng: &mut Rng) {
        if let Self::Mixed(releases) = self {
            (config.product, config.version) = rng.pick(&releases);
        }
    }
}

//! A host name with several addresses, some of which accept connections and do not serve them.

use super::*;

fn peer(host: &str) -> Address {
    Address::Tcp { host: host.to_owned(), port: 1 }
}

impl World {
    /// Wait for `time`, then connect the first of the addresses of the name that is dialed. Return
    /// the address.
    fn dial(&mut self, time: Duration) -> String {
        for time in [time, Duration::from_millis(20)] {
            self.pass(time);
            self.step(|router, ctx| router.handle_timeout(ctx));
        }
        loop {
            match self.router.poll_action().expect("an attempt to connect") {
                Action::HangUp { conn } => self.open.retain(|(open, _)| *open != conn),
                Action::Login { .. } => panic!("the settings have no provider"),
                Action::Dial { conn, .. } => {
                    let mut peers = vec![peer("a"), peer("b")];
                    self.router.order_peers(conn, &mut peers);
                    let first = peers.remove(0);
                    self.router.note_peer(conn, first.clone(), &peers);
                    self.open.push((conn, 1));
                    self.step(|router, ctx| router.handle_connected(ctx, conn));
                    return first.to_string();
                }
            }
        }
    }

    fn complete_handshake(&mut self) {
        self.hear(1, HANDSHAKE);
        assert!(self.router.is_ready());
    }
}

fn world() -> World {
    World::with(Config::builder().server("h", 1).build().unwrap())
}

#[test]
fn a_silent_address_has_its_share_of_the_time_and_the_next_is_dialed_at_once() {
    let mut world = world();
    let timeout = world.config.connect_timeout;
    assert_eq!(world.dial(Duration::ZERO), "a:1");
    assert_eq!(world.dial(timeout / 2), "b:1");
    world.complete_handshake();
    assert_eq!(world.take_events(), ["up"], "no attempt has failed");
    world.lose(1);
    assert_eq!(world.dial(timeout), "b:1", "it has served");
}

#[test]
fn an_attempt_fails_once_every_address_has_failed_and_the_oldest_failure_is_tried_first() {
    let mut world = world();
    let timeout = world.config.connect_timeout;
    assert_eq!(world.dial(Duration::ZERO), "a:1");
    assert_eq!(world.dial(timeout / 2), "b:1");
    assert_eq!(world.take_events(), [""; 0]);
    world.pass(timeout);
    world.step(|router, ctx| router.handle_timeout(ctx));
    assert!(world.take_events()[0].contains("not up"));
    assert_eq!(world.dial(timeout), "a:1");
    assert_eq!(world.dial(timeout), "b:1");
}

#[test]
fn an_address_whose_server_is_the_wrong_one_is_no_failure_while_there_is_another() {
    let mut world = world();
    world.send(read());
    assert_eq!(world.dial(Duration::ZERO), "a:1");
    world.hear(1, b"HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(world.dial(Duration::ZERO), "b:1");
    world.complete_handshake();
    assert_eq!(world.take_events(), ["up"]);
}

#[test]
fn a_demoted_primary_is_replaced_by_the_other_address() {
    let mut world = world();
    assert_eq!(world.dial(Duration::ZERO), "a:1");
    world.complete_handshake();
    world.send(remove());
    world.take_sent(1);
    world.hear(1, b"-READONLY You can't write against a read only replica.\r\n");
    assert_eq!(world.dial(Duration::from_millis(20)), "b:1");
}

#[test]
fn the_second_connection_for_large_values_goes_to_the_server_of_the_first() {
    let mut world = world();
    assert_eq!(world.dial(Duration::ZERO), "a:1");
    world.hear(1, b"HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(world.dial(Duration::ZERO), "b:1");
    world.complete_handshake();
    world.send(Command::ReadRaw { key: key_of_first() });
    world.take_sent(1);
    let value = "x".repeat(world.config.large_value_bytes);
    world.hear(1, format!("${}\r\n{value}\r\n:9\r\n", value.len()).as_bytes());
    world.step(|router, ctx| router.handle_timeout(ctx));
    let dial = std::iter::from_fn(|| world.router.poll_action())
        .find_map(|action| if let Action::Dial { conn, .. } = action { Some(conn) } else { None });
    let mut peers = vec![peer("a"), peer("b")];
    world.router.order_peers(dial.unwrap(), &mut peers);
    assert_eq!(peers, [peer("b")]);
}

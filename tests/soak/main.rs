//! `soak`: a fleet of caches on every adapter behind faulty proxies, checked by an oracle of
//! versions.
//!
//! ```text
//!  callers ──▶ client: a cache ──▶ faulty proxy ──▶ server ◀── disturber, lock watch
//!     │ every answer, every write
//!     ▼
//!  database: the rows, and when each version was superseded
//! ```

mod caller;
mod client;
mod database;
mod fleet;
mod limits;
mod locks;
mod options;
mod output;
mod server;
mod tally;
mod vitals;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redcache_tests::Rng;

use self::database::Database;
use self::fleet::Fleet;
use self::options::Options;
use self::output::say;
use self::server::Target;
use self::tally::Tally;
use self::vitals::Vitals;

const USAGE: &str = "soak: a fleet of caches behind faulty proxies, judged by an oracle of versions

  soak [--seconds N] [--redis HOST:PORT] [--adapters A,…] [--seed N] [--faults PERCENT]
       [--bound-ms N] [--pace-us N]

  --seconds N        the duration of the run (60)
  --redis HOST:PORT  the server, which is flushed and disturbed; by default the program starts the
                     one of REDIS_SERVER, or `redis-server`
  --adapters A,…     tokio, smol, async-std, blocking (all)
  --seed N           the seed of faults and calls (of the clock)
  --faults PERCENT   the rate of faults, in percent of the usual one (100)
  --bound-ms N       the age at which an answer is stale, in milliseconds after a write of another
                     process has returned (1000; the heartbeat is 200 ms)
  --pace-us N        the mean pause of a caller between two calls, in microseconds (2000)

It exits with 1 if it has seen a wrong value, a stale one, a call or a lock beyond its time, or if
memory, threads or descriptors are not back at their start.";

/// The time that the fleet has to return threads, descriptors and memory.
const RETURN_MAX: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            say(&format!("soak: {fault}\n\n{USAGE}"));
            return ExitCode::FAILURE;
        }
    };
    say(&format!("soak: {options:?}"));
    if soak(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Run the fleet. Return whether there was no violation.
fn soak(options: &Options) -> bool {
    let rng = Rng::new(options.seed);
    let target = Target::new(options.server.as_deref());
    // Objects that live as long as the program are created before the start is measured.
    let calm = Options { seconds: 3, faults: 0, ..options.clone() };
    let warm_up = Arc::new(Tally::default());
    run(&calm, &target, &rng.fork(1), &warm_up);
    let start =
        vitals::settled(&Vitals { threads: 0, descriptors: 0, kib: 0 }, Duration::from_secs(12));
    let tally = Arc::new(Tally::default());
    run(options, &target, &rng.fork(2), &tally);
    say(&tally.report());
    let end = vitals::settled(&start, RETURN_MAX);
    let is_back = end.is_back_at(&start);
    say(&format!("at the start: {start:?}\nat the end:   {end:?}"));
    if !is_back {
        tally.violation("leak", format!("{start:?} became {end:?}"));
        tell(&tally);
    }
    let violations = tally.violations();
    say(&format!("violations: {violations}"));
    violations == 0 && warm_up.violations() == 0
}

fn run(options: &Options, target: &Target, rng: &Rng, tally: &Arc<Tally>) {
    target.flush();
    let database = Arc::new(Database::new(options.bound, Arc::clone(tally)));
    let fleet = Fleet::start(options, target, rng, &database);
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let disturber = (options.faults > 0).then(|| target.disturb(rng.fork(77), tally));
    let watch = locks::Watch::start(target.address(), tally);
    let mut report_at = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
        fleet.check_calls();
        tell(tally);
        if report_at < Instant::now() {
            say(&tally.line());
            report_at += Duration::from_secs(10);
        }
    }
    drop(disturber);
    fleet.stop();
    watch.stop();
    tell(tally);
}

/// Print the violations since the last call.
fn tell(tally: &Tally) {
    tally.take_texts().iter().for_each(|text| say(text));
}

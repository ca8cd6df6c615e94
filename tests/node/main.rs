//! `node`: a process with one cache that executes lines of JSON. Tests start several as a fleet;
//! see `node --help` for the protocol.
//!
//! ```text
//!  standard input ──▶ session ──▶ request ──▶ call, a task or a thread each ──▶ adapter: the cache
//!                        │                      ▲
//!                        └── cancel, close ─────┘ answers, as they come ──▶ standard output
//! ```

mod adapter;
mod call;
mod commit;
mod field;
mod forked;
mod load;
mod options;
mod outcome;
mod request;
mod session;

use std::io::{self, Write};
use std::process::ExitCode;

use redcache_async_std::AsyncStd;
use redcache_driver::{Cache, Config, Error, Runtime};
use redcache_smol::Smol;
use redcache_tokio::Tokio;

use self::adapter::{Async, Blocking};
use self::options::{Adapters, Options};

const USAGE: &str = r#"node: a process with one cache, driven by lines of JSON.

  node [--redis URL] [--runtime tokio|async-std|smol|blocking] [--lock-ttl-ms N] [--lock-prefix P]

  --redis URL        the server, with any option of the cache as ?option=value
                     (redis://127.0.0.1:6379)
  --runtime R        the adapter (tokio)
  --lock-ttl-ms N    how long a lock lives unless it is renewed, in milliseconds (10000)
  --lock-prefix P    what a lock begins with (__redcache:lock:)

Each line of standard input is an object; "op" says what to do, "id" (anything) names the answer:

  {"op":"get","id":1,"key":"k"}
  {"op":"get_with","id":2,"key":"k","ttl_ms":60000,"load":{"value":"v","delay_ms":50}}
  {"op":"get_many_with","id":3,"keys":["a","b"],"ttl_ms":60000,
   "load":{"values":{"a":"1"},"delay_ms":50}}
  {"op":"insert_with","id":4,"key":"k","ttl_ms":60000,"load":{"value":"v","delay_ms":50}}
  {"op":"insert","id":5,"key":"k","value":"v","ttl_ms":60000}
  {"op":"remove","id":6,"key":"k"}
  {"op":"change","id":6,"keys":["a","b"],"file":"/tmp/row","row":"7","pause_ms":50}
  {"op":"touch","id":7,"key":"k","ttl_ms":60000}
  {"op":"fork","id":7,"key":"k"}
  {"op":"stats","id":8}
  {"op":"cancel","id":9,"target":2}
  {"op":"close","id":10}

"load" is what the loader does after "delay_ms" (0): it gives "value" or "values", or instead
"error":"text", "panic":true or "not_found":true; "load":"error", "panic" and "not_found" are short
for these. A loader of "values" gives those that it was asked for, null for not found, and all that
the call does not name; it leaves out what is not there. "ttl_ms" is 60000 if it is not given.
"fork" forks the process, reads the key in the fork, and waits for the end of the fork.
The commit of a change replaces the content of "file" by "row", between two pauses of "pause_ms".
Values are JSON strings. Bytes that are no UTF-8 are {"hex":"00ff"}, here and in answers.

Each answer is a line of standard output, in the order in which calls end:

  {"id":2,"ok":"v","source":"loaded","loads":1,"ms":52.135}
  {"id":3,"ok":{"a":"1","b":null},"source":{"a":"loaded","b":"loaded"},"loads":1,"ms":51.2}
  {"id":4,"error":"the loader failed: text","kind":"Load","source":null,"loads":1,"ms":50.9}

  ok      what the call gave: the value, null for none; for a batch an object of them by key. true
          or false for insert_with (stored), remove and touch (was there) and cancel (was dropped);
          true for insert and close; the counters for stats; the error of the read for fork
  error   in the place of ok, why the call failed; kind is a name for that: an ErrorKind of the
          cache, or Load, Panicked, Cancelled, Malformed, Unable. A batch of which some keys failed
          has ok with the others and errors with texts by key
  source  near, redis, loaded or joined; by key for a batch; null where nothing was read
  loads   how often the loader of this call was run
  ms      milliseconds since the line was read

Calls run side by side. cancel drops the future of the latest call whose id is "target"; that call
answers with the kind Cancelled, then cancel itself. A blocking call cannot be dropped. close ends
all calls with the kind Closed; the process goes on to answer. At the end of standard input calls
have two seconds to end, the cache is closed, and the process exits with 0."#;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            // The help is not needed if the output is closed.
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => return fail(&format!("{fault}\n\n{USAGE}")),
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("node: {why}");
    ExitCode::FAILURE
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let Options { config, adapter } = options;
    match adapter {
        Adapters::Blocking => {
            let cache = redcache_blocking::connect_lazy(config)?;
            session::run(Blocking { cache });
        }
        Adapters::Smol => run_async(config, Smol)?,
        Adapters::AsyncStd => run_async(config, AsyncStd)?,
        Adapters::Tokio => {
            let runtime = tokio::runtime::Runtime::new()?;
            let _entered = runtime.enter();
            run_async(config, Tokio::default())?;
        }
    }
    Ok(())
}

fn run_async(config: Config, runtime: impl Runtime + Clone) -> Result<(), Error> {
    let cache = Cache::connect_lazy_on(runtime.clone(), config)?;
    session::run(Async { cache, runtime });
    Ok(())
}

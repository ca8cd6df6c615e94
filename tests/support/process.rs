//! Processes that tests start and that never outlive the test program.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A process that is killed when this value is dropped or when the test program ends.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Start a program.
    ///
    /// # Errors
    ///
    /// Fails if the program cannot be run.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        REAPER.lock().unwrap_or_else(PoisonError::into_inner).watch(child.id());
        Ok(Self(child))
    }

    /// Return the id of the process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Take its standard input, if that is a pipe.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.0.stdin.take()
    }

    /// Take its standard output, if that is a pipe.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Return its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is our child")
    }

    /// Freeze the process: connections stay open, nothing answers.
    ///
    /// # Panics
    ///
    /// Panics if the process has ended.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Resume a frozen process.
    ///
    /// # Panics
    ///
    /// Panics if the process has ended.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("`kill` runs").success(), "kill {signal} {id} failed");
    }

    /// Kill the process, if it still runs.
    pub fn kill(&mut self) {
        // Killing fails only if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        REAPER.lock().unwrap_or_else(PoisonError::into_inner).forget(self.id());
    }
}

/// The reaper of all processes, because a test that hangs never drops its processes.
static REAPER: LazyLock<Mutex<Reaper>> = LazyLock::new(|| Mutex::new(Reaper::start()));

/// The program of the reaper: it tracks processes, and kills the remaining ones when its input
/// ends.
const SCRIPT: &str = r#"
while read -r what id; do
    case $what in
    watch) alive="$alive $id" ;;
    forget)
        left=
        for other in $alive; do [ "$other" = "$id" ] || left="$left $other"; done
        alive=$left
        ;;
    esac
done
[ -z "$alive" ] || kill -KILL $alive
"#;

/// A process that kills the watched ones when this program ends.
#[derive(Debug)]
struct Reaper {
    input: ChildStdin,
}

impl Reaper {
    fn start() -> Self {
        // The reaper has its own process group, so that the Ctrl-C that ends the tests does not
        // reach it.
        let child = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        let input = child.expect("`sh` runs").stdin.take();
        Self { input: input.expect("it was asked to be a pipe") }
    }

    fn watch(&mut self, id: u32) {
        self.tell("watch", id);
    }

    fn forget(&mut self, id: u32) {
        self.tell("forget", id);
    }

    fn tell(&mut self, what: &str, id: u32) {
        // Without a reaper the tests still stop their processes, unless they hang.
        let _ = writeln!(self.input, "{what} {id}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn the_reaper_kills_those_that_were_not_forgotten() {
        let mut reaper = Reaper::start();
        let mut children = [sleeper(), sleeper(), sleeper()];
        for child in &children {
            reaper.watch(child.id());
        }
        reaper.forget(children[1].id());
        drop(reaper);
        for child in [0, 2] {
            assert_eq!(children[child].wait().unwrap().signal(), Some(9));
        }
        assert_eq!(children[1].try_wait().unwrap(), None);
        children[1].kill().unwrap();
        children[1].wait().unwrap();
    }

    #[test]
    fn a_process_ends_when_it_is_dropped() {
        let mut process = Process::spawn(Command::new("sleep").arg("60")).unwrap();
        assert_eq!(process.ended(), None);
        process.pause();
        let id = process.id().to_string();
        drop(process);
        let exists = Command::new("kill").args(["-0", &id]).stderr(Stdio::null()).status();
        assert!(!exists.unwrap().success());
    }
}

//! The limit of the replies that are under way on one connection, for a server that hangs up when
//! they exceed its `client-output-buffer-limit` together.
//!
//! There is no limit until commands that were unanswered at two hang-ups in a row are answered with
//! less company: then their company was the cause. Further such hang-ups halve the limit, and after
//! a pause without one it doubles.

use std::time::{Duration, Instant};

const FIRST: usize = 512 << 10;
const MIN: usize = 128 << 10;
/// From this limit on, there is none.
const LAST: usize = 64 << 20;
/// The first pause before the limit doubles. It doubles with each hang-up.
const PAUSE_FIRST: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// The number of hang-ups after which a command that is answered proves that it was no cause.
const PROOF_FROM: u8 = 2;

#[derive(Debug)]
pub(super) struct ReplyWindow {
    /// The expected length of a reply: the longest of the recent ones.
    expected: usize,
    max: Option<usize>,
    /// The server has hung up on several commands, and the limit does not account for it.
    is_suspected: bool,
    widens_at: Option<Instant>,
    pause: Duration,
}

impl Default for ReplyWindow {
    fn default() -> Self {
        let pause = PAUSE_FIRST;
        Self { expected: 0, max: None, is_suspected: false, widens_at: None, pause }
    }
}

impl ReplyWindow {
    /// Return whether another command may be sent while `awaited` commands are unanswered.
    pub(super) fn has_room(&self, awaited: usize) -> bool {
        self.max.is_none_or(|max| awaited == 0 || awaited.saturating_mul(self.expected) < max)
    }

    /// Record a hang-up while `awaited` commands were unanswered.
    pub(super) fn on_hang_up(&mut self, awaited: usize) {
        self.is_suspected |= awaited > 1;
    }

    /// Record the answer to a command that was unanswered at so many hang-ups.
    pub(super) fn on_answer(&mut self, now: Instant, len: Option<usize>, hang_ups: u8) {
        if let Some(len) = len {
            self.expected = len.max(self.expected - self.expected / 8);
        }
        if self.is_suspected && len.is_some() && hang_ups >= PROOF_FROM {
            self.is_suspected = false;
            self.max = Some(self.max.map_or(FIRST, |max| (max / 2).max(MIN)));
            self.widens_at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        } else if self.widens_at.is_some_and(|at| at <= now) {
            self.max = self.max.map(|max| max * 2).filter(|max| *max < LAST);
            self.widens_at = self.max.map(|_| now + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_from_answers_after_hang_ups_and_ends_after_pauses() {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let mut now = Instant::now();
        let mut window = ReplyWindow::default();
        window.on_hang_up(1);
        window.on_answer(now, Some(100_000), 3);
        assert!(window.has_room(1_000_000), "a lone command hung up for a reason of its own");
        window.on_hang_up(40);
        window.on_answer(now, Some(100_000), 1);
        assert!(window.has_room(1_000_000), "one hang-up may have any cause");
        window.on_answer(now, Some(100_000), 2);
        assert!(window.has_room(5) && !window.has_room(6));
        window.on_hang_up(5);
        window.on_answer(now, Some(100_000), 2);
        assert!(window.has_room(2) && !window.has_room(3));
        for _ in 0..4 {
            window.on_hang_up(2);
            window.on_answer(now, Some(500_000), 2);
        }
        assert!(window.has_room(0) && !window.has_room(1));
        for _ in 0..9 {
            assert!(!window.has_room(1_000));
            now += PAUSE_MAX;
            window.on_answer(now, Some(500_000), 0);
        }
        assert!(window.has_room(1_000));
    }
}

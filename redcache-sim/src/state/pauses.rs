//! The pauses of one process.

use crate::clock::Micros;

/// The start and the end of each pause, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Vec<(Micros, Micros)>);

impl Pauses {
    /// Add a pause. A pause that begins within another extends it.
    pub(crate) fn add(&mut self, from: Micros, until: Micros) {
        match self.0.last_mut().filter(|(_, end)| *end > from) {
            Some((_, end)) => *end = until.max(*end),
            None => self.0.push((from, until)),
        }
    }

    /// Return the latest instant from which the process has run for `span` until then. A pause is
    /// not counted.
    pub(crate) fn running_since(&self, until: Micros, span: Micros) -> Micros {
        let mut since = until.saturating_sub(span);
        for &(from, end) in self.0.iter().rev() {
            let end = end.min(until);
            if end <= since {
                break;
            }
            since = since.saturating_sub(end.saturating_sub(from));
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_of_a_process_do_not_count_as_its_running_time() {
        let mut pauses = Pauses::default();
        pauses.add(10, 20);
        pauses.add(40, 60);
        pauses.add(50, 70);
        for (until, span, since) in [(100, 30, 70), (100, 31, 39), (100, 60, 0), (80, 30, 20)] {
            assert_eq!(pauses.running_since(until, span), since, "{until} {span}");
        }
        // A pause that has not ended, and the time before any.
        assert_eq!(pauses.running_since(60, 5), 35);
        assert_eq!(pauses.running_since(60, 25), 5);
        assert_eq!(pauses.running_since(8, 5), 3);
    }
}

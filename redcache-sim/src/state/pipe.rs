//! One direction of a link. Bytes arrive in order, late, in pieces of any size, or never. A pipe
//! may stall for a while, go dead, or end at any byte.

use std::collections::VecDeque;

use crate::clock::Micros;
use crate::deque::pop_front_if;

/// One direction of a link.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    segments: VecDeque<(Micros, Vec<u8>)>,
    last_at: Micros,
    /// Nothing arrives before this time.
    pub(crate) held_until: Micros,
    /// Whether the pipe has silently stopped delivering bytes.
    pub(crate) dead: bool,
    /// The time at which the receiver sees the end of the stream, after all bytes.
    pub(crate) end: Option<Micros>,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// The ends of frames that have not arrived.
    frame_ends: VecDeque<u64>,
    /// The end of the last frame that has arrived whole.
    whole_until: u64,
}

/// The arrivals of one moment.
#[derive(Debug)]
pub(crate) enum Arrival {
    Nothing,
    /// Bytes, and the number of sends that they come from.
    Bytes(Vec<u8>, usize),
    End,
}

/// The position of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutAt {
    Before,
    Inside,
    After,
}

impl Pipe {
    /// Record the end of a frame that is about to be sent.
    pub(crate) fn frame(&mut self, ends_at: u64) {
        self.frame_ends.push_back(ends_at);
    }

    /// Send bytes and return the time at which they arrive, never before earlier bytes.
    pub(crate) fn send(&mut self, at: Micros, bytes: Vec<u8>) -> Micros {
        self.sent += bytes.len() as u64;
        self.last_at = self.last_at.max(at);
        if self.end.is_none() {
            self.segments.push_back((self.last_at, bytes));
        }
        self.last_at
    }

    /// End the pipe after the sent bytes, and return the time at which the receiver notices it.
    pub(crate) fn finish(&mut self, at: Micros) -> Micros {
        self.last_at = self.last_at.max(at);
        *self.end.get_or_insert(self.last_at)
    }

    /// End the pipe `kept` bytes after the bytes that have arrived.
    pub(crate) fn cut(&mut self, at: Micros, kept: u64) -> CutAt {
        let mut left = kept;
        let mut segments = VecDeque::new();
        for (at, mut bytes) in self.segments.drain(..) {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= bytes.len() as u64;
            if !bytes.is_empty() {
                segments.push_back((at, bytes));
            }
        }
        self.segments = segments;
        let place = self.delivered + kept;
        let whole = self.sent == place || self.frame_ends.contains(&place);
        let cut = match (whole, kept) {
            (false, 1..) => CutAt::Inside,
            // Part of a frame has arrived and the rest never will.
            (false, 0) if self.whole_until != self.delivered => CutAt::Inside,
            (false, 0) => CutAt::Before,
            (true, _) if self.sent > place => CutAt::Before,
            (true, _) => CutAt::After,
        };
        self.last_at = self.last_at.max(at);
        self.end = Some(self.end.map_or(self.last_at, |end| end.min(self.last_at)));
        cut
    }

    pub(crate) fn under_way(&self) -> u64 {
        self.segments.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// Return the bytes that have arrived by `now`.
    pub(crate) fn arrive(&mut self, now: Micros) -> Arrival {
        if self.dead || now < self.held_until {
            return Arrival::Nothing;
        }
        let mut bytes = Vec::new();
        let mut sends = 0;
        while let Some((_, segment)) = pop_front_if(&mut self.segments, |(at, _)| *at <= now) {
            sends += 1;
            if bytes.is_empty() {
                bytes = segment;
            } else {
                bytes.extend_from_slice(&segment);
            }
        }
        if sends > 0 {
            self.delivered += bytes.len() as u64;
            while let Some(end) = pop_front_if(&mut self.frame_ends, |end| *end <= self.delivered) {
                self.whole_until = end;
            }
            return Arrival::Bytes(bytes, sends);
        }
        match self.end {
            Some(end) if end <= now && self.segments.is_empty() => Arrival::End,
            Some(_) | None => Arrival::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_coalesce_behind_a_stall() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.send(5, b"ab".to_vec()), 5);
        assert_eq!(pipe.send(3, b"c".to_vec()), 5);
        pipe.held_until = 9;
        assert!(matches!(pipe.arrive(8), Arrival::Nothing));
        let Arrival::Bytes(bytes, 2) = pipe.arrive(9) else { panic!() };
        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn a_cut_reports_where_in_a_frame_it_falls() {
        for (arrived, kept, expected) in [
            (0, 0, CutAt::Before),
            (0, 2, CutAt::Inside),
            (2, 0, CutAt::Inside),
            (4, 0, CutAt::Before),
            (0, 4, CutAt::Before),
            (4, 4, CutAt::After),
        ] {
            let mut pipe = Pipe::default();
            pipe.frame(4);
            pipe.frame(8);
            let bytes = vec![0; arrived];
            if arrived > 0 {
                pipe.send(0, bytes);
                assert!(matches!(pipe.arrive(0), Arrival::Bytes(..)));
            }
            pipe.send(1, vec![0; 8 - arrived]);
            assert_eq!(pipe.cut(1, kept), expected, "{arrived} arrived, {kept} kept");
            assert_eq!(pipe.under_way(), kept);
        }
    }
}

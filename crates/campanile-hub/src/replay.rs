//! What a channel can send again to those who come back.
//!
//! Owns a channel's latest events, their numbers and the epoch that the numbers belong to. Never decides who may come back.
//! The invariant: the events of a ring follow each other without a hole and the last is the newest, so whoever is sent all
//! after a position has missed nothing; where that cannot be said, a gap is. Read on in [`crate::channel`].

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use campanile_protocol::{Access, ChannelName, Position, ServerFrame};

use crate::memory::Age;
use crate::timers::Moment;

/// What an event that can be sent again takes beside the bytes of its frame.
pub const REPLAYED_OVERHEAD_BYTES: usize = 128;

/// The channels of an app that can send events again, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replay {
    /// Names, or beginnings of names that end with `*`.
    pub channels: Vec<Box<str>>,
    /// The latest events of one channel.
    pub events_max: usize,
    /// What they may take, [`REPLAYED_OVERHEAD_BYTES`] for each included.
    pub bytes_max: usize,
    /// For how long, and for how long a channel that nobody is in is kept for those who come back.
    pub secs: u64,
}

impl Replay {
    /// Whether this channel can. Nobody can prove a position on a public one, and on an encrypted one clients take
    /// whatever comes for ciphertext.
    pub fn covers(&self, name: &ChannelName) -> bool {
        let may = matches!(name.kind().access, Access::Private | Access::Presence);
        may && self.channels.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.as_str().starts_with(beginning),
            None => *name.as_str() == **pattern,
        })
    }
}

#[derive(Debug, Clone)]
struct Event {
    frame: Bytes,
    until: Moment,
}

impl Event {
    fn cost(&self) -> usize {
        self.frame.len() + REPLAYED_OVERHEAD_BYTES
    }
}

/// Where epochs come from. Two rings never have the same: the numbers of a mind go on over its lives, those of two minds
/// differ, and the seed is another in each process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    pub(crate) seed: u64,
    /// How many have been drawn, with the worker in the upper bits.
    pub(crate) drawn: u64,
}

impl Epochs {
    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = DefaultHasher::new();
        ("replay", self.seed, self.drawn).hash(&mut hasher);
        hasher.finish()
    }
}

/// A channel's latest events.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    epoch: u64,
    /// The number of the newest event there was.
    newest: u64,
    events: VecDeque<Event>,
    bytes: usize,
    /// A channel that nobody is in is kept until then.
    until: Moment,
    /// Its place among all rings, by when they were last published to.
    pub(crate) age: Age,
}

/// The position is not of this epoch, or older than the ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap;

impl Ring {
    pub(crate) fn new(epoch: u64, age: Age) -> Self {
        Self { epoch, newest: 0, events: VecDeque::new(), bytes: 0, until: Moment::default(), age }
    }

    /// How far it has come.
    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.newest }
    }

    /// What its events take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Somebody subscribes, publishes or leaves.
    pub(crate) fn touch(&mut self, replay: &Replay, now: Moment) {
        self.until = now.after_secs(replay.secs);
    }

    /// Takes an event, and drops those for which there is no room or time any more.
    pub(crate) fn push(&mut self, frame: Bytes, replay: &Replay, now: Moment) {
        let event = Event { frame, until: now.after_secs(replay.secs) };
        self.newest += 1;
        self.bytes += event.cost();
        self.events.push_back(event);
        while self.events.len() > replay.events_max || self.bytes > replay.bytes_max {
            self.drop_oldest();
        }
        self.expire(now);
    }

    /// Drops the events whose time is over.
    pub(crate) fn expire(&mut self, now: Moment) {
        while self.events.front().is_some_and(|event| event.until <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.cost();
        }
        if self.events.is_empty() {
            // The room of a busy hour is not kept for a quiet one.
            self.events = VecDeque::new();
        }
    }

    /// The frames of all events after a position.
    pub(crate) fn after(&self, position: Position) -> Result<impl Iterator<Item = &Bytes>, Gap> {
        let missed = self.newest.checked_sub(position.number).and_then(|missed| usize::try_from(missed).ok());
        match missed {
            Some(missed) if position.epoch == self.epoch && missed <= self.events.len() => {
                Ok(self.events.range(self.events.len() - missed..).map(|event| &event.frame))
            }
            _ => Err(Gap),
        }
    }

    /// What is said to whoever may have missed something that nobody can send again.
    pub(crate) fn gap(&self, channel: &str) -> Bytes {
        let kept = u64::try_from(self.events.len()).expect("a ring is bounded by a setting");
        let oldest = Position { epoch: self.epoch, number: self.newest - kept + u64::from(kept > 0) };
        ServerFrame::ReplayGap { channel, oldest, newest: self.position() }.encode()
    }

    /// When there will be something to forget: an event, or, where nobody is in the channel, all of it.
    pub(crate) fn next_due(&self, is_empty: bool) -> Option<Moment> {
        let event = self.events.front().map(|event| event.until);
        [is_empty.then_some(self.until), event].into_iter().flatten().min()
    }

    /// Whether it is not kept any longer for those who may come back.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        self.until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppIndex;
    use crate::letter::ChannelKey;
    use crate::memory::Memory;

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name, 164).unwrap()
    }

    fn replay() -> Replay {
        Replay { channels: vec!["private-a*".into()], events_max: 3, bytes_max: 10_000, secs: 10 }
    }

    fn ring() -> Ring {
        let key = ChannelKey { app: AppIndex(0), name: name("private-a") };
        Ring::new(7, Memory::default().remember(&key, 0, None))
    }

    fn push(ring: &mut Ring, replay: &Replay, text: &'static str, at: u64) {
        ring.push(Bytes::from_static(text.as_bytes()), replay, Moment(at));
    }

    /// What comes after a number of its epoch.
    fn after(ring: &Ring, number: u64) -> Result<String, Gap> {
        let frames: Vec<&str> =
            ring.after(Position { epoch: 7, number })?.map(|frame| std::str::from_utf8(frame).unwrap()).collect();
        Ok(frames.concat())
    }

    #[test]
    fn a_pattern_is_a_name_or_its_beginning_and_covers_what_can_be_signed_and_read() {
        let channels = ["private-a", "presence-a*", "private-*", "*"];
        let covered =
            |pattern: &str, channel: &str| Replay { channels: vec![pattern.into()], ..replay() }.covers(&name(channel));
        let cases = ["private-a", "private-ab", "private-cache-a", "presence-a.1", "private-encrypted-a", "a"];
        let table: Vec<Vec<bool>> =
            channels.iter().map(|pattern| cases.iter().map(|case| covered(pattern, case)).collect()).collect();
        assert_eq!(table[0], [true, false, false, false, false, false]);
        assert_eq!(table[1], [false, false, false, true, false, false]);
        assert_eq!(table[2], [true, true, true, false, false, false]);
        assert_eq!(table[3], [true, true, true, true, false, false]);
    }

    #[test]
    fn whoever_is_not_further_back_than_the_ring_is_sent_all_that_came_after() {
        let (mut ring, replay) = (ring(), replay());
        assert_eq!(after(&ring, 0), Ok(String::new()));
        for text in ["1", "2", "3", "4"] {
            push(&mut ring, &replay, text, 0);
        }
        assert_eq!(after(&ring, 0), Err(Gap));
        assert_eq!(after(&ring, 1), Ok("234".to_owned()));
        assert_eq!(after(&ring, 3), Ok("4".to_owned()));
        assert_eq!(after(&ring, 4), Ok(String::new()));
        assert_eq!(after(&ring, 5), Err(Gap));
        assert!(ring.after(Position { epoch: 8, number: 4 }).is_err());
    }

    #[test]
    fn at_the_bound_of_bytes_all_are_kept_and_one_past_it_the_oldest_goes() {
        let cost = 1 + REPLAYED_OVERHEAD_BYTES;
        for (bytes_max, kept) in [(2 * cost, 2), (2 * cost - 1, 1), (cost - 1, 0)] {
            let (mut ring, replay) = (ring(), Replay { bytes_max, ..replay() });
            push(&mut ring, &replay, "1", 0);
            push(&mut ring, &replay, "2", 0);
            assert_eq!((ring.events.len(), ring.bytes()), (kept, kept * cost));
            assert_eq!(ring.position().number, 2);
        }
    }

    #[test]
    fn an_event_has_its_time_and_a_channel_that_nobody_is_in_has_it_from_when_it_was_last_used() {
        let (mut ring, replay) = (ring(), replay());
        push(&mut ring, &replay, "1", 0);
        push(&mut ring, &replay, "2", 4000);
        ring.touch(&replay, Moment(6000));
        assert_eq!((ring.next_due(false), ring.next_due(true)), (Some(Moment(10_000)), Some(Moment(10_000))));
        ring.expire(Moment(9999));
        assert_eq!(after(&ring, 0), Ok("12".to_owned()));
        ring.expire(Moment(10_000));
        assert_eq!((after(&ring, 0), after(&ring, 1)), (Err(Gap), Ok("2".to_owned())));
        ring.expire(Moment(14_000));
        assert_eq!((ring.next_due(false), ring.next_due(true)), (None, Some(Moment(16_000))));
        // Whoever has heard all of it has missed nothing, though nothing is left.
        assert_eq!((after(&ring, 1), after(&ring, 2)), (Err(Gap), Ok(String::new())));
        assert!(!ring.is_over(Moment(15_999)) && ring.is_over(Moment(16_000)));
    }

    #[test]
    fn a_gap_names_the_oldest_event_that_is_left_and_the_newest() {
        let (mut ring, replay) = (ring(), replay());
        let gap = |ring: &Ring| String::from_utf8_lossy(&ring.gap("private-a")).into_owned();
        assert!(gap(&ring).contains(r#""data":"{\"oldest\":\"7-0\",\"newest\":\"7-0\"}""#), "{}", gap(&ring));
        for text in ["1", "2", "3", "4"] {
            push(&mut ring, &replay, text, 0);
        }
        assert!(gap(&ring).contains(r#""data":"{\"oldest\":\"7-2\",\"newest\":\"7-4\"}""#), "{}", gap(&ring));
    }
}

//! Oddities of protocols, by Zeek's names: those that detections or people ask for. Sampled, so that a flood of them is no flood of events.

use slips_core::event::{Event, Weird};
use slips_core::time::{PacketTime, Span};

use crate::emit;
use crate::track::Track;

/// As Zeek samples: the first 25 of a name within ten minutes, then one in a thousand.
const FREELY: u64 = 25;
const ONE_IN: u64 = 1000;
const PERIOD: Span = Span::from_secs(600);

#[derive(Debug)]
struct Count {
    name: &'static str,
    since: PacketTime,
    seen: u64,
}

/// How often each name was seen lately. Names are fixed, hence few.
#[derive(Debug, Default)]
pub(crate) struct Weirds {
    counts: Vec<Count>,
}

impl Weirds {
    /// Whether one more of a name is told.
    fn may_tell(&mut self, name: &'static str, at: PacketTime) -> bool {
        let place = self.counts.iter().position(|count| count.name == name).unwrap_or_else(|| {
            self.counts.push(Count { name, since: at, seen: 0 });
            self.counts.len() - 1
        });
        let Some(count) = self.counts.get_mut(place) else { return false };
        if at.since(count.since) > PERIOD {
            (count.since, count.seen) = (at, 0);
        }
        count.seen += 1;
        count.seen <= FREELY || count.seen.is_multiple_of(ONE_IN)
    }

    /// Something odd was seen in a flow.
    pub(crate) fn note(
        &mut self,
        name: &'static str,
        addl: &str,
        track: &Track,
        at: PacketTime,
        out: &mut Vec<Event>,
    ) {
        if self.may_tell(name, at) {
            let addl = addl.chars().take(128).collect();
            out.push(Event::Weird(Box::new(Weird {
                about: emit::about(track, at),
                name: name.to_owned(),
                addl,
            })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_name_is_sampled_and_others_are_not() {
        let mut weirds = Weirds::default();
        let told = (0..10_000).filter(|n| weirds.may_tell("a", PacketTime(*n))).count();
        assert_eq!(told, 25 + 10);
        assert!(weirds.may_tell("b", PacketTime(0)));
        assert!(weirds.may_tell("a", PacketTime(700_000_000)));
    }
}

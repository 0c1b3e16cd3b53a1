//! What we tell of our own findings, and how often: each attacker once, then again when it grew, and a word back when it was wrong.
//!
//! Only own findings come in here. What peers said is never told on: an echo would look like a second witness.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::indicator::Indicator;
use crate::message::{Message, Percent, Reason, Report, Retract};
use crate::moment::Moment;
use crate::privacy::{self, Sighting, Withheld};

/// The same attacker is not told again before so long, unless there is worse to say.
pub const AGAIN: Duration = Duration::from_secs(600);
/// How long a report holds.
pub const REPORT_HOLDS: Duration = Duration::from_secs(86_400);
/// Most attackers of whom it is remembered what was told; the one told longest ago makes room.
const REMEMBERED: usize = 4096;
/// Most attackers of whom peers were asked, or may ask us.
const ASKED: usize = 4096;
/// Peers are not asked about the same attacker again before so long: the original's 1000 s.
const ASK_AGAIN: Duration = Duration::from_secs(1000);
/// An answer comes within this time, or is none: the node waits for three seconds, and is slow at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Most attackers in one question.
const IN_ONE: usize = 32;

/// What was told of one attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    at: Moment,
    until: Moment,
    count: u64,
    blocks: bool,
}

/// What we told, and what we asked.
#[derive(Clone, Debug, Default)]
pub struct Sharing {
    told: BTreeMap<Indicator, Told>,
    by_time: BTreeSet<(Moment, Indicator)>,
    asked: BTreeMap<Indicator, Moment>,
    asked_order: BTreeSet<(Moment, Indicator)>,
    to_ask: BTreeSet<Indicator>,
}

impl Sharing {
    /// What is to be told of a finding now, and for how long it holds. `blocked` is the term of our own block, if we block it.
    ///
    /// # Errors
    /// When it must not be told at all.
    pub fn tell(
        &mut self,
        sighting: &Sighting,
        blocked: Option<Duration>,
        now: Moment,
    ) -> Result<Option<(Message, Duration)>, Withheld> {
        let (message, ttl) = match blocked {
            Some(term) => {
                let request = privacy::block_request(sighting, term)?;
                let ttl = request.duration;
                (Message::Block(request), ttl)
            }
            None => (Message::Report(privacy::report(sighting)?), REPORT_HOLDS),
        };
        let until = now.plus(ttl);
        let told = Told { at: now, until, count: sighting.count, blocks: blocked.is_some() };
        let worth = match self.told.get(&sighting.indicator) {
            None => true,
            Some(before) if before.until <= now => true,
            Some(before) if told.blocks && !before.blocks => true,
            // A report does not take the place of the request to block that stands.
            Some(before) if before.blocks && !told.blocks => false,
            Some(before) => {
                now.since(before.at) >= AGAIN && (told.count > before.count || until > before.until)
            }
        };
        if !worth {
            return Ok(None);
        }
        self.note(&sighting.indicator, told);
        Ok(Some((message, ttl)))
    }

    fn note(&mut self, indicator: &Indicator, told: Told) {
        if let Some(before) = self.told.insert(indicator.clone(), told) {
            self.by_time.remove(&(before.at, indicator.clone()));
        }
        self.by_time.insert((told.at, indicator.clone()));
        if self.told.len() > REMEMBERED
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.told.remove(&oldest);
        }
    }

    /// Notes what an earlier run told: it is not told again, and can be taken back.
    pub fn restore(&mut self, message: &Message, at: Moment, until: Moment) {
        let (report, blocks) = match message {
            Message::Report(report) => (report, false),
            Message::Block(block) => (&block.report, true),
            Message::Retract(retract) => {
                if let Some(indicator) = &retract.indicator {
                    self.forget(indicator);
                }
                return;
            }
            Message::Roster(_) | Message::Announce(_) | Message::List(_) => return,
        };
        self.note(&report.indicator, Told { at, until, count: report.count, blocks });
    }

    /// Takes back what was told of all that `covers` says, for this reason; and for how long that holds.
    pub fn take_back(
        &mut self,
        covers: impl Fn(&Indicator) -> bool,
        reason: Reason,
        now: Moment,
    ) -> Vec<(Message, Duration)> {
        let wrong: Vec<Indicator> = self.told.keys().filter(|told| covers(told)).cloned().collect();
        let mut words = Vec::new();
        for indicator in wrong {
            let Some(told) = self.forget(&indicator) else { continue };
            let left = told.until.since(now);
            if !left.is_zero() {
                // It outlives what it takes back, also where that came late.
                let ttl = left.saturating_add(Duration::from_secs(300));
                words.push((Message::Retract(Retract { indicator: Some(indicator), reason }), ttl));
            }
        }
        words
    }

    fn forget(&mut self, indicator: &Indicator) -> Option<Told> {
        let told = self.told.remove(indicator)?;
        self.by_time.remove(&(told.at, indicator.clone()));
        Some(told)
    }

    /// Whether a report or request of ours about it holds.
    pub fn is_told(&self, indicator: &Indicator, now: Moment) -> bool {
        self.told.get(indicator).is_some_and(|told| told.until > now)
    }

    /// An attacker became suspicious: peers are asked about it, with others that became so in the same moment.
    pub fn wonder(&mut self, indicator: &Indicator, now: Moment) {
        let lately = self.asked.get(indicator).is_some_and(|at| now.since(*at) < ASK_AGAIN);
        if lately || self.to_ask.len() >= ASKED {
            return;
        }
        self.to_ask.insert(indicator.clone());
    }

    /// The next question, if there is one.
    pub fn question(&mut self, now: Moment) -> Option<Vec<Indicator>> {
        let some: Vec<Indicator> = self.to_ask.iter().take(IN_ONE).cloned().collect();
        for indicator in &some {
            self.to_ask.remove(indicator);
            if let Some(before) = self.asked.insert(indicator.clone(), now) {
                self.asked_order.remove(&(before, indicator.clone()));
            }
            self.asked_order.insert((now, indicator.clone()));
            if self.asked.len() > ASKED
                && let Some((_, oldest)) = self.asked_order.pop_first()
            {
                self.asked.remove(&oldest);
            }
        }
        (!some.is_empty()).then_some(some)
    }

    /// Whether we asked about `indicator` so lately that an answer can come still.
    pub fn awaits(&self, indicator: &Indicator, now: Moment) -> bool {
        self.asked.get(indicator).is_some_and(|at| now.since(*at) < ANSWER_WITHIN)
    }
}

/// What a followed list says about one of its entries, as a report.
pub fn report_of(indicator: &Indicator, score: Percent, confidence: Percent, last: Moment) -> Report {
    Report {
        indicator: indicator.clone(),
        score,
        confidence,
        evidence: Vec::new(),
        count: 1,
        first: last,
        last,
        services: Vec::new(),
        direction: crate::message::Direction::Unknown,
        tlp: crate::message::Tlp::Green,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Direction;
    use slips_core::evidence::{EvidenceKind, Proof};

    const NOW: Moment = Moment(1_793_600_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn seen(host: u8, count: u64) -> Sighting {
        Sighting {
            indicator: Indicator::host([198, 51, 100, host].into()).expect("public"),
            score: 1.0,
            confidence: 1.0,
            evidence: vec![EvidenceKind::VerticalPortScan],
            count,
            first: NOW,
            last: NOW,
            services: Vec::new(),
            direction: Direction::Attacked,
            proof: Proof::Proven,
        }
    }

    #[test]
    fn an_attacker_is_told_once_and_again_when_it_grew() {
        let mut sharing = Sharing::default();
        let mut told = |count, blocked, at: Moment| {
            sharing.tell(&seen(7, count), blocked, at).expect("proven").map(|(message, _)| message.kind())
        };
        use crate::message::Kind;
        assert_eq!(told(1, None, NOW), Some(Kind::Report));
        assert_eq!(told(9, None, NOW.plus(HOUR / 60)), None, "too soon");
        // There is worse to say: at once.
        assert_eq!(told(9, Some(HOUR), NOW.plus(HOUR / 60)), Some(Kind::Block));
        assert_eq!(told(99, None, NOW.plus(HOUR / 2)), None, "the request stands");
        assert_eq!(told(99, Some(HOUR), NOW.plus(HOUR / 2)), Some(Kind::Block));
        assert_eq!(told(99, Some(HOUR / 4), NOW.plus(HOUR * 3 / 4)), None, "nothing new");
        assert_eq!(told(99, None, NOW.plus(HOUR * 2)), Some(Kind::Report), "the request has ended");
    }

    #[test]
    fn what_could_be_forged_is_not_told() {
        let mut forged = seen(7, 1);
        forged.proof = Proof::Unproven;
        for blocked in [None, Some(HOUR)] {
            assert_eq!(Sharing::default().tell(&forged, blocked, NOW), Err(Withheld::Unproven));
        }
    }

    #[test]
    fn what_was_wrong_is_taken_back_once_for_as_long_as_it_would_hold() {
        let mut sharing = Sharing::default();
        for host in [7, 8] {
            sharing.tell(&seen(host, 1), Some(HOUR), NOW).expect("proven").expect("new");
        }
        let wrong = seen(7, 1).indicator;
        let back = sharing.take_back(|told| *told == wrong, Reason::FalsePositive, NOW.plus(HOUR / 2));
        let [(Message::Retract(retract), ttl)] = back.as_slice() else { panic!("{back:?}") };
        assert_eq!(retract.indicator, Some(wrong.clone()));
        assert!(*ttl > HOUR / 2);
        assert!(sharing.take_back(|told| *told == wrong, Reason::FalsePositive, NOW).is_empty());
        assert!(sharing.is_told(&seen(8, 1).indicator, NOW) && !sharing.is_told(&wrong, NOW));
        // What has ended anyway needs no word.
        assert!(sharing.take_back(|_| true, Reason::Over, NOW.plus(HOUR * 2)).is_empty());
        // After a restart it can be taken back, too.
        let mut later = Sharing::default();
        let (message, ttl) = Sharing::default().tell(&seen(9, 1), None, NOW).expect("proven").expect("new");
        later.restore(&message, NOW, NOW.plus(ttl));
        assert_eq!(later.take_back(|_| true, Reason::FalsePositive, NOW).len(), 1);
    }

    #[test]
    fn peers_are_asked_about_many_at_once_and_about_none_twice_within_a_while() {
        let mut sharing = Sharing::default();
        for host in 0..40 {
            sharing.wonder(&seen(host, 1).indicator, NOW);
            sharing.wonder(&seen(host, 1).indicator, NOW);
        }
        let asked: Vec<usize> =
            std::iter::from_fn(|| sharing.question(NOW)).map(|question| question.len()).collect();
        assert_eq!(asked, [32, 8]);
        let first = seen(1, 1).indicator;
        assert!(sharing.awaits(&first, NOW) && !sharing.awaits(&first, NOW.plus(ANSWER_WITHIN)));
        assert!(!sharing.awaits(&seen(200, 1).indicator, NOW));
        sharing.wonder(&seen(3, 1).indicator, NOW.plus(ASK_AGAIN / 2));
        assert_eq!(sharing.question(NOW.plus(ASK_AGAIN / 2)), None);
        sharing.wonder(&seen(3, 1).indicator, NOW.plus(ASK_AGAIN));
        assert_eq!(sharing.question(NOW.plus(ASK_AGAIN)).map(|question| question.len()), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut sharing = Sharing::default();
        for n in 0..REMEMBERED as u32 + 100 {
            let mut seen = seen(1, 1);
            let ip = std::net::Ipv4Addr::from(u32::from_be_bytes([45, 0, 0, 0]) + n);
            seen.indicator = Indicator::host(ip.into()).expect("public");
            sharing.tell(&seen, None, NOW.plus(Duration::from_millis(n.into()))).expect("proven");
            sharing.wonder(&seen.indicator, NOW);
            sharing.question(NOW.plus(Duration::from_millis(n.into())));
        }
        assert_eq!((sharing.told.len(), sharing.by_time.len()), (REMEMBERED, REMEMBERED));
        assert_eq!((sharing.asked.len(), sharing.asked_order.len()), (ASKED, ASKED));
    }
}

//! The desk: what is asked next, of whom, and what becomes of the answers. It knows no clock and no socket; both are handed in.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use slips_core::event::Report;
use slips_core::time::PacketTime;
use slips_store::{Answers, StoreError};

use super::{Case, Opinion, Service, Subject, Trouble, rdap, registered_days};
use crate::outside::Asks;

/// Questions that may wait for a service; beyond it the newest are left unasked and counted.
const WAITING: usize = 256;
/// Cases that are remembered, so that each is weighed once; twice as many at most.
const REMEMBERED: usize = 8192;
/// A case is weighed again after this time.
const AGAIN: Duration = Duration::from_secs(3600);
/// Answers that are kept.
pub const KEPT: u32 = 100_000;
/// The first rest after trouble; it doubles with each further one up to the longest.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// A question that found no answer so often is given up.
const TRIES: u32 = 2;

/// What the desk tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Something is evident.
    Finding(Box<Report>),
    /// A domain was registered so many days ago.
    Age(Box<str>, u32),
    /// Something is wrong with a service, for a person.
    Problem(String),
}

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Time that only goes forward.
    pub steady: Duration,
    /// Seconds since the Unix epoch.
    pub wall: i64,
}

/// What a service answered to a question by hand, or why it did not.
pub type Answered = (&'static str, Result<Opinion, String>);

/// See the module.
pub struct Desk {
    counters: Vec<Counter>,
    answers: Answers,
    /// Cases that were weighed lately, and those before them.
    weighed: [HashSet<Case>; 2],
    turned: Duration,
    /// Questions that were left unasked.
    pub unasked: u64,
}

/// Where the questions for a service wait.
struct Counter {
    service: Box<dyn Service>,
    waiting: VecDeque<(Case, u32)>,
    /// When it may be asked next.
    next: Duration,
    /// How often in a row there was trouble.
    troubles: u32,
    /// It does not take our key: it is asked no more.
    closed: bool,
    /// The day on which its quota was used up.
    used_up: Option<i64>,
}

impl Desk {
    /// For these services, with the answers that are kept.
    pub fn new(services: Vec<Box<dyn Service>>, answers: Answers) -> Self {
        let counter = |service| Counter {
            service,
            waiting: VecDeque::new(),
            next: Duration::ZERO,
            troubles: 0,
            closed: false,
            used_up: None,
        };
        Self {
            counters: services.into_iter().map(counter).collect(),
            answers,
            weighed: Default::default(),
            turned: Duration::ZERO,
            unasked: 0,
        }
    }

    /// Domains whose age is known from before, with their days.
    pub fn ages(&self, most: u32, now: i64) -> Result<Vec<(String, u32)>, StoreError> {
        let kept = self.answers.of(rdap::NAME, most)?.into_iter();
        Ok(kept.filter_map(|(domain, answer)| Some((domain, registered_days(&answer, now)?))).collect())
    }

    /// Takes a case: what is known is told at once, the rest waits for its turn.
    pub fn take(&mut self, case: Case, now: Moment, told: &mut Vec<Told>) -> Result<(), StoreError> {
        if !self.is_new(&case, now.steady) {
            return Ok(());
        }
        for counter in self.counters.iter_mut().filter(|counter| counter.service.knows(&case.subject)) {
            let name = counter.service.name();
            if let Some(answer) = self.answers.get(name, &case.subject.to_string(), now.wall)? {
                if let Ok(mut opinion) = serde_json::from_str(&answer) {
                    counter.service.weigh(&mut opinion);
                    tell(&case, &opinion, now, told);
                }
            } else if counter.waiting.len() >= WAITING || counter.closed {
                self.unasked += 1;
            } else {
                counter.waiting.push_back((case.clone(), 0));
            }
        }
        Ok(())
    }

    /// Asks all services about something at once, by hand: each question counts, but the pace of a minute is the person's.
    pub fn ask_about(
        &mut self,
        subject: &Subject,
        asks: &mut dyn Asks,
        now: i64,
    ) -> Result<Vec<Answered>, StoreError> {
        let mut all = Vec::new();
        for counter in self.counters.iter().filter(|counter| counter.service.knows(subject)) {
            let (service, name, text) = (&counter.service, counter.service.name(), subject.to_string());
            let day = now.div_euclid(86_400);
            let kept = self.answers.get(name, &text, now)?;
            if let Some(opinion) = kept.and_then(|answer| serde_json::from_str(&answer).ok()) {
                all.push((name, Ok(opinion)));
            } else if self.answers.counted(name, day)? >= service.pace().day {
                all.push((name, Err("has been asked as often as it may be today".into())));
            } else {
                self.answers.count(name, day)?;
                let answer = service.ask(subject, asks).map_err(|trouble| trouble.to_string());
                if let Ok(opinion) = &answer {
                    let until = until(service.as_ref(), opinion, now);
                    let kept = serde_json::to_string(opinion).unwrap_or_default();
                    self.answers.put(name, &text, &kept, (now, until), KEPT)?;
                }
                all.push((name, answer));
            }
        }
        Ok(all)
    }

    fn is_new(&mut self, case: &Case, now: Duration) -> bool {
        let [recent, before] = &mut self.weighed;
        if recent.len() >= REMEMBERED || now.saturating_sub(self.turned) >= AGAIN {
            *before = std::mem::take(recent);
            self.turned = now;
        }
        !before.contains(case) && recent.insert(case.clone())
    }

    /// How long until a question may be asked; nothing when none waits.
    pub fn wait(&self, now: Moment) -> Option<Duration> {
        let open = self.counters.iter().filter(|counter| !counter.waiting.is_empty() && counter.is_open(now));
        open.map(|counter| counter.next.saturating_sub(now.steady)).min()
    }

    /// Asks one question, if one may be asked.
    pub fn turn(&mut self, asks: &mut dyn Asks, now: Moment, told: &mut Vec<Told>) -> Result<(), StoreError> {
        let may = |counter: &&mut Counter| counter.is_open(now) && now.steady >= counter.next;
        // Who waited longest in front.
        let Some(counter) =
            self.counters.iter_mut().filter(may).filter(|c| !c.waiting.is_empty()).min_by_key(|c| c.next)
        else {
            return Ok(());
        };
        let Some((case, tries)) = counter.waiting.pop_front() else { return Ok(()) };
        let (name, subject) = (counter.service.name(), case.subject.to_string());
        // Another case was about the same, and its answer is here by now.
        if let Some(answer) = self.answers.get(name, &subject, now.wall)? {
            if let Ok(mut opinion) = serde_json::from_str(&answer) {
                counter.service.weigh(&mut opinion);
                tell(&case, &opinion, now, told);
            }
            return Ok(());
        }
        let pace = counter.service.pace();
        let day = now.wall.div_euclid(86_400);
        if self.answers.counted(name, day)? >= pace.day {
            counter.used_up = Some(day);
            counter.waiting.push_front((case, tries));
            return Ok(());
        }
        // Counted before it is asked: a restart in between must not be a gift.
        self.answers.count(name, day)?;
        counter.next = now.steady + Duration::from_secs(60) / pace.minute.max(1);
        match counter.service.ask(&case.subject, asks) {
            Ok(mut opinion) => {
                counter.troubles = 0;
                let until = until(counter.service.as_ref(), &opinion, now.wall);
                let kept = serde_json::to_string(&opinion).unwrap_or_default();
                self.answers.put(name, &subject, &kept, (now.wall, until), KEPT)?;
                counter.service.weigh(&mut opinion);
                tell(&case, &opinion, now, told);
            }
            Err(trouble) => counter.rest(case, tries, &trouble, now, told),
        }
        Ok(())
    }
}

impl Counter {
    fn is_open(&self, now: Moment) -> bool {
        !self.closed && self.used_up.is_none_or(|day| day != now.wall.div_euclid(86_400))
    }

    fn rest(&mut self, case: Case, tries: u32, trouble: &Trouble, now: Moment, told: &mut Vec<Told>) {
        let name = self.service.name();
        let doubled = REST.saturating_mul(1 << self.troubles.min(10)).min(LONGEST_REST);
        let rest = match trouble {
            Trouble::Enough(asked) => {
                Duration::from_secs(asked.unwrap_or(0)).clamp(doubled, LONGEST_REST.max(doubled) * 24)
            }
            _ => doubled,
        };
        self.next = self.next.max(now.steady + rest);
        self.troubles = self.troubles.saturating_add(1);
        match trouble {
            Trouble::Key => {
                self.closed = true;
                self.waiting.clear();
                told.push(Told::Problem(format!("{name} {trouble}; it is asked no more")));
            }
            Trouble::Enough(_) => self.waiting.push_front((case, tries)),
            Trouble::Missed(_) if tries + 1 < TRIES => self.waiting.push_back((case, tries + 1)),
            Trouble::Missed(_) => {}
        }
        // Once in a row of troubles, and not for the first: any server is away now and then.
        if self.troubles == 5 && !self.closed {
            told.push(Told::Problem(format!("{name}: {trouble}")));
        }
    }
}

/// Until when an answer of now holds.
fn until(service: &dyn Service, opinion: &Opinion, now: i64) -> i64 {
    let holds = service.opinion_holds(opinion).as_secs();
    now.saturating_add(i64::try_from(holds).unwrap_or(0))
}

fn tell(case: &Case, opinion: &Opinion, now: Moment, told: &mut Vec<Told>) {
    if let Some(verdict) = &opinion.verdict {
        let at = PacketTime(now.wall.saturating_mul(1_000_000));
        let (src, dst) = case.sides();
        let report = |finding| Told::Finding(Box::new(Report { finding, src, dst }));
        told.extend(case.findings(verdict, at).into_iter().map(report));
    }
    if let (Subject::Domain(domain), Some(registered)) = (&case.subject, opinion.facts.get("registered")) {
        let since = registered.as_i64().map(|at| now.wall.saturating_sub(at).max(0) / 86_400);
        if let Some(days) = since.and_then(|days| u32::try_from(days).ok()) {
            told.push(Told::Age(domain.clone(), days));
        }
    }
}

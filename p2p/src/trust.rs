//! How far a peer is believed: counts of what our own experience confirmed and refuted (a Beta model), which fade.
//!
//! Only our own detections, the author's retractions and the owner's hand move trust. To ask, to echo and to be silent earn
//! nothing. The formulas, their sources and what they do against liars are in docs/trust.md.

use std::time::Duration;

use crate::moment::Moment;

/// The constants of the model. The defaults are those whose behaviour docs/trust.md shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// After so long a confirmation or refutation counts half.
    pub half_life: Duration,
    /// How many confirmations the configured weight is worth.
    pub prior: f64,
    /// How many confirmations outweigh a refutation of weight 1.
    pub loss_factor: f64,
    /// How much uncertainty costs: so many standard deviations of one yes-or-no outcome (SORT's competence less half integrity).
    pub caution: f64,
    /// Below this a peer that was refuted often enough is quarantined.
    pub quarantine_below: f64,
    /// So many separate refutations are enough. A canary is at once.
    pub quarantine_after: u32,
    /// Confirmations that count in one day.
    pub gains_a_day: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(14 * 86_400),
            prior: 6.0,
            loss_factor: 5.0,
            caution: 0.5,
            quarantine_below: 0.08,
            quarantine_after: 2,
            gains_a_day: 20,
        }
    }
}

/// What speaks for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gain {
    /// Our own detection alerted on what it was the first to report.
    First,
    /// The same, for those who reported it later.
    Also,
    /// Our own detection found evidence of half an alert; or an alert that makes such evidence whole.
    Half,
}

impl Gain {
    /// How many confirmations it is worth.
    pub const fn weight(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Also | Self::Half => 0.5,
        }
    }

    /// Lower-case name for the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first to report what we detected",
            Self::Also => "reported what we detected",
            Self::Half => "reported what we found suspicious",
        }
    }
}

/// What speaks against a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// It reported one of our canaries: an address that nobody uses and nobody was told of.
    Canary,
    /// It reported what must never be blocked.
    Protected,
    /// The owner unblocked what it reported, or called it a false positive.
    Owner,
    /// We talked with what it reported for ten minutes or more, both ways, and found nothing.
    Benign,
    /// It took a report back within the hour: honesty is cheap.
    Retracted,
}

impl Loss {
    /// How many refutations it is worth.
    pub const fn weight(self) -> f64 {
        match self {
            Self::Canary | Self::Protected => 3.0,
            Self::Owner => 2.0,
            Self::Benign => 0.25,
            Self::Retracted => 0.1,
        }
    }

    /// Lower-case name for the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canary => "reported a canary",
            Self::Protected => "reported what is never blocked",
            Self::Owner => "the owner refuted its report",
            Self::Benign => "reported whom we talk with",
            Self::Retracted => "took its report back",
        }
    }
}

/// What is known of one peer. All fields are kept on disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The configured weight, 0 to 1: what it is believed before we know better.
    pub base: f64,
    /// Faded confirmations.
    pub confirmed: f64,
    /// Faded refutations.
    pub refuted: f64,
    /// The moment to which both are faded.
    pub at: Moment,
    /// Separate refutations since the last pardon; retractions are none.
    pub losses: u32,
    /// Weight 0 until the owner pardons.
    pub quarantined: bool,
    /// The day of the latest confirmation, and how many that day had.
    pub today: (u64, u32),
}

impl Standing {
    /// A peer of whom nothing is known but its configured weight.
    pub fn new(base: f64, now: Moment) -> Self {
        let base = if base.is_finite() { base.clamp(0.0, 1.0) } else { 0.0 };
        Self { base, confirmed: 0.0, refuted: 0.0, at: now, losses: 0, quarantined: false, today: (0, 0) }
    }

    fn faded(&self, rules: &Rules, now: Moment) -> f64 {
        let lives = now.since(self.at).as_secs_f64() / rules.half_life.as_secs_f64().max(1.0);
        (-lives).exp2()
    }

    fn fade(&mut self, rules: &Rules, now: Moment) {
        let left = self.faded(rules, now);
        self.confirmed *= left;
        self.refuted *= left;
        self.at = self.at.max(now);
    }

    /// How far it is believed, 0 to 1.
    pub fn trust(&self, rules: &Rules, now: Moment) -> f64 {
        if self.quarantined {
            return 0.0;
        }
        let left = self.faded(rules, now);
        let (confirmed, refuted) = (self.confirmed * left, self.refuted * left);
        let share = (confirmed + rules.prior * self.base) / (confirmed + refuted + rules.prior);
        (share - rules.caution * (share * (1.0 - share)).sqrt()).max(0.0)
    }

    /// Notes a confirmation; false when today has had enough of them.
    pub fn gain(&mut self, rules: &Rules, gain: Gain, now: Moment) -> bool {
        let (day, count) = self.today;
        let count = if day == now.day() { count } else { 0 };
        if count >= rules.gains_a_day {
            return false;
        }
        self.today = (now.day(), count + 1);
        self.fade(rules, now);
        self.confirmed += gain.weight();
        true
    }

    /// Notes a refutation of something said with `mass` = score × confidence. True when this led to quarantine.
    pub fn lose(&mut self, rules: &Rules, loss: Loss, mass: f64, now: Moment) -> bool {
        self.fade(rules, now);
        self.refuted += rules.loss_factor * loss.weight() * mass.clamp(0.0, 1.0);
        if loss != Loss::Retracted {
            self.losses = self.losses.saturating_add(1);
        }
        let enough = self.losses >= rules.quarantine_after || loss == Loss::Canary;
        let falls = enough && !self.quarantined && self.trust(rules, now) < rules.quarantine_below;
        self.quarantined |= falls;
        falls
    }

    /// The owner's word: begin again from the configured weight.
    pub fn pardon(&mut self, now: Moment) {
        *self = Self::new(self.base, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: fn() -> Rules = Rules::default;
    const DAY: Duration = Duration::from_secs(86_400);

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 0.005, "{got} is not {want}");
    }

    /// The figures of the design (reference: p2p, 4.5), recomputed.
    #[test]
    fn the_formulas_give_the_published_figures() {
        let now = Moment(0);
        for (base, want) in [(0.0, 0.0), (0.3, 0.071), (0.6, 0.355), (1.0, 1.0)] {
            near(Standing::new(base, now).trust(&RULES(), now), want);
        }
        let mut fresh = Standing::new(0.6, now);
        assert!(fresh.lose(&RULES(), Loss::Canary, 1.0, now), "one canary quarantines a fresh peer");
        near(fresh.trust(&RULES(), now), 0.0);
    }

    /// One confirmation a day for two months: an honest peer settles at 0.78; a canary halves it, and it comes back.
    #[test]
    fn an_honest_peer_settles_and_recovers() {
        let mut peer = Standing::new(0.6, Moment(0));
        let mut now = Moment(0);
        for _ in 0..60 {
            now = now.plus(DAY);
            assert!(peer.gain(&RULES(), Gain::First, now));
        }
        let settled = peer.trust(&RULES(), now);
        assert!((0.70..0.85).contains(&settled), "{settled}");
        assert!(!peer.lose(&RULES(), Loss::Canary, 1.0, now));
        let hit = peer.trust(&RULES(), now);
        assert!((0.2..0.45).contains(&hit), "{hit}");
        for _ in 0..60 {
            now = now.plus(DAY);
            peer.gain(&RULES(), Gain::First, now);
        }
        assert!(peer.trust(&RULES(), now) > 0.7);
    }

    #[test]
    fn gains_of_one_day_are_capped_and_losses_are_not() {
        let mut peer = Standing::new(0.6, Moment(0));
        assert_eq!((0..50).filter(|_| peer.gain(&RULES(), Gain::Also, Moment(5))).count(), 20);
        assert!(peer.gain(&RULES(), Gain::Also, Moment(0).plus(DAY)));
        let before = peer.trust(&RULES(), Moment(0).plus(DAY));
        peer.lose(&RULES(), Loss::Benign, 1.0, Moment(0).plus(DAY));
        assert!(peer.trust(&RULES(), Moment(0).plus(DAY)) < before);
    }

    #[test]
    fn quarantine_needs_two_refutations_and_ends_by_hand_only() {
        let mut peer = Standing::new(0.3, Moment(0));
        assert!(!peer.lose(&RULES(), Loss::Owner, 1.0, Moment(0)));
        assert!(peer.lose(&RULES(), Loss::Owner, 1.0, Moment(0)));
        let later = Moment(0).plus(DAY * 1000);
        near(peer.trust(&RULES(), later), 0.0);
        peer.pardon(later);
        near(peer.trust(&RULES(), later), 0.071);
    }

    #[test]
    fn a_retraction_is_no_refutation() {
        let mut peer = Standing::new(0.6, Moment(0));
        for _ in 0..200 {
            assert!(!peer.lose(&RULES(), Loss::Retracted, 1.0, Moment(0)));
        }
        assert_eq!(peer.losses, 0);
    }

    #[test]
    fn odd_weights_and_clocks_do_no_harm() {
        near(Standing::new(f64::NAN, Moment(0)).trust(&RULES(), Moment(0)), 0.0);
        near(Standing::new(7.0, Moment(0)).trust(&RULES(), Moment(0)), 1.0);
        let mut peer = Standing::new(0.6, Moment(1_000_000));
        peer.gain(&RULES(), Gain::First, Moment(5));
        assert_eq!(peer.at, Moment(1_000_000));
        assert!(peer.trust(&RULES(), Moment(u64::MAX)) <= 1.0);
    }
}

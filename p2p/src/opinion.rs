//! What peers together say about one accused, weighed by trust and counted by groups.

use std::time::Duration;

use crate::identity::NodeId;
use crate::moment::Moment;

/// Who counts as one voice: the nodes of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// The members of an organisation.
    Org(NodeId),
    /// Peers that the owner put together.
    Label(Box<str>),
    /// A peer of whom nothing else is known.
    Alone(NodeId),
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Org(id) => write!(f, "organisation {id}"),
            Self::Label(label) => f.pad(label),
            Self::Alone(id) => id.fmt(f),
        }
    }
}

/// The constants of an opinion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// After so long a report weighs half. A report lives for a day at most; with 6 hours the simulation stops far fewer attackers before they
    /// reach us than with 24, which block no more hosts wrongly.
    pub half_life: Duration,
    /// Most that one group can weigh.
    pub group_cap: f64,
    /// From this weight on a group counts as a voice.
    pub voice: f64,
    /// A request by someone who blocks it itself weighs so much more.
    pub own_block: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { half_life: Duration::from_secs(24 * 3600), group_cap: 0.7, voice: 0.15, own_block: 1.2 }
    }
}

/// The latest that one author says about the accused.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice {
    /// Who.
    pub author: NodeId,
    /// Its group.
    pub group: Group,
    /// Most that its group can weigh, if the owner said so.
    pub group_cap: Option<f64>,
    /// How far it is believed.
    pub trust: f64,
    /// Score × confidence, 0 to 1.
    pub mass: f64,
    /// Whether it blocks the accused itself.
    pub own_block: bool,
    /// When it said so.
    pub at: Moment,
}

/// What one author adds to an opinion, before its group's cap.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Who.
    pub author: NodeId,
    /// Its group.
    pub group: Group,
    /// How much.
    pub weight: f64,
}

/// What peers say about one accused, and who said it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// The sum over groups, each within its cap (S).
    pub weight: f64,
    /// How many groups count as a voice (G).
    pub groups: usize,
    /// Who said it, the weightiest first.
    pub shares: Vec<Share>,
    /// What answers to a question of ours add for own evidence; nobody signed them, and they are in none of the figures above.
    pub answered: f64,
}

impl Opinion {
    /// The opinion of `voices`, each author at most once.
    pub fn of(voices: impl IntoIterator<Item = Voice>, rules: &Rules, now: Moment) -> Self {
        let mut shares = Vec::new();
        let mut caps: Vec<(Group, f64, f64)> = Vec::new();
        for voice in voices {
            let lives = now.since(voice.at).as_secs_f64() / rules.half_life.as_secs_f64().max(1.0);
            let stress = if voice.own_block { rules.own_block } else { 1.0 };
            let weight = voice.trust * voice.mass * stress * (-lives).exp2();
            if !weight.is_finite() || weight <= 0.0 {
                continue;
            }
            let cap = voice.group_cap.unwrap_or(rules.group_cap).clamp(0.0, 1.0);
            match caps.iter_mut().find(|(group, ..)| *group == voice.group) {
                Some((_, sum, _)) => *sum += weight,
                None => caps.push((voice.group.clone(), weight, cap)),
            }
            shares.push(Share { author: voice.author, group: voice.group, weight });
        }
        shares.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.author.cmp(&b.author)));
        let capped = caps.iter().map(|(_, sum, cap)| sum.min(*cap));
        let groups = capped.clone().filter(|weight| *weight >= rules.voice).count();
        Self { weight: capped.sum(), groups, shares, answered: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(n: u8, group: u8, trust: f64) -> Voice {
        Voice {
            author: NodeId([n; 32]),
            group: Group::Org(NodeId([group; 32])),
            group_cap: None,
            trust,
            mass: 1.0,
            own_block: false,
            at: Moment(0),
        }
    }

    fn of(voices: &[Voice]) -> Opinion {
        Opinion::of(voices.iter().cloned(), &Rules::default(), Moment(0))
    }

    #[test]
    fn many_nodes_of_one_owner_are_one_voice() {
        let crowd: Vec<Voice> = (0..50).map(|n| voice(n, 1, 0.8)).collect();
        let opinion = of(&crowd);
        assert!((opinion.weight - 0.7).abs() < 1e-9);
        assert_eq!((opinion.groups, opinion.shares.len()), (1, 50));
        let three: Vec<Voice> = (0..3).map(|n| voice(n, n, 0.4)).collect();
        assert!((of(&three).weight - 1.2).abs() < 1e-9);
        assert_eq!(of(&three).groups, 3);
    }

    #[test]
    fn age_mass_and_own_blocks_weigh() {
        let mut one = voice(1, 1, 0.5);
        one.own_block = true;
        assert!((of(&[one.clone()]).weight - 0.6).abs() < 1e-9);
        one.mass = 0.5;
        assert!((of(&[one.clone()]).weight - 0.3).abs() < 1e-9);
        let later = Opinion::of([one], &Rules::default(), Moment::from_secs(24 * 3600));
        assert!((later.weight - 0.15).abs() < 1e-9);
        assert_eq!(later.groups, 1);
    }

    #[test]
    fn a_group_can_have_a_smaller_cap() {
        let mut one = voice(1, 1, 0.9);
        one.group_cap = Some(0.3);
        assert!((of(&[one]).weight - 0.3).abs() < 1e-9);
    }

    #[test]
    fn nothing_odd_comes_out_of_odd_numbers() {
        for (trust, mass) in [(f64::NAN, 1.0), (1.0, f64::INFINITY), (-1.0, 1.0), (0.0, 1.0)] {
            let mut one = voice(1, 1, trust);
            one.mass = mass;
            assert_eq!(of(&[one]), Opinion::default());
        }
    }
}

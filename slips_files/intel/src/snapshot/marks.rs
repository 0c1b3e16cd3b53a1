//! What lists say of indicators, each distinct saying once: a feed of a hundred thousand addresses keeps one description.

use slips_core::evidence::ThreatLevel;
use slips_core::intel::Listed;
use slips_core::time::PacketTime;

/// One saying. Texts are numbers of [`Texts`], times are seconds since 1970, 0 where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) level: ThreatLevel,
    pub(crate) description: u32,
    pub(crate) sources: u32,
    pub(crate) tags: u32,
    pub(crate) first_seen: u32,
    pub(crate) last_seen: u32,
}

/// Texts, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    pub(crate) all: String,
    /// Where each ends.
    pub(crate) ends: Vec<u32>,
}

impl Texts {
    /// Appends a text and gives its number.
    pub(crate) fn push(&mut self, text: &str) -> u32 {
        self.all.push_str(text);
        self.ends.push(self.all.len() as u32);
        self.ends.len() as u32 - 1
    }

    pub(crate) fn at(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(number).copied().unwrap_or(0);
        self.all.get(start as usize..end as usize).unwrap_or_default()
    }

    pub(crate) fn memory(&self) -> usize {
        self.all.capacity() + self.ends.capacity() * 4
    }
}

/// All sayings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) marks: Vec<Mark>,
    pub(crate) texts: Texts,
}

impl Marks {
    pub(crate) fn listed(&self, mark: u32, exact: bool) -> Option<Listed<'_>> {
        let mark = self.marks.get(mark as usize)?;
        let time = |secs: u32| (secs > 0).then(|| PacketTime::from_secs_micros(i64::from(secs), 0));
        Some(Listed {
            level: mark.level,
            description: self.texts.at(mark.description),
            sources: self.texts.at(mark.sources),
            tags: self.texts.at(mark.tags),
            first_seen: time(mark.first_seen),
            last_seen: time(mark.last_seen),
            exact,
        })
    }

    pub(crate) fn memory(&self) -> usize {
        self.marks.capacity() * size_of::<Mark>() + self.texts.memory()
    }
}

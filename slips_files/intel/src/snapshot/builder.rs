//! A snapshot in the making: rows in any order, from any number of lists, merged at the end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;

use slips_core::addr::Net;
use slips_core::evidence::ThreatLevel;
use slips_core::hash::KeyedState;

use super::digests::Digests;
use super::marks::{Mark, Marks, Texts};
use super::names::{ALONE, Form, MAX_NAMES, Names};
use super::ranges::RangeTable;
use super::{Contents, Indicators};
use crate::ioc::{Ioc, is_public_suffix};

/// What a list says of an indicator.
#[derive(Clone, Copy, Debug)]
pub struct Saying<'a> {
    /// How bad.
    pub level: ThreatLevel,
    /// For a person; at most 256 characters are kept.
    pub description: &'a str,
    /// The list.
    pub source: &'a str,
    /// Words, `,` between them.
    pub tags: &'a str,
    /// When it was first seen, in seconds since 1970; 0 where the list does not say.
    pub first_seen: u32,
    /// When it was last seen.
    pub last_seen: u32,
}

/// Most rows of one snapshot, unless [`Builder::with_limit`] says otherwise.
pub const MAX_ROWS: usize = 2_000_000;
/// Most bytes of all names, and of all descriptions, of one snapshot.
const MAX_TEXT: usize = 256 << 20;
/// The first `most` letters of a text.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Most letters of all words of the lists about one indicator.
const MAX_TAGS: usize = 256;
/// Characters of a description that are kept.
const MAX_DESCRIPTION: usize = 256;
/// Lists that one indicator names; further ones are not told.
const MAX_SOURCES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub struct Builder {
    limit: usize,
    rows: usize,
    refused: usize,
    marks: Marks,
    known_texts: HashMap<u64, u32, KeyedState>,
    known_marks: HashMap<Mark, u32, KeyedState>,
    nets: Vec<(Net, u32)>,
    domains: Rows,
    urls: Rows,
    ja4: Rows,
    md5: Vec<([u8; 16], u32)>,
    sha1: Vec<([u8; 20], u32)>,
    sha256: Vec<([u8; 32], u32)>,
    ja3: Vec<([u8; 16], u32)>,
    ja3s: Vec<([u8; 16], u32)>,
    jarm: Vec<([u8; 31], u32)>,
    certificates: Vec<([u8; 20], u32)>,
    asns: Vec<(u32, u32)>,
    harmless: HashSet<[u8; 16], KeyedState>,
}

/// Names, not sorted, with marks.
#[derive(Debug, Default)]
struct Rows {
    texts: Texts,
    /// Number of the text, mark.
    rows: Vec<(u32, u32)>,
}

impl Builder {
    /// A builder for at most [`MAX_ROWS`].
    pub fn new() -> Self {
        Self::with_limit(MAX_ROWS)
    }

    /// A builder for at most so many rows; what is beyond is counted ([`Builder::refused`]).
    pub fn with_limit(limit: usize) -> Self {
        let limit = limit.min(MAX_NAMES);
        Self { limit, ..Self::default() }
    }

    /// Rows that found no room.
    pub const fn refused(&self) -> usize {
        self.refused
    }

    /// Adds what a list says; false when there is no room.
    pub fn add(&mut self, ioc: &Ioc, saying: &Saying<'_>) -> bool {
        if self.rows >= self.limit || self.marks.texts.all.len() > MAX_TEXT {
            self.refused += 1;
            return false;
        }
        let mark = self.mark(saying);
        let room = match ioc {
            Ioc::Net(net) => {
                self.nets.push((*net, mark));
                true
            }
            Ioc::Domain(name) => self.domains.add(name, mark),
            Ioc::Url(url) => self.urls.add(url, mark),
            Ioc::Ja4(text) => self.ja4.add(text, mark),
            Ioc::Md5(digest) => put(&mut self.md5, *digest, mark),
            Ioc::Sha1(digest) => put(&mut self.sha1, *digest, mark),
            Ioc::Sha256(digest) => put(&mut self.sha256, *digest, mark),
            Ioc::Ja3(digest) => put(&mut self.ja3, *digest, mark),
            Ioc::Ja3s(digest) => put(&mut self.ja3s, *digest, mark),
            Ioc::Jarm(digest) => put(&mut self.jarm, *digest, mark),
            Ioc::Certificate(digest) => put(&mut self.certificates, *digest, mark),
            Ioc::Asn(number) => put(&mut self.asns, *number, mark),
        };
        self.rows += usize::from(room);
        self.refused += usize::from(!room);
        room
    }

    /// Never tells of the file with this MD5, whatever a list says of it; false when there is no room.
    pub fn add_harmless(&mut self, md5: [u8; 16]) -> bool {
        let room = self.harmless.len() < self.limit;
        if room {
            self.harmless.insert(md5);
        }
        room
    }

    fn mark(&mut self, saying: &Saying<'_>) -> u32 {
        let description = cut(saying.description, MAX_DESCRIPTION);
        let mark = Mark {
            level: saying.level,
            description: self.text(description),
            sources: self.text(saying.source),
            tags: self.text(cut(saying.tags, MAX_TAGS)),
            first_seen: saying.first_seen,
            last_seen: saying.last_seen,
        };
        self.intern(mark)
    }

    fn intern(&mut self, mark: Mark) -> u32 {
        let next = self.marks.marks.len() as u32;
        let number = *self.known_marks.entry(mark).or_insert(next);
        if number == next {
            self.marks.marks.push(mark);
        }
        number
    }

    fn text(&mut self, text: &str) -> u32 {
        let hash = self.known_texts.hasher().hash_one(text);
        if let Some(number) = self.known_texts.get(&hash)
            && self.marks.texts.at(*number) == text
        {
            return *number;
        }
        // Two texts of one hash are as good as impossible; the older one is then kept twice.
        let number = self.marks.texts.push(text);
        self.known_texts.insert(hash, number);
        number
    }

    /// One mark for all that lists say of one indicator: the worst level with its description, all lists, all tags, the whole time.
    fn merged(&mut self, all: &[u32]) -> u32 {
        let (Some(first), true) = (all.first(), all.iter().any(|mark| Some(mark) != all.first())) else {
            return all.first().copied().unwrap_or_default();
        };
        let Some(mut sum) = self.marks.marks.get(*first as usize).copied() else { return *first };
        let (mut sources, mut tags) = (Vec::<u32>::new(), BTreeSet::<String>::new());
        let mut numbers = all.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        for mark in numbers.into_iter().filter_map(|number| self.marks.marks.get(number as usize)) {
            if mark.level > sum.level {
                (sum.level, sum.description) = (mark.level, mark.description);
            }
            if mark.first_seen > 0 && (sum.first_seen == 0 || mark.first_seen < sum.first_seen) {
                sum.first_seen = mark.first_seen;
            }
            sum.last_seen = sum.last_seen.max(mark.last_seen);
            if !sources.contains(&mark.sources) && sources.len() < MAX_SOURCES {
                sources.push(mark.sources);
            }
            let words = self.marks.texts.at(mark.tags).split(',').map(str::trim);
            tags.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
        let sources: Vec<&str> = sources.iter().map(|number| self.marks.texts.at(*number)).collect();
        let (sources, tags) = (sources.join(", "), tags.into_iter().collect::<Vec<_>>().join(", "));
        (sum.sources, sum.tags) = (self.text(&sources), self.text(cut(&tags, MAX_TAGS)));
        self.intern(sum)
    }

    /// Each distinct key once, sorted.
    fn distinct<K: Ord + Copy>(&mut self, mut rows: Vec<(K, u32)>) -> Vec<(K, u32)> {
        rows.sort_unstable();
        let mut out = Vec::with_capacity(rows.len());
        for group in rows.chunk_by(|a, b| a.0 == b.0) {
            let marks: Vec<u32> = group.iter().map(|(_, mark)| *mark).collect();
            out.extend(group.first().map(|(key, _)| (*key, self.merged(&marks))));
        }
        out.shrink_to_fit();
        out
    }

    /// What lists say of a network holds for all networks in it. Sorted, a network comes before those in it.
    fn nested(&mut self, mut nets: Vec<(Net, u32)>) -> Vec<(Net, u32)> {
        let mut around: Vec<(Net, u32)> = Vec::new();
        for (net, mark) in &mut nets {
            while around.pop_if(|(outer, _)| !outer.contains(net.addr())).is_some() {}
            if let Some((_, outer)) = around.last() {
                *mark = self.merged(&[*mark, *outer]);
            }
            around.push((*net, *mark));
        }
        nets
    }

    fn digests<const N: usize>(&mut self, rows: Vec<([u8; N], u32)>) -> Digests<N> {
        let (rows, marks) = self.distinct(rows).into_iter().unzip();
        Digests { rows, marks }
    }

    fn names(&mut self, form: Form, rows: Rows) -> Names {
        let Rows { texts, mut rows } = rows;
        rows.sort_unstable_by(|a, b| texts.at(a.0).cmp(texts.at(b.0)).then(a.1.cmp(&b.1)));
        let mut distinct = Texts::default();
        let mut marks = Vec::with_capacity(rows.len());
        for group in rows.chunk_by(|a, b| texts.at(a.0) == texts.at(b.0)) {
            let Some((number, _)) = group.first() else { continue };
            let name = texts.at(*number);
            let all: Vec<u32> = group.iter().map(|(_, mark)| *mark).collect();
            let alone = if form == Form::Domain && is_public_suffix(name) { ALONE } else { 0 };
            marks.push(self.merged(&all) | alone);
            distinct.push(name);
        }
        Names::new(form, &distinct, &marks)
    }

    /// The snapshot.
    pub fn finish(mut self) -> Indicators {
        let rows = std::mem::take(&mut self.nets);
        let nets = self.distinct(rows);
        let nets = self.nested(nets);
        let net_count = nets.len();
        let take = std::mem::take::<Rows>;
        let (domains, urls, ja4) = (take(&mut self.domains), take(&mut self.urls), take(&mut self.ja4));
        let (md5, sha1) = (std::mem::take(&mut self.md5), std::mem::take(&mut self.sha1));
        let (sha256, jarm) = (std::mem::take(&mut self.sha256), std::mem::take(&mut self.jarm));
        let (ja3, ja3s) = (std::mem::take(&mut self.ja3), std::mem::take(&mut self.ja3s));
        let certificates = std::mem::take(&mut self.certificates);
        let mut md5 = md5;
        md5.retain(|(digest, _)| !self.harmless.contains(digest));
        let asns = std::mem::take(&mut self.asns);
        let mut indicators = Indicators {
            nets: RangeTable::new(nets),
            domains: self.names(Form::Domain, domains),
            urls: self.names(Form::Whole, urls),
            ja4: self.names(Form::Whole, ja4),
            md5: self.digests(md5),
            sha1: self.digests(sha1),
            sha256: self.digests(sha256),
            ja3: self.digests(ja3),
            ja3s: self.digests(ja3s),
            jarm: self.digests(jarm),
            certificates: self.digests(certificates),
            asns: self.distinct(asns),
            ..Indicators::default()
        };
        self.marks.marks.shrink_to_fit();
        self.marks.texts.all.shrink_to_fit();
        self.marks.texts.ends.shrink_to_fit();
        indicators.marks = self.marks;
        indicators.contents = Contents { nets: net_count, ..indicators.count() };
        indicators
    }
}

fn put<K>(rows: &mut Vec<(K, u32)>, key: K, mark: u32) -> bool {
    rows.push((key, mark));
    true
}

impl Rows {
    fn add(&mut self, name: &str, mark: u32) -> bool {
        if self.texts.all.len() + name.len() > MAX_TEXT {
            return false;
        }
        let number = self.texts.push(name);
        self.rows.push((number, mark));
        true
    }
}

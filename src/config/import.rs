//! A slips.yaml of the original, turned into one of ours: what means the same is carried over, all else is told with what to do instead.

use std::fmt::{self, Write as _};
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;
use slips_store::render::escape;

use super::import_keys::{Way, knows, way_of};
use super::{Config, Problem, parse_yaml};

/// Largest file that is read: the original's has 15 kB.
pub const LARGEST: u64 = 1 << 20;
/// Longest key or value that is told, in characters.
const SHOWN: usize = 100;

/// What came of it.
#[derive(Debug, Default)]
pub struct Imported {
    /// A configuration of ours.
    pub text: String,
    /// Keys of ours that are in it.
    pub carried: Vec<String>,
    /// What is not.
    pub left_out: Vec<LeftOut>,
}

/// A key of the original that is not carried over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its line.
    pub line: u64,
    /// Its name.
    pub key: String,
    /// Why, and what to do instead.
    pub why: String,
}

/// Turns the text of a file called `path` into a configuration of ours.
///
/// # Errors
/// When it is no YAML, or no mapping of sections.
pub fn import(path: &Path, text: &str) -> Result<Imported, Vec<Problem>> {
    let Entries(sections) = parse_yaml::<Entries<Section>>(path, text)?;
    let mut done = Imported::default();
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (section, keys) in sections {
        let name = section.value;
        if !knows(&name) {
            done.leave(
                section.defined.line(),
                &name,
                "the original has no such section; slips.yaml(5) has ours",
            );
            continue;
        }
        let Section::Keys(keys) = keys else {
            done.leave(section.defined.line(), &name, "a section has keys with values");
            continue;
        };
        for (key, value) in keys {
            let line = key.defined.line();
            let key = format!("{name}.{}", key.value);
            match carry(&name, &key, &value) {
                Ok(Some(ours)) => found.push(ours),
                Ok(None) => {}
                Err(why) => done.leave(line, &key, &why),
            }
        }
    }
    done.left_out.sort_by_key(|left| left.line);
    // A section is written once.
    found.sort_by_key(|(key, _)| *key);
    done.text = written(path, &found, &done.left_out);
    done.carried = found.into_iter().map(|(key, _)| key.to_owned()).collect();
    Config::parse(Path::new("the result"), &done.text)?;
    Ok(done)
}

impl Imported {
    fn leave(&mut self, line: u64, key: &str, why: &str) {
        self.left_out.push(LeftOut { line, key: excerpt(key, SHOWN), why: why.to_owned() });
    }
}

/// Our key with its value as YAML; nothing where that is our default.
fn carry(section: &str, key: &str, value: &Value) -> Result<Option<(&'static str, String)>, String> {
    let (ours, convert) = match way_of(section, key) {
        Some(Way::To(ours, convert)) => (ours, convert),
        Some(Way::Gone(why)) => return Err(why.to_owned()),
        None => return Err("the original has no such key; slips.yaml(5) has ours".to_owned()),
    };
    let shown = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(text) = convert(value).map_err(|why| format!("`{}`: {why}", excerpt(&shown(), SHOWN)))? else {
        return Ok(None);
    };
    let alone = [(ours, text)];
    let config = Config::parse(Path::new(""), &body(&alone)).map_err(|problems| {
        let what = problems.first().map(|problem| problem.what.as_str()).unwrap_or_default();
        format!("as {ours} it would not be taken: {}", excerpt(what, 300))
    })?;
    let [(_, text)] = alone;
    let usual = format!("{config:?}") == format!("{:?}", Config::default());
    Ok((!usual).then_some((ours, text)))
}

fn written(path: &Path, found: &[(&'static str, String)], left_out: &[LeftOut]) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# Made by `slips config import {}`. What is not here has its default; slips.yaml(5) shows every key.\n{}",
        escape(&name),
        body(found)
    );
    if !left_out.is_empty() {
        text += "\n# Not carried over:\n";
    }
    for LeftOut { line, key, why } in left_out {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# line {line}: {}: {}", escape(key), escape(why));
    }
    text
}

/// The keys as YAML, those of one section beside each other.
fn body(keys: &[(&'static str, String)]) -> String {
    let (mut text, mut section) = (String::new(), "");
    for (key, value) in keys {
        let (name, rest) = key.split_once('.').unwrap_or((key, ""));
        if name != section {
            let _ = writeln!(text, "\n{name}:");
            section = name;
        }
        let _ = match rest.split_once('.') {
            Some((group, key)) => writeln!(text, "  {group}:\n    {key}: {value}"),
            None => writeln!(text, "  {rest}: {value}"),
        };
    }
    text
}

/// The beginning of a text; it is made harmless where it is written.
fn excerpt(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The entries of a mapping, with their lines.
#[derive(Debug)]
struct Entries<T>(Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Mapping(PhantomData))
    }
}

struct Mapping<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Mapping<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sections with keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        entries(map).map(Entries)
    }
}

fn entries<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    mut map: A,
) -> Result<Vec<(Spanned<String>, T)>, A::Error> {
    let mut entries = Vec::new();
    while let Some(entry) = map.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// A section: keys with values, also when there are none; anything else is none.
#[derive(Debug)]
enum Section {
    Keys(Vec<(Spanned<String>, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnySection)
    }
}

struct AnySection;

impl<'de> Visitor<'de> for AnySection {
    type Value = Section;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with values")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Section, A::Error> {
        entries(map).map(Section::Keys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Section, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Section::Other)
    }

    fn visit_unit<E>(self) -> Result<Section, E> {
        Ok(Section::Keys(Vec::new()))
    }

    fn visit_none<E>(self) -> Result<Section, E> {
        Ok(Section::Keys(Vec::new()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Section, E> {
        Ok(Section::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Section, E> {
        Ok(Section::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Section, E> {
        Ok(Section::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Section, E> {
        Ok(Section::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Section, E> {
        Ok(Section::Other)
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;

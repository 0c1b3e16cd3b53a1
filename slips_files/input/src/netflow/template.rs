//! Templates: what the records of an exporter hold, in its own words. NetFlow v9 (RFC 3954) and IPFIX (RFC 7011) describe them nearly
//! alike.

use std::collections::HashMap;

use slips_core::hash::KeyedState;

use super::bytes::Bytes;
use crate::report::{Reason, Reject};

/// Templates of one exporter. A collector of ours has met none with more than a dozen.
pub(super) const MAX_TEMPLATES: usize = 64;
/// Fields of one template.
pub(super) const MAX_FIELDS: usize = 128;
/// Data sets have ids from here on.
pub(super) const FIRST_DATA: u16 = 256;
/// A field of this length tells its own before its value.
const VARIABLE: u16 = 0xffff;
/// Which half of the number space says that an enterprise's number follows.
const ENTERPRISE: u16 = 0x8000;
/// The enterprise number that stands for the other direction (RFC 5103).
const REVERSE: u32 = 29_305;

/// Whose number a field's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// IANA's.
    Common,
    /// IANA's, of the other direction.
    Reverse,
    /// Of an enterprise: we know none.
    Other,
}

/// One field of a template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) space: Space,
    pub(super) number: u16,
    length: u16,
}

impl Field {
    /// The value of this field, off the front of a record.
    pub(super) fn cut<'a>(self, record: &mut Bytes<'a>) -> Option<&'a [u8]> {
        let length = match self.length {
            VARIABLE => match record.u8()? {
                255 => usize::from(record.u16()?),
                short => usize::from(short),
            },
            fixed => usize::from(fixed),
        };
        record.take(length)
    }

    /// It takes at least so many bytes.
    const fn least(self) -> usize {
        if self.length == VARIABLE { 1 } else { self.length as usize }
    }
}

/// What the records of one set hold.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) fields: Vec<Field>,
    /// A record is never shorter; nor is it ever nothing.
    pub(super) least: usize,
    /// Its records are about the exporter itself.
    pub(super) is_options: bool,
}

/// How a set of templates is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V9,
    Ipfix,
}

/// What an exporter has described so far.
#[derive(Default)]
pub(super) struct Templates(HashMap<u16, Template, KeyedState>);

impl Templates {
    pub(super) fn get(&self, id: u16) -> Option<&Template> {
        self.0.get(&id)
    }

    /// Takes in a set of templates, as far as it can be understood.
    pub(super) fn learn(&mut self, set: &[u8], dialect: Dialect, is_options: bool) -> Result<(), Reject> {
        let mut set = Bytes(set);
        // Sets are filled up to a multiple of four bytes.
        while set.0.len() >= 4 {
            let read = read(&mut set, dialect, is_options).ok_or(Reject::new(Reason::BadBlockLength))?;
            match read {
                (id, Some(template)) => self.keep(id, template)?,
                (id, None) => self.forget(id),
            }
        }
        Ok(())
    }

    fn keep(&mut self, id: u16, template: Template) -> Result<(), Reject> {
        // Fields of nothing cost the exporter nothing in a record, and us as much as others.
        let is_hollow = template.fields.iter().any(|field| field.length == 0);
        if id < FIRST_DATA || is_hollow || template.least == 0 || template.fields.len() > MAX_FIELDS {
            return Err(Reject::new(Reason::BadHeader));
        }
        if self.0.len() >= MAX_TEMPLATES && !self.0.contains_key(&id) {
            return Err(Reject::new(Reason::TooMany));
        }
        self.0.insert(id, template);
        Ok(())
    }

    /// A template is withdrawn, or with the id of a set of templates all are.
    fn forget(&mut self, id: u16) {
        if id < FIRST_DATA {
            self.0.clear();
        } else {
            self.0.remove(&id);
        }
    }
}

/// One template; `None` in its place where it is withdrawn. `None` where the set ends too early.
fn read(set: &mut Bytes<'_>, dialect: Dialect, is_options: bool) -> Option<(u16, Option<Template>)> {
    let id = set.u16()?;
    let count = match (dialect, is_options) {
        // The lengths of scopes and options are told in bytes, four a field.
        (Dialect::V9, true) => (usize::from(set.u16()?) + usize::from(set.u16()?)) / 4,
        (_, false) => usize::from(set.u16()?),
        (Dialect::Ipfix, true) => match usize::from(set.u16()?) {
            0 => 0,
            count => {
                set.u16()?;
                count
            }
        },
    };
    if count == 0 {
        return Some((id, None));
    }
    let mut fields = Vec::with_capacity(count.min(MAX_FIELDS));
    let mut least = 0;
    for at in 0..count {
        let (number, length) = (set.u16()?, set.u16()?);
        let is_enterprise = dialect == Dialect::Ipfix && number & ENTERPRISE != 0;
        let space = match is_enterprise.then(|| set.u32()) {
            None => Space::Common,
            Some(enterprise) if enterprise? == REVERSE => Space::Reverse,
            Some(_) => Space::Other,
        };
        let length = if dialect == Dialect::V9 && length == VARIABLE { return None } else { length };
        let field =
            Field { space, number: if is_enterprise { number & !ENTERPRISE } else { number }, length };
        least += field.least();
        // One more than is taken tells that there were too many.
        if at <= MAX_FIELDS {
            fields.push(field);
        }
    }
    Some((id, Some(Template { fields, least, is_options })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn templates_are_kept_replaced_and_withdrawn() {
        let mut templates = Templates::default();
        templates.learn(&words(&[256, 2, 8, 4, 12, 4, 257, 1, 7, 2]), Dialect::V9, false).expect("two");
        assert_eq!(templates.get(256).map(|template| (template.fields.len(), template.least)), Some((2, 8)));
        templates.learn(&words(&[256, 1, 4, 1]), Dialect::Ipfix, false).expect("replaced");
        assert_eq!(templates.get(256).map(|template| template.least), Some(1));
        templates.learn(&words(&[256, 0]), Dialect::Ipfix, false).expect("withdrawn");
        assert!(templates.get(256).is_none() && templates.get(257).is_some());
        templates.learn(&words(&[2, 0]), Dialect::Ipfix, false).expect("all withdrawn");
        assert!(templates.get(257).is_none());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut templates = Templates::default();
        let mut refused = |words_of: &[u16], dialect| {
            templates.learn(&words(words_of), dialect, false).expect_err("refused").reason
        };
        // Cut short; no record would ever end; an id of a set of templates; a field of any length in v9.
        assert_eq!(refused(&[256, 2, 8, 4], Dialect::V9), Reason::BadBlockLength);
        assert_eq!(refused(&[256, 1, 8, 0], Dialect::V9), Reason::BadHeader);
        assert_eq!(refused(&[256, 2, 8, 4, 12, 0], Dialect::Ipfix), Reason::BadHeader);
        assert_eq!(refused(&[255, 1, 8, 4], Dialect::V9), Reason::BadHeader);
        assert_eq!(refused(&[256, 1, 8, VARIABLE], Dialect::V9), Reason::BadBlockLength);
        let many: Vec<u16> = [256, 200].into_iter().chain((0..400).map(|_| 1)).collect();
        assert_eq!(refused(&many, Dialect::V9), Reason::BadHeader);
    }

    #[test]
    fn an_exporter_has_so_many_templates_and_no_more() {
        let mut templates = Templates::default();
        for id in 0..MAX_TEMPLATES as u16 {
            templates.learn(&words(&[256 + id, 1, 8, 4]), Dialect::V9, false).expect("room");
        }
        let more = templates.learn(&words(&[9000, 1, 8, 4]), Dialect::V9, false).expect_err("full");
        assert_eq!(more.reason, Reason::TooMany);
        templates.learn(&words(&[256, 1, 8, 4]), Dialect::V9, false).expect("a known one may change");
    }
}

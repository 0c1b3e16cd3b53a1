//! Where the reading of a directory stands, as text: for each file which it is, how it begins, and where its next line is.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::growing::{FileId, fingerprint};

/// The first line; another one means nothing to us.
const TITLE: &str = "slips growing logs 1";

/// Where one file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where its next line begins.
    pub(crate) offset: u64,
    /// Where the header begins under which that line stands.
    pub(crate) header: u64,
    /// So many bytes of its beginning
    pub(crate) head_length: usize,
    /// have this fingerprint.
    pub(crate) head_print: u64,
}

impl Mark {
    /// Of a file that begins with `head`.
    pub(crate) fn new(head: &[u8], offset: u64, header: u64) -> Self {
        Self { offset, header, head_length: head.len(), head_print: fingerprint(head) }
    }

    /// Whether it is about a file that begins with `head`.
    pub(crate) fn is_of(&self, head: &[u8]) -> bool {
        head.get(..self.head_length).is_some_and(|head| fingerprint(head) == self.head_print)
    }
}

/// The device of marks whose files are not where they were; no file is on it.
const GONE: u64 = 0;

/// Writes marks down: those of files, and those whose files are gone.
pub(crate) fn write<'a>(
    marks: impl Iterator<Item = (FileId, Mark)>,
    gone: impl Iterator<Item = &'a Mark>,
) -> String {
    let mut text = format!("{TITLE}\n");
    let gone = (0u64..).zip(gone).map(|(number, mark)| ((GONE, number), *mark));
    for ((device, number), mark) in marks.chain(gone) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{device} {number} {} {} {} {:016x}",
            mark.offset, mark.header, mark.head_length, mark.head_print
        );
    }
    text
}

/// Reads what [`write`] wrote, also what belongs to no file; `None` for anything else.
pub(crate) fn read(text: &str) -> Option<(HashMap<FileId, Mark>, Vec<Mark>)> {
    let mut lines = text.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let (mut marks, mut gone) = (HashMap::new(), Vec::new());
    for line in lines {
        let (id, mark) = one(line)?;
        match id {
            (GONE, _) => gone.push(mark),
            id => drop(marks.insert(id, mark)),
        }
    }
    Some((marks, gone))
}

fn one(line: &str) -> Option<(FileId, Mark)> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let id = (number()?, number()?);
    let (offset, header, head_length) = (number()?, number()?, usize::try_from(number()?).ok()?);
    let head_print = u64::from_str_radix(words.next()?, 16).ok()?;
    words.next().is_none().then_some((id, Mark { offset, header, head_length, head_print }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let mark = Mark { offset: 7, header: 3, head_length: 4, head_print: fingerprint(b"head") };
        let text = write([((1, 2), mark)].into_iter(), [mark].iter());
        assert_eq!(read(&text), Some((HashMap::from([((1, 2), mark)]), vec![mark])));
        assert!(mark.is_of(b"header") && !mark.is_of(b"hea") && !mark.is_of(b"other"));
        for wrong in ["", "slips growing logs 2\n", &format!("{text}x\n"), &format!("{text}1 2 3")] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}

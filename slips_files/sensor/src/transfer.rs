//! FTP's data connections: where a control connection says that one will come.

use std::collections::{BTreeMap, VecDeque};

use slips_core::time::{PacketTime, Span};

use crate::track::Dir;

/// A data connection comes within this time.
const PATIENCE: Span = Span::from_secs(300);

/// The port on which `dir` announces to listen. The address that it may name is not believed: servers behind translators
/// name their inside address, and nobody shall give a name to connections of others.
pub(crate) fn announcement(dir: Dir, payload: &[u8]) -> Option<u16> {
    const MAX_LINES: usize = 16;
    payload.split(|byte| *byte == b'\n').take(MAX_LINES).find_map(|line| match dir {
        Dir::Orig => of_command(line),
        Dir::Resp => of_reply(line),
    })
}

fn of_command(line: &[u8]) -> Option<u16> {
    let (command, rest) = (line.get(..5)?, line.get(5..)?);
    if command.eq_ignore_ascii_case(b"PORT ") {
        return six_numbers(rest);
    }
    if !command.eq_ignore_ascii_case(b"EPRT ") {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?.trim();
    text.split(text.chars().next()?).nth(3)?.parse().ok()
}

fn of_reply(line: &[u8]) -> Option<u16> {
    let inside = || {
        let open = line.iter().position(|byte| *byte == b'(')?;
        line.get(open + 1..)
    };
    if line.starts_with(b"227 ") {
        return six_numbers(inside()?);
    }
    if !line.starts_with(b"229 ") {
        return None;
    }
    let text = inside()?.strip_prefix(b"|||")?;
    let digits = text.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()
}

/// The port of `h1,h2,h3,h4,p1,p2`.
fn six_numbers(text: &[u8]) -> Option<u16> {
    let mut numbers = [0u8; 6];
    let mut parts = text.split(|byte| matches!(byte, b',' | b')' | b'\r' | b' '));
    for number in &mut numbers {
        *number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    }
    let [.., high, low] = numbers;
    Some(u16::from_be_bytes([high, low]))
}

/// Who listens, where, and for whom.
pub(crate) type Ends = (u128, u16, u128);

/// Data connections that were announced; one more than `max` makes the oldest forgotten.
#[derive(Debug)]
pub(crate) struct Expected {
    ends: BTreeMap<Ends, PacketTime>,
    order: VecDeque<(PacketTime, Ends)>,
    max: usize,
    /// Announcements that were forgotten because there were too many.
    pub(crate) forgotten: u64,
}

impl Expected {
    pub(crate) fn new(max: u32) -> Self {
        Self { ends: BTreeMap::new(), order: VecDeque::new(), max: max.max(1) as usize, forgotten: 0 }
    }

    /// A connection between these ends will come.
    pub(crate) fn announce(&mut self, at: PacketTime, ends: Ends) {
        while let Some((since, end)) = self.order.front().copied() {
            let is_late = at.since(since) > PATIENCE;
            if self.order.len() < self.max && !is_late {
                break;
            }
            self.order.pop_front();
            if self.ends.get(&end) == Some(&since) {
                self.ends.remove(&end);
                self.forgotten += u64::from(!is_late);
            }
        }
        self.ends.insert(ends, at);
        self.order.push_back((at, ends));
    }

    /// Whether a connection between these ends was announced. Asked once.
    pub(crate) fn take(&mut self, at: PacketTime, ends: Ends) -> bool {
        !self.ends.is_empty() && self.ends.remove(&ends).is_some_and(|since| at.since(since) <= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dir: Dir, line: &str, expected: Option<u16>) {
        assert_eq!(announcement(dir, line.as_bytes()), expected, "{line}");
        for end in 0..line.len() {
            announcement(dir, &line.as_bytes()[..end]);
        }
    }

    #[test]
    fn announcements_are_read() {
        check(Dir::Orig, "PORT 10,0,0,1,4,1\r\n", Some(1025));
        check(Dir::Orig, "TYPE I\r\neprt |2|::1|4097|\r\n", Some(4097));
        check(Dir::Resp, "227 Entering (192,0,2,9,0,21).\r\n", Some(21));
        check(Dir::Resp, "229 Extended (|||57086|)\r\n", Some(57086));
        check(Dir::Orig, "PORT 10,0,0,1,4\r\n", None);
        check(Dir::Orig, "PORT 10,0,0,1,4,256\r\n", None);
        check(Dir::Resp, "229 (|||99999|)\r\n", None);
    }

    #[test]
    fn what_is_awaited_is_bounded_and_passes() {
        let mut expected = Expected::new(1024);
        for port in 0..3000 {
            expected.announce(PacketTime(i64::from(port)), (1, port, 2));
        }
        assert_eq!(
            (expected.ends.len(), expected.order.len(), expected.forgotten),
            (1024, 1024, 3000 - 1024)
        );
        assert!(expected.take(PacketTime(3000), (1, 2999, 2)));
        assert!(!expected.take(PacketTime(3000), (1, 2999, 2)), "once");
        assert!(!expected.take(PacketTime(400_000_000), (1, 2998, 2)), "too late");
    }
}

//! Sockets that outlive the process: whoever keeps them hands them to the next one, which finds in their rings what came in meanwhile.
//!
//! A kept socket has a name that says how to read it and what it was opened for. One that no longer fits is read to its end and let go.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;

use super::ring;
use super::settings::{CaptureSettings, RingSize};
use crate::filter::{Program, Share};

/// Keeps sockets beyond the end of this process.
pub trait Keeper: Send + Sync {
    /// Keeps a duplicate, from now on: the process may be killed the next moment.
    fn keep(&self, name: &str, socket: BorrowedFd<'_>);
    /// Keeps it no more.
    fn forget(&self, name: &str);
}

/// What an earlier process left, and who keeps sockets for the next one.
#[derive(Default)]
pub struct Handover {
    keeper: Option<Arc<dyn Keeper>>,
    sockets: Vec<Kept>,
}

impl Handover {
    /// Sockets with the names that they were kept under. What is none of a capture is closed and forgotten.
    pub fn new(keeper: Arc<dyn Keeper>, left: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        let known = |(name, socket): (String, OwnedFd)| match name.parse() {
            Ok(label) => Some(Kept { label, socket }),
            Err(Unknown) => {
                keeper.forget(&name);
                None
            }
        };
        let sockets = left.into_iter().filter_map(known).collect();
        Self { keeper: Some(keeper), sockets }
    }

    /// Whether what is opened is kept at all.
    pub fn is_kept(&self) -> bool {
        self.keeper.is_some()
    }

    /// How the traffic was shared among so many, if it was: who takes the sockets over shares it in the same way.
    pub fn share_key(&self, of: u16) -> Option<u32> {
        self.sockets
            .iter()
            .filter_map(|kept| kept.label.share)
            .find(|share| share.of == of)
            .map(|share| share.key)
    }

    /// Nothing is captured: what is left is let go.
    pub fn close(&mut self) {
        let keeping = self.keeping();
        self.rest().iter().for_each(|kept| keeping.forget(&kept.label));
    }

    /// What concerns this part of so many.
    pub fn part(&mut self, part: u16, of: u16) -> Self {
        let is_its = |kept: &mut Kept| kept.label.share.map_or(0, |share| share.part) % of.max(1) == part;
        Self { keeper: self.keeper.clone(), sockets: self.sockets.extract_if(.., is_its).collect() }
    }

    /// The sockets of an interface that fit: its ring, and the one beside it, whose size is to be `spare`.
    pub(super) fn fitting(&mut self, label: &Label, spare: Option<RingSize>) -> Option<(Kept, Option<Kept>)> {
        let place = |all: &[Kept], role| all.iter().position(|kept| kept.label.fits(label, role));
        let beside = place(&self.sockets, Role::Spare);
        // They are members of one group: one alone would lose what the other is to take.
        if let Some(kept) = beside.and_then(|place| self.sockets.get(place))
            && Some(kept.label.size) != spare
        {
            return None;
        }
        let first = self.sockets.swap_remove(place(&self.sockets, Role::First)?);
        let beside = place(&self.sockets, Role::Spare).map(|place| self.sockets.swap_remove(place));
        Some((first, beside))
    }

    /// These do not fit after all.
    pub(super) fn put_back(&mut self, kept: [Option<Kept>; 2]) {
        self.sockets.extend(kept.into_iter().flatten());
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.sockets)
    }

    pub(super) fn keeping(&self) -> Keeping {
        Keeping(self.keeper.clone())
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

/// A socket of an earlier process.
#[derive(Debug)]
pub(super) struct Kept {
    pub label: Label,
    pub socket: OwnedFd,
}

/// The keeper, if there is one.
#[derive(Clone, Default)]
pub(super) struct Keeping(Option<Arc<dyn Keeper>>);

impl Keeping {
    /// For what is opened later: nothing was left of it.
    pub(super) fn handover(&self) -> Handover {
        Handover { keeper: self.0.clone(), sockets: Vec::new() }
    }

    pub(super) fn keep(&self, label: &Label, socket: BorrowedFd<'_>) {
        if let Some(keeper) = &self.0 {
            keeper.keep(&label.to_string(), socket);
        }
    }

    pub(super) fn forget(&self, label: &Label) {
        if let Some(keeper) = &self.0 {
            keeper.forget(&label.to_string());
        }
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeping({})", self.0.is_some())
    }
}

/// What a socket is to its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// All frames go there,
    First,
    /// and what finds no room goes here.
    Spare,
}

/// What a kept socket is, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub role: Role,
    pub interface: String,
    /// Index and sort of the interface.
    pub index: u32,
    pub hardware: u16,
    pub size: RingSize,
    pub share: Option<Share>,
    /// A number of all else that it was opened with: the filter, the mode, the network namespace.
    pub digest: u64,
    /// Tells it from others of the same kind.
    pub cookie: u64,
}

impl Label {
    /// Of the first socket that these settings ask for on an interface; it has none yet.
    pub(super) fn new(
        interface: &str,
        facts: ring::InterfaceFacts,
        (settings, size): (&CaptureSettings, RingSize),
        program: Option<&Program>,
        probe: BorrowedFd<'_>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (format!("{program:?}"), settings.promiscuous, ring::network(probe)).hash(&mut hasher);
        Self {
            role: Role::First,
            interface: interface.to_owned(),
            index: facts.index,
            hardware: facts.hardware,
            size,
            share: settings.share,
            digest: hasher.finish(),
            cookie: 0,
        }
    }

    /// Whether it is in this role what `first` is as the first.
    fn fits(&self, first: &Self, role: Role) -> bool {
        let size = match role {
            Role::First => first.size,
            Role::Spare => self.size,
        };
        *self == Self { role, size, cookie: self.cookie, ..first.clone() }
    }
}

impl fmt::Display for Label {
    /// No colon, which parts names where they are handed over, and no slash in the name of an interface.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::First => "first",
            Role::Spare => "spare",
        };
        write!(f, "{VERSION}/{role}/")?;
        for byte in self.interface.bytes() {
            match byte {
                b'%' | b'/' | b':' | ..=b' ' | 127.. => write!(f, "%{byte:02x}")?,
                _ => write!(f, "{}", char::from(byte))?,
            }
        }
        let Share { part, of, key } = self.share.unwrap_or(Share { part: 0, of: 0, key: 0 });
        let size = self.size;
        write!(
            f,
            "/{}/{}/{}/{}/{}/{part}/{of}/{key}/{:x}/{:x}",
            self.index,
            self.hardware,
            size.blocks(),
            size.block_bytes(),
            size.retire_ms(),
            self.digest,
            self.cookie
        )
    }
}

/// A name that is none of ours, or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl FromStr for Label {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let parts: Vec<&str> = name.split('/').collect();
        let [VERSION, role, interface, numbers @ ..] = parts.as_slice() else { return Err(Unknown) };
        let role = match *role {
            "first" => Role::First,
            "spare" => Role::Spare,
            _ => return Err(Unknown),
        };
        let &[index, hardware, blocks, bytes, retire, part, of, key, digest, cookie] = numbers else {
            return Err(Unknown);
        };
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| Unknown);
        let label = Self {
            role,
            interface: unescape(interface).ok_or(Unknown)?,
            index: number(index)?,
            hardware: number(hardware)?,
            size: RingSize::new(number(blocks)?, number(bytes)?, number(retire)?),
            share: Some(Share { part: number(part)?, of: number(of)?, key: number(key)? })
                .filter(|share| share.of > 0),
            digest: hex(digest)?,
            cookie: hex(cookie)?,
        };
        // Sizes that no ring has, numbers written in another way.
        if label.to_string() == name { Ok(label) } else { Err(Unknown) }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, Unknown> {
    text.parse().map_err(|_| Unknown)
}

fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Another way to name or to read sockets gets another version; what is of another one is closed.
const VERSION: &str = "slips-capture-1";

#[cfg(test)]
mod tests {
    use super::*;

    fn label(interface: &str, share: Option<Share>) -> Label {
        Label {
            role: Role::Spare,
            interface: interface.into(),
            index: 7,
            hardware: 1,
            size: RingSize::default(),
            share,
            digest: u64::MAX,
            cookie: 3,
        }
    }

    #[test]
    fn a_name_says_all_again_and_is_one_that_a_service_manager_takes() {
        let share = Share { part: 1, of: 2, key: u32::MAX };
        for (interface, share) in
            [("wan0", None), ("a%b.5", Some(share)), ("größer@1", None), ("x y:z", Some(share))]
        {
            let label = label(interface, share);
            let name = label.to_string();
            assert!(name.len() < 256 && name.bytes().all(|b| b > b' ' && b < 127 && b != b':'), "{name}");
            assert_eq!(name.parse(), Ok(label), "{name}");
        }
    }

    #[test]
    fn another_version_and_what_does_not_add_up_is_unknown() {
        let name = label("wan0", None).to_string();
        for wrong in [
            String::new(),
            "capture".into(),
            name.replace("capture-1", "capture-2"),
            name.replace("131072", "131073"),
            name.replace("/64/", "/064/"),
            format!("{name}/1"),
            name.replace("wan0", "wan%0"),
            name.replace("wan0", "%77an0"),
        ] {
            assert_eq!(wrong.parse::<Label>(), Err(Unknown), "{wrong}");
        }
    }

    #[test]
    fn only_what_was_opened_in_the_same_way_fits() {
        let first = Label { role: Role::First, cookie: 0, ..label("wan0", None) };
        let kept = |label: Label| Label { cookie: 9, ..label };
        assert!(kept(first.clone()).fits(&first, Role::First));
        let spare = Label { role: Role::Spare, size: RingSize::new(8, 1 << 17, 100), ..first.clone() };
        assert!(kept(spare.clone()).fits(&first, Role::Spare) && !kept(spare).fits(&first, Role::First));
        let share = Some(Share { part: 0, of: 2, key: 1 });
        for other in [
            Label { interface: "wan1".into(), ..first.clone() },
            Label { index: 8, ..first.clone() },
            Label { hardware: 2, ..first.clone() },
            Label { size: RingSize::new(8, 1 << 17, 2), ..first.clone() },
            Label { share, ..first.clone() },
            Label { digest: 1, ..first.clone() },
        ] {
            assert!(!kept(other).fits(&first, Role::First));
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_name_is_it_is_read_or_unknown(name in ".{0,300}") {
            if let Ok(label) = name.parse::<Label>() {
                proptest::prop_assert_eq!(label.to_string(), name);
            }
        }
    }
}

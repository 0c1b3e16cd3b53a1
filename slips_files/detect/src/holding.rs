//! Who holds an address on the link, and who else claims it: what the detections of forged ARP and forged neighbour discovery share.

use slips_core::flow::MacAddr;
use slips_core::time::{PacketTime, Span, WindowId};

use crate::ladder;
use crate::tally::Pace;

/// How long a silent owner keeps its address; as in the engine.
const KEPT_FOR: Span = Span::from_secs(1800);
/// An answer within this time of a question was asked for.
const ASKED_FOR: Span = Span::from_secs(3);
/// Claims are counted over one to two of these.
const MINUTE: Span = Span::from_secs(60);
/// Claimants remembered per address; the one seen longest ago makes room.
const MAX_CLAIMANTS: usize = 4;

#[derive(Debug)]
struct Claimant {
    mac: MacAddr,
    first: PacketTime,
    last: PacketTime,
    pace: Pace,
    window: WindowId,
    told: u8,
}

/// One address, and who says that it is his.
#[derive(Debug, Default)]
pub struct Holding {
    owner: Option<(MacAddr, PacketTime)>,
    asked: Option<PacketTime>,
    claimants: Vec<Claimant>,
}

/// "The address is at `mac`."
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Where it is said to be.
    pub mac: MacAddr,
    /// When it was said.
    pub at: PacketTime,
    /// In the form of an answer, which counts nothing if somebody asked.
    pub is_answer: bool,
    /// Who is known to own the address by more than what is said like this, and since when.
    pub held_by: Option<(MacAddr, PacketTime)>,
}

/// A claim that counts.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Claims of the same claimant within one to two minutes.
    pub claims: u32,
    /// The step that was just reached.
    pub step: u8,
    /// The owner spoke after the first claim.
    pub contradicted: bool,
}

impl Holding {
    /// Somebody asked for the address.
    pub const fn ask(&mut self, at: PacketTime) {
        self.asked = Some(at);
    }

    /// Whether the address is held by `mac`.
    pub fn is_owner(&self, mac: MacAddr) -> bool {
        self.owner.is_some_and(|(owner, _)| owner == mac)
    }

    /// Takes what is said in the name of this address; the claim, if it is one and a step is reached.
    pub fn take(
        &mut self,
        said: Said,
        window: WindowId,
        step: impl FnOnce(u32, bool) -> u8,
    ) -> Option<Claim> {
        let Said { mac, at: now, is_answer, held_by } = said;
        let (owner, seen) = self.owner.get_or_insert(held_by.unwrap_or((mac, now)));
        if let Some((_, proved)) = held_by.filter(|(holder, _)| holder == owner) {
            *seen = proved.max(*seen);
        }
        if *owner == mac {
            *seen = now.max(*seen);
            return None;
        }
        if now.since(*seen) > KEPT_FOR {
            *self = Self { owner: Some((mac, now)), ..Self::default() };
            return None;
        }
        let spoke = *seen;
        let asked = is_answer && self.asked.is_some_and(|asked| now.since(asked) <= ASKED_FOR);
        let claimant = self.claimant(mac, now, window);
        claimant.last = now;
        let contradicted = spoke > claimant.first;
        if asked && !contradicted {
            return None;
        }
        claimant.pace.add(now, 1, MINUTE);
        let claims = claimant.pace.sum();
        let step = step(claims, contradicted);
        ladder::climb(&mut claimant.told, step).then_some(Claim { claims, step, contradicted })
    }

    fn claimant(&mut self, mac: MacAddr, now: PacketTime, window: WindowId) -> &mut Claimant {
        let at = self.claimants.iter().position(|known| known.mac == mac);
        let at = at.unwrap_or_else(|| {
            if self.claimants.len() >= MAX_CLAIMANTS {
                let oldest = self.claimants.iter().enumerate().min_by_key(|(_, known)| known.last);
                if let Some(oldest) = oldest.map(|(at, _)| at) {
                    self.claimants.swap_remove(oldest);
                }
            }
            let (first, last, pace) = (now, now, Pace::default());
            self.claimants.push(Claimant { mac, first, last, pace, window, told: 0 });
            self.claimants.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "`at` was found or pushed just above")]
        let claimant = &mut self.claimants[at];
        if claimant.window != window {
            (claimant.window, claimant.told) = (window, 0);
        }
        claimant
    }
}

/// Hardware addresses that move between machines by design, or that are none.
pub fn is_shared(mac: MacAddr) -> bool {
    let [a, b, c, d, e, _] = mac.0;
    a & 1 == 1
        || mac == MacAddr::ZERO
        // VRRP (RFC 9568), HSRP versions 1 and 2, GLBP.
        || matches!((a, b, c, d, e), (0, 0, 0x5e, 0, 1 | 2) | (0, 0, 0x0c, 0x07, 0xac) | (0, 0x07, 0xb4, ..))
        || matches!((a, b, c, d), (0, 0, 0x0c, 0x9f) | (0, 0x05, 0x73, 0xa0))
}

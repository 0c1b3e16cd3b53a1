//! What may be blocked, how wide and for how long.

use std::fmt;
use std::time::Duration;

use slips_core::addr::Net;

use crate::block::Tag;
use crate::ranges::{self, Family, Range};
use crate::{BlockRequest, Protected, Why};

/// The limits of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The widest IPv4 network that is blocked, in bits.
    pub widest_v4: u8,
    /// The widest IPv6 network that is blocked, in bits.
    pub widest_v6: u8,
    /// Whether an outside IPv6 address is blocked with the 64 bits that its owner moves in.
    pub subnet_of_v6: bool,
    /// A longer request is cut to this.
    pub longest: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { widest_v4: 16, widest_v6: 32, subnet_of_v6: true, longest: Duration::from_secs(366 * 86_400) }
    }
}

/// Why a network is not blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It holds, or lies in, a network that is never blocked.
    Protected {
        /// The protected network.
        net: Net,
        /// Why it is protected.
        why: Why,
    },
    /// The network is wider than any we block.
    TooWide {
        /// The widest, in bits.
        widest: u8,
    },
    /// For no time at all.
    NoTime,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protected { net, why } => write!(f, "{net} is never blocked: {why}"),
            Self::TooWide { widest } => write!(f, "networks wider than /{widest} are not blocked"),
            Self::NoTime => f.write_str("it would be for no time"),
        }
    }
}

impl Policy {
    /// The network to be blocked for a request, and for how long.
    pub fn judge(&self, protected: &Protected, request: &BlockRequest) -> Result<(Net, Duration), Refusal> {
        let net = request.net.plain();
        let for_ = request.for_;
        let widest = if net.addr().is_ipv4() { self.widest_v4 } else { self.widest_v6 };
        if let Some((net, why)) = protected.check(net) {
            return Err(Refusal::Protected { net, why });
        }
        if for_.is_zero() {
            return Err(Refusal::NoTime);
        }
        if net.prefix() < widest {
            return Err(Refusal::TooWide { widest });
        }
        let net = if request.exact { net } else { self.widened(protected, net) };
        Ok((net, for_.clamp(SHORTEST, self.longest)))
    }

    /// An outside IPv6 address with its 64 bits. Not where others of ours have the same: inside our own networks, nor when a
    /// protected address is among them.
    fn widened(&self, protected: &Protected, net: Net) -> Net {
        let subnet = subnet(net).filter(|_| self.subnet_of_v6);
        subnet.filter(|net| !protected.is_local(*net) && protected.check(*net).is_none()).unwrap_or(net)
    }
}

/// How long a block lasts when its attacker comes back: twice as long with each time, up to a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// No repeat makes a block longer than this.
    pub longest: Duration,
    /// A block that ended so long ago counts no more.
    pub forgotten: Duration,
}

impl Default for Escalation {
    fn default() -> Self {
        Self { longest: Duration::from_secs(7 * 86_400), forgotten: Duration::from_secs(30 * 86_400) }
    }
}

impl Escalation {
    /// The time of a block of `net`, which was blocked `repeats` times before; `first` is the time of a first block. Up to a tenth longer
    /// or shorter, the same for the same block: of many that were blocked at once not all come back at once.
    pub fn term(&self, first: Duration, net: Net, repeats: u32) -> Duration {
        let longest = self.longest.max(first);
        let doubled = first.saturating_mul(1u32.checked_shl(repeats).unwrap_or(u32::MAX)).min(longest);
        (doubled / 1000).saturating_mul(jitter(net, repeats)).min(longest)
    }
}

/// From 900 to 1100, by FNV-1a over what makes the block: nothing secret, and the same after a restart.
fn jitter(net: Net, repeats: u32) -> u32 {
    let name = format!("{net} {repeats}");
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The high bits are the well mixed ones.
    900 + u32::try_from((hash >> 32) % 201).unwrap_or(100)
}

/// What stays blocked of a network when [`Firewall::unblock`](crate::Firewall::unblock) lets a part of it in: nothing, when the part is all
/// of it.
pub fn rest(held: Net, let_in: Net) -> Vec<Net> {
    let (held, let_in) = (held.plain(), let_in.plain());
    // A single IPv6 address is let in with its 64 bits, where these were blocked.
    let let_in = subnet(let_in).filter(|_| held.prefix() <= 64).unwrap_or(let_in);
    if !held.overlaps(let_in) {
        return vec![held];
    }
    let (first, last) = ranges::bounds(let_in);
    let whole = vec![Range::new(held, Duration::ZERO, "", Tag::default())];
    let left = ranges::without(whole, &[(first, last)]);
    left.iter().flat_map(|range| ranges::nets(Family::of(held), range.first, range.last)).collect()
}

/// The 64 bits of a single IPv6 address.
pub(crate) fn subnet(net: Net) -> Option<Net> {
    Net::new(net.addr(), 64).filter(|_| net.addr().is_ipv6() && net.prefix() == 128)
}

/// Below a second nobody is kept out; the kernel takes less than a jiffy for "for ever".
const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, seconds: u64) -> String {
        let mut protected = Protected::classes();
        protected.add_host("2001:db8:1::1".parse().expect("ip"), Why::Own);
        protected.add_local("2001:db8:1::/64".parse().expect("net"));
        protected.add_host("2001:db8:2::53".parse().expect("ip"), Why::Resolver);
        protected.add_host("10.0.0.1".parse().expect("ip"), Why::Own);
        protected.add_local("10.0.0.0/24".parse().expect("net"));
        let policy = Policy { longest: Duration::from_secs(1000), ..Policy::default() };
        let exact = written.ends_with('!');
        let net = written.trim_end_matches('!').parse().expect(written);
        let for_ = Duration::from_secs(seconds);
        match policy.judge(&protected, &BlockRequest { exact, ..BlockRequest::new(net, for_, "") }) {
            Ok((net, for_)) => format!("{net} {}s", for_.as_secs()),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn requests_are_judged() {
        for (net, seconds, expected) in [
            ("198.51.100.7", 60, "198.51.100.7 60s"),
            ("198.51.100.7", 5000, "198.51.100.7 1000s"),
            ("198.51.100.7", 0, "it would be for no time"),
            ("::ffff:198.51.100.7", 60, "198.51.100.7 60s"),
            ("198.51.0.0/16", 60, "198.51.0.0/16 60s"),
            ("198.50.0.0/15", 60, "networks wider than /16 are not blocked"),
            ("10.0.0.1", 60, "10.0.0.1 is never blocked: an address of this host"),
            ("10.0.0.9", 60, "10.0.0.9 60s"),
            ("10.0.0.0/24", 60, "10.0.0.1 is never blocked: an address of this host"),
            ("2001:db8:9::7", 60, "2001:db8:9::/64 60s"),
            ("2001:db8:9::/64", 60, "2001:db8:9::/64 60s"),
            ("2001:db8:9::7!", 60, "2001:db8:9::7 60s"),
            ("2001:db8:9::/64!", 60, "2001:db8:9::/64 60s"),
            ("2001:db8:2::53!", 60, "2001:db8:2::53 is never blocked: a name server of this host"),
            ("2001:db8:9::/48", 60, "2001:db8:9::/48 60s"),
            ("2001:d00::/24", 60, "2001:db8:2::53 is never blocked: a name server of this host"),
            ("2002:d00::/24", 60, "networks wider than /32 are not blocked"),
            ("2001:db8:1::7", 60, "2001:db8:1::7 60s"),
            ("2001:db8:2::7", 60, "2001:db8:2::7 60s"),
            ("2001:db8:2::53", 60, "2001:db8:2::53 is never blocked: a name server of this host"),
        ] {
            assert_eq!(check(net, seconds), expected, "{net}");
        }
    }

    #[test]
    fn each_repeat_doubles_up_to_the_limit_and_a_tenth_either_way() {
        let hour = Duration::from_secs(3600);
        let policy = Escalation::default();
        let mut seen = std::collections::BTreeSet::new();
        for last in 0..=255 {
            let net = Net::host([203, 0, 113, last].into());
            for (repeats, secs) in
                [(0, 3600), (1, 7200), (3, 28_800), (8, 604_800), (31, 604_800), (4000, 604_800)]
            {
                let term = policy.term(hour, net, repeats);
                assert_eq!(term, policy.term(hour, net, repeats));
                let tenth = secs / 10;
                assert!(
                    term.as_secs().abs_diff(secs) <= tenth && term <= policy.longest,
                    "{net} {repeats}: {term:?}"
                );
                seen.insert((term.as_secs() - (secs - tenth)) * 20 / (2 * tenth));
            }
        }
        assert!(seen.len() >= 20, "spread over all of it: {seen:?}");
        let month = Duration::from_secs(30 * 86_400);
        let net = Net::host([203, 0, 113, 1].into());
        assert!(policy.term(month, net, 5) > month - month / 9, "a first block longer than the limit stays");
        assert_eq!(policy.term(Duration::MAX, net, 5).min(Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn what_is_let_in_leaves_the_rest() {
        for (held, let_in, left) in [
            ("10.0.0.0/30", "10.0.0.1", "10.0.0.0 10.0.0.2/31"),
            ("10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/31"),
            ("10.0.0.0/30", "10.0.0.0/24", ""),
            ("10.0.0.0/30", "10.0.0.4", "10.0.0.0/30"),
            ("10.0.0.7", "10.0.0.7", ""),
            ("2001:db8::/64", "2001:db8::7", ""),
            ("2001:db8::/63", "2001:db8::7", "2001:db8:0:1::/64"),
            ("2001:db8::7", "2001:db8::7", ""),
            ("2001:db8::/126", "2001:db8::", "2001:db8::1 2001:db8::2/127"),
        ] {
            let nets = rest(held.parse().expect(held), let_in.parse().expect(let_in));
            let nets: Vec<_> = nets.iter().map(Net::to_string).collect();
            assert_eq!(nets.join(" "), left, "{held} without {let_in}");
        }
    }
}

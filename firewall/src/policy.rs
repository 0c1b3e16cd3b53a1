//! What may be blocked, how wide and for how long.

use std::fmt;
use std::time::Duration;

use slips_core::addr::Net;

use crate::protected::plain;
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
        let net = plain(request.net);
        let for_ = request.for_;
        let widest = if net.addr().is_ipv4() { self.widest_v4 } else { self.widest_v6 };
        if for_.is_zero() {
            return Err(Refusal::NoTime);
        }
        if let Some((net, why)) = protected.check(net) {
            return Err(Refusal::Protected { net, why });
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
        match policy.judge(&protected, &BlockRequest { net, for_, reason: String::new(), exact }) {
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
}

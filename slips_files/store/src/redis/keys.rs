//! Every key and every channel in one place; `docs/redis.md` shows an example of each.

use std::fmt;
use std::net::IpAddr;

use slips_core::addr::Net;
use slips_core::alert::AlertId;
use slips_core::time::WindowId;

/// Longest name of a router, longest prefix.
const LONGEST: usize = 63;

/// A part of a key: letters, digits, `-`, `_` and `.`, so that no name can reach into the keys of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(Box<str>);

impl Word {
    /// The text, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(good);
        fits.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `slips`
impl Default for Word {
    fn default() -> Self {
        Self("slips".into())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keys of one router: `slips:ROUTER:NAME`. Names are the original's where the meaning is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: Word,
    router: Word,
}

impl Keys {
    /// The keys of this router below this prefix.
    pub const fn new(prefix: Word, router: Word) -> Self {
        Self { prefix, router }
    }

    /// The keys of another router on the same Redis.
    pub fn of(&self, router: Word) -> Self {
        Self { prefix: self.prefix.clone(), router }
    }

    /// Whose keys these are.
    pub const fn router(&self) -> &Word {
        &self.router
    }

    /// Sorted set, shared by all: router → when it was heard of last, in seconds since 1970.
    pub fn routers(&self) -> String {
        format!("{}:routers", self.prefix)
    }

    fn key(&self, name: impl fmt::Display) -> String {
        format!("{}:{}:{name}", self.prefix, self.router)
    }

    /// Text, JSON: how the router is. It is gone some seconds after the daemon.
    pub fn alive(&self) -> String {
        self.key("alive")
    }

    /// Hash: what is analysed, by which version, since when.
    pub fn analysis(&self) -> String {
        self.key("analysis")
    }

    /// Hash: counters.
    pub fn statistics(&self) -> String {
        self.key("statistics")
    }

    /// Sorted set: profile → when it was seen last, in seconds since 1970.
    pub fn profiles(&self) -> String {
        self.key("profiles")
    }

    /// Hash: what is known of an address.
    pub fn profile(&self, addr: IpAddr) -> String {
        self.key(profile(addr))
    }

    /// Sorted set: time window with evidence against the address → its start, in seconds since 1970.
    pub fn windows(&self, addr: IpAddr) -> String {
        self.key(format_args!("tws{}", profile(addr)))
    }

    /// Hash: how an address was judged in a window.
    pub fn window(&self, addr: IpAddr, window: WindowId) -> String {
        self.key(profile_window(addr, window))
    }

    /// Hash: identity → evidence against the address in a window.
    pub fn evidence(&self, addr: IpAddr, window: WindowId) -> String {
        self.key(format_args!("{}_evidence", profile_window(addr, window)))
    }

    /// Hash: identity → evidence about what is no address.
    pub fn evidence_of_none(&self, window: WindowId) -> String {
        self.key(format_args!("{}_evidence", timewindow(window)))
    }

    /// Sorted set: profile and window → weight that no alert has used, of the windows that are open.
    pub fn accumulated(&self) -> String {
        self.key("accumulated_threat_levels")
    }

    /// Sorted set: identity of an alert → when, in seconds since 1970.
    pub fn alerts(&self) -> String {
        self.key("alerts")
    }

    /// Text, JSON: an alert.
    pub fn alert(&self, id: AlertId) -> String {
        self.alert_named(&id.to_string())
    }

    /// The same, by the text of its identity.
    pub fn alert_named(&self, id: &str) -> String {
        self.key(format_args!("alert_{id}"))
    }

    /// Sorted set: network that is blocked → until when, in seconds since 1970.
    pub fn blocked(&self) -> String {
        self.key("blocked_ips")
    }

    /// Text, JSON: a block that stands. It is gone when its time is over.
    pub fn block(&self, net: Net) -> String {
        self.key(format_args!("block_{net}"))
    }

    /// Text, JSON: who acts under this name. See [`Lease`](super::Lease).
    pub fn lease(&self) -> String {
        self.key("lease")
    }

    /// Text, JSON: how the router is, or its standby. See [`Member`](super::Member).
    pub fn member(&self, role: &str) -> String {
        self.key(format_args!("member_{role}"))
    }

    /// Hash: network → a block that others are to have, too. See [`Shared`](super::Shared).
    pub fn fleet_blocks(&self) -> String {
        self.key("fleet_blocks")
    }

    /// Number: evidence since the start of the daemon.
    pub fn number_of_evidence(&self) -> String {
        self.key("number_of_evidence")
    }

    /// Number: alerts since the start of the daemon.
    pub fn number_of_alerts(&self) -> String {
        self.key("number_of_alerts")
    }
}

/// `profile_192.0.2.1`
pub fn profile(addr: IpAddr) -> String {
    format!("profile_{addr}")
}

/// `timewindow472452`
pub fn timewindow(window: WindowId) -> String {
    format!("timewindow{}", window.0)
}

/// `profile_192.0.2.1_timewindow472452`
pub fn profile_window(addr: IpAddr, window: WindowId) -> String {
    format!("{}_{}", profile(addr), timewindow(window))
}

macro_rules! channels {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Where something is told, by the original's names. All routers use the same channels; each message names its router.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Channel { $($(#[$doc])* $variant,)+ }

        impl Channel {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

channels! {
    /// A flow ended.
    Flow = "new_flow",
    /// A question of DNS and its answer.
    Dns = "new_dns",
    /// A request of HTTP.
    Http = "new_http",
    /// A handshake of TLS.
    Ssl = "new_ssl",
    /// A session of SSH.
    Ssh = "new_ssh",
    /// A message of ARP.
    Arp = "new_arp",
    /// An exchange of DHCP.
    Dhcp = "new_dhcp",
    /// A mail.
    Smtp = "new_smtp",
    /// Software on a host.
    Software = "new_software",
    /// A file that was transferred.
    File = "new_downloaded_file",
    /// A notice of Zeek's.
    Notice = "new_notice",
    /// An oddity.
    Weird = "new_weird",
    /// A tunnel.
    Tunnel = "new_tunnel",
    /// A login in the clear.
    Login = "new_login",
    /// An address was seen for the first time.
    Profile = "new_profile",
    /// A time window was closed.
    WindowClosed = "tw_closed",
    /// Evidence is new or has changed; outside modules tell of theirs here, too.
    Evidence = "evidence_added",
    /// An attacker's evidence is enough.
    Alert = "new_alert",
    /// Somebody is blocked, or no more.
    Blocking = "new_blocking",
    /// Commands to routers.
    Control = "control_channel",
    /// What became of a command.
    ControlAnswer = "control_answer",
}

impl Channel {
    /// Whether it tells of traffic: that is made only while somebody listens.
    pub const fn is_traffic(self) -> bool {
        !matches!(
            self,
            Self::WindowClosed
                | Self::Evidence
                | Self::Alert
                | Self::Blocking
                | Self::Control
                | Self::ControlAnswer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(Word::new("slips").expect("a word"), Word::new("gw1").expect("a word"))
    }

    #[test]
    fn names_are_the_originals() {
        let (keys, addr, window) = (keys(), IpAddr::from([192, 0, 2, 1]), WindowId(7));
        for (key, expected) in [
            (keys.routers(), "slips:routers"),
            (keys.profile(addr), "slips:gw1:profile_192.0.2.1"),
            (keys.windows(addr), "slips:gw1:twsprofile_192.0.2.1"),
            (keys.window(addr, window), "slips:gw1:profile_192.0.2.1_timewindow7"),
            (keys.evidence(addr, window), "slips:gw1:profile_192.0.2.1_timewindow7_evidence"),
            (keys.evidence_of_none(window), "slips:gw1:timewindow7_evidence"),
            (keys.block(Net::host(addr)), "slips:gw1:block_192.0.2.1"),
            (keys.of(Word::new("b").expect("a word")).alive(), "slips:b:alive"),
        ] {
            assert_eq!(key, expected);
        }
    }

    #[test]
    fn a_name_cannot_reach_into_other_keys() {
        for text in ["", "a:b", "a b", "ü", "a\n", "*", &"a".repeat(64)] {
            assert_eq!(Word::new(text), None, "{text}");
        }
        assert!(Word::new("gw-1.example_x").is_some());
    }
}

//! What should not leave in the clear (`NETWORK_GPS_LOCATION_LEAKED`, `SENSITIVE_DATA_LEAKED`): coordinates, keys, passwords, the
//! numbers of cards and devices in what a local host sends outside.

mod place;
mod rules;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use boreal::Scanner;
use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{About, Event, EventKind, Http, Payload};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;
use slips_core::state::Windowed;

use self::place::tells_place;
use self::rules::Found;
pub use self::rules::Rules;
use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "leak_detector",
    kinds: &[EvidenceKind::NetworkGpsLocationLeaked, EvidenceKind::SensitiveDataLeaked],
    events: &[EventKind::Http, EventKind::Payload],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[MATCHES, TURN, FLOW, SECOND],
    header: Header {
        detects: "What should not leave in the clear: where somebody is (`NETWORK_GPS_LOCATION_LEAKED`), and private keys, \
            access keys, passwords in addresses and forms, files of passwords, the numbers of payment cards, phones and \
            their cards, hardware addresses, lists of mail addresses (`SENSITIVE_DATA_LEAKED`), in what one of our hosts \
            sends to a remote one.",
        attack: "T1430 Location Tracking, T1552 Unsecured Credentials, T1048.003 Exfiltration Over Unencrypted Non-C2 \
            Protocol, T1040 Network Sniffing.",
        rule: "Rules in the language of YARA look at the beginning of what is sent: of every turn of a connection (what our side \
            says until the other one speaks) the first bytes, in order; of TCP and UDP, of any application that is not known \
            to be encrypted, live and from captures. Numbers of cards and phones need the right check digit, a hardware address must \
            be the sender's. Of log files, which hold no payload, the addresses of HTTP requests are read for coordinates. \
            The built-in rules are `slips_files/yara_rules/leaks.yar`; the files `*.yar` and `*.yara` in the directory \
            `rules` add to them. They see `service`, `port` and `from_client`, and say in their `meta` what they find (`what`, \
            `level`, `kind`, `check`). Per server, port and rule; what was found is written nowhere, only where it stood.",
        numbers: "The words of the place are those of the one rule that the original ships, which it runs over whole capture \
            files with external programs. The others are the documented forms of these keys and numbers (ISO/IEC 7812, \
            3GPP TS 23.003, RFC 7468).",
        quiet: "Low for most, once for each rule and server; four rules and servers in a window weigh anything, so that leaks \
            alone alert about nobody. The server is information. What goes to other hosts of ours is no leak.",
        evasion: "TLS, which is the cure; compression, encoding, what lies behind the first bytes of a turn, UDP in small parts.",
        proof: "Never: any page can have its visitor send such words. So it is told, and counts towards no block of our own host.",
    },
};

/// Steps in pieces of payload, to one server, in which one rule finds something.
pub const MATCHES: Threshold = Threshold::steps(
    "matches",
    "times that one rule matched what went to one server",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.9), rung(100, ThreatLevel::Low, 1.0)],
);
/// How much of one turn is looked at.
pub const TURN: Threshold = Threshold::number(
    "turn",
    "of each turn of a connection that is searched; of a datagram a quarter",
    Unit::Bytes,
    4000,
)
.within(256, 64_000);
/// How much of one flow is looked at.
pub const FLOW: Threshold =
    Threshold::number("flow", "of each connection that is searched", Unit::Kilobytes, 64).within(1, 10_000);
/// How much of all flows is looked at in one second.
pub const SECOND: Threshold =
    Threshold::number("second", "of all connections that is searched in one second", Unit::Kilobytes, 1000)
        .within(1, 100_000);

/// The key of the directory with the owner's rules, its default, and what it is.
pub const RULES_KEY: (&str, &str, &str) =
    ("rules", "/etc/slips/yara_rules", "directory of rules of your own, *.yar and *.yara");

/// How much of what our hosts send the sensor should tell, in bytes: of a turn, of a flow, of all flows in a second.
pub fn amounts(settings: &Settings) -> Option<[u32; 3]> {
    let kilo = |threshold| settings.number(&SPEC, threshold).saturating_mul(1000);
    settings.is_enabled(&SPEC).then(|| [settings.number(&SPEC, &TURN), kilo(&FLOW), kilo(&SECOND)])
}

/// Servers and kinds of evidence of one host in one window.
const MAX_TOLD: usize = 32;
/// Rules that one text names.
const MAX_NAMED: usize = 8;

/// Server, its port, transport, and whether anybody may have made it up: what is forged makes nothing worse that is proven.
type To = (IpAddr, u16, Proto, bool);

/// What was told of one host's leaks to one port of one server: further rules join it.
#[derive(Debug)]
struct Told {
    to: To,
    kind: EvidenceKind,
    level: ThreatLevel,
    /// What leaves, in the order in which it was found.
    what: Vec<String>,
}

#[derive(Debug, Default)]
struct Leaks {
    told: Vec<Told>,
    /// Payloads are seen, so that logs of requests tell nothing new.
    has_payloads: bool,
}

/// See the module.
pub struct LeakDetector {
    steps: Steps<(To, u64)>,
    told: Windowed<Leaks>,
    rules: Option<Rules>,
    scanner: Option<Scanner>,
}

impl LeakDetector {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            steps: Steps::new(settings.ladder(&SPEC, &MATCHES), Limits { keys: 32, weighing: 4 }),
            told: Windowed::default(),
            rules: settings.leak_rules.clone(),
            scanner: None,
        }
    }

    fn on_payload(&mut self, cx: &mut Cx<'_>, payload: &Payload) {
        self.told.get_or_default(cx.slot(), cx.window()).has_payloads = true;
        // The rules are compiled when there is something to look at.
        let scanner =
            self.scanner.get_or_insert_with(|| self.rules.clone().unwrap_or_else(Rules::built_in).scanner());
        for found in rules::search(scanner, payload) {
            self.on_found(cx, &payload.about, payload.is_orig, &found);
        }
    }

    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let is_place = tells_place(&http.uri) || tells_place(&http.referrer);
        if is_place && !self.told.get_or_default(cx.slot(), cx.window()).has_payloads {
            let found = Found {
                rule: "gps_coordinates".into(),
                what: "a place on earth".into(),
                kind: EvidenceKind::NetworkGpsLocationLeaked,
                level: ThreatLevel::Low,
                place: None,
            };
            self.on_found(cx, &http.about, true, &found);
        }
    }

    fn on_found(&mut self, cx: &mut Cx<'_>, about: &About, is_orig: bool, found: &Found) {
        let (ours, theirs) = if is_orig { (about.src, about.dst) } else { (about.dst, about.src) };
        let to = (theirs.addr, about.dst.port, about.proto, cx.facts().unheard);
        let Some(reached) = self.steps.add(cx, (to, member_of(&found.rule)), about.uid) else {
            return;
        };
        let told = &mut self.told.get_or_default(cx.slot(), cx.window()).told;
        if !told.iter().any(|told| (told.to, told.kind) == (to, found.kind)) {
            if told.len() >= MAX_TOLD {
                return;
            }
            told.push(Told { to, kind: found.kind, level: ThreatLevel::Info, what: Vec::new() });
        }
        let Some(told) = told.iter_mut().find(|told| (told.to, told.kind) == (to, found.kind)) else {
            return;
        };
        if reached.rung.level > ThreatLevel::Info {
            told.level = told.level.max(found.level);
        }
        if told.what.len() < MAX_NAMED && !told.what.contains(&found.what) {
            told.what.push(found.what.clone());
        }
        let place = found.place.map_or_else(String::new, |(from, length)| {
            format!(", {length} bytes at byte {from} of what was sent")
        });
        // What was found is not repeated.
        let text = format!(
            "{} left in the clear to {theirs} (port {} of the server): rule {}, {} times{place}",
            told.what.join(" and "),
            to.1,
            found.rule,
            reached.n,
        );
        let client = Finding {
            level: told.level,
            victim: Some(Entity::Ip(theirs.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            // Any page can have its visitor send such words.
            proof: Proof::Unproven,
            ..reached.finding(cx, found.kind, ours.addr, about.at)
        };
        let server = Finding {
            attacker: Entity::Ip(theirs.addr),
            victim: Some(Entity::Ip(ours.addr)),
            level: ThreatLevel::Info,
            ..client.clone()
        };
        cx.emit_both(client, server);
    }
}

impl Detector for LeakDetector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let facts = cx.facts();
        let leaves = match cx.role() {
            Role::Src => facts.src_local && !facts.dst_local,
            Role::Dst => facts.dst_local && !facts.src_local,
            Role::Link => false,
        };
        if !leaves {
            return;
        }
        match event {
            Event::Payload(payload) if payload.is_orig == (cx.role() == Role::Src) => {
                self.on_payload(cx, payload);
            }
            Event::Http(http) if cx.role() == Role::Src => self.on_http(cx, http),
            _ => {}
        }
    }

    fn on_window_close(
        &mut self,
        _out: &mut slips_core::detector::Closing<'_>,
        window: slips_core::time::WindowId,
    ) {
        self.steps.close(window);
        self.told.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: slips_core::detector::Slot) {
        self.steps.forget(slot);
        self.told.forget(slot);
    }
}

//! Passwords guessed in any protocol that shows who logs in (`PASSWORD_GUESSING`): FTP, telnet, IMAP, POP3, HTTP, SMB, RDP,
//! VNC, Kerberos, LDAP, RADIUS, MySQL, PostgreSQL, Redis, MQTT, SIP and SOCKS. SSH and SMTP have detections of their own.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::exchange::{App, Auth, AuthOutcome};
use slips_core::flow::Proto;
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Ladder, Rung, Told, rung};
use crate::steps::{member_of, member_of_ip};
use crate::table::Table;
use crate::tally::{Distinct, Pace, Trail};
use crate::{Settings, attempt, web};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "login_guessing",
    kinds: &[EvidenceKind::PasswordGuessing],
    events: &[EventKind::Auth, EventKind::Http],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[REFUSED, SPRAYED, TOGETHER, LET_IN],
    header: Header {
        detects: "Passwords guessed in any protocol that shows who logs in (`PASSWORD_GUESSING`): FTP, telnet, IMAP, \
            POP3, HTTP, SMB, RDP, VNC, Kerberos, LDAP, RADIUS, MySQL, PostgreSQL, Redis, MQTT, SIP and SOCKS. \
            SSH and SMTP have detections of their own.",
        attack: "T1110.001 Password Guessing, T1110.003 Password Spraying, T1078 Valid Accounts.",
        rule: "Per source, server, port and window, the refused logins; RDP and VNC encrypt the answer, so each \
            connection that names a user or answers the challenge is an attempt there. Spraying: distinct \
            servers that refused one source. From the server's side: refused logins of ten sources and more, \
            none of which need stand out.",
        numbers: "10 refusals are what a forgotten password makes. Critical are 40 within five to ten minutes with \
            three names or with a pace that no person types at (40 within a minute); slow guessing ends at high, \
            and so does who tries one name at leisure. A login that succeeds after 20 refusals of the same name \
            is critical after such a pace, and high otherwise: somebody typed his new password at last.",
        quiet: "A program with an old password repeats one name for ever: at most high, 0.64 an hour. A server that \
            asks first (HTTP 401, Kerberos pre-authentication) has refused nothing. Nobody is blamed for what \
            many sources did together. What a page may have had a browser of ours ask by HTTP (`Origin`, a \
            browser's name, a server called by a public name, all that is outside) is low and no login.",
        evasion: "Encrypted protocols other than RDP; forms in web pages; fewer than ten tries an hour and source and \
            server; inside, a browser's user agent.",
        proof: "Proven over TCP; a datagram proves its sender only by his hardware address.",
    },
};

/// Steps in refused logins at one server. The last one needs a pace: see `FAST`.
pub const REFUSED: Threshold = Threshold::steps(
    "refused",
    "logins of one source that one server refuses in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Medium, 0.7),
        rung(20, ThreatLevel::High, 0.8),
        rung(40, ThreatLevel::Critical, 0.95),
    ],
);
/// Steps in servers that refused.
pub const SPRAYED: Threshold = Threshold::steps(
    "servers",
    "servers that refuse one source in a window",
    Unit::Count,
    &[rung(5, ThreatLevel::Medium, 0.7), rung(20, ThreatLevel::High, 0.9)],
);
/// Steps in sources that one server refused.
pub const TOGETHER: Threshold = Threshold::steps(
    "sources",
    "sources that one server refuses in a window, twice each on average",
    Unit::Count,
    &[rung(10, ThreatLevel::Low, 0.7), rung(50, ThreatLevel::Medium, 0.8)],
);
/// A login that succeeds after so many refusals.
pub const LET_IN: Threshold = Threshold::steps(
    "let_in_after",
    "refusals of a name in a window, after which the name is let in",
    Unit::Count,
    &[rung(20, ThreatLevel::Critical, 0.9)],
);

/// Refusals within one to two of these make the last step: of several names, or of any within the shorter one.
const MINUTES: Span = Span::from_secs(300);
const MINUTE: Span = Span::from_secs(30);
const FAST: u32 = 40;
const SEVERAL: u32 = 3;
/// The step of [`REFUSED`] that slow guessing does not pass.
const SLOW_STEP: u8 = 2;
/// Where there is no step.
const NEVER: Rung = rung(u32::MAX, ThreatLevel::Info, 0.0);
/// Servers remembered per source and window; those with the fewest refusals make room.
const MAX_SERVERS: usize = 64;
/// Names remembered per server.
const MAX_USERS: usize = 32;

#[derive(Debug, Default)]
struct Server {
    refused: u32,
    users: Distinct<u64>,
    /// Refusals by name; the names refused least make room.
    by_user: Table<u64, u32>,
    minutes: Pace,
    minute: Pace,
    trail: Trail,
    told: Told,
    let_in: bool,
    /// No person tried so fast.
    fast: bool,
    /// A page may have had a browser of ours ask here.
    by_page: bool,
}

#[derive(Debug, Default)]
struct Source {
    servers: Table<(IpAddr, u16), Server>,
    sprayed: Distinct<u64>,
    spray: u8,
}

/// A server as it sees who guesses.
#[derive(Debug, Default)]
struct Door {
    sources: Distinct<u64>,
    refused: u32,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct LoginGuessing {
    refused: Ladder,
    sprayed: Ladder,
    together: Ladder,
    let_in: Rung,
    sources: Windowed<Source>,
    doors: Windowed<Door>,
}

/// The answer is encrypted: the attempt itself is all that is seen.
const fn is_blind(app: App) -> bool {
    matches!(app, App::Rdp | App::Rfb)
}

/// Whether this counts as refused; `None` where other detections judge, or nothing is known.
fn is_refused(auth: &Auth) -> Option<bool> {
    match auth.outcome {
        _ if auth.app == App::Smtp => None,
        AuthOutcome::Failed => Some(true),
        AuthOutcome::Unknown if is_blind(auth.app) => Some(true),
        AuthOutcome::Unknown => None,
        AuthOutcome::Succeeded => Some(false),
    }
}

/// One of our hosts asks a server outside by HTTP: any page may have him do so.
fn asks_outside(auth: &Auth, cx: &Cx<'_>) -> bool {
    auth.app == App::Http && cx.facts().src_local && !cx.facts().dst_local
}

fn proof_of(auth: &Auth, cx: &Cx<'_>) -> Proof {
    if auth.about.proto == Proto::Tcp { Proof::Proven } else { attempt::proof_of_source(cx.facts()) }
}

impl Server {
    fn step(&mut self, refused: &Ladder) -> u8 {
        let step = refused.step(self.refused);
        let several = self.users.len() >= SEVERAL && self.minutes.sum() >= FAST;
        let fast = several || self.minute.sum() >= FAST;
        self.fast |= fast;
        if fast { step } else { step.min(SLOW_STEP) }
    }
}

impl LoginGuessing {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            refused: settings.ladder(&SPEC, &REFUSED),
            sprayed: settings.ladder(&SPEC, &SPRAYED),
            together: settings.ladder(&SPEC, &TOGETHER),
            let_in: settings.ladder(&SPEC, &LET_IN).at_step(1).unwrap_or(NEVER),
            sources: Windowed::default(),
            doors: Windowed::default(),
        }
    }

    fn on_refused(&mut self, cx: &mut Cx<'_>, auth: &Auth) {
        let about = &auth.about;
        let source = self.sources.get_or_default(cx.slot(), cx.window());
        let key = (about.dst.addr, about.dst.port);
        let Some(server) = source.servers.get_or_insert(key, MAX_SERVERS, |server| u64::from(server.refused))
        else {
            return;
        };
        server.refused = server.refused.saturating_add(1);
        let user = member_of(&auth.user);
        server.users.insert(user);
        if let Some(refused) = server.by_user.get_or_insert(user, MAX_USERS, |refused| u64::from(*refused)) {
            *refused = refused.saturating_add(1);
        }
        server.minutes.add(about.at, 1, MINUTES);
        server.minute.add(about.at, 1, MINUTE);
        server.trail.push(about.uid);
        let by_page = server.by_page || asks_outside(auth, cx);
        if !by_page {
            source.sprayed.insert(member_of_ip(about.dst.addr));
        }
        let proof = proof_of(auth, cx);
        let step = server.step(&self.refused).max(server.told.step());
        if let Some(mut rung) = server.told.climb(&self.refused, step, proof, 1, about.at) {
            if by_page {
                rung.level = rung.level.min(ThreatLevel::Low);
            }
            let text = format!(
                "{} guessing at {}: {} logins, {} names",
                auth.app.name(),
                about.dst,
                server.refused,
                server.users.len()
            );
            let uids = server.trail.take();
            tell(cx, auth, rung, proof, text, uids);
        }
        let sprayed = source.sprayed.len();
        if ladder::climb(&mut source.spray, self.sprayed.step(sprayed))
            && let Some(rung) = self.sprayed.at_step(source.spray)
        {
            let text = format!("logins refused by {sprayed} servers, lately by {}", about.dst);
            let finding = ladder::finding(cx, EvidenceKind::PasswordGuessing, about.src.addr, rung, about.at);
            cx.emit(Finding { text, proof, ..finding });
        }
    }

    fn on_let_in(&mut self, cx: &mut Cx<'_>, auth: &Auth) {
        let about = &auth.about;
        let Some(source) = self.sources.get_mut(cx.slot(), cx.window()) else { return };
        let Some(server) = source.servers.get_mut(&(about.dst.addr, about.dst.port)) else { return };
        let refused = server.by_user.get_mut(&member_of(&auth.user)).map_or(0, |refused| *refused);
        let by_page = server.by_page || asks_outside(auth, cx);
        if by_page || refused < self.let_in.at || std::mem::replace(&mut server.let_in, true) {
            return;
        }
        let mut rung = self.let_in;
        if !server.fast {
            rung.level = rung.level.min(ThreatLevel::High);
        }
        let text = format!(
            "{} guessing at {} succeeded: let in after {refused} refused logins of the same name",
            auth.app.name(),
            about.dst
        );
        let proof = proof_of(auth, cx);
        tell(cx, auth, rung, proof, text, vec![about.uid]);
    }

    /// A page may have had a browser of ours ask for what needs a login.
    fn on_page(&mut self, cx: &Cx<'_>, http: &Http) {
        let source = self.sources.get_or_default(cx.slot(), cx.window());
        let key = (http.about.dst.addr, http.about.dst.port);
        if let Some(server) =
            source.servers.get_or_insert(key, MAX_SERVERS, |server| u64::from(server.refused))
        {
            server.by_page = true;
        }
    }

    /// The server's side.
    fn on_door(&mut self, cx: &mut Cx<'_>, auth: &Auth) {
        let about = &auth.about;
        let door = self.doors.get_or_default(cx.slot(), cx.window());
        door.refused = door.refused.saturating_add(1);
        door.sources.insert(member_of_ip(about.src.addr));
        door.trail.push(about.uid);
        // Several tries each: sources that fail once are users.
        let sources = door.sources.len();
        let step = self.together.step(sources);
        if door.refused < sources.saturating_mul(2) || !ladder::climb(&mut door.told, step) {
            return;
        }
        let Some(rung) = self.together.at_step(step) else { return };
        let text = format!("{} sources guess at {}: {} logins", sources, about.dst, door.refused);
        let uids = door.trail.take();
        cx.emit(Finding {
            attacker: Entity::Many,
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            uids,
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, about.dst.addr, rung, about.at)
        });
    }
}

fn tell(
    cx: &mut Cx<'_>,
    auth: &Auth,
    rung: Rung,
    proof: Proof,
    text: String,
    uids: Vec<slips_core::flow::Uid>,
) {
    let about = &auth.about;
    cx.emit(Finding {
        victim: Some(Entity::Ip(about.dst.addr)),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text,
        uids,
        proof,
        ..ladder::finding(cx, EvidenceKind::PasswordGuessing, about.src.addr, rung, about.at)
    });
}

impl Detector for LoginGuessing {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event
            && cx.role() == Role::Src
            && cx.facts().src_local
            && (http.status_code == Some(401) || !http.username.is_empty())
            && web::is_steerable(http)
        {
            self.on_page(cx, http);
        }
        let Event::Auth(auth) = event else { return };
        match (is_refused(auth), cx.role()) {
            (Some(true), Role::Src) => self.on_refused(cx, auth),
            (Some(false), Role::Src) => self.on_let_in(cx, auth),
            (Some(true), Role::Dst) if cx.facts().dst_local => self.on_door(cx, auth),
            _ => {}
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.sources.close(window, |_, _| {});
        self.doors.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.sources.forget(slot);
        self.doors.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, bench, http, levels};
    use AuthOutcome::{Failed, Succeeded, Unknown};

    fn login(app: App, src: &str, dst: &str, second: i64, user: &str, outcome: AuthOutcome) -> Event {
        Event::Auth(Box::new(Auth {
            about: about(src, dst, 21, second),
            app,
            user: user.into(),
            domain: String::new(),
            host: String::new(),
            method: String::new(),
            outcome,
            reason: String::new(),
            clear_password: true,
        }))
    }

    /// `n` attempts of one host, one every `gap` tenths of a second, with so many names.
    fn told(app: App, n: i64, gap: i64, names: i64, outcome: AuthOutcome) -> Vec<Finding> {
        let mut bench = bench(LoginGuessing::new(&Settings::default()));
        (0..n)
            .flat_map(|n| {
                let user = format!("u{}", n % names);
                bench.feed(&login(app, "203.0.113.9", "192.168.1.2", n * gap / 10, &user, outcome))
            })
            .collect()
    }

    #[test]
    fn a_dictionary_climbs_to_critical() {
        assert!(told(App::Ftp, 9, 5, 1, Failed).is_empty());
        assert_eq!(levels(&told(App::Ftp, 10, 5, 1, Failed)), ["medium 0.7"]);
        let all = ["medium 0.7", "high 0.8", "critical 0.95"];
        assert_eq!(levels(&told(App::Ftp, 60, 5, 1, Failed)), all);
        assert_eq!(levels(&told(App::Mysql, 45, 60, 20, Failed)), all, "several names, ten a minute");
        assert_eq!(levels(&told(App::Rdp, 60, 5, 1, Unknown)), all, "the answer is encrypted");
    }

    #[test]
    fn a_program_with_an_old_password_ends_at_high() {
        assert_eq!(levels(&told(App::Imap, 59, 600, 1, Failed)), ["medium 0.7", "high 0.8"]);
        assert_eq!(levels(&told(App::Imap, 340, 100, 1, Failed)), ["medium 0.7", "high 0.8"]);
    }

    #[test]
    fn what_is_not_refused_and_what_others_judge_is_silent() {
        assert!(told(App::Ftp, 500, 1, 5, Succeeded).is_empty());
        assert!(told(App::Ftp, 500, 1, 5, Unknown).is_empty());
        assert!(told(App::Smtp, 500, 1, 5, Failed).is_empty());
    }

    #[test]
    fn what_a_page_has_a_browser_ask_is_low_and_no_login() {
        for (dst, page) in [("192.168.1.9", true), ("198.51.100.9", false), ("192.168.1.9", false)] {
            let mut bench = bench(LoginGuessing::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..200 {
                let mut request = http(dst, "", "/", n / 10);
                (request.status_code, request.from_page) = (Some(401), page);
                request.about.dst.port = 21;
                told.extend(bench.feed(&Event::Http(Box::new(request))));
                told.extend(bench.feed(&login(App::Http, "192.168.1.5", dst, n / 10, "joe", Failed)));
            }
            told.extend(bench.feed(&login(App::Http, "192.168.1.5", dst, 21, "joe", Succeeded)));
            let tool_inside = !page && dst == "192.168.1.9";
            assert_eq!(told.iter().any(|told| told.level > ThreatLevel::Low), tool_inside, "{dst} {page}");
        }
    }

    #[test]
    fn a_login_after_many_refusals_is_told() {
        let slow = Some("high 0.9");
        for (refused, gap, expected) in
            [(19, 60, None), (20, 60, slow), (49, 60, slow), (49, 0, Some("critical 0.9"))]
        {
            let mut bench = bench(LoginGuessing::new(&Settings::default()));
            for n in 0..refused {
                bench.feed(&login(App::Pop3, "203.0.113.9", "192.168.1.2", n * gap, "joe", Failed));
            }
            let other = login(App::Pop3, "203.0.113.9", "192.168.1.2", 2999, "ann", Succeeded);
            assert!(bench.feed(&other).is_empty(), "somebody else behind the same address");
            let success = login(App::Pop3, "203.0.113.9", "192.168.1.2", 3000, "joe", Succeeded);
            let told = bench.feed(&success);
            assert_eq!(levels(&told).first().map(String::as_str), expected);
            assert!(bench.feed(&success).is_empty(), "once");
        }
    }

    #[test]
    fn one_try_at_each_of_many_servers_is_spraying() {
        let mut bench = bench(LoginGuessing::new(&Settings::default()));
        let told: Vec<Finding> = (0..30)
            .flat_map(|n| {
                let server = format!("192.168.1.{}", n + 1);
                bench.feed(&login(App::Smb, "192.168.1.77", &server, n, "admin", Failed))
            })
            .collect();
        assert_eq!(levels(&told), ["medium 0.7", "high 0.9"]);
    }

    #[test]
    fn many_sources_together_are_seen_by_the_server_and_nobody_is_blamed() {
        let mut bench = bench(LoginGuessing::new(&Settings::default()));
        let told: Vec<Finding> = (0..200)
            .flat_map(|n| {
                let source = format!("203.0.113.{}", n % 60 + 1);
                bench.feed(&login(App::Ftp, &source, "192.168.1.2", n * 10, "root", Failed))
            })
            .collect();
        assert!(told.iter().all(|told| told.attacker == Entity::Many), "{told:?}");
        assert_eq!(levels(&told).len(), 1, "{:?}", levels(&told));
    }
}

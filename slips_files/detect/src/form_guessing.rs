//! Passwords guessed in forms of web pages, in the clear (`PASSWORD_GUESSING`).

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Ladder, Told, rung};
use crate::steps::member_of;
use crate::table::Table;
use crate::tally::{Pace, Trail};
use crate::{Settings, web};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "form_guessing",
    kinds: &[EvidenceKind::PasswordGuessing],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[REQUESTS, OUTWARDS],
    header: Header {
        detects: "Passwords guessed in forms of web pages, in the clear (`PASSWORD_GUESSING`).",
        attack: "T1110.001 Password Guessing, T1110.004 Credential Stuffing.",
        rule: "Requests that send something (`POST`, up to 4 kB) to a path that is named like a login, per source, \
            server and path in a window, nine tenths of which are answered alike: by the same status and within \
            one class of size. Authentication by HTTP itself is for `login_guessing`, forms over TLS are \
            `flow_guessing`'s where they have a port of their own.",
        numbers: "People try a password a few times. 30 are medium, 80 high, 200 critical when 60 of them fell within \
            one to two minutes and they are guesses: the server refuses (401, 403, 422, 429), or what is sent is of \
            three lengths at least, as words of a list are; hydra and ffuf send hundreds a minute.",
        quiet: "Only paths of logins count, so what programs post does not; a login that succeeds is answered \
            otherwise; what asks the same again and again is no guess. What a page may have had a browser send \
            (`Origin`, a browser's name, a server called by a public name) is low when one of our hosts sends it, \
            and outwards all is low: whoever has a page visited must not get the visitor blocked.",
        evasion: "TLS; other names; answers that vary; inside, a browser's user agent.",
        proof: "Proven, requests over TCP.",
    },
};

/// Steps in requests answered alike. The last one needs a pace: see `FAST`.
pub const REQUESTS: Threshold = Threshold::steps(
    "requests",
    "requests of one source with one form of ours, answered alike, in a window",
    Unit::Count,
    &[
        rung(30, ThreatLevel::Medium, 0.7),
        rung(80, ThreatLevel::High, 0.8),
        rung(200, ThreatLevel::Critical, 0.9),
    ],
);
/// The same to servers outside.
pub const OUTWARDS: Threshold = Threshold::steps(
    "outward_requests",
    "requests of one source with one form outside, answered alike, in a window",
    Unit::Count,
    &[rung(80, ThreatLevel::Low, 0.6)],
);

/// Requests within one to two minutes that nobody types.
const FAST: u32 = 60;
/// Different lengths of what is sent that a list of passwords has.
const LENGTHS: usize = 3;
/// Statuses by which a server refuses what a form says.
const REFUSALS: [u16; 4] = [401, 403, 422, 429];
const MINUTE: Span = Span::from_secs(60);
/// The step of [`REQUESTS`] that slower ones, and such as are no guesses for certain, do not pass.
const PATIENT_STEP: u8 = 2;
/// Bytes of a form with a name and a password.
const MAX_FORM: u64 = 4096;
/// Forms remembered per source and window; those with the fewest requests make room.
const MAX_FORMS: usize = 32;

/// Words in the paths of logins, lower case.
const LOGINS: [&str; 11] = [
    "login",
    "logon",
    "signin",
    "sign-in",
    "sign_in",
    "wp-admin",
    "xmlrpc.php",
    "j_security_check",
    "password",
    "authenticate",
    "boaform",
];

#[derive(Debug, Default)]
struct Form {
    requests: u32,
    /// The answer of the first request: status and class of size; and how many are like it.
    answer: Option<(u16, u32)>,
    alike: u32,
    /// Lengths of what was sent, the first three.
    lengths: [u16; LENGTHS],
    /// The server says that it refuses.
    is_refused: bool,
    /// A page may have sent some of it.
    steerable: bool,
    pace: Pace,
    trail: Trail,
    told: Told,
}

/// See the module.
#[derive(Debug)]
pub struct FormGuessing {
    requests: Ladder,
    outwards: Ladder,
    sources: Windowed<Table<(IpAddr, u16, u64), Form>>,
}

/// The path of a request, if it is named like a login.
fn login_path(uri: &str) -> Option<&str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let contains = |word: &&str| {
        path.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    LOGINS.iter().any(contains).then_some(path)
}

/// Sizes within a quarter of each other are of one class, mostly.
fn class_of(size: u64) -> u32 {
    (f64::log2(size.max(1) as f64) * 3.0) as u32
}

impl Form {
    /// Adds a request; whether nearly all are answered alike.
    fn add(&mut self, http: &Http) -> bool {
        self.requests = self.requests.saturating_add(1);
        let answer = (http.status_code.unwrap_or(0), class_of(http.response_body_len));
        let (status, class) = *self.answer.get_or_insert(answer);
        let alike = status == answer.0 && class.abs_diff(answer.1) <= 1;
        self.alike = self.alike.saturating_add(u32::from(alike));
        self.is_refused = REFUSALS.contains(&answer.0);
        self.steerable |= web::is_steerable(http);
        let length = http.request_body_len as u16;
        if !self.lengths.contains(&length)
            && let Some(free) = self.lengths.iter_mut().find(|known| **known == 0)
        {
            *free = length;
        }
        self.pace.add(http.about.at, 1, MINUTE);
        self.trail.push(http.about.uid);
        alike && self.alike.saturating_mul(10) >= self.requests.saturating_mul(9)
    }
}

impl FormGuessing {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            requests: settings.ladder(&SPEC, &REQUESTS),
            outwards: settings.ladder(&SPEC, &OUTWARDS),
            sources: Windowed::default(),
        }
    }

    fn on_form(&mut self, cx: &mut Cx<'_>, http: &Http, path: &str) {
        let about = &http.about;
        let forms = self.sources.get_or_default(cx.slot(), cx.window());
        let key = (about.dst.addr, about.dst.port, member_of(path));
        let Some(form) = forms.get_or_insert(key, MAX_FORMS, |form| u64::from(form.requests)) else { return };
        if !form.add(http) {
            return;
        }
        let facts = cx.facts();
        let visitor = facts.src_local && form.steerable;
        let ladder = if facts.dst_local && !visitor { &self.requests } else { &self.outwards };
        let step = ladder.step(form.requests);
        let guesses = form.is_refused || form.lengths.iter().all(|length| *length > 0);
        let step = if guesses && form.pace.sum() >= FAST { step } else { step.min(PATIENT_STEP) };
        let step = step.max(form.told.step());
        let Some(rung) = form.told.climb(ladder, step, Proof::Proven, 1, about.at) else { return };
        let shown: String = path.chars().take(80).collect();
        let text =
            format!("password guessing in the form {} of {}: {} requests", shown, about.dst, form.requests);
        let uids = form.trail.take();
        cx.emit(Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(about.dst.port),
            text,
            uids,
            proof: Proof::Proven,
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, about.src.addr, rung, about.at)
        });
    }
}

impl Detector for FormGuessing {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event
            && http.method == "POST"
            && (1..=MAX_FORM).contains(&http.request_body_len)
            // Who authenticates by HTTP itself is read elsewhere.
            && http.username.is_empty()
            && http.status_code.is_some()
            && let Some(path) = login_path(&http.uri)
        {
            self.on_form(cx, http, path);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.sources.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.sources.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels};

    fn posted(n: i64, gap: i64, uri: &str, vary: impl Fn(i64, &mut Http)) -> Vec<String> {
        let mut bench = bench(FormGuessing::new(&Settings::default()));
        let all = (0..n).flat_map(|n| {
            let mut request = http("192.168.1.2", "", uri, n * gap / 10);
            (request.method, request.request_body_len) = ("POST".into(), 40 + n as u64 % 5);
            request.response_body_len = 1800;
            vary(n, &mut request);
            bench.feed(&Event::Http(Box::new(request)))
        });
        levels(&all.collect::<Vec<_>>())
    }

    #[test]
    fn a_form_that_refuses_hundreds_is_guessed_at() {
        assert!(posted(29, 5, "/login.php", |_, _| {}).is_empty());
        assert_eq!(posted(30, 5, "/login.php", |_, _| {}), ["medium 0.7"]);
        let all = ["medium 0.7", "high 0.8", "critical 0.9"];
        assert_eq!(posted(210, 5, "/wp-Login.php?x=1", |n, form| form.response_body_len += n as u64), all);
        assert_eq!(
            posted(210, 100, "/login.php", |_, _| {}),
            ["medium 0.7", "high 0.8"],
            "ten seconds apart"
        );
    }

    #[test]
    fn other_requests_and_answers_that_vary_are_silent() {
        assert!(posted(500, 5, "/api/data", |_, _| {}).is_empty());
        assert!(posted(500, 5, "/login", |_, form| form.method = "GET".into()).is_empty());
        assert!(posted(500, 5, "/login", |_, form| form.username = "joe".into()).is_empty());
        assert!(posted(500, 5, "/login", |_, form| form.request_body_len = 90_000).is_empty());
        assert!(posted(500, 5, "/login", |n, form| form.response_body_len = 10 << (n % 9)).is_empty());
    }

    #[test]
    fn what_is_asked_again_and_again_is_no_guess_unless_it_is_refused() {
        let same = |_: i64, form: &mut Http| form.request_body_len = 40;
        assert_eq!(posted(500, 5, "/login/status", same), ["medium 0.7", "high 0.8"]);
        let refused = |_: i64, form: &mut Http| (form.request_body_len, form.status_code) = (40, Some(401));
        assert_eq!(posted(210, 5, "/api/login", refused), ["medium 0.7", "high 0.8", "critical 0.9"]);
    }

    #[test]
    fn a_page_that_is_visited_does_not_make_its_visitor_an_attacker() {
        for steer in [
            (|_, form: &mut Http| form.from_page = true) as fn(i64, &mut Http),
            |_, form| form.user_agent = "Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/128.0".into(),
            |_, form| form.host = "rebound.example.org".into(),
            |n, form| form.from_page = n == 100,
        ] {
            let told = posted(500, 5, "/login", steer);
            assert!(!told.iter().any(|told| told.starts_with("critical")), "{told:?}");
        }
        let outside = |_: i64, form: &mut Http| {
            (form.from_page, form.about.src.addr) = (true, [203, 0, 113, 9].into());
        };
        assert_eq!(posted(500, 5, "/login", outside).last().map(String::as_str), Some("critical 0.9"));
    }

    #[test]
    fn outwards_it_is_low() {
        let outwards = |_: i64, form: &mut Http| form.about.dst.addr = [203, 0, 113, 9].into();
        assert_eq!(posted(500, 5, "/login", outwards), ["low 0.6"]);
    }
}

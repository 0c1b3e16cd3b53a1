//! What each detection costs alone, in nanoseconds per event, and what all of them hold in memory per profile.
//!
//!     cargo bench -p slips-detect --bench cost
//!
//! The mix is a household's: questions for names, connections as they begin and end, requests with what they carry, handshakes, some that fail, and
//! one scan. Time is the processor's, so that other work of the machine does not count.
//! The cost of a detection is that of the engine with it, less that of the engine with none. Memory is what the resident set grows
//! by, in a process of its own for each figure.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use slips_core::engine::{Engine, Registry};
use slips_core::event::{Event, Payload};
use slips_core::flow::{ConnState, Flow, Proto};
use slips_core::intel::Current;
use slips_core::record::Record;
use slips_core::settings::Settings;

mod mix;

use mix::{SERVERS, Visit, clients, resident, sender, syn};

/// Visits of the mix; each is four events, and a fifth where it is in the clear.
const VISITS: u32 = 25_000;
/// The best of so many is what no other work disturbed.
const ROUNDS: usize = 25;
const BATCH: usize = 1_000;

type Detectors = Vec<Box<dyn slips_core::detector::Detector>>;

fn registry() -> Detectors {
    slips_detect::registry(&slips_detect::Settings::default(), &Current::default())
}

/// As a scanner from outside makes it.
fn probes(visit: Visit) -> [Event; 4] {
    let scanner = Visit { client: [198, 51, 100, 7], ..visit };
    [0, 1, 2, 3].map(|more| {
        let port = (visit.n.wrapping_mul(4) % 60_000) as u16 + more;
        let target = [192, 168, 1, (visit.n % 50) as u8 + 2];
        let about = scanner.about(target, port, Proto::Tcp);
        let mut flow = Flow::new(about.at, Proto::Tcp, about.src, about.dst);
        (flow.uid, flow.state) = (about.uid, ConnState::S0);
        Event::Flow(flow)
    })
}

/// What a browser sends with a request.
const HEADERS: &str = "Host: www.place.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nCookie: session=5f2c8a7d1e9b4c3fa6d0; seen=1\r\nUpgrade-Insecure-Requests: 1\r\n\r\n";

/// The events of a visit, with what a request carries.
fn household(visit: Visit) -> Vec<Event> {
    let mut events = Vec::from(visit.events());
    let request = events.iter().find_map(|event| match event {
        Event::Http(http) => Some((http.about, format!("GET {} HTTP/1.1\r\n{HEADERS}", http.uri))),
        _ => None,
    });
    if let Some((about, text)) = request {
        let payload = Payload { about, is_orig: true, service: "http".into(), bytes: text.into_bytes() };
        events.insert(3, Event::Payload(Box::new(payload)));
    }
    events
}

/// Fifty clients, 2,000 servers; one visit of twenty is a scanner's.
fn mix() -> Vec<Event> {
    let visit = |n: u32| {
        let server = n.wrapping_mul(2_654_435_761) % SERVERS;
        let client = [192, 168, 1, (n % 50) as u8 + 2];
        let visit = Visit { n, millis: i64::from(n) * 40, client, server };
        if n % 20 == 19 { Vec::from(probes(visit)) } else { household(visit) }
    };
    (0..VISITS).flat_map(visit).collect()
}

/// What this thread took of the processor.
fn processor() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// The best of some rounds, in nanoseconds an event.
fn cost(events: &[Event], detectors: &Registry) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let batches: Vec<Vec<Event>> = events.chunks(BATCH).map(<[Event]>::to_vec).collect();
        let mut engine = Engine::new(&Settings::default(), detectors);
        let mut out = Vec::new();
        let begun = processor();
        for batch in batches {
            engine.feed(batch, &mut out);
            out.clear();
        }
        best = best.min(processor().saturating_sub(begun));
    }
    best.as_nanos() as f64 / events.len() as f64
}

fn costs() {
    let events = mix();
    let nothing = cost(&events, &Vec::new);
    let all = cost(&events, &registry);
    let mut rows = Vec::new();
    for (n, spec) in slips_detect::specs().into_iter().enumerate() {
        let alone = cost(&events, &move || registry().into_iter().skip(n).take(1).collect());
        rows.push(((alone - nothing).max(0.0), spec.name));
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{} events, nanoseconds an event", events.len());
    println!("{nothing:8.0} the engine with no detection\n{all:8.0} with all of them");
    for (nanos, name) in rows {
        println!("{nanos:8.0} {name}");
    }
}

/// What an engine holds after what it is fed.
struct Held {
    engine: Engine,
    out: Vec<Record>,
}

impl Held {
    fn new(detectors: &Registry) -> Self {
        Self { engine: Engine::new(&Settings::default(), detectors), out: Vec::new() }
    }

    /// Feeds visits and returns how large the process is then.
    fn after(&mut self, visits: impl Iterator<Item = Visit>) -> io::Result<u64> {
        let mut batch = Vec::with_capacity(BATCH);
        for visit in visits {
            batch.extend(visit.events());
            if batch.len() >= BATCH {
                self.engine.feed(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)), &mut self.out);
                self.out.clear();
            }
        }
        self.engine.feed(batch, &mut self.out);
        self.out.clear();
        resident()
    }
}

/// Each third hour others come, make one visit and are idle from then on: the memory that their windows had is used anew, and what
/// grows from one time to the next is what idle profiles hold.
fn idle(detectors: &Registry) -> io::Result<u64> {
    const COMING: u32 = 10_000;
    const TIMES: u8 = 5;
    let mut held = Held::new(detectors);
    let mut sizes = Vec::new();
    for network in 0..=TIMES {
        sizes.push(held.after(clients(network, COMING, 1, i64::from(network) * 3))?);
    }
    let (first, last) = (sizes.first().copied().unwrap_or(0), sizes.last().copied().unwrap_or(0));
    Ok(last.saturating_sub(first) / u64::from(COMING) / u64::from(TIMES))
}

/// All are in the middle of their window: the clients, and the servers, which have as many visits.
fn active(detectors: &Registry, visits: u32) -> io::Result<u64> {
    let mut held = Held::new(detectors);
    let before = held.after(clients(0, 50, 1, 0))?;
    let after = held.after(clients(1, SERVERS, visits, 0))?;
    Ok(after.saturating_sub(before) / u64::from(2 * SERVERS))
}

/// One figure, in this process: of all detections, or of the one that is named.
fn memory(which: &str, name: Option<&str>) -> io::Result<()> {
    let place = slips_detect::specs().iter().position(|spec| Some(spec.name) == name);
    let detectors = move || match place {
        Some(place) => registry().into_iter().skip(place).take(1).collect(),
        None => registry(),
    };
    let (bytes, what) = match which {
        "idle" => (idle(&detectors)?, "an idle profile"),
        "active" => (active(&detectors, 20)?, "a profile and its window, with 20 visits"),
        "busy" => (active(&detectors, 100)?, "a profile and its window, with 100 visits"),
        _ => (active(&detectors, 200)?, "a profile and its window, with 200 visits"),
    };
    println!("{bytes:8} bytes for {what}, {}", name.unwrap_or("all detections"));
    Ok(())
}

/// Ten million SYNs of as many forged senders, or of one scanner at all ports of a /16 as far as he comes: what the engine holds and takes, and
/// who is an alert.
fn flood(which: &str) -> io::Result<()> {
    const PACKETS: u32 = 10_000_000;
    let scanner = IpAddr::from([203, 0, 113, 66]);
    let event = |n: u32| match which {
        "forged" => syn(n, sender(n), IpAddr::from([192, 168, 1, 2]), 80),
        _ => syn(n, scanner, IpAddr::from((0x0a01_0000 + n % 65_536).to_be_bytes()), (1 + n / 65_536) as u16),
    };
    let (before, begun) = (resident()?, processor());
    let mut engine = Engine::new(&Settings::default(), &registry);
    let (mut out, mut most, mut alerts, mut others) = (Vec::new(), 0, 0, 0);
    for from in (0..PACKETS).step_by(BATCH) {
        engine.feed((from..from + BATCH as u32).map(event).collect(), &mut out);
        for record in out.drain(..) {
            if let Record::Alert(alert) = record {
                alerts += 1;
                others += u32::from(alert.attacker != scanner);
            }
        }
        most = most.max(resident()?);
    }
    let held = most.saturating_sub(before) >> 20;
    let seconds = processor().saturating_sub(begun).as_secs_f64();
    println!(
        "{which}: {PACKETS} SYNs, {held} MiB at most, {seconds:.1} s of processor, {alerts} alerts, {others} of them about others than the scanner"
    );
    Ok(())
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [floods, which] = &args[..]
        && floods == "floods"
    {
        return flood(which);
    }
    if let [_, which, name @ ..] = &args[..] {
        return memory(which, name.first().map(String::as_str));
    }
    for which in ["idle", "active", "busy", "busiest"] {
        Command::new(std::env::current_exe()?).args(["memory", which]).status()?;
    }
    for which in ["forged", "sweep"] {
        Command::new(std::env::current_exe()?).args(["floods", which]).status()?;
    }
    costs();
    Ok(())
}

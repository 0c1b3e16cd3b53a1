//! What the whitelist does to findings and sums.

use super::*;
use crate::detector::{Emitted, OrderKey};
use crate::event::{About, Arp, ArpOp, Dns, DnsAnswer, DnsData, DnsFlags, Tls, TlsFields};
use crate::evidence::Entity;
use crate::flow::{MacAddr, Uid};
use crate::intel::Current;
use crate::whitelist::{Case, NoWhitelist, RuleId, Side, Uses, Whitelist};

/// Leaves `good.example` and 203.0.113.77 alone.
struct Good;

impl Whitelist for Good {
    fn uses(&self) -> Uses {
        Uses { evidence: true, names: true, ..Uses::default() }
    }
    fn address(&self, addr: IpAddr, _case: Case) -> Option<RuleId> {
        (addr == remote(77)).then_some(RuleId(77))
    }
    fn mac(&self, _mac: MacAddr, _case: Case) -> Option<RuleId> {
        None
    }
    fn name(&self, name: &str, _server: Option<IpAddr>, case: Case) -> Option<RuleId> {
        (name == "good.example" && case.side == Side::Dst).then_some(RuleId(1))
    }
    fn is_resolver(&self, server: IpAddr, local: bool) -> bool {
        local && server == IpAddr::from([10, 0, 0, 53])
    }
    fn describe(&self, rule: RuleId) -> String {
        format!("rule {}", rule.0)
    }
}

/// As [`Good`], with names on both sides, and with flows.
struct Both;
impl Whitelist for Both {
    fn uses(&self) -> Uses {
        Uses { flows: true, macs: true, ..Good.uses() }
    }
    fn address(&self, addr: IpAddr, case: Case) -> Option<RuleId> {
        Good.address(addr, case)
    }
    fn mac(&self, mac: MacAddr, _case: Case) -> Option<RuleId> {
        (mac.0[5] == 66).then_some(RuleId(66))
    }
    fn name(&self, name: &str, server: Option<IpAddr>, case: Case) -> Option<RuleId> {
        Good.name(&name.to_ascii_lowercase(), server, Case { side: Side::Dst, ..case })
    }
    fn is_resolver(&self, server: IpAddr, local: bool) -> bool {
        Good.is_resolver(server, local)
    }
    fn describe(&self, rule: RuleId) -> String {
        Good.describe(rule)
    }
}

/// As [`Both`], for `evil.example`, too.
struct Evil;

impl Whitelist for Evil {
    fn uses(&self) -> Uses {
        Both.uses()
    }
    fn address(&self, addr: IpAddr, case: Case) -> Option<RuleId> {
        Both.address(addr, case)
    }
    fn mac(&self, mac: MacAddr, case: Case) -> Option<RuleId> {
        Both.mac(mac, case)
    }
    fn name(&self, name: &str, server: Option<IpAddr>, case: Case) -> Option<RuleId> {
        Both.name(if name == "evil.example" { "good.example" } else { name }, server, case)
    }
    fn is_resolver(&self, server: IpAddr, local: bool) -> bool {
        Both.is_resolver(server, local)
    }
    fn describe(&self, rule: RuleId) -> String {
        Both.describe(rule)
    }
}

fn remote(last: u8) -> IpAddr {
    [203, 0, 113, last].into()
}

fn about(secs: i64, server: IpAddr, port: u16, proto: Proto) -> About {
    let end = |addr, port| Endpoint { addr, port };
    About {
        at: PacketTime::from_secs_micros(secs, 0),
        uid: Uid::EMPTY,
        src: end(IpAddr::from([10, 0, 0, 1]), 5000),
        dst: end(server, port),
        proto,
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

/// What a client calls a server.
fn claims(secs: i64, name: &str, server: IpAddr) -> Event {
    let fields = TlsFields { server_name: name.to_owned(), ..TlsFields::default() };
    Event::Tls(Box::new(Tls { about: about(secs, server, 443, Proto::Tcp), fields }))
}

fn leads(secs: i64, name: &str, addr: IpAddr) -> Event {
    let about = about(secs, [10, 0, 0, 53].into(), 53, Proto::Udp);
    let answers = vec![DnsAnswer { data: DnsData::Addr(addr), ttl: None }];
    let (query, flags) = (name.to_owned(), DnsFlags::default());
    let (trans_id, qclass, qtype, rcode) = (1, 1, 1, Some(0));
    Event::Dns(Box::new(Dns {
        about,
        trans_id,
        rtt: None,
        query,
        qclass,
        qtype,
        rcode,
        flags,
        answers,
        rejected: false,
    }))
}

/// What a stranger does to one of ours; he is the one who began.
fn attack(secs: i64, last: u8) -> Event {
    says(secs, remote(last), "high proven")
}

fn settings(whitelist: &Current<dyn Whitelist>) -> Settings {
    Settings { threshold: 0.01, whitelist: whitelist.clone(), ..Settings::default() }
}

fn spared(out: &[Record]) -> Vec<String> {
    let told = |record: &Record| match record {
        Record::Spared { addr, why } => Some(format!("{addr} {why}")),
        _ => None,
    };
    out.iter().filter_map(told).collect()
}

#[test]
fn another_whitelist_takes_back_what_was_gathered_and_says_whom_it_lets_go() {
    let whitelist: Current<dyn Whitelist> = Current::new(Arc::new(NoWhitelist));
    let mut engine = Engine::new(&settings(&whitelist), &parrot);
    let weighs = |engine: &mut Engine| alerts(engine, vec![attack(1000, 77), attack(1000, 78)]).len();
    assert_eq!(weighs(&mut engine), 2);
    whitelist.replace(Arc::new(Good));
    assert_eq!(weighs(&mut engine), 0, "77 is left alone; 78 has said all that it had to say");
    assert_eq!(engine.stats().evidence_whitelisted, 1);
    let mut out = Vec::new();
    engine.feed(
        vec![leads(1001, "good.example", remote(78)), leads(1001, "evil.example", remote(79))],
        &mut out,
    );
    assert_eq!(spared(&out), Vec::<String>::new(), "its rule is about what is called only");
}

#[test]
fn an_address_is_told_when_a_name_first_leads_there_and_again_with_another_whitelist() {
    let whitelist: Current<dyn Whitelist> = Current::new(Arc::new(Both));
    let mut engine = Engine::new(&settings(&whitelist), &parrot);
    let mut fed = |events: Vec<Event>| {
        let mut out = Vec::new();
        engine.feed(events, &mut out);
        spared(&out)
    };
    let good = |secs| leads(secs, "good.example", remote(78));
    assert_eq!(fed(vec![good(1000), good(1001)]), ["203.0.113.78 rule 1"]);
    assert!(fed(vec![good(1002), leads(1002, "good.example", [10, 0, 0, 9].into())]).is_empty());
    whitelist.replace(Arc::new(Both));
    assert_eq!(fed(vec![Event::Tick(PacketTime::from_secs_micros(1003, 0))]), ["203.0.113.78 rule 1"]);
    assert!(fed(vec![leads(1004, "evil.example", remote(78))]).is_empty());
    whitelist.replace(Arc::new(Both));
    assert!(fed(vec![attack(1005, 78)]).is_empty(), "another name leads there too");
}

#[test]
fn whatever_is_asked_for_the_table_of_names_stays_bounded_and_hides_nothing_more() {
    let whitelist: Current<dyn Whitelist> = Current::new(Arc::new(Good));
    let settings = Arc::new(settings(&whitelist));
    let mut gate = gate::Gate::new(&settings);
    let now = PacketTime::from_secs_micros(1000, 0);
    for n in 0..70_000u32 {
        let addr = IpAddr::from((0x0b00_0000 + n).to_be_bytes());
        gate.learn_names(&leads(1000, "evil.example", addr), now);
    }
    assert_eq!(gate.known(), 65_536);
    gate.learn_names(&leads(1000, "good.example", remote(78)), now);
    assert_eq!(gate.known(), 65_536, "one that no rule is about made room");
    for n in 0..70_000u32 {
        let addr = IpAddr::from((0x0c00_0000 + n).to_be_bytes());
        gate.learn_names(&leads(1000, "good.example", addr), now);
    }
    assert_eq!(gate.known(), 65_536);
}

fn gate_of(whitelist: impl Whitelist + 'static) -> gate::Gate {
    gate::Gate::new(&Arc::new(settings(&Current::new(Arc::new(whitelist)))))
}

fn second(secs: i64) -> PacketTime {
    PacketTime::from_secs_micros(secs, 0)
}

#[test]
fn of_names_that_no_rule_is_about_no_text_is_kept_however_long_and_many() {
    let mut gate = gate_of(Both);
    let mut learn = |secs, event: &Event| gate.learn_names(event, second(secs));
    assert_eq!(learn(1000, &leads(1000, "good.example", remote(78))).len(), 1);
    learn(1000, &leads(1000, "good.example", remote(79)));
    learn(1000, &claims(1000, &format!("{}.example", "x".repeat(32 << 10)), remote(78)));
    for n in 0..1000 {
        learn(1001, &claims(1001, &format!("{n}.evil.example"), remote(78)));
    }
    assert_eq!(gate.text(), 2 * "good.example".len());
    assert_eq!(gate.spares(remote(78), second(1002)), None, "it has other names");
    assert_eq!(gate.spares(remote(79), second(1002)), Some(RuleId(1)));
    assert_eq!(gate.spares(remote(78), second(90_000)), None, "the answer was a day ago");
    gate.learn_names(&leads(90_000, "GOOD.example", remote(78)), second(90_000));
    assert_eq!(gate.spares(remote(78), second(90_000)), Some(RuleId(1)), "and so were the others");
}

#[test]
fn what_a_client_claims_does_not_renew_what_a_resolver_said() {
    let mut gate = gate_of(Both);
    gate.learn_names(&leads(1000, "good.example", remote(78)), second(1000));
    for day in 1..4 {
        let secs = 1000 + day * 43_200;
        gate.learn_names(&claims(secs, "good.example", remote(78)), second(secs));
        assert_eq!(gate.spares(remote(78), second(secs)).is_some(), day <= 2, "{secs}");
    }
}

#[test]
fn a_name_counts_as_soon_as_a_rule_is_about_it() {
    let whitelist: Current<dyn Whitelist> = Current::new(Arc::new(Both));
    let mut gate = gate::Gate::new(&Arc::new(settings(&whitelist)));
    gate.learn_names(&leads(1000, "evil.example", remote(78)), second(1000));
    gate.learn_names(&leads(1000, "good.example", remote(78)), second(1000));
    assert_eq!(gate.spares(remote(78), second(1000)), None);
    whitelist.replace(Arc::new(Evil));
    assert!(gate.renew());
    gate.learn_names(&leads(1001, "evil.example", remote(78)), second(1001));
    assert_eq!(gate.spares(remote(78), second(1001)), Some(RuleId(1)));
}

#[test]
fn whoever_claims_an_address_that_is_left_alone_is_not_hidden() {
    let gate = gate_of(Both);
    let mac = MacAddr([2, 0, 0, 0, 0, 66]);
    let arp = Event::Arp(Arp {
        at: second(1000),
        op: ArpOp::Reply,
        frame_src: mac,
        frame_dst: mac,
        sender: remote(77),
        sender_mac: mac,
        target: remote(1),
        target_mac: mac,
        interface: 0,
    });
    assert!(gate.omits_event(&arp, false, true, second(1000)), "its owner's own");
    assert!(!gate.omits_event(&arp, false, false, second(1000)));
    let found = |kind, attacker: Entity, victim: IpAddr, proof| {
        let window = Settings::default().width.window_of(second(1000));
        let finding = Finding {
            attacker,
            victim: Some(Entity::Ip(victim)),
            proof,
            ..Finding::new(kind, victim, window, second(1000))
        };
        let key = OrderKey { seq: 0, stage: 0, window, profile: victim, detector: 0, n: 0 };
        let (src, dst, resolved) = (Some(victim), None, false);
        let (in_conversation, near_conversation, attacker_is_local) = (false, true, true);
        gate.omits(&Emitted {
            key,
            finding,
            in_conversation,
            near_conversation,
            attacker_is_local,
            src,
            dst,
            resolved,
        })
        .is_some()
    };
    let (other, spared) = (Entity::Ip(remote(66)), Entity::Ip(remote(77)));
    for kind in [EvidenceKind::MitmArpAttack, EvidenceKind::MitmNdpAttack] {
        assert!(!found(kind, other.clone(), remote(77), Proof::Proven));
        assert!(found(kind, spared.clone(), remote(66), Proof::Proven));
        assert!(!found(kind, spared.clone(), remote(66), Proof::Unproven), "as somebody wrote it");
    }
    assert!(found(EvidenceKind::VerticalPortScan, other, remote(77), Proof::Unproven));
    let device = |proof| found(EvidenceKind::NewDevice, Entity::Mac(mac), remote(66), proof);
    assert!(device(Proof::Proven) && !device(Proof::Unproven));
}

#[test]
fn what_a_service_says_is_left_out_by_side() {
    let whitelist: Current<dyn Whitelist> = Current::new(Arc::new(Good));
    let mut engine = Engine::new(&settings(&whitelist), &parrot);
    engine.feed(vec![leads(1000, "good.example", remote(78))], &mut Vec::new());
    let mut told = |dst| {
        let finding = Finding::new(EvidenceKind::MaliciousUrl, remote(78), WindowId(0), second(1000));
        let report = Report { finding, src: Some([10, 0, 0, 1].into()), dst };
        engine.feed(vec![Event::Told(Box::new(report))], &mut Vec::new());
        engine.stats().evidence_whitelisted
    };
    assert_eq!(told(None), 0, "its rule is about what is called only");
    assert_eq!(told(Some(remote(78))), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is left out does not depend on shards, threads or batches.
    #[test]
    fn the_same_is_left_out_for_any_shard_count_and_batch_size(
        steps in proptest::collection::vec((0i64..2000, 0u8..4, 76u8..81), 1..200),
        batch in 1usize..32,
    ) {
        let mut now = 1_000_000;
        let events: Vec<Event> = steps
            .iter()
            .map(|&(step, what, last)| {
                now += step;
                match what {
                    0 => leads(now, "good.example", remote(last)),
                    1 => leads(now, "evil.example", remote(last)),
                    _ => attack(now, last),
                }
            })
            .collect();
        let whitelist: Current<dyn Whitelist> = Current::new(Arc::new(Good));
        let run = |shards, batch| {
            let mut engine = Engine::with_shards(&settings(&whitelist), &parrot, shards);
            let mut out = Vec::new();
            for chunk in events.chunks(batch) {
                engine.feed(chunk.to_vec(), &mut out);
            }
            engine.finish(&mut out);
            (kinds_only(told(&out)).0, spared(&out), engine.stats().evidence_whitelisted)
        };
        let expected = run(1, events.len());
        for shards in [1, 2, 5] {
            prop_assert_eq!(&run(shards, batch), &expected);
        }
    }
}

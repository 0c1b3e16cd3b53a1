//! What rules say.

use super::*;

const FILE: &str = "\
\"IoCType\",\"IoCValue\",\"Direction\",\"IgnoreType\"
ip,192.0.2.0/24,both,alerts # the lab
ip,192.0.2.7,src,flows
ip,2001:db8::7,both,both,2023-11-14
domain,example.org,both,alerts
domain,=only.example.net,dst,both
domain,github.io,both,alerts
organization,google,both,alerts
mac,02:00:00:00:00:01,both,alerts
";

fn rules() -> Rules {
    let mut builder = RulesBuilder::new();
    assert_eq!(builder.read("whitelist.conf", FILE.as_bytes()), []);
    builder.finish()
}

fn case(omits: Omits, side: Side) -> Case {
    Case { omits, side, now: PacketTime::from_secs_micros(1_700_006_400, 0) }
}

fn evidence(side: Side) -> Case {
    case(Omits::Evidence(ThreatLevel::Critical), side)
}

fn line(rules: &Rules, found: Option<RuleId>) -> Option<u32> {
    found.map(|rule| rules.rules[rule.0 as usize].line)
}

#[test]
fn addresses_by_side_kind_and_time() {
    let rules = rules();
    let at = |text: &str, case| line(&rules, rules.address(text.parse().expect("ip"), case));
    assert_eq!(at("192.0.2.9", evidence(Side::Unknown)), Some(2));
    assert_eq!(at("::ffff:192.0.2.9", evidence(Side::Dst)), Some(2));
    assert_eq!(at("192.0.2.9", case(Omits::Flows, Side::Src)), None);
    assert_eq!(at("192.0.2.7", case(Omits::Flows, Side::Src)), Some(3));
    assert_eq!(at("192.0.2.7", case(Omits::Flows, Side::Dst)), None);
    assert_eq!(at("192.0.2.7", evidence(Side::Src)), Some(2), "the wider one is about evidence");
    assert_eq!(at("192.0.3.1", evidence(Side::Src)), None);
    let last_day = Case { now: PacketTime::from_secs_micros(1_700_006_399, 999_999), ..evidence(Side::Src) };
    assert_eq!(at("2001:db8::7", last_day), Some(4));
    assert_eq!(at("2001:db8::7", evidence(Side::Src)), None, "it ended");
    assert_eq!(rules.over(evidence(Side::Src).now), 1);
    assert_eq!(rules.spared(evidence(Side::Src).now), ["192.0.2.0/24".parse().expect("net")]);
}

#[test]
fn names_with_what_is_below_them_alone_and_public_suffixes() {
    let rules = rules();
    let name = |name: &str, case| line(&rules, rules.name(name, None, case));
    for (text, expected) in [
        ("example.org", Some(5)),
        ("WWW.Example.org.", Some(5)),
        ("notexample.org", None),
        ("example.org.evil.example", None),
        ("only.example.net", Some(6)),
        ("www.only.example.net", None),
        ("github.io", Some(7)),
        ("evil.github.io", None),
        ("www.google.com", Some(8)),
        ("www.google.com.evil.example", None),
    ] {
        assert_eq!(name(text, evidence(Side::Dst)), expected, "{text}");
    }
    assert_eq!(name("only.example.net", evidence(Side::Src)), None);
    assert_eq!(name("only.example.net", case(Omits::Flows, Side::Dst)), Some(6));
    assert_eq!(name("example.org", case(Omits::Flows, Side::Dst)), None);
}

#[test]
fn an_organisation_is_its_own_networks_and_no_cloud() {
    let rules = rules();
    let at = |name: &str, addr: &str| rules.name(name, Some(addr.parse().expect("ip")), evidence(Side::Dst));
    assert!(at("www.google.com", "142.250.1.1").is_some());
    assert!(at("www.google.com", "2a00:1450::1").is_some());
    assert_eq!(at("www.google.com", "34.1.2.3"), None, "rented out");
    assert_eq!(at("www.google.com", "203.0.113.66"), None);
    assert_eq!(at("evil.example", "142.250.1.1"), None);
    let calls = |addr: &str, side| rules.address(addr.parse().expect("ip"), evidence(side)).is_some();
    assert!(calls("66.249.64.1", Side::Src), "a crawler has no name that a resolver tells");
    assert!(
        !calls("66.249.64.1", Side::Dst)
            && !calls("66.249.64.1", Side::Unknown)
            && !calls("34.1.2.3", Side::Src)
    );
}

#[test]
fn an_organisations_own_network_that_is_also_rented_out_is_nobodys_and_find_says_so() {
    let mut builder = RulesBuilder::new();
    assert_eq!(builder.read_organisation("acme", b"104.16.0.0/16\n198.51.100.0/24\nacme.example\n"), 0);
    assert_eq!(builder.read("w", b"organization,acme,both,alerts\n"), []);
    let rules = builder.finish();
    for (addr, needs) in [("104.16.1.1", Needs::Never), ("198.51.100.1", Needs::Name)] {
        let calls = rules.address(addr.parse().expect("ip"), evidence(Side::Src)).is_some();
        let found = rules.find(addr, evidence(Side::Src).now);
        assert_eq!(found.iter().map(|found| found.needs).collect::<Vec<_>>(), [needs], "{addr}");
        assert_eq!(calls, needs == Needs::Name, "{addr}");
    }
}

#[test]
fn known_sites_are_left_alone_as_what_is_called_below_high_outside_of_shared_networks() {
    let mut builder = RulesBuilder::new();
    assert_eq!(builder.read_sites(b"1,example.org\n2,example.net\r\nnonsense\n3,third.example\n", 2), 2);
    let rules = builder.finish();
    assert!(rules.uses().evidence && rules.uses().names && !rules.uses().flows);
    let medium = |side| case(Omits::Evidence(ThreatLevel::Medium), side);
    let name = |name: &str, server: Option<&str>, case| {
        rules.name(name, server.map(|addr| addr.parse().expect("ip")), case) == Some(SITES)
    };
    assert!(name("www.example.org", None, medium(Side::Dst)));
    assert!(name("www.example.net", Some("203.0.113.66"), medium(Side::Dst)));
    assert!(!name("third.example", None, medium(Side::Dst)), "so many were asked for");
    assert!(!name("example.org.evil.example", None, medium(Side::Dst)));
    assert!(!name("example.org", Some("104.16.1.1"), medium(Side::Dst)), "anybody rents a place there");
    assert!(
        !name("example.org", None, medium(Side::Src)) && !name("example.org", None, medium(Side::Unknown))
    );
    assert!(!name("example.org", None, evidence(Side::Dst)), "high");
    assert!(!name("example.org", None, case(Omits::Flows, Side::Dst)));
}

#[test]
fn resolvers_are_those_that_were_named_or_else_servers_of_ours() {
    let mut builder = RulesBuilder::new();
    let server = |text: &str| text.parse().expect("ip");
    assert!(RulesBuilder::new().finish().is_resolver(server("192.168.1.1"), true));
    assert!(!RulesBuilder::new().finish().is_resolver(server("203.0.113.66"), false));
    builder.resolvers(vec![server("192.168.1.1"), server("198.51.100.53")]);
    let rules = builder.finish();
    for (addr, local, expected) in
        [("192.168.1.1", true, true), ("::ffff:198.51.100.53", false, true), ("192.168.1.66", true, false)]
    {
        assert_eq!(rules.is_resolver(server(addr), local), expected, "{addr}");
    }
}

#[test]
fn bad_lines_are_told_and_of_two_rules_for_the_same_the_last_counts() {
    let mut builder = RulesBuilder::new();
    let text = "ip,192.0.2.1,both,alerts\nip,x,both,alerts\norganization,nobody,both,alerts\nip,192.0.2.1,src,flows\n";
    let told: Vec<String> = builder.read("w", text.as_bytes()).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("w:2: IoCValue: `x` is no address")
            && told[0].ends_with("; this line is left out")
    );
    assert!(told[1].starts_with("w:3: IoCValue: nothing is known of `nobody`"), "{told:?}");
    let rules = builder.finish();
    assert_eq!(rules.rules().len(), 1);
    assert_eq!(rules.describe(RuleId(0)), "line 4 of the whitelist, ip 192.0.2.1");
    assert!(rules.uses().flows && !rules.uses().evidence && !rules.uses().names);
}

#[test]
fn a_person_is_told_which_rules_there_are_and_what_they_take() {
    let rules = rules();
    let told = |text: &str| -> Vec<(u32, Needs, bool)> {
        let found = rules.find(text, evidence(Side::Src).now);
        found.iter().map(|found| (found.rule.map_or(0, |rule| rule.line), found.needs, found.over)).collect()
    };
    assert_eq!(told("192.0.2.7"), [(3, Needs::Nothing, false), (2, Needs::Nothing, false)]);
    assert_eq!(told("192.0.2.0/25"), [(2, Needs::Nothing, false)]);
    assert_eq!(told("2001:db8::7"), [(4, Needs::Nothing, true)]);
    assert_eq!(told("a.EXAMPLE.org."), [(5, Needs::Answer, false)]);
    assert_eq!(told("evil.github.io"), []);
    assert_eq!(told("google"), [(8, Needs::Nothing, false)]);
    assert_eq!(told("142.250.1.1"), [(8, Needs::Name, false)]);
    assert_eq!(told("mail.google.com"), [(8, Needs::AnswerInside, false)]);
    assert_eq!(told("02-00-00-00-00-01"), [(9, Needs::Owner, false)]);
    assert_eq!(told("203.0.113.66"), []);
}

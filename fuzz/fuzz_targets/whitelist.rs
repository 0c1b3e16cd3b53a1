//! The whitelist's file, files of organisations, lists of known sites: what was taken counts for what it names.
#![no_main]

use slips_core::evidence::ThreatLevel;
use slips_core::time::PacketTime;
use slips_core::whitelist::{Case, Omits, Side, Whitelist};
use slips_intel::{Direction, Ignored, Rule, Rules, RulesBuilder, What};

/// Before every last day that can be written.
const NOW: PacketTime = PacketTime(0);
/// Most rules that are asked for.
const ROWS: usize = 64;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let mut builder = RulesBuilder::new();
    let rules = match choice % 3 {
        0 => bytes,
        // What comes before an empty line is of an organisation that the rules may name.
        1 => {
            let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
            let (of, rules) = bytes.split_at(end);
            builder.read_organisation("acme", of);
            rules
        }
        _ => {
            builder.read_sites(bytes, ROWS);
            b"organization,acme,both,both"
        }
    };
    let problems = builder.read("whitelist.conf", rules);
    assert!(problems.iter().all(|problem| problem.line > 0 && !problem.to_string().contains('\n')));
    let rules = builder.finish();
    assert_eq!(rules.over(NOW), 0);
    rules.rules().iter().take(ROWS).for_each(|rule| counts(&rules, rule));
    for word in String::from_utf8_lossy(bytes).split([' ', '\n', '\t', ',', '"']).take(ROWS) {
        rules.find(word, NOW).iter().for_each(|found| drop(found.needs.to_string()));
        rules.name(word, None, case(Side::Dst, Omits::Flows));
    }
});

fn case(side: Side, omits: Omits) -> Case {
    Case { omits, side, now: NOW }
}

/// A rule counts for what it is about, on its side, or an earlier one about the same does.
fn counts(rules: &Rules, rule: &Rule) {
    let side = match rule.direction {
        Direction::Src => Side::Src,
        Direction::Dst => Side::Dst,
        Direction::Both => Side::Unknown,
    };
    let omits = match rule.ignored {
        Ignored::Alerts => Omits::Evidence(ThreatLevel::Critical),
        Ignored::Flows | Ignored::Both => Omits::Flows,
    };
    let case = case(side, omits);
    let found = match &rule.what {
        What::Net(net) => rules.address(net.addr(), case).is_some() && rules.address(net.last(), case).is_some(),
        What::Mac(mac) => rules.mac(*mac, case).is_some(),
        What::Domain(name) | What::Name(name) => rules.name(name, None, case).is_some(),
        What::Organisation(_) => true,
    };
    assert!(found, "{rule:?}");
    assert!(!rules.find(what(rule).as_str(), NOW).is_empty(), "{rule:?}");
}

/// As a person would ask for it.
fn what(rule: &Rule) -> String {
    match &rule.what {
        What::Net(net) => net.to_string(),
        What::Mac(mac) => mac.to_string(),
        What::Domain(name) | What::Name(name) | What::Organisation(name) => name.to_string(),
    }
}

//! What every backend must do, asked of each: of the dry run, of the kernel with all it can and with only what old ones could, and
//! of the program `nft`, which is the oracle for the others.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;
mod oracle;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lab::{Host, eventually};
use oracle::NftJson;
use slips_core::addr::Net;
use slips_firewall::{
    Backend, Block, BlockRequest, Change, DryRun, Features, Manner, NftOptions, Nftables, Origin,
};

#[test]
fn the_dry_run_conforms() {
    conforms(&mut DryRun::new());
}

#[test]
fn nftables_conform() {
    nftables("nftables_conform", Features::ALL);
}

#[test]
fn nftables_of_an_old_kernel_conform() {
    nftables("nftables_of_an_old_kernel_conform", Features::NONE);
}

#[test]
fn the_program_nft_conforms() {
    let Some(lab) = lab::open("the_program_nft_conforms") else { return };
    match NftJson::create(lab.namespace(Host::Router)) {
        Some(mut oracle) => conforms(&mut oracle),
        None => eprintln!("skipped: the_program_nft_conforms: needs the program nft (nftables)"),
    }
}

fn nftables(test: &str, features: Features) {
    let Some(lab) = lab::open(test) else { return };
    let options = NftOptions { annotate: true, features, ..NftOptions::default() };
    let mut backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
    if features == Features::NONE {
        assert_eq!(backend.features(), features, "no more is used than is allowed");
    }
    conforms(&mut backend);
}

/// The dry run is the model: after the same changes, the kernel must hold the same.
#[test]
fn the_kernel_holds_what_the_dry_run_holds_after_any_changes() {
    let Some(lab) = lab::open("the_kernel_holds_what_the_dry_run_holds_after_any_changes") else { return };
    for features in [Features::ALL, Features::NONE] {
        let options = NftOptions { annotate: true, features, ..NftOptions::default() };
        let mut kernel = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
        let mut model = DryRun::new();
        let mut oracle =
            lab::program("nft", "--version").map(|_| NftJson::of_slips(lab.namespace(Host::Router)));
        // A small linear generator: the same cases in every run.
        let mut state = 7u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for round in 0..400 {
            let changes: Vec<_> = (0..below(6)).map(|_| any_change(&mut below, round)).collect();
            apply(&mut kernel, &changes);
            apply(&mut model, &changes);
            let held = listed(&mut kernel);
            assert_eq!(held, listed(&mut model), "{features:?}, round {round}: {changes:?}");
            if let Some(oracle) = oracle.as_mut().filter(|_| round % 20 == 0) {
                assert_eq!(held, listed(oracle), "as nft reads it, {features:?}, round {round}");
            }
        }
        kernel.remove().expect("remove");
    }
}

fn any_change(below: &mut impl FnMut(u64) -> u64, round: u32) -> Change {
    // Few networks, so that they meet: single ones, and wide ones inside and beside each other.
    let net = match below(4) {
        0 => Net::host(Ipv4Addr::from_bits(0x0a00_0000 + below(6) as u32).into()),
        1 => Net::host(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(below(6))).into()),
        2 => Net::new(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (u128::from(below(6)) << 64)).into(), 64)
            .expect("net"),
        _ => Net::new(Ipv4Addr::from_bits(0x0b00_0000 + below(64) as u32).into(), 26 + below(6) as u8)
            .expect("net"),
    };
    match below(10) {
        0 if round.is_multiple_of(20) => Change::Clear,
        0..4 => Change::Unblock(net),
        _ => {
            let for_ = Duration::from_secs([600, 3600, 6000][below(3) as usize]);
            let by = Origin::ALL[below(4) as usize];
            let manner = Manner::ALL[below(3) as usize];
            Change::Block(BlockRequest {
                by,
                manner,
                ..BlockRequest::new(net, for_, format!("round {round}"))
            })
        }
    }
}

fn conforms(backend: &mut dyn Backend) {
    for check in [
        blocks_are_listed_with_time_and_reason,
        a_single_block_is_set_anew,
        who_asks_and_how_may_change,
        unblocking_is_never_an_error,
        the_longest_wide_block_wins,
        of_several_changes_the_last_counts,
        thousands_in_one_transaction,
        ranges_may_end_at_the_last_address,
        blocks_end_by_themselves,
        protecting_blocks_nobody,
        only_where_nobody_is_blocked_is_anybody_blocked_unasked,
    ] {
        check(backend);
        backend.apply(&[Change::Clear]).expect("clear");
        assert_eq!(backend.list().expect("list"), [], "clear leaves nothing");
    }
    backend.remove().expect("remove");
}

fn blocks_are_listed_with_time_and_reason(backend: &mut dyn Backend) {
    assert_eq!(listed(backend), Vec::<String>::new());
    let nets = ["198.51.100.7", "203.0.113.0/24", "2001:db8::7", "2001:db8:1::/64", "2001:db8:2::/48"];
    apply(backend, &nets.map(|net| block(net, 600)));
    let mut expected = nets.map(|net| format!("{net} 600s because of {net}"));
    expected.sort_by_key(|line| line.split(' ').next().and_then(|net| net.parse::<Net>().ok()));
    assert_eq!(listed(backend), expected);
    assert_eq!(left(backend, &nets), [Some(600); 5]);
    assert_eq!(
        left(backend, &["198.51.100.8", "203.0.112.0/23", "2001:db8:1::", "2001:db8:3::/48"]),
        [None; 4]
    );
}

fn a_single_block_is_set_anew(backend: &mut dyn Backend) {
    for net in ["198.51.100.7", "2001:db8::7", "2001:db8:1::/64"] {
        for seconds in [600, 600, 3600, 60] {
            apply(backend, &[block(net, seconds)]);
            assert_eq!(left(backend, &[net]), [Some(seconds)]);
        }
    }
    assert_eq!(listed(backend).len(), 3);
}

fn who_asks_and_how_may_change(backend: &mut dyn Backend) {
    let nets = ["198.51.100.7", "203.0.113.0/24", "2001:db8::7", "2001:db8:1::/64", "2001:db8:2::/48"];
    for (by, manner) in [
        (Origin::Peer, Manner::Drop),
        (Origin::Manual, Manner::Reject),
        (Origin::Local, Manner::Isolate),
        (Origin::Local, Manner::Isolate),
        (Origin::Feed, Manner::Drop),
    ] {
        for seconds in [600, 3600] {
            let request = |net: &str| {
                let request = BlockRequest::new(parse(net), Duration::from_secs(seconds), "");
                Change::Block(BlockRequest { by, manner, ..request })
            };
            apply(backend, &nets.map(request));
            let blocks = backend.list().expect("list");
            assert!(blocks.iter().all(|block| (block.by, block.manner) == (by, manner)), "{blocks:?}");
            assert_eq!(left(backend, &nets), [Some(seconds); 5]);
        }
        apply(backend, &[Change::Clear]);
        apply(backend, &nets.map(|net| block(net, 600)));
        // Lifted without a word on who had asked.
        apply(backend, &nets.map(|net| Change::Unblock(parse(net))));
        assert_eq!(listed(backend), Vec::<String>::new());
        apply(backend, &nets.map(|net| block(net, 600)));
    }
}

fn unblocking_is_never_an_error(backend: &mut dyn Backend) {
    let nets = ["198.51.100.7", "203.0.113.0/24", "2001:db8::7", "2001:db8:1::/64", "2001:db8:2::/48"];
    let unblock: Vec<_> = nets.iter().map(|net| Change::Unblock(parse(net))).collect();
    apply(backend, &unblock);
    apply(backend, &nets.map(|net| block(net, 600)));
    apply(backend, &unblock);
    assert_eq!(left(backend, &nets), [None; 5]);
    apply(backend, &unblock);
    apply(backend, &[]);
    apply(backend, &[block("203.0.113.0/24", 600), Change::Unblock(parse("203.0.113.128/26"))]);
    assert_eq!(
        left(backend, &["203.0.113.0/25", "203.0.113.128/26", "203.0.113.192/26"]),
        [Some(600), None, Some(600)]
    );
}

fn the_longest_wide_block_wins(backend: &mut dyn Backend) {
    apply(backend, &[block("10.1.0.0/16", 3600)]);
    apply(backend, &[block("10.0.0.0/8", 60)]);
    apply(backend, &[block("10.2.0.0/16", 600)]);
    apply(backend, &[block("10.2.3.0/24", 5)]);
    let nets = [
        "10.0.0.0/8",
        "10.0.0.0/16",
        "10.1.0.0/16",
        "10.2.0.0/16",
        "10.2.3.0/24",
        "10.255.0.0/16",
        "11.0.0.0/8",
    ];
    let expected = [Some(60), Some(60), Some(3600), Some(600), Some(600), Some(60), None];
    assert_eq!(left(backend, &nets), expected);
    apply(backend, &[Change::Unblock(parse("10.1.0.0/16"))]);
    assert_eq!(left(backend, &["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"]), [Some(60), None, Some(600)]);
}

fn of_several_changes_the_last_counts(backend: &mut dyn Backend) {
    let (net, wide) = ("198.51.100.7", "203.0.113.0/24");
    apply(backend, &[block(net, 60), block(net, 600), block(wide, 60), block(wide, 600)]);
    assert_eq!(left(backend, &[net, wide]), [Some(600), Some(600)]);
    apply(
        backend,
        &[block(net, 60), Change::Unblock(parse(net)), block(wide, 60), Change::Unblock(parse(wide))],
    );
    assert_eq!(left(backend, &[net, wide]), [None, None]);
    apply(
        backend,
        &[Change::Unblock(parse(net)), block(net, 60), Change::Unblock(parse(wide)), block(wide, 60)],
    );
    assert_eq!(left(backend, &[net, wide]), [Some(60), Some(60)]);
    apply(
        backend,
        &[block("198.51.100.8", 60), Change::Clear, block("198.51.100.9", 60), block("198.18.0.0/15", 60)],
    );
    assert_eq!(listed(backend).len(), 2, "what was and what came before the clearing is gone");
}

fn only_where_nobody_is_blocked_is_anybody_blocked_unasked(backend: &mut dyn Backend) {
    let hosts = ["192.0.2.7", "2001:db8::/64", "2001:db8::7"];
    let changes = hosts.map(|host| block(host, 600));
    let done = backend.block_new(&changes).expect("block");
    for left in left(backend, &hosts) {
        assert_eq!(left, done.then_some(600));
    }
    apply(backend, &[Change::Clear, block("2001:db8::/64", 60)]);
    assert!(!backend.block_new(&changes).expect("block"), "one is blocked already");
    assert_eq!(left(backend, &hosts), [None, Some(60), None]);
    let wide = [block("192.0.2.7", 600), block("198.51.100.0/24", 600)];
    let done = backend.block_new(&wide).expect("block");
    assert_eq!(left(backend, &["192.0.2.7", "198.51.100.0/24"]), [done.then_some(600); 2]);
}

fn thousands_in_one_transaction(backend: &mut dyn Backend) {
    let requests = |seconds| {
        let v4 = (0..6000).map(move |n| Net::host(Ipv4Addr::from_bits(0x0a00_0000 + n * 2).into()));
        let v6 =
            (0..6000).map(move |n| Net::new(Ipv6Addr::from_bits((0x2001_0db8_0000 + n) << 80).into(), 64));
        let wide = (0..2000).map(move |n| Net::new(Ipv4Addr::from_bits(0x0b00_0000 + n * 512).into(), 24));
        let nets = v4.map(Some).chain(v6).chain(wide).flatten();
        nets.map(move |net| BlockRequest::new(net, Duration::from_secs(seconds), "many"))
    };
    let changes: Vec<_> = requests(600).map(Change::Block).collect();
    let nets: Vec<_> = requests(600).map(|request| request.net).collect();
    apply(backend, &changes);
    assert_eq!(backend.list().expect("list").len(), 14_000);
    let single = &nets[..12_000];
    assert!(backend.left(single).expect("left").iter().all(Option::is_some));
    let again: Vec<_> = requests(6000).map(Change::Block).collect();
    apply(backend, &again);
    let left = backend.left(single).expect("left");
    assert!(left.iter().all(|left| left.is_some_and(|left| left > Duration::from_secs(600))));
    let half: Vec<_> = nets.iter().step_by(2).map(|net| Change::Unblock(*net)).collect();
    apply(backend, &half);
    assert_eq!(backend.list().expect("list").len(), 7_000);
    let reload: Vec<_> = std::iter::once(Change::Clear).chain(changes).collect();
    apply(backend, &reload);
    assert_eq!(backend.list().expect("list").len(), 14_000);
}

fn ranges_may_end_at_the_last_address(backend: &mut dyn Backend) {
    apply(
        backend,
        &[
            block("255.255.0.0/16", 600),
            block("0.0.0.0/16", 600),
            block("ff00::/8", 600),
            block("::/16", 600),
        ],
    );
    assert_eq!(left(backend, &["255.255.255.0/24", "0.0.0.0/24", "ffff::/16", "::/32"]), [Some(600); 4]);
    apply(backend, &[block("255.255.255.0/24", 6000), Change::Unblock(parse("0.0.0.0/17"))]);
    assert_eq!(left(backend, &["255.255.255.0/24", "255.255.254.0/24"]), [Some(6000), Some(600)]);
    assert_eq!(left(backend, &["0.0.0.0/24", "0.0.128.0/17"]), [None, Some(600)]);
}

fn blocks_end_by_themselves(backend: &mut dyn Backend) {
    let nets = ["198.51.100.7", "203.0.113.0/24", "2001:db8::7", "2001:db8:1::/64"];
    apply(backend, &[block("198.51.100.8", 600)]);
    apply(backend, &nets.map(|net| block(net, 1)));
    assert!(left(backend, &nets).iter().all(Option::is_some));
    eventually(|| left(backend, &nets) == [None; 4]);
    assert_eq!(listed(backend).len(), 1, "who has time left stays");
    // What has ended can be unblocked and blocked again.
    apply(backend, &nets.map(|net| Change::Unblock(parse(net))));
    apply(backend, &nets.map(|net| block(net, 600)));
    assert_eq!(left(backend, &nets), [Some(600); 4]);
}

fn protecting_blocks_nobody(backend: &mut dyn Backend) {
    let nets = [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "192.0.2.1",
        "255.255.255.255",
        "0.0.0.0/8",
        "fe80::/10",
        "::1",
        "ff00::/8",
    ];
    for _ in 0..2 {
        apply(backend, &[Change::Protect(nets.map(parse).into())]);
        assert_eq!(listed(backend), Vec::<String>::new());
    }
    apply(backend, &[Change::Protect(Vec::new())]);
}

fn parse(net: &str) -> Net {
    net.parse().expect(net)
}

fn block(net: &str, seconds: u64) -> Change {
    let for_ = Duration::from_secs(seconds);
    Change::Block(BlockRequest::new(parse(net), for_, format!("because of {net}")))
}

fn apply(backend: &mut dyn Backend, changes: &[Change]) {
    backend.apply(changes).expect("apply");
}

/// Seconds left, rounded up to the time that was set: none of the tests lasts a minute, nor sets times so near to each other.
fn left(backend: &mut dyn Backend, nets: &[&str]) -> Vec<Option<u64>> {
    let nets: Vec<_> = nets.iter().map(|net| parse(net)).collect();
    let left = backend.left(&nets).expect("left");
    left.into_iter().map(|left| left.map(set_to)).collect()
}

fn set_to(left: Duration) -> u64 {
    let times = [1, 5, 60, 600, 3600, 6000];
    times.into_iter().find(|seconds| left <= Duration::from_secs(*seconds)).unwrap_or(u64::MAX)
}

fn listed(backend: &mut dyn Backend) -> Vec<String> {
    let blocks = backend.list().expect("list");
    let tag = |block: &Block| match (block.by, block.manner) {
        (Origin::Local, Manner::Drop) => String::new(),
        (by, manner) => format!(" ({} {})", by.name(), manner.name()),
    };
    blocks
        .into_iter()
        .map(|block| format!("{} {}s {}{}", block.net, set_to(block.left), block.reason, tag(&block)))
        .collect()
}

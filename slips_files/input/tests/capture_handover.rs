//! Sockets that outlive a capture: what comes in while nobody reads is handed over to the next one, each frame once.

#![expect(clippy::expect_used, reason = "a laboratory of tests: what it cannot do fails the test")]

mod lab;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab::{Lab, Story, ip, sender, small};
use slips_input::capture::{
    Beyond, Capture, CaptureSettings, Frame, Handover, Keeper, LinkState, Newcomers, RingSize,
};
use slips_input::filter::Share;

/// What a service manager does: keeps duplicates under names.
#[derive(Default)]
struct Store(Mutex<BTreeMap<String, OwnedFd>>);

fn inode(socket: &impl AsRawFd) -> u64 {
    std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("a descriptor").ino()
}

impl Keeper for Store {
    fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        let mut all = self.0.lock().expect("the store");
        // As systemd does: what it has under another name it does not take again.
        if all.values().any(|kept| inode(kept) == inode(&socket)) {
            return;
        }
        all.entry(name.to_owned()).or_insert_with(|| socket.try_clone_to_owned().expect("a duplicate"));
    }

    fn forget(&self, name: &str) {
        self.0.lock().expect("the store").remove(name);
    }
}

impl Store {
    fn names(&self) -> Vec<String> {
        self.0.lock().expect("the store").keys().cloned().collect()
    }

    /// As a process finds it that is started now.
    fn hand_over(self: &Arc<Self>) -> Handover {
        let all = self.0.lock().expect("the store");
        let left: Vec<_> =
            all.iter().map(|(name, fd)| (name.clone(), fd.try_clone().expect("a duplicate"))).collect();
        drop(all);
        Handover::new(Arc::clone(self) as Arc<dyn Keeper>, left)
    }

    fn open(self: &Arc<Self>, settings: &CaptureSettings) -> Capture {
        Capture::take_over(settings.clone(), self.hand_over()).expect("a capture")
    }
}

/// The first ring lasts for 32 ms of a trickle.
fn kept(interfaces: &[&str]) -> CaptureSettings {
    let ring = RingSize::new(16, 1 << 17, 2);
    CaptureSettings { ring, spare: Some(ring.spare(8 << 20)), ..small(interfaces) }
}

#[test]
fn an_interface_for_which_no_ring_was_planned_has_the_smaller_ones_and_keeps_them_over_a_restart() {
    let name =
        "an_interface_for_which_no_ring_was_planned_has_the_smaller_ones_and_keeps_them_over_a_restart";
    let Some(_lab) = Lab::new(name) else { return };
    let (newcomers, ring) = (Newcomers::default(), RingSize::new(8, 1 << 17, 2));
    let beyond = Some(Beyond { planned: 1, ring, spare: Some(ring.spare(1 << 20)) });
    let settings = CaptureSettings { newcomers: Some(newcomers.clone()), beyond, ..kept(&["lan1"]) };
    let store = Arc::new(Store::default());
    let mut capture = store.open(&settings);
    newcomers.add("lan0");
    Story::default().until(&mut capture, |story| !story.changes.is_empty());
    // Role, interface and blocks of each that is kept.
    let rings = || -> Vec<(String, String, String)> {
        let names = store.names();
        let parts = names.iter().map(|name| name.split('/').map(str::to_owned).collect::<Vec<_>>());
        parts.map(|parts| (parts[1].clone(), parts[2].clone(), parts[5].clone())).collect()
    };
    let rows =
        [("first", "lan0", "8"), ("first", "lan1", "16"), ("spare", "lan0", "8"), ("spare", "lan1", "64")];
    let all =
        rows.map(|(role, interface, blocks)| (role.to_owned(), interface.to_owned(), blocks.to_owned()));
    assert_eq!(rings(), all);
    // The one that came is there from the start now, after the other, and nothing changes.
    drop(capture);
    let names = store.names();
    let interfaces = vec!["lan1".to_owned(), "lan0".to_owned()];
    let mut capture = store.open(&CaptureSettings { interfaces, newcomers: None, ..settings });
    sender().send(&7u32.to_be_bytes()).expect("sent");
    assert!(numbers(&until(&mut capture, 1)).contains(&7));
    assert_eq!(store.names(), names);
}

/// Numbered datagrams, so slowly that each lies in a block of its own.
fn trickle(socket: &UdpSocket, numbers: std::ops::Range<u32>) {
    for number in numbers {
        socket.send(&number.to_be_bytes()).expect("sent");
        // That is its pace; nothing is waited for.
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

fn numbers(story: &Story) -> Vec<u32> {
    let number = |frame: &lab::Seen| Some(u32::from_be_bytes(*frame.payload(14)?.first_chunk()?));
    story.frames.iter().filter_map(number).collect()
}

fn until(capture: &mut Capture, count: usize) -> Story {
    let mut story = Story::default();
    story.until(capture, |story| numbers(story).len() >= count);
    story
}

#[test]
fn what_comes_in_while_nobody_reads_is_handed_over_once_and_in_order() {
    let Some(_lab) = Lab::new("what_comes_in_while_nobody_reads_is_handed_over_once_and_in_order") else {
        return;
    };
    let (store, settings, socket) = (Arc::new(Store::default()), kept(&["lan1"]), sender());
    let mut capture = store.open(&settings);
    assert_eq!(store.names().len(), 2);
    socket.send(&0u32.to_be_bytes()).expect("sent");
    until(&mut capture, 1);
    let names = store.names();
    drop(capture);
    for round in 0..3 {
        let first = round * 200 + 1;
        trickle(&socket, first..first + 190);
        let mut capture = store.open(&settings);
        assert!(capture.is_behind());
        // What comes in meanwhile is newer.
        trickle(&socket, first + 190..first + 200);
        let story = until(&mut capture, 200);
        assert_eq!(numbers(&story), (first..first + 200).collect::<Vec<_>>());
        assert_eq!(capture.counters(1).expect("counters").drops, 0);
        // A block more, if it was there twice.
        socket.send(&u32::MAX.to_be_bytes()).expect("sent");
        assert_eq!(numbers(&until(&mut capture, 1)), [u32::MAX]);
        assert_eq!(store.names(), names, "the same sockets");
    }
}

#[test]
fn what_finds_no_room_while_we_live_is_not_lost_either() {
    let Some(_lab) = Lab::new("what_finds_no_room_while_we_live_is_not_lost_either") else { return };
    let (store, socket) = (Arc::new(Store::default()), sender());
    let mut capture = store.open(&kept(&["lan1"]));
    for round in 0..2 {
        trickle(&socket, 0..100);
        let mut seen = numbers(&until(&mut capture, 100));
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(capture.counters(1).expect("counters").drops, 0);
        if round == 0 {
            // The order of the rings stays: a quick answer is not to come through the slow one.
            let mut story = Story::default();
            for state in [LinkState::Down, LinkState::Up] {
                assert!(ip(if state == LinkState::Down { "link set lan1 down" } else { "link set lan1 up" }));
                story.until(&mut capture, |s| s.changes.last().is_some_and(|c| c.state == state));
            }
        }
    }
}

#[test]
fn sockets_that_no_longer_fit_are_read_to_their_end_and_let_go() {
    let Some(_lab) = Lab::new("sockets_that_no_longer_fit_are_read_to_their_end_and_let_go") else { return };
    let before = kept(&["lan1"]);
    let share = |part| Some(Share { part, of: 2, key: 5 });
    for after in [
        CaptureSettings { ring: RingSize::new(32, 1 << 17, 2), ..before.clone() },
        CaptureSettings { filter: Some("udp".parse().expect("a filter")), ..before.clone() },
        CaptureSettings { promiscuous: true, ..before.clone() },
        CaptureSettings { spare: None, ..before.clone() },
        CaptureSettings { interfaces: vec!["lo".into(), "lan1".into()], ..before.clone() },
        CaptureSettings { share: share(0), ..before.clone() },
    ] {
        let (store, socket) = (Arc::new(Store::default()), sender());
        drop(store.open(&before));
        let old = store.names();
        trickle(&socket, 0..60);
        let mut capture = store.open(&after);
        assert!(capture.is_behind());
        let fits = after.interfaces.len() == 2;
        assert_eq!(numbers(&until(&mut capture, 60)), (0..60).collect::<Vec<_>>());
        let mut story = Story::default();
        while capture.is_behind() {
            capture.next(Duration::from_millis(50), &mut |_| {}).expect("a capture");
        }
        let same = old.iter().all(|name| store.names().contains(name));
        assert_eq!(same, fits, "{:?}", store.names());
        if after.share.is_none() {
            trickle(&socket, 60..70);
            story.until(&mut capture, |story| numbers(story).len() >= 10);
            assert_eq!(numbers(&story), (60..70).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_another_process_silenced_is_listened_to_again() {
    let Some(_lab) = Lab::new("what_another_process_silenced_is_listened_to_again") else { return };
    let filter = |text: &str| Some(text.parse().expect("a filter"));
    for (before, between) in [(filter("udp"), None), (None, filter("udp")), (filter("udp"), filter("ip"))] {
        let (store, socket) = (Arc::new(Store::default()), sender());
        let (before, between) = (
            CaptureSettings { filter: before, ..kept(&["lan1"]) },
            CaptureSettings { filter: between, ..kept(&["lan1"]) },
        );
        drop(store.open(&before));
        trickle(&socket, 0..10);
        // It ends before it has read the silenced ones to their end.
        drop(store.open(&between));
        trickle(&socket, 10..20);
        let mut capture = store.open(&before);
        // More than the first ring holds: the one beside it listens, too.
        trickle(&socket, 20..100);
        let mut seen = numbers(&until(&mut capture, 100));
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        // Those of the process in between are let go.
        while capture.is_behind() {
            capture.next(Duration::from_millis(50), &mut |_| {}).expect("a capture");
        }
        assert_eq!(store.names().len(), 2);
    }
}

/// Goes on until the datagram with this number is in its hands, and does `last` in the middle of that.
fn dies_of(capture: &mut Capture, number: u32, last: &mut dyn FnMut()) {
    let (end, mut died) = (lab::now() + Duration::from_secs(20), false);
    while !died {
        assert!(lab::now() < end, "{number} does not come");
        let mut each = |frame: Frame<'_>| {
            let is_ours = frame.captured.get(36..38) == Some(&lab::PORT.to_be_bytes());
            if is_ours && frame.captured.get(42..) == Some(&number.to_be_bytes()) && !died {
                died = true;
                last();
            }
        };
        capture.next(Duration::from_millis(50), &mut each).expect("a capture");
    }
}

#[test]
fn a_frame_that_two_processes_die_of_is_given_up_and_a_kill_loses_nothing() {
    let test = "a_frame_that_two_processes_die_of_is_given_up_and_a_kill_loses_nothing";
    let Some(_lab) = Lab::new(test) else { return };
    let (store, settings, socket) = (Arc::new(Store::default()), kept(&["lan1"]), sender());
    let mut last = Vec::new();
    // None of the first two gets out of its block while the next one lives.
    for number in [1u32, 3] {
        let mut first = store.open(&settings);
        socket.send(&number.to_be_bytes()).expect("sent");
        dies_of(&mut first, number, &mut || {
            socket.send(&(number + 1).to_be_bytes()).expect("sent");
            dies_of(&mut store.open(&settings), number, &mut || {
                let mut third = store.open(&settings);
                last.extend(numbers(&until(&mut third, 1)));
                assert!(third.counters(1).expect("counters").drops >= 1, "it is told");
            });
        });
    }
    assert_eq!(last, [2, 4], "not that which killed, and what came after it");
    // Blocks are read as ever when their turn comes again.
    let mut capture = store.open(&settings);
    trickle(&socket, 5..45);
    let mut seen = numbers(&until(&mut capture, 40));
    seen.sort_unstable();
    assert_eq!(seen, (5..45).collect::<Vec<_>>());
}

#[test]
fn an_interface_that_was_made_anew_meanwhile_is_taken_up_and_its_past_is_read() {
    let test = "an_interface_that_was_made_anew_meanwhile_is_taken_up_and_its_past_is_read";
    let Some(_lab) = Lab::new(test) else { return };
    let (store, settings) = (Arc::new(Store::default()), kept(&["lan1"]));
    drop(store.open(&settings));
    let old = store.names();
    trickle(&sender(), 0..30);
    assert!(ip("link del lan0"));
    Lab::make_pair();
    let mut capture = store.open(&settings);
    assert_eq!(numbers(&until(&mut capture, 30)), (0..30).collect::<Vec<_>>());
    // Once more, while we live: a member of a group cannot be bound again.
    trickle(&sender(), 30..40);
    assert!(ip("link del lan0"));
    Lab::make_pair();
    let mut story = Story::default();
    let socket = sender();
    story.until(&mut capture, |story| {
        let _ = socket.send(&40u32.to_be_bytes());
        numbers(story).contains(&40)
    });
    assert!((30..40).all(|number| numbers(&story).contains(&number)), "{:?}", numbers(&story));
    while capture.is_behind() {
        capture.next(Duration::from_millis(50), &mut |_| {}).expect("a capture");
    }
    let names = store.names();
    assert!(names.len() == 2 && old.iter().all(|name| !names.contains(name)), "{names:?}");
}

#[test]
fn parts_of_the_traffic_go_on_as_they_were_shared() {
    let Some(_lab) = Lab::new("parts_of_the_traffic_go_on_as_they_were_shared") else { return };
    let store = Arc::new(Store::default());
    let open = |handover: &mut Handover, part| {
        let key = handover.share_key(2).unwrap_or(77);
        let share = Some(Share { part, of: 2, key });
        Capture::take_over(CaptureSettings { share, ..kept(&["lan1"]) }, handover.part(part, 2))
            .expect("a capture")
    };
    let mut first = store.hand_over();
    drop([open(&mut first, 0), open(&mut first, 1)]);
    let names = store.names();
    assert_eq!(names.len(), 4);
    trickle(&sender(), 0..50);
    let mut again = store.hand_over();
    assert_eq!((again.share_key(2), again.share_key(3)), (Some(77), None));
    let mut parts = [open(&mut again, 0), open(&mut again, 1)];
    let mut story = Story::default();
    let end = lab::now() + Duration::from_secs(20);
    while numbers(&story).len() < 50 && lab::now() < end {
        parts.iter_mut().for_each(|capture| story.turn(capture));
    }
    let mut seen = numbers(&story);
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    assert_eq!(store.names(), names);
}

#[test]
fn strangers_are_closed_and_forgotten() {
    let Some(_lab) = Lab::new("strangers_are_closed_and_forgotten") else { return };
    let store = Arc::new(Store::default());
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let lookalike = "slips-capture-1/first/lan1/7/1/16/131072/2/0/0/0/0/1";
    for name in ["capture", "slips-capture-0/first", lookalike] {
        store.keep(name, std::os::fd::AsFd::as_fd(&stranger));
    }
    drop(store.open(&small(&["lan1"])));
    let names = store.names();
    assert!(matches!(names.as_slice(), [name] if name.contains("/lan1/") && name != lookalike), "{names:?}");
}

#[test]
fn what_was_left_and_other_interfaces_are_read_in_the_order_of_time() {
    let Some(_lab) = Lab::new("what_was_left_and_other_interfaces_are_read_in_the_order_of_time") else {
        return;
    };
    let (store, socket) = (Arc::new(Store::default()), sender());
    drop(store.open(&kept(&["lan1"])));
    trickle(&socket, 0..60);
    let mut capture = store.open(&kept(&["lan1", "lo"]));
    let local = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    local.send_to(&u32::MAX.to_be_bytes(), ("127.0.0.1", lab::PORT)).expect("sent");
    // Nothing is given back yet: this lies where the rest of the past does.
    trickle(&socket, 60..150);
    let seen = numbers(&until(&mut capture, 151));
    let other = seen.iter().position(|number| *number == u32::MAX).expect("the other interface");
    assert!(other > 10 && other < 145, "{other}");
    assert!(seen.iter().filter(|number| **number != u32::MAX).copied().eq(0..150), "{seen:?}");
}

#[test]
fn a_flood_over_a_restart_neither_hides_other_interfaces_nor_lasts() {
    let Some(_lab) = Lab::new("a_flood_over_a_restart_neither_hides_other_interfaces_nor_lasts") else {
        return;
    };
    let (store, socket) = (Arc::new(Store::default()), sender());
    let flood = |count| (0..count).for_each(|_| drop(socket.send(&[7; 1000])));
    let ring = RingSize::new(4, 1 << 16, 2);
    let settings =
        |names: &[&str]| CaptureSettings { ring, spare: Some(ring.spare(1 << 19)), ..small(names) };
    drop(store.open(&settings(&["lan1"])));
    flood(2000);
    let mut capture = store.open(&settings(&["lan1", "lo"]));
    let local = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let end = lab::now() + Duration::from_secs(20);
    let mut seen = 0;
    while seen < 5 || capture.is_behind() {
        assert!(lab::now() < end, "{seen} frames of the other interface");
        local.send_to(b"x", ("127.0.0.1", lab::PORT)).expect("sent");
        let mut each = |frame: Frame<'_>| match frame.interface {
            // For each that is read two more come.
            1 => flood(2),
            _ => seen += 1,
        };
        capture.next(Duration::from_millis(50), &mut each).expect("a capture");
    }
    // Both go on as ever.
    let before = [1, 2].map(|number| capture.counters(number).expect("counters").frames);
    local.send_to(b"x", ("127.0.0.1", lab::PORT)).expect("sent");
    flood(1);
    let more = |capture: &mut Capture| {
        [1, 2].map(|number| capture.counters(number).expect("counters").frames) > before
    };
    let mut story = Story::default();
    while !(more(&mut capture)) {
        assert!(lab::now() < end, "{before:?}");
        story.turn(&mut capture);
    }
}

#[test]
fn a_socket_that_is_bound_anew_is_kept_under_its_new_name() {
    let Some(_lab) = Lab::new("a_socket_that_is_bound_anew_is_kept_under_its_new_name") else { return };
    let (store, settings) = (Arc::new(Store::default()), CaptureSettings { spare: None, ..kept(&["lan1"]) });
    let mut capture = store.open(&settings);
    let old = store.names();
    assert!(ip("link del lan0"));
    Lab::make_pair();
    let (mut story, socket) = (Story::default(), sender());
    story.until(&mut capture, |story| {
        let _ = socket.send(&0u32.to_be_bytes());
        !numbers(story).is_empty()
    });
    drop(capture);
    let new = store.names();
    assert!(new.len() == 1 && new != old, "{new:?}");
    // The ring is there for the next one.
    trickle(&socket, 1..6);
    let mut seen = numbers(&until(&mut store.open(&settings), 5));
    seen.retain(|number| *number > 0);
    assert!(seen.starts_with(&[1]), "{seen:?}");
    assert_eq!(store.names(), new);
}

#[test]
fn what_finds_no_room_anywhere_is_counted_by_who_comes_next() {
    let Some(_lab) = Lab::new("what_finds_no_room_anywhere_is_counted_by_who_comes_next") else { return };
    let (store, socket) = (Arc::new(Store::default()), sender());
    let ring = RingSize::new(2, 1 << 16, 2);
    let settings = CaptureSettings { ring, spare: Some(ring.spare(1 << 19)), ..small(&["lan1"]) };
    drop(store.open(&settings));
    let sent = 4000;
    for _ in 0..sent {
        socket.send(&[7; 1000]).expect("sent");
    }
    let mut capture = store.open(&settings);
    let mut story = Story::default();
    while capture.is_behind() {
        story.turn(&mut capture);
    }
    let counters = capture.counters(1).expect("counters");
    let others = (story.frames.len() - story.datagrams(1)) as u64;
    // What the neighbours say of themselves may find no room either.
    let all = counters.frames + counters.drops - others;
    assert!((sent..sent + 20).contains(&all), "{counters:?}");
    // Blocks are handed over with less in them where the sender has to wait for a processor.
    assert!(story.datagrams(1) > 100 && counters.drops > 3000, "{counters:?}");
}

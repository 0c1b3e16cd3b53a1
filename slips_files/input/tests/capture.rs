//! Live capture against the real kernel: a veth pair in a network namespace of the test's own.

mod lab;

use std::io::Read;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::{Lab, PORT, Story, ip, now, raw_sender, sender, small};
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};
use slips_input::capture::{
    Capture, CaptureError, CaptureSettings, Change, ErrorKind, Frame, LinkState, Newcomers, Polled, RingSize,
};
use slips_input::filter::Share;

#[test]
fn datagrams_arrive_with_their_bytes_times_and_directions() {
    let Some(_lab) = Lab::new("datagrams_arrive_with_their_bytes_times_and_directions") else { return };
    let mut capture = Capture::open(small(&["lan0", "lan1"])).expect("two interfaces");
    assert_eq!(
        (capture.name(1), capture.name(2), capture.name(3), capture.name(0)),
        (Some("lan0"), Some("lan1"), None, None)
    );
    let before = wall_micros();
    let socket = sender();
    for number in 0..10u8 {
        socket.send(&[number; 100]).expect("sent");
    }
    let mut story = Story::default();
    story.until(&mut capture, |s| s.datagrams(1) >= 10 && s.datagrams(2) >= 10);
    let after = wall_micros();
    for (interface, outgoing) in [(1, true), (2, false)] {
        let ours: Vec<_> =
            story.frames.iter().filter(|f| f.interface == interface && f.payload(14).is_some()).collect();
        assert_eq!(ours.len(), 10);
        for (frame, number) in ours.iter().zip(0u8..) {
            assert_eq!(frame.payload(14), Some(&[number; 100][..]));
            assert_eq!(frame.bytes.get(..6), Some(&[2, 0, 0, 0, 0, 2][..]));
            assert_eq!((frame.bytes.len(), frame.wire_len), (142, 142));
            assert_eq!((frame.outgoing, frame.dlt, frame.vlan), (outgoing, 1, None));
            assert!((before..=after).contains(&frame.at), "{before} {} {after}", frame.at);
        }
        assert!(ours.is_sorted_by_key(|f| f.at));
        let counters = capture.counters(interface).expect("counters");
        assert!(counters.frames >= 10 && counters.bytes >= 1420, "{counters:?}");
        assert_eq!((counters.drops, counters.cut, counters.skipped), (0, 0, 0));
    }
}

#[test]
fn a_vlan_tag_that_the_card_took_off_is_told() {
    let Some(_lab) = Lab::new("a_vlan_tag_that_the_card_took_off_is_told") else { return };
    let mut capture = Capture::open(small(&["lan0", "lan1"])).expect("two interfaces");
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 7, 8, 0];
    let mut ip = [0u8; 28];
    ip[0] = 0x45;
    ip[9] = 17;
    ip[22..24].copy_from_slice(&PORT.to_be_bytes());
    let frame = [&ethernet[..], &ip, b"tagged"].concat();
    send(raw_sender().as_raw_fd(), &frame, MsgFlags::empty()).expect("sent");
    let mut story = Story::default();
    story.until(&mut capture, |s| s.datagrams(2) >= 1 && s.frames.iter().any(|f| f.bytes == frame));
    let seen = story.frames.iter().find(|f| f.payload(14).is_some()).expect("seen");
    assert_eq!((seen.vlan, seen.payload(14)), (Some(7), Some(&b"tagged"[..])));
    // Where it is still in the bytes it is not told twice.
    let sent = story.frames.iter().find(|f| f.bytes == frame).expect("seen");
    assert_eq!((sent.interface, sent.vlan), (1, None));
}

#[test]
fn the_loopback_shows_each_packet_once() {
    let Some(_lab) = Lab::new("the_loopback_shows_each_packet_once") else { return };
    let mut capture = Capture::open(small(&["lo"])).expect("an interface");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = UdpSocket::bind(("127.0.0.1", PORT)).expect("a target");
    for number in 0..20u8 {
        socket.send_to(&[number], ("127.0.0.1", PORT)).expect("sent");
    }
    socket.send_to(b"last", ("127.0.0.1", PORT)).expect("sent");
    let mut story = Story::default();
    story.until(&mut capture, |s| s.frames.iter().any(|f| f.payload(14) == Some(b"last")));
    assert_eq!(story.datagrams(1), 21);
    assert!(story.frames.iter().all(|f| !f.outgoing));
    assert_eq!(capture.counters(1).expect("counters").skipped, 0);
    drop(target);
}

#[test]
fn offload_frames_of_tens_of_kilobytes_come_whole() {
    let Some(_lab) = Lab::new("offload_frames_of_tens_of_kilobytes_come_whole") else { return };
    let mut capture = Capture::open(small(&["lan0", "lan1"])).expect("two interfaces");
    let socket = sender();
    if setsockopt(&socket, sockopt::UdpGsoSegment, &1400).is_err() {
        eprintln!(
            "skipped: offload_frames_of_tens_of_kilobytes_come_whole: the kernel has no UDP segmentation"
        );
        return;
    }
    socket.send(&vec![9; 60_000]).expect("sent");
    let mut story = Story::default();
    let bytes = |s: &Story, interface| -> usize {
        let ours = s.frames.iter().filter(|f| f.interface == interface);
        ours.filter_map(|f| f.payload(14)).map(<[u8]>::len).sum()
    };
    story.until(&mut capture, |s| bytes(s, 1) >= 60_000 && bytes(s, 2) >= 60_000);
    assert!(story.frames.iter().all(|f| f.bytes.len() == f.wire_len as usize));
    assert!(story.frames.iter().any(|f| f.wire_len > 50_000), "the kernel cut it before we saw it");
}

#[test]
fn a_tunnel_shows_ip_without_a_link_header() {
    let Some(_lab) = Lab::new("a_tunnel_shows_ip_without_a_link_header") else { return };
    // A tun device has a carrier only while someone holds it open.
    let script = r#"open F, "+<", "/dev/net/tun" or die; $r = pack "a16 s x22", "tun7", 0x1001;
        ioctl F, 0x400454ca, $r or die; $| = 1; print "held\n"; <STDIN>"#;
    let mut perl = Command::new("perl");
    let holder =
        perl.args(["-e", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut word = [0; 5];
    let held = holder
        .and_then(|mut it| it.stdout.as_mut().map_or(Ok(()), |out| out.read_exact(&mut word)).map(|()| it));
    let Ok(mut holder) = held else {
        eprintln!("skipped: a_tunnel_shows_ip_without_a_link_header: needs /dev/net/tun and perl");
        return;
    };
    assert!(ip("link set tun7 up") && ip("addr add 10.8.0.1/24 dev tun7"));
    let mut capture = Capture::open(small(&["tun7"])).expect("an interface");
    assert_eq!(capture.link_types().collect::<Vec<_>>(), [101]);
    let socket = UdpSocket::bind("10.8.0.1:0").expect("a socket");
    socket.send_to(b"inside", ("10.8.0.2", PORT)).expect("sent");
    let mut story = Story::default();
    story.until(&mut capture, |s| s.frames.iter().any(|f| f.payload(0) == Some(b"inside")));
    assert!(story.frames.iter().all(|f| f.dlt == 101));
    drop(holder.stdin.take());
    assert!(holder.wait().expect("the holder's end").success());
}

#[test]
fn an_interface_that_goes_down_and_up_again_is_told_and_goes_on() {
    let Some(_lab) = Lab::new("an_interface_that_goes_down_and_up_again_is_told_and_goes_on") else { return };
    let mut capture = Capture::open(small(&["lan1", "lo"])).expect("two interfaces");
    let mut story = Story::default();
    for state in [LinkState::Down, LinkState::Up] {
        assert!(ip(if state == LinkState::Down { "link set lan1 down" } else { "link set lan1 up" }));
        story.until(&mut capture, |s| s.changes.last().is_some_and(|c| c.state == state));
        assert!(story.changes.iter().all(|c| c.interface == 1));
    }
    assert_eq!(story.changes.len(), 2);
    sender().send(b"again").expect("sent");
    story.until(&mut capture, |s| s.datagrams(1) == 1);
    assert_eq!(capture.counters(1).expect("counters").returns, 0);
}

#[test]
fn an_interface_that_is_deleted_and_made_again_is_taken_up() {
    let Some(_lab) = Lab::new("an_interface_that_is_deleted_and_made_again_is_taken_up") else { return };
    for filter in [None, Some("udp".parse().expect("a filter"))] {
        let settings = CaptureSettings { filter, promiscuous: true, ..small(&["lan1"]) };
        let mut capture = Capture::open(settings).expect("an interface");
        let mut story = Story::default();
        sender().send(b"before").expect("sent");
        story.until(&mut capture, |s| s.datagrams(1) == 1);
        assert!(ip("link del lan0"));
        story.until(&mut capture, |s| s.changes.last().is_some_and(|c| c.state == LinkState::Away));
        Lab::make_pair();
        story.until(&mut capture, |s| s.changes.last().is_some_and(|c| c.state == LinkState::Up));
        sender().send(b"after").expect("sent");
        story.until(&mut capture, |s| s.datagrams(1) == 2);
        assert_eq!(capture.counters(1).expect("counters").returns, 1);
    }
}

#[test]
fn an_interface_that_was_replaced_unseen_is_taken_up() {
    let Some(_lab) = Lab::new("an_interface_that_was_replaced_unseen_is_taken_up") else { return };
    let mut capture = Capture::open(small(&["lan1"])).expect("an interface");
    assert!(ip("link del lan0"));
    Lab::make_pair();
    let mut story = Story::default();
    // Nothing to be told of: it was up and it is up. Datagrams are sent until one comes through.
    let socket = sender();
    story.until(&mut capture, |s| {
        let _ = socket.send(b"hello");
        s.datagrams(1) > 0
    });
    assert_eq!(capture.counters(1).expect("counters").returns, 1);
}

#[test]
fn an_interface_that_is_named_later_is_taken_up_as_soon_as_it_is_there() {
    let Some(_lab) = Lab::new("an_interface_that_is_named_later_is_taken_up_as_soon_as_it_is_there") else {
        return;
    };
    assert!(Capture::open(small(&[])).is_err(), "nothing to watch, and nobody will name anything");
    let newcomers = Newcomers::default();
    let settings = CaptureSettings { newcomers: Some(newcomers.clone()), ..small(&[]) };
    let mut capture = Capture::open(settings).expect("nothing to watch yet");
    let (mut story, socket) = (Story::default(), sender());
    story.turn(&mut capture);
    assert!(story.frames.is_empty() && capture.interfaces() == 0);

    newcomers.add("dsl0");
    newcomers.add("lan1");
    newcomers.add("lan1");
    story.until(&mut capture, |story| story.changes == [Change { interface: 1, state: LinkState::Up }]);
    assert_eq!((capture.interfaces(), capture.name(1)), (1, Some("lan1")));
    for _ in 0..10 {
        socket.send(b"after").expect("sent");
    }
    story.until(&mut capture, |story| story.datagrams(1) == 10);

    // The line comes long after its name.
    assert!(ip("link add dsl0 type veth peer name dsl1") && ip("link set dsl0 up") && ip("link set dsl1 up"));
    let up = |state| Change { interface: 2, state };
    story.until(&mut capture, |story| story.changes.last() == Some(&up(LinkState::Up)));
    assert_eq!((capture.interfaces(), capture.name(2)), (2, Some("dsl0")));
    // And it goes and comes as the others.
    assert!(ip("link set dsl0 down"));
    story.until(&mut capture, |story| story.changes.last() == Some(&up(LinkState::Down)));
}

#[test]
fn stopping_wakes_a_capture_that_waits() {
    let Some(_lab) = Lab::new("stopping_wakes_a_capture_that_waits") else { return };
    assert!(ip("link set lan0 down") && ip("link set lan1 down"));
    let mut capture = Capture::open(small(&["lan1"])).expect("an interface");
    let stopper = capture.stopper();
    let (told, heard) = sync_channel(1);
    let waiting = std::thread::spawn(move || {
        told.send(()).expect("heard");
        loop {
            match capture.next(Duration::from_secs(3600), &mut |_| {}).expect("a capture") {
                Polled::Stopped => return capture,
                _ => continue,
            }
        }
    });
    heard.recv().expect("told");
    stopper.stop();
    let mut capture = waiting.join().expect("stopped");
    assert!(stopper.is_stopped());
    assert_eq!(capture.next(Duration::from_secs(3600), &mut |_| {}).expect("a capture"), Polled::Stopped);
}

#[test]
fn what_does_not_fit_into_the_ring_is_counted_as_dropped() {
    let Some(_lab) = Lab::new("what_does_not_fit_into_the_ring_is_counted_as_dropped") else { return };
    let settings = CaptureSettings { ring: RingSize::new(2, 1 << 16, 1), ..CaptureSettings::new(["lan1"]) };
    let mut capture = Capture::open(settings).expect("an interface");
    let socket = sender();
    for _ in 0..2000 {
        socket.send(&[1; 1000]).expect("sent");
    }
    let mut story = Story::default();
    story.until(&mut capture, |s| s.datagrams(1) > 50);
    let counters = capture.counters(1).expect("counters");
    assert!(counters.drops > 500 && counters.freezes > 0, "{counters:?}");
    // It recovers.
    story.frames.clear();
    story.until(&mut capture, |s| {
        let _ = socket.send(b"later");
        s.frames.iter().any(|f| f.payload(14) == Some(b"later"))
    });
}

#[test]
fn the_kernel_runs_the_filter() {
    let Some(_lab) = Lab::new("the_kernel_runs_the_filter") else { return };
    let filter = Some("udp dst port 4007 and greater 500".parse().expect("a filter"));
    let mut capture = Capture::open(CaptureSettings { filter, ..small(&["lan1"]) }).expect("an interface");
    let socket = sender();
    for size in [100, 1000, 200, 300, 1001] {
        socket.send(&vec![0; size]).expect("sent");
    }
    let mut story = Story::default();
    story.until(&mut capture, |s| s.datagrams(1) >= 2);
    let sizes: Vec<_> = story.frames.iter().map(|f| f.bytes.len()).collect();
    assert_eq!(sizes, [1042, 1043]);
}

/// Every sort of instruction that the compiler writes, so that the kernel's own check has seen them all.
#[test]
fn the_kernel_takes_every_program_and_reads_tags_that_the_card_took_off() {
    let Some(_lab) = Lab::new("the_kernel_takes_every_program_and_reads_tags_that_the_card_took_off") else {
        return;
    };
    let share = Some(Share { part: 0, of: 1, key: 77 });
    for text in [
        "host 10.7.0.2 and not port 1-2",
        "net 2001:db8::/33 or ip6 proto 6 or arp host 10.7.0.1",
        "ether src 2:0:0:0:0:1",
    ] {
        let filter = text.replace("port 1-2", "portrange 1-2").parse().expect(text);
        Capture::open(CaptureSettings { filter: Some(filter), share, ..small(&["lan1", "lo"]) }).expect(text);
    }
    let filter = Some("vlan 7 and udp port 4007".parse().expect("a filter"));
    let mut capture =
        Capture::open(CaptureSettings { filter, share, ..small(&["lan1"]) }).expect("an interface");
    sender().send(b"without a tag").expect("sent");
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 7, 8, 0];
    let mut ip = [0u8; 28];
    (ip[0], ip[9]) = (0x45, 17);
    ip[22..24].copy_from_slice(&PORT.to_be_bytes());
    send(raw_sender().as_raw_fd(), &[&ethernet[..], &ip, b"tagged"].concat(), MsgFlags::empty())
        .expect("sent");
    let mut story = Story::default();
    story.until(&mut capture, |s| !s.frames.is_empty());
    let seen: Vec<_> = story.frames.iter().map(|f| (f.vlan, f.payload(14))).collect();
    assert_eq!(seen, [(Some(7), Some(&b"tagged"[..]))]);
}

#[test]
fn captures_that_share_the_traffic_see_each_packet_once_also_after_the_interface_came_back() {
    let name = "captures_that_share_the_traffic_see_each_packet_once_also_after_the_interface_came_back";
    let Some(_lab) = Lab::new(name) else { return };
    let open = |part| {
        let share = Some(Share { part, of: 2, key: 4711 });
        Capture::open(CaptureSettings { share, ..small(&["lan1"]) }).expect("a share")
    };
    let (mut left, mut right) = (open(0), open(1));
    for round in 0..2 {
        let words: Vec<Vec<u8>> = (0..64u8).map(|host| vec![round, host, 0xf1]).collect();
        let mut seen = [Vec::new(), Vec::new()];
        let end = now() + Duration::from_secs(20);
        let mut sent = false;
        while seen[0].len() + seen[1].len() < 64 {
            assert!(now() < end, "round {round}: {} and {}", seen[0].len(), seen[1].len());
            let mut ready = 0;
            for (capture, seen) in [&mut left, &mut right].into_iter().zip(&mut seen) {
                ready += u64::from(capture.counters(1).is_some_and(|it| it.returns == u64::from(round)));
                let ours = &mut |frame: Frame<'_>| {
                    if let Some(word) =
                        frame.captured.get(42..).filter(|word| words.iter().any(|w| w == word))
                    {
                        seen.push(word.to_vec());
                    }
                };
                capture.next(Duration::from_millis(20), ours).expect("a capture");
            }
            if ready == 2 && !sent {
                sent = true;
                let targets: Vec<String> = (10..74).map(|host| format!("10.7.0.{host}")).collect();
                for target in &targets {
                    assert!(ip(&format!("neigh replace {target} lladdr 02:00:00:00:00:02 dev lan0")));
                }
                // At once: the small rings hold a block for each few milliseconds in which something came.
                let socket = UdpSocket::bind("10.7.0.1:0").expect("a socket");
                for (target, word) in targets.iter().zip(&words) {
                    socket.send_to(word, (target.as_str(), PORT)).expect("sent");
                }
            }
        }
        assert!(!seen[0].is_empty() && !seen[1].is_empty(), "neither has all");
        let mut all = seen.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 64, "each once");
        // The interface goes and comes back; the halves must not change hands or overlap.
        assert!(ip("link del lan0"));
        Lab::make_pair();
    }
}

#[test]
fn what_stands_in_the_way_is_named_with_the_way_out() {
    let Some(_lab) = Lab::new("what_stands_in_the_way_is_named_with_the_way_out") else { return };
    let error = Capture::open(CaptureSettings::new(["lan1", "eth77"])).expect_err("no such interface");
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::NoInput, 66));
    assert_eq!(error.to_string(), "no interface `eth77` here; there are: lo, lan1, lan0");
    for name in ["", "a/b", "a-name-that-is-too-long", "a\0"] {
        let error = Capture::open(CaptureSettings::new([name])).expect_err(name);
        assert!(matches!(error, CaptureError::NoInterface { .. }), "{name}: {error}");
    }
    for names in [&[][..], &["lan0", "lan0"]] {
        let error = Capture::open(CaptureSettings::new(names.iter().copied())).expect_err("a wrong list");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}

#[expect(clippy::disallowed_methods, clippy::expect_used, reason = "compared with the kernel's stamps")]
fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_micros() as i64
}

/// Runs itself again without the capability, or, when it has none to begin with, at once.
#[test]
fn without_the_capability_it_says_which_one_is_missing() {
    const MARK: &str = "runs-without-the-capability";
    let again = std::env::args().any(|arg| arg == MARK);
    match Capture::open(small(&["lo"])) {
        Err(error) => {
            assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Permission, 77), "{error}");
            assert!(
                error.to_string().contains("CAP_NET_RAW") && error.to_string().contains("`lo`"),
                "{error}"
            );
        }
        Ok(_) => {
            assert!(!again, "the capability was not taken away");
            let name = "without_the_capability_it_says_which_one_is_missing";
            let this = std::env::current_exe().expect("a test program");
            let mut without = Command::new("setpriv");
            without.arg("--bounding-set=-net_raw").arg(this).args(["--exact", name, "--skip", MARK]);
            match without.output() {
                Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
                Err(error) => eprintln!("skipped: {name}: needs setpriv ({error})"),
            }
        }
    }
}

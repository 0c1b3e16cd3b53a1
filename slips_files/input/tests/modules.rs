//! The socket for outside programs: several at once, and each harms only itself.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_input::{Alerts, Feed, Modules, Now, Reason};

struct Stage {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    modules: Modules,
    alerts: Alerts,
    out: Vec<Event>,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temp");
        let path = dir.path().join("modules.sock");
        let alerts = Alerts::default();
        let modules = Modules::open(&path, alerts.clone()).expect("a socket");
        Self { _dir: dir, path, modules, alerts, out: Vec::new() }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        stream
    }

    fn turn(&mut self, secs: u64) -> usize {
        let now = Now { wall: PacketTime(0), steady: Duration::from_secs(secs) };
        let before = self.out.len();
        while self.modules.read(now, &mut self.out).expect("goes on").is_zero() {}
        self.out.len() - before
    }

    fn rejected(&self, reason: Reason) -> u64 {
        self.modules.report().rejected.get(&reason).copied().unwrap_or(0)
    }
}

fn flow(port: u16) -> String {
    let row = format!(
        r#"{{"ts":1700000000.5,"uid":"C{port}","id.orig_h":"10.0.0.1","id.orig_p":{port},"id.resp_h":"10.0.0.2","id.resp_p":80,"proto":"tcp","conn_state":"S0"}}"#
    );
    format!("{:<5}{row}", row.len())
}

#[test]
fn several_programs_tell_of_flows_and_all_hear_of_alerts() {
    let mut stage = Stage::new();
    let (mut one, mut other) = (stage.connect(), stage.connect());
    one.write_all((flow(1) + &flow(2)).as_bytes()).expect("sent");
    // Cut within a length, and within a message.
    let text = flow(3);
    other.write_all(&text.as_bytes()[..3]).expect("sent");
    assert_eq!(stage.turn(0), 2);
    other.write_all(&text.as_bytes()[3..40]).expect("sent");
    assert_eq!(stage.turn(1), 0);
    other.write_all(&text.as_bytes()[40..]).expect("sent");
    assert_eq!(stage.turn(2), 1);
    stage.alerts.tell("5d41", "203.0.113.9".parse().expect("an address"));
    stage.turn(3);
    let expected = r#"67   {"slips_msg_type":"alert","alert_ID":"5d41","ip_to_block":"203.0.113.9"}"#;
    for stream in [&mut one, &mut other] {
        let mut told = vec![0; expected.len()];
        stream.read_exact(&mut told).expect("told");
        let told = String::from_utf8(told).expect("text");
        assert_eq!(told[5..], expected[5..]);
        assert_eq!(told[..5].trim().parse(), Ok(told.len() - 5));
    }
    assert_eq!((stage.modules.report().parts, stage.modules.report().records), (2, 3));
}

#[test]
fn who_stalls_or_lies_harms_only_itself() {
    let mut stage = Stage::new();
    let (mut honest, mut stalls, mut lies, mut babbles) =
        (stage.connect(), stage.connect(), stage.connect(), stage.connect());
    stalls.write_all(b"99999{").expect("sent");
    // It says less than it sends: the message is none, and what follows is no length.
    lies.write_all(format!("10   {}", &flow(7)[5..]).as_bytes()).expect("sent");
    babbles.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    honest.write_all(b"2    {}9    broken {}").expect("sent");
    assert_eq!(stage.turn(0), 0);
    assert_eq!(stage.rejected(Reason::BadBlockLength), 2);
    assert_eq!(stage.modules.report().parts, 2);
    honest.write_all(flow(8).as_bytes()).expect("sent");
    assert_eq!(stage.turn(29), 1);
    assert_eq!(stage.modules.report().parts, 2);
    assert_eq!(stage.turn(31), 0);
    assert_eq!((stage.modules.report().parts, stage.rejected(Reason::TruncatedLastLine)), (1, 1));
    drop(honest);
    stage.turn(32);
    assert_eq!(stage.modules.report().parts, 0);
}

#[test]
fn who_does_not_read_is_shown_the_door_and_too_many_are_not_let_in() {
    let mut stage = Stage::new();
    let deaf = stage.connect();
    stage.turn(0);
    for n in 0..20_000u32 {
        stage.alerts.tell(&n.to_string(), std::net::IpAddr::from(n.to_be_bytes()));
        if n % 500 == 0 {
            stage.turn(1);
        }
    }
    assert_eq!(stage.modules.report().parts, 0);
    drop(deaf);
    let crowd: Vec<_> = (0..20).map(|_| stage.connect()).collect();
    stage.turn(2);
    assert_eq!(stage.modules.report().parts, 16);
    drop(crowd);
}

#[test]
fn a_socket_that_was_left_is_taken_over_and_one_that_is_used_is_not() {
    let stage = Stage::new();
    assert!(Modules::open(&stage.path, Alerts::default()).is_err(), "somebody listens");
    let dir = tempfile::tempdir().expect("temp");
    let left = dir.path().join("left");
    drop(std::os::unix::net::UnixListener::bind(&left).expect("bound"));
    let taken = Modules::open(&left, Alerts::default()).expect("nobody listens");
    drop(taken);
    assert!(!left.exists());
    std::fs::write(&left, "a file").expect("written");
    assert!(Modules::open(&left, Alerts::default()).is_err(), "a file is nobody's socket");
}

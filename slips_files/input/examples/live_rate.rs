//! How many packets per second the capture takes over a veth pair without a drop, and how soon it hands a packet over.
//!
//!     cargo run --release -p slips-input --example live_rate -- [SECONDS_EACH]
//!
//! First the frames alone, then the same with the sensor behind them.
//!
//! Needs root: it makes a network namespace of its own. The sender spins on one core and does the kernel's receive work there
//! too, so the highest rate is the sender's; what the capture costs is the column of CPU seconds.

use std::error::Error;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket};
use nix::sys::time::TimeValLike;
use slips_input::capture::{Capture, CaptureSettings, Counters, Live, LiveSource, Polled, RingSize};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Frames given to the kernel at once.
const BATCH: usize = 32;

fn main() -> Result<()> {
    let seconds: f64 = std::env::args().nth(1).map_or(Ok(2.0), |arg| arg.parse())?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    for line in ["link add tx0 type veth peer name rx0", "link set rx0 up", "link set tx0 up"] {
        let done = Command::new("ip").args(line.split(' ')).status()?;
        if !done.success() {
            return Err(format!("ip {line}").into());
        }
    }
    for with in [With::Frames, With::Sensor] {
        println!("{with:?}");
        println!(
            "{:>10} {:>12} {:>12} {:>8} {:>8} {:>12}",
            "asked/s", "sent/s", "taken/s", "drops", "CPU s", "per CPU s"
        );
        for rate in [100_000, 300_000, 500_000, 1_000_000, u64::MAX] {
            measure(with, rate, Duration::from_secs_f64(seconds))?;
        }
    }
    for retire_ms in [1, 2, 4] {
        latency(retire_ms)?;
    }
    Ok(())
}

/// What stands behind the ring.
#[derive(Clone, Copy, Debug)]
enum With {
    Frames,
    Sensor,
}

/// Takes what is there; the counters, and whether there was anything.
type Taker = Box<dyn FnMut() -> Result<(Option<Counters>, bool)>>;

fn taker(with: With) -> Result<Taker> {
    let settings = CaptureSettings::new(["rx0"]);
    Ok(match with {
        With::Frames => {
            let mut capture = Capture::open(settings)?;
            Box::new(move || {
                let polled = capture.next(Duration::from_millis(50), &mut |frame| {
                    std::hint::black_box(frame.captured.first());
                })?;
                Ok((capture.counters(1), matches!(polled, Polled::Frames(_))))
            })
        }
        With::Sensor => {
            let mut source = LiveSource::open(settings, slips_sensor::Settings::default())?;
            let mut events = Vec::new();
            Box::new(move || {
                events.clear();
                let live = source.next_batch(&mut events)?;
                Ok((source.counters(1), matches!(live, Live::Packets(_))))
            })
        }
    })
}

fn measure(with: With, rate: u64, length: Duration) -> Result<()> {
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut take = taker(with)?;
    let (mut cpu, mut counters, from) = (0.0, Counters::default(), now());
    let mut to = from;
    std::thread::scope(|scope| -> Result<()> {
        let sender = scope.spawn(|| {
            let result = send(rate, length, &sent).map_err(|error| error.to_string());
            over.store(true, Ordering::Release);
            result
        });
        let before = cpu_seconds()?;
        loop {
            let done = over.load(Ordering::Acquire);
            let (latest, any) = take()?;
            counters = latest.unwrap_or_default();
            if any {
                to = now();
            } else if done {
                break;
            }
        }
        cpu = cpu_seconds()? - before;
        sender.join().map_err(|_| "the sender panicked")??;
        Ok(())
    })?;
    let (sent, wall) = (sent.load(Ordering::Relaxed), (to - from).as_secs_f64());
    let (frames, drops) = (counters.frames, counters.drops);
    let asked = if rate == u64::MAX { "all".to_owned() } else { rate.to_string() };
    println!(
        "{asked:>10} {:>12.0} {:>12.0} {drops:>8} {cpu:>8.3} {:>12.0}",
        sent as f64 / wall,
        frames as f64 / wall,
        frames as f64 / cpu
    );
    Ok(())
}

/// UDP datagrams of 60 bytes from 256 ports, at `rate` a second.
fn send(rate: u64, length: Duration, sent: &AtomicU64) -> Result<()> {
    let socket = raw_socket("tx0")?;
    let frames: Vec<[u8; 60]> = (0..256u16).map(|port| frame(1024 + port)).collect();
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let from = now();
    let mut count = 0u64;
    for batch in frames.chunks_exact(BATCH).cycle() {
        let elapsed = now() - from;
        if elapsed >= length {
            break;
        }
        if count as f64 > rate as f64 * elapsed.as_secs_f64() {
            std::hint::spin_loop();
            continue;
        }
        let slices: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|frame| [IoSlice::new(frame)]).collect();
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, [None; BATCH], [], MsgFlags::empty()) {
            Ok(results) => count += results.count() as u64,
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EAGAIN) => continue,
            Err(errno) => return Err(errno.into()),
        }
        sent.store(count, Ordering::Relaxed);
    }
    Ok(())
}

/// From the kernel's stamp of a lone packet to the moment we are handed it.
fn latency(retire_ms: u32) -> Result<()> {
    let (size, before) = (RingSize::default(), resident()?);
    let ring = RingSize::new(size.blocks(), size.block_bytes(), retire_ms);
    let mut capture = Capture::open(CaptureSettings { ring, ..CaptureSettings::new(["rx0"]) })?;
    let memory = resident()? - before;
    let socket = raw_socket("tx0")?;
    let bytes = frame(1);
    let mut micros = Vec::new();
    while micros.len() < 500 {
        nix::sys::socket::send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let before = micros.len();
        while micros.len() == before {
            capture.next(Duration::from_millis(50), &mut |frame| {
                if frame.captured == bytes {
                    micros.push(wall_micros() - frame.at.0);
                }
            })?;
        }
    }
    micros.sort_unstable();
    let at = |part: f64| micros.get((micros.len() as f64 * part) as usize).copied().unwrap_or(0);
    let (p50, p99, most) = (at(0.5), at(0.99), at(0.9999));
    println!(
        "retire {retire_ms} ms: a lone packet comes after p50 {p50} p99 {p99} most {most} µs; ring {memory} KiB resident"
    );
    Ok(())
}

fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

fn frame(port: u16) -> [u8; 60] {
    let mut frame = [0u8; 60];
    let head = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0x66, 0xb3];
    let rest = [10, 7, 0, 1, 10, 7, 0, 2, (port >> 8) as u8, port as u8, 0x0f, 0xa7, 0, 26, 0, 0];
    for (to, from) in frame.iter_mut().zip(head.into_iter().chain(rest)) {
        *to = from;
    }
    frame
}

fn raw_socket(interface: &str) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let address = nix::ifaddrs::getifaddrs()?
        .filter(|it| it.interface_name == interface)
        .find_map(|it| it.address?.as_link_addr().copied());
    bind(socket.as_raw_fd(), &address.ok_or("no link address")?)?;
    Ok(socket)
}

fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "compared with the kernel's stamps")]
fn wall_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

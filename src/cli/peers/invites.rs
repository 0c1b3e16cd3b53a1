//! Invites, joining, the network's key, leaving.

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::json;
use slips_p2p::identity::{NetId, fingerprint};
use slips_p2p::invite::{self, Invite, MAX_ADDRESSES};
use slips_p2p::message::Name;
use slips_p2p::moment::Moment;

use super::{Desk, Done, agreed, now, wrong};
use crate::cli::{Exit, Failure};
use crate::control::{self, Ask, PeersAsk};
use crate::peers::table::PeerAddress;
use crate::peers::{Secret, State, files};

pub(super) fn invite(
    desk: &Desk,
    life: Duration,
    mut addresses: Vec<PeerAddress>,
    name: Option<Name>,
    group: Option<String>,
) -> Done {
    if life.is_zero() || life > invite::LONGEST {
        return Err(Failure::new(Exit::Usage, "an invite is open for a day at most (--for 24h)"));
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(Failure::new(Exit::Usage, format!("an invite names {MAX_ADDRESSES} addresses at most")));
    }
    if addresses.is_empty() {
        addresses = desk.config.p2p.own_addresses();
        addresses.truncate(MAX_ADDRESSES);
    }
    if addresses.is_empty() {
        return Err(wrong("this router has no address that another could call: name one with --address"));
    }
    let invite = desk.change(|state| {
        if name.as_ref().is_some_and(|name| state.table.free_name(name).as_ref() != Some(name)) {
            return Err(wrong("another peer has this name already"));
        }
        let inviter = state.id.ok_or_else(|| wrong("this router has no identity yet: slips peers id"))?;
        let secret = match state.network {
            Some(secret) => secret,
            None => *state.network.insert(Secret(files::random()?)),
        };
        let token = files::random()?;
        let until = state
            .book
            .invite(&token, life, name, group, desk.now)
            .map_err(|error| wrong(error.to_string()))?;
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Ok(Invite { psk: secret.0, inviter, token, until, addresses })
    })?;
    // The line alone on standard output, so that it can be piped; what it is, beside it.
    let json =
        json!({"invite": invite.to_string(), "until_ms": invite.until.0, "addresses": invite.addresses});
    if !desk.json {
        eprintln!(
            "Hand this line over like a password. It lets one router in, until {}; the other administrator runs",
            time(invite.until)
        );
        eprintln!(
            "`slips peers join` and is asked for it. It will be called at {}.",
            invite.addresses.join(" or ")
        );
    }
    desk.say(&json, || invite.to_string())
}

/// A moment for people.
pub(super) fn time(at: Moment) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let zoned = at.map(|at| at.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(|| "an unknown time".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S %:z").to_string())
}

pub(super) fn join(desk: &Desk, line: Option<String>, wait: Duration) -> Done {
    let line = match line.filter(|line| line != "-") {
        Some(line) => line,
        None => read_line("The invite: ")?,
    };
    let invite: Invite = line.parse().map_err(|error: invite::NotAnInvite| wrong(error.to_string()))?;
    if desk.now >= invite.until {
        return Err(wrong(format!("the invite ended at {}: ask for a new one", time(invite.until))));
    }
    let watch = desk.change(|state| {
        check_join(state, &invite)?;
        state.book.join = Some(invite.clone());
        state.book.joined = None;
        Changes::of(desk)
    })?;
    let own = desk.store.load()?.id.ok_or_else(|| wrong("this router has no identity"))?;
    let words = fingerprint(&[own, invite.inviter]);
    let daemon = control::ask(&Ask::Peers(PeersAsk::Status)).is_ok_and(|answer| answer.is_ok());
    let outcome = if daemon { watch.outcome(desk, wait)? } else { None };
    let peer = desk.store.load()?.table.peer(invite.inviter).map(crate::peers::table::PeerRow::called);
    let said = match outcome {
        Some(true) => "joined",
        Some(false) => "refused",
        None => "waiting",
    };
    let json = json!({"by": invite.inviter.to_string(), "name": peer, "state": said, "words": words, "until_ms": invite.until.0});
    match outcome {
        Some(false) => Err(wrong(format!(
            "{} did not let us in: the invite was used, has ended, or was withdrawn",
            invite.inviter
        ))),
        Some(true) => desk.say(&json, || {
            let name = peer.unwrap_or_else(|| invite.inviter.to_string());
            format!("{name} let us in. Both administrators now compare these words, by telephone or face to face:\n\n    {words}\n\nand say that they are the same: slips peers confirm {name}")
        }),
        None if daemon => {
            eprintln!("slips: no answer from {} yet; the daemon goes on trying until {}", invite.addresses.join(" or "), time(invite.until));
            eprintln!("slips: is the port open there, and does the address lead to that router? `slips peers list` shows when it is in");
            desk.say(&json, String::new)?;
            Err(Failure::new(Exit::TryAgain, "not joined yet"))
        }
        None => desk.say(&json, || {
            format!("no daemon runs here; the next one uses the invite, if it starts before {}", time(invite.until))
        }),
    }
}

fn check_join(state: &State, invite: &Invite) -> Done {
    if state.id == Some(invite.inviter) {
        return Err(wrong("this invite is of this router itself: it is used on the other one"));
    }
    let network = state.network.map(|secret| secret.0);
    if network.is_none_or(|psk| psk == invite.psk) || state.table.peers.is_empty() {
        return Ok(());
    }
    Err(wrong(format!(
        "this router belongs to another network already, with {} peers: leave it first (slips peers leave)",
        state.table.peers.len()
    )))
}

/// A line from standard input, with a question where there is somebody to ask.
fn read_line(question: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        eprint!("{question}");
        stdin.read_line(&mut line).map_err(Failure::software)?;
    } else {
        stdin.lock().take(4096).read_to_string(&mut line).map_err(Failure::software)?;
    }
    Ok(line)
}

/// What changes in the directory, from a moment on.
struct Changes(Inotify);

impl Changes {
    fn of(desk: &Desk) -> Result<Self, Failure> {
        let watch =
            Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(Failure::software)?;
        watch.add_watch(desk.store.directory(), AddWatchFlags::IN_MOVED_TO).map_err(Failure::software)?;
        Ok(Self(watch))
    }

    /// Waits until the daemon has noted whether we were let in.
    fn outcome(&self, desk: &Desk, wait: Duration) -> Result<Option<bool>, Failure> {
        let end = now().plus(wait);
        loop {
            if let Some(joined) = desk.store.load()?.book.joined {
                return Ok(Some(joined.admitted));
            }
            let left = end.since(now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout =
                PollTimeout::try_from(left.min(Duration::from_secs(60))).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(Failure::software(error)),
            }
            // What changed does not matter, that something did does; none at all was the timeout.
            let _ = self.0.read_events();
        }
    }
}

const NETWORK: &str = "slips-network-1-";

pub(super) fn show_network(desk: &Desk) -> Done {
    let secret = desk.store.load()?.network.ok_or_else(|| {
        wrong("there is no network yet: invite a router, join one, or make a key (slips peers network new)")
    })?;
    let line = format!("{NETWORK}{}", files::to_hex(&secret.0));
    desk.say(&json!({"key": line, "network": NetId::of(&secret.0).to_string()}), || line.clone())
}

pub(super) fn set_network(desk: &Desk) -> Done {
    let line = read_line("The key: ")?;
    let key = line.trim().strip_prefix(NETWORK).and_then(files::from_hex);
    let key = key.ok_or_else(|| wrong(format!("this is no network key: it starts with {NETWORK}")))?;
    take_network(desk, key)
}

pub(super) fn new_network(desk: &Desk) -> Done {
    take_network(desk, files::random()?)
}

fn take_network(desk: &Desk, key: [u8; 32]) -> Done {
    desk.change(|state| {
        state.network = Some(Secret(key));
        // Invites of the old network lead nowhere.
        state.book.invites.clear();
        state.book.join = None;
        Ok(())
    })?;
    let network = NetId::of(&key).to_string();
    desk.say(&json!({"network": network}), || {
        format!("the network is {network} now; peers connect when they have the same key")
    })
}

pub(super) fn leave(desk: &Desk, yes: bool) -> Done {
    let state = desk.store.load()?;
    let count = state.table.peers.len();
    if !yes && !agreed(&format!("Forget the network's key, {count} peers, all invites and organisations?"))? {
        return Err(wrong("nothing was changed"));
    }
    desk.change(|state| {
        state.network = None;
        state.table.peers.clear();
        state.table.organisations.clear();
        state.rosters.clear();
        state.book.invites.clear();
        state.book.join = None;
        state.book.joined = None;
        state.book.pardons.clear();
        Ok(())
    })?;
    desk.say(&json!({"left": true, "peers": count}), || {
        "this router talks with no peers any more; the others should remove it: slips peers remove".into()
    })
}

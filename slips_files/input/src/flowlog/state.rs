//! Zeek's connection states from what flow exporters know: which TCP flags each side ever sent, and how many packets.
//!
//! The order of the flags is lost, so a few states are the likeliest of those that fit; each choice is said where it is made.

use slips_core::flow::{ConnState, Flow, History, Proto};

/// The flags that one side ever sent, as in the TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const PSH: u8 = 0x08;
    const ACK: u8 = 0x10;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Whether data was pushed.
    pub(crate) const fn pushed(self) -> bool {
        self.has(Self::PSH)
    }

    /// Whether anything was acknowledged.
    pub(crate) const fn acknowledged(self) -> bool {
        self.has(Self::ACK)
    }

    /// Whether there was a SYN and never an ACK.
    pub(crate) const fn only_asks(self) -> bool {
        self.has(Self::SYN) && !self.has(Self::ACK)
    }

    /// The originator's flags, read back from what [`history`] made of them.
    pub(crate) fn of_history(history: History) -> Self {
        let letters = history.as_str().bytes().map(|letter| if letter == b'D' { b'P' } else { letter });
        letters.fold(Self(0), |flags, letter| Self(flags.0 | Self::from_letters(&[letter]).0))
    }

    /// From letters as Argus writes them (`FSRPA`); other letters are passed over.
    pub(crate) fn from_letters(letters: &[u8]) -> Self {
        letters.iter().fold(Self(0), |flags, letter| {
            Self(
                flags.0
                    | match letter {
                        b'F' => Self::FIN,
                        b'S' => Self::SYN,
                        b'R' => Self::RST,
                        b'P' => Self::PSH,
                        b'A' => Self::ACK,
                        _ => 0,
                    },
            )
        })
    }
}

/// The state of a TCP connection whose sides sent these flags.
pub(crate) const fn tcp(orig: Flags, resp: Flags, resp_pkts: u64) -> ConnState {
    const FIN: u8 = Flags::FIN;
    const SYN: u8 = Flags::SYN;
    const RST: u8 = Flags::RST;
    match (orig.has(SYN), resp.has(SYN)) {
        // Nobody asked while we looked.
        (false, false) => ConnState::Oth,
        // The responder's half alone (with asymmetric routing), or a late start of the capture.
        (false, true) if resp.has(RST) => ConnState::Rstrh,
        (false, true) if resp.has(FIN) => ConnState::Shr,
        (false, true) => ConnState::Oth,
        // Every segment has a flag: what was counted without any are ICMP's errors about the attempt, which Suricata adds to it.
        (true, false) if resp_pkts == 0 || resp.0 == 0 => match (orig.has(RST), orig.has(FIN)) {
            (true, _) => ConnState::Rstos0,
            (false, true) => ConnState::Sh,
            (false, false) => ConnState::S0,
        },
        (true, false) if resp.has(RST) => ConnState::Rej,
        // The responder sent something, yet neither accepted nor refused: its SYN was missed when there was more.
        (true, false) => match (orig.has(RST), orig.has(FIN), resp.has(FIN)) {
            (_, true, true) => ConnState::SF,
            (true, _, _) => ConnState::Rsto,
            (false, true, false) => ConnState::S2,
            (false, false, true) => ConnState::S3,
            (false, false, false) => ConnState::S1,
        },
        (true, true) => match (orig.has(FIN), resp.has(FIN)) {
            // A reset after both said goodbye answers a straggler.
            (true, true) => ConnState::SF,
            // Both reset: the originator's is the likelier to come first, for the other answers what is still under way.
            _ if orig.has(RST) => ConnState::Rsto,
            _ if resp.has(RST) => ConnState::Rstr,
            (true, false) => ConnState::S2,
            (false, true) => ConnState::S3,
            (false, false) => ConnState::S1,
        },
    }
}

/// The state of a TCP connection of which only the flags of both sides together are known. Who reset it is not: a short one was
/// refused, a longer one is counted as given up by the originator.
pub(crate) const fn tcp_together(flags: Flags, orig_pkts: u64, resp_pkts: u64) -> ConnState {
    let (fin, rst) = (flags.has(Flags::FIN), flags.has(Flags::RST));
    match (flags.has(Flags::SYN), fin, rst) {
        (false, ..) => ConnState::Oth,
        (true, true, _) => ConnState::SF,
        (true, false, true) if !flags.has(Flags::PSH) && orig_pkts <= 2 && resp_pkts <= 2 => ConnState::Rej,
        (true, false, true) => ConnState::Rsto,
        (true, false, false) => ConnState::S1,
    }
}

/// The state of anything else: Zeek's rules for datagrams; ICMP and other protocols have none.
pub(crate) const fn datagrams(proto: Proto, orig_pkts: u64, resp_pkts: u64) -> ConnState {
    match (proto, orig_pkts, resp_pkts) {
        (Proto::Udp, 1.., 1..) => ConnState::SF,
        (Proto::Udp, 1.., 0) => ConnState::S0,
        (Proto::Udp, 0, 1..) => ConnState::Shr,
        _ => ConnState::Oth,
    }
}

/// Zeek's history letters, each once, in the order in which they come in an ordinary connection.
pub(crate) fn history(orig: Flags, resp: Flags) -> History {
    let mut letters = History::EMPTY;
    let mut add = |yes: bool, letter: u8| {
        if yes {
            letters.push_ascii(letter);
        }
    };
    // A SYN that never came with an ACK is Zeek's S, one with it h.
    add(orig.has(Flags::SYN), b'S');
    add(resp.has(Flags::SYN), b'h');
    for (flag, letter) in [(Flags::ACK, b'A'), (Flags::PSH, b'D')] {
        add(orig.has(flag), letter);
        // The responder's SYN and RST carry an ACK themselves.
        let bare = flag == Flags::ACK && !resp.has(Flags::PSH) && !resp.has(Flags::FIN);
        add(resp.has(flag) && !bare, letter.to_ascii_lowercase());
    }
    for (flag, letter) in [(Flags::FIN, b'F'), (Flags::RST, b'R')] {
        add(orig.has(flag), letter);
        add(resp.has(flag), letter.to_ascii_lowercase());
    }
    letters
}

/// Sets state and history of a flow whose counters are known; `None` where the input has no flags.
pub(crate) fn settle(flow: &mut Flow, flags: Option<(Flags, Flags)>) {
    match (flow.proto, flags) {
        (Proto::Tcp, Some((orig, resp))) => {
            flow.state = tcp(orig, resp, flow.resp.pkts);
            flow.history = history(orig, resp);
        }
        (Proto::Tcp, None) => {}
        (proto, _) => flow.state = datagrams(proto, flow.orig.pkts, flow.resp.pkts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(orig: &str, resp: &str, state: &str, letters: &str) {
        let (orig, resp) = (Flags::from_letters(orig.as_bytes()), Flags::from_letters(resp.as_bytes()));
        let seen = (tcp(orig, resp, u64::from(resp.0 != 0)).name(), history(orig, resp));
        assert_eq!((seen.0, seen.1.as_str()), (state, letters), "{orig:?} {resp:?}");
    }

    #[test]
    fn flags_become_states() {
        check("S", "", "S0", "S");
        check("S", "RA", "REJ", "Sr");
        check("SR", "SA", "RSTO", "ShR");
        check("SA", "SA", "S1", "ShA");
        check("SRA", "", "RSTOS0", "SAR");
        check("SF", "", "SH", "SF");
        check("SPA", "SPA", "S1", "ShAaDd");
        check("FSPA", "FSPA", "SF", "ShAaDdFf");
        check("FSRPA", "FSPA", "SF", "ShAaDdFfR");
        check("FSPA", "SPA", "S2", "ShAaDdF");
        check("SPA", "FSPA", "S3", "ShAaDdf");
        check("SRPA", "FSPA", "RSTO", "ShAaDdfR");
        check("SPA", "SRPA", "RSTR", "ShAaDdr");
        check("", "SA", "OTH", "h");
        check("", "SRA", "RSTRH", "hr");
        check("", "FSPA", "SHR", "hadf");
        check("PA", "PA", "OTH", "AaDd");
        check("SPA", "PA", "S1", "SAaDd");
        check("", "", "OTH", "");
        assert_eq!(tcp(Flags(Flags::SYN), Flags(0), 2), ConnState::S0, "two errors of ICMP");
    }

    #[test]
    fn flags_survive_in_the_history() {
        for letters in ["", "S", "SA", "FSRPA", "RA", "PA"] {
            let flags = Flags::from_letters(letters.as_bytes());
            assert_eq!(Flags::of_history(history(flags, Flags::default())), flags, "{letters}");
        }
    }

    #[test]
    fn flags_of_both_sides_together_tell_less() {
        for (letters, pkts, state) in [
            ("SRA", 1, "REJ"),
            ("SRA", 5, "RSTO"),
            ("SRPA", 2, "RSTO"),
            ("FSPA", 9, "SF"),
            ("SA", 2, "S1"),
            ("PA", 9, "OTH"),
        ] {
            assert_eq!(tcp_together(Flags::from_letters(letters.as_bytes()), pkts, pkts).name(), state);
        }
    }

    #[test]
    fn datagrams_are_answered_or_not() {
        for (orig, resp, state) in [(1, 0, "S0"), (3, 2, "SF"), (0, 1, "SHR"), (0, 0, "OTH")] {
            assert_eq!(datagrams(Proto::Udp, orig, resp).name(), state);
            assert_eq!(datagrams(Proto::Icmp, orig, resp), ConnState::Oth);
        }
    }
}

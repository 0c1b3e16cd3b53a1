//! One SSH connection: what its record and its flow say about logins.
//!
//! Where no record tells of logins, the flow's shape does. Measured with OpenSSH 9 (PAM) on loopback, payload bytes from client
//! and server: hydra with five wrong passwords 1,483 + 2,201 in 13 s; OpenSSH's client with a wrong key 2,929 + 2,861 in
//! 0.1 s; the same client running `true` after a login 3,733 + 4,121. A server that let a client in sends its other host keys
//! and the command's end, so more than 3,000 bytes from the server are no refusal.

use std::ops::RangeInclusive;

use slips_core::event::Ssh;
use slips_core::flow::Flow;

/// Payload bytes from each side of a session that ended before a login: at least a key exchange, less than a session.
const CLIENT_BYTES: RangeInclusive<u64> = 500..=4000;
const SERVER_BYTES: RangeInclusive<u64> = 500..=3000;
/// The longest time a server gives for a login is two minutes by default.
const LONGEST_MICROS: i64 = 150_000_000;
/// A wrong password is answered two to three seconds late (PAM), and takes three packets; a key exchange takes eighteen.
const MICROS_PER_ATTEMPT: i64 = 3_000_000;
const PACKETS_PER_ATTEMPT: u64 = 3;
const PACKETS_BEFORE: u64 = 18;
/// OpenSSH closes after six.
const MOST_PER_CONNECTION: u64 = 6;

/// Names of libraries and programs with which passwords are guessed. OpenSSH's and PuTTY's are what people use.
const TOOLS: [&str; 12] = [
    "libssh",
    "paramiko",
    "hydra",
    "medusa",
    "ncrack",
    "net::ssh",
    "net-ssh",
    "asyncssh",
    "jsch",
    "sshj",
    "ssh-2.0-go",
    "zgrab",
];

/// What is known about one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Login attempts that failed, as far as is known.
    pub attempts: u32,
    /// The session got past its login.
    pub succeeded: bool,
    /// The client names itself as a library that guessing tools use; honest programs use it too.
    pub tool: bool,
    /// A record told of logins: the flow's shape does not matter.
    recorded: bool,
    /// The flow has ended: nothing is taken back any more.
    ended: bool,
}

impl Session {
    /// A handshake record of this connection.
    pub(super) fn told(&mut self, ssh: &Ssh) {
        self.tool |= is_tool(&ssh.client);
        match ssh.auth_success {
            Some(true) => (self.recorded, self.succeeded, self.attempts) = (true, true, 0),
            Some(false) => (self.recorded, self.attempts) = (true, ssh.auth_attempts.max(1)),
            None if ssh.auth_attempts > 0 => (self.recorded, self.attempts) = (true, ssh.auth_attempts),
            // Only names were exchanged, for all that the record tells: one attempt until the flow says otherwise.
            None if !self.ended => self.attempts = self.attempts.max(1),
            None => {}
        }
        // A hostile or broken record must not decide alone.
        self.attempts = self.attempts.min(64);
    }

    /// The connection's flow at its end.
    pub(super) fn ended(&mut self, flow: &Flow) {
        if std::mem::replace(&mut self.ended, true) || self.recorded {
            return;
        }
        if CLIENT_BYTES.contains(&flow.orig.bytes)
            && SERVER_BYTES.contains(&flow.resp.bytes)
            && is_short(flow)
        {
            self.attempts = estimate(flow);
        } else {
            self.attempts = 0;
            self.succeeded = flow.resp.bytes > *SERVER_BYTES.end();
        }
    }

    /// Attempts that are sure to have failed: the record says so.
    pub(super) const fn sure_attempts(self) -> u32 {
        if self.recorded { self.attempts } else { 0 }
    }

    /// Attempts that nothing can take back.
    pub(super) const fn settled_attempts(self) -> u32 {
        if self.recorded || self.ended { self.attempts } else { 0 }
    }

    /// Both.
    pub(super) const fn settled_sure(self) -> u32 {
        if self.recorded { self.settled_attempts() } else { 0 }
    }
}

fn is_short(flow: &Flow) -> bool {
    flow.duration.is_none_or(|duration| duration.0 <= LONGEST_MICROS)
}

/// How many passwords such a session tried: by the time that wrong ones take, and by its packets.
fn estimate(flow: &Flow) -> u32 {
    let by_time = flow.duration.map_or(0, |duration| duration.0.max(0) / MICROS_PER_ATTEMPT) as u64 + 1;
    let packets = flow.orig.pkts.saturating_add(flow.resp.pkts);
    let by_packets = packets.saturating_sub(PACKETS_BEFORE) / PACKETS_PER_ATTEMPT;
    by_time.min(by_packets).clamp(1, MOST_PER_CONNECTION) as u32
}

/// Whether the client's identification names a guessing tool or its library.
pub(super) fn is_tool(client: &str) -> bool {
    let client = client.to_ascii_lowercase();
    TOOLS.iter().any(|tool| client.contains(tool))
}

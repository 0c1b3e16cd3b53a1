//! Asks a TLS server ten times for its JARM, as the process that fetches does: ten connections of one greeting each, and no more than the
//! beginning of an answer is read.

use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use slips_core::addr;
use slips_intel::jarm::{ANSWER, Answer, LONGEST_HOST, PROBES, RANDOM, fingerprint, hello};

use super::client::{addresses, is_public, own_addresses};
use super::{Jarm, Missed, Reach, TlsServer};
use crate::daemon::clocks::Clocks;

/// Longest wait for a connection and for an answer to one greeting.
const EACH: Duration = Duration::from_secs(5);

/// Asks a server, all within its time.
pub(super) fn ask(server: &TlsServer) -> Result<Jarm, Missed> {
    let clock = Clocks::default().steady;
    let until = clock().saturating_add(server.within);
    if server.host.len() > LONGEST_HOST || server.port == 0 {
        return Err(Missed::Wrong("no name of a server".into()));
    }
    let address = address_of(server)?;
    let mut answers: [Answer; PROBES] = Default::default();
    for (probe, answer) in answers.iter_mut().enumerate() {
        let Some(greeting) = hello(probe, &server.host, &random()) else { continue };
        let left = until.saturating_sub(clock()).min(EACH);
        if left.is_zero() {
            return Err(Missed::Slow(server.within));
        }
        match talk(SocketAddr::new(address, server.port), &greeting, left, &clock) {
            Ok(bytes) => *answer = Answer::read(&bytes),
            // A server that was there and answers no more is one that has seen enough, which counts as nothing said.
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => return Err(Missed::Slow(left)),
                _ if is_silence(probe, &error) => {}
                // It may have been blocked by us since: what is left of a fingerprint is none.
                _ => return Err(Missed::Unreachable(error.to_string())),
            },
        }
    }
    Ok(Jarm { address, fingerprint: fingerprint(&answers) })
}

/// Whether the other side was there and broke off.
fn is_rude(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

/// Whether it counts as an answer of nothing.
fn is_silence(probe: usize, error: &io::Error) -> bool {
    is_rude(error) || (probe > 0 && error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whom to ask. A name leads to no address of our own networks: who made it may have chosen one of them.
fn address_of(server: &TlsServer) -> Result<IpAddr, Missed> {
    let literal = server.host.parse::<IpAddr>().ok();
    let address = match literal {
        Some(address) => addr::canonical(address),
        None => {
            let all = addresses(&server.host, server.within.min(EACH))?;
            *all.first().ok_or_else(|| Missed::Unreachable("nobody knows its name".into()))?
        }
    };
    let by_hand = literal.is_some() && server.reach == Reach::Anywhere;
    if by_hand || is_public(address, &own_addresses()) {
        Ok(address)
    } else {
        Err(Missed::Wrong(format!("{address} is no public address; it is asked only by itself, and by hand")))
    }
}

/// Says the greeting, and hears the first record of the answer or as much of it as counts.
fn talk(
    to: SocketAddr,
    greeting: &[u8],
    within: Duration,
    clock: &dyn Fn() -> Duration,
) -> io::Result<Vec<u8>> {
    let until = clock().saturating_add(within);
    let mut stream = TcpStream::connect_timeout(&to, within)?;
    stream.set_write_timeout(Some(within))?;
    stream.write_all(greeting)?;
    let (mut heard, mut room) = (Vec::new(), [0; ANSWER]);
    while !Answer::is_whole(&heard) {
        let left = until.saturating_sub(clock());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let most = ANSWER.saturating_sub(heard.len());
        match stream.read(room.get_mut(..most).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => heard.extend_from_slice(room.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What it said before it broke off was said.
            Err(error) if is_rude(&error) && !heard.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(heard)
}

/// Bytes that are others each time. No secret hangs on them: nobody goes on with these handshakes.
fn random() -> [u8; RANDOM] {
    let mut bytes = [0; RANDOM];
    let state = std::hash::RandomState::new();
    for (n, word) in bytes.chunks_mut(8).enumerate() {
        let fresh = state.hash_one(n).to_le_bytes();
        word.iter_mut().zip(fresh).for_each(|(to, from)| *to = from);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_itself_is_silent() {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, PermissionDenied};
        // Our own output chain says that it is not permitted.
        for (kind, first, later) in [
            (ConnectionReset, true, true),
            (ConnectionRefused, false, true),
            (PermissionDenied, false, false),
            (HostUnreachable, false, false),
        ] {
            assert_eq!((is_silence(0, &kind.into()), is_silence(5, &kind.into())), (first, later), "{kind}");
        }
    }
}

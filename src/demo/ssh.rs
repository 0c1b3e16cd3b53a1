//! A failed ssh login as a watcher on the wire sees it: the banners, the open key exchange, then sizes only. No cryptography:
//! what is encrypted in reality is arbitrary bytes of the same length here.

use std::io::{self, Read, Write};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Guesser,
    Server,
}

const ALGORITHMS: [&str; 10] = [
    "sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
     ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group16-sha512,diffie-hellman-group14-sha256",
    "rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256,ssh-ed25519",
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512",
    "umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512",
    "none,zlib@openssh.com",
    "none,zlib@openssh.com",
    "",
    "",
];

/// The messages of one attempt in their order. Sizes are those of OpenSSH 9 with curve25519, ed25519 and chacha20-poly1305.
fn script() -> Vec<(Side, Vec<u8>)> {
    use Side::{Guesser, Server};
    vec![
        (Guesser, b"SSH-2.0-libssh_0.10.6\r\n".to_vec()),
        (Server, b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec()),
        (Guesser, key_init()),
        (Server, key_init()),
        // SSH_MSG_KEX_ECDH_INIT, SSH_MSG_KEX_ECDH_REPLY, SSH_MSG_NEWKEYS (RFC 5656 section 7.1, RFC 4253 section 7.3).
        (Guesser, packet(&[&[30], &filler(36)[..]].concat())),
        (Server, packet(&[&[31], &filler(178)[..]].concat())),
        (Server, packet(&[21])),
        (Guesser, packet(&[21])),
        // Service request and its answer, the question for the methods and its answer, one password.
        (Guesser, filler(44)),
        (Server, filler(44)),
        (Guesser, filler(68)),
        (Server, filler(68)),
        (Guesser, filler(148)),
        // "Permission denied."
        (Server, filler(68)),
    ]
}

/// Plays one side of one failed login to its end. `turn` is called when the other side has spoken.
pub(super) fn play(stream: &mut (impl Read + Write), side: Side, mut turn: impl FnMut()) -> io::Result<()> {
    for (speaker, message) in script() {
        if speaker == side {
            stream.write_all(&message)?;
        } else {
            stream.read_exact(&mut vec![0; message.len()])?;
            turn();
        }
    }
    Ok(())
}

/// SSH_MSG_KEXINIT (RFC 4253 section 7.1).
fn key_init() -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend(filler(16));
    for names in ALGORITHMS {
        payload.extend((names.len() as u32).to_be_bytes());
        payload.extend(names.as_bytes());
    }
    payload.extend([0; 5]);
    packet(&payload)
}

/// The binary packet of RFC 4253 section 6, before there is encryption.
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8;
    let padding = if padding < 4 { padding + 8 } else { padding };
    let mut packet = ((payload.len() + padding + 1) as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend(payload);
    packet.extend(filler(padding));
    packet
}

/// Bytes that look like nothing (Knuth's linear congruential generator).
fn filler(len: usize) -> Vec<u8> {
    let mut state = 0x5eed_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn both_sides_reach_the_end() {
        let (mut guesser, mut server) = UnixStream::pair().expect("pair");
        let served = thread::spawn(move || play(&mut server, Side::Server, || {}));
        let mut heard = 0;
        play(&mut guesser, Side::Guesser, || heard += 1).expect("guesser");
        served.join().expect("join").expect("server");
        assert_eq!(heard, 7);
    }

    #[test]
    fn open_packets_are_whole_blocks() {
        for len in 1..64 {
            let packet = packet(&vec![20; len]);
            assert_eq!(packet.len() % 8, 0);
            assert!(packet[4] >= 4);
            assert_eq!(
                u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]) as usize,
                packet.len() - 4
            );
        }
    }
}

//! NTLM: who logs in, in the last of its three messages (MS-NLMP).

use crate::apps::{Attempt, le16, le32, short, wide};

const MARK: &[u8] = b"NTLMSSP\0";

/// The attempt in whatever carries NTLM's last message.
pub(crate) fn attempt(blob: &[u8]) -> Option<Attempt> {
    let message = find(blob)?;
    if le32(message, 8)? != 3 {
        return None;
    }
    let is_wide = le32(message, 60).is_some_and(|flags| flags & 1 != 0);
    let text = |at: usize| {
        let (length, from) = (usize::from(le16(message, at)?), le32(message, at + 4)? as usize);
        let bytes = message.get(from..)?.get(..length)?;
        Some(if is_wide { wide(bytes) } else { short(bytes) })
    };
    Some(Attempt {
        domain: text(28).unwrap_or_default(),
        user: text(36).unwrap_or_default(),
        host: text(44).unwrap_or_default(),
        method: "NTLM".to_owned(),
        clear_password: false,
    })
}

/// The message that begins with NTLM's mark.
fn find(blob: &[u8]) -> Option<&[u8]> {
    let at = blob.windows(MARK.len()).position(|part| part == MARK)?;
    blob.get(at..)
}

/// Which of its messages a blob carries, 0 where it is none.
pub(crate) fn kind(blob: &[u8]) -> u32 {
    find(blob).and_then(|message| le32(message, 8)).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The last message of a user.
    pub(crate) fn last(domain: &str, user: &str, host: &str) -> Vec<u8> {
        let mut message = [MARK, &3u32.to_le_bytes(), &[0; 16]].concat();
        let mut texts = Vec::new();
        for text in [domain, user, host] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            message.extend((bytes.len() as u16).to_le_bytes());
            message.extend((bytes.len() as u16).to_le_bytes());
            message.extend((64 + texts.len() as u32).to_le_bytes());
            texts.extend(bytes);
        }
        message.extend([0; 8]);
        message.extend(1u32.to_le_bytes());
        [message, texts].concat()
    }

    #[test]
    fn names_are_read_wherever_they_point() {
        let blob = [&b"\x60\x10rubbish"[..], &last("CORP", "joe", "PC7")].concat();
        let found = attempt(&blob).expect("attempt");
        assert_eq!((found.user.as_str(), found.domain.as_str(), found.host.as_str()), ("joe", "CORP", "PC7"));
        assert_eq!((kind(&blob), kind(b"NTLMSSP\0\x01\0\0\0"), kind(b"no")), (3, 1, 0));
        for at in 0..blob.len() {
            attempt(&blob[..at]);
            let mut wrong = blob.clone();
            wrong[at] ^= 0xff;
            attempt(&wrong);
        }
    }
}

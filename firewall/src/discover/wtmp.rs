//! The record of logins, `wtmp`: from where people logged in lately. Newer distributions keep none; there the daemon's own memory of
//! sessions stands in for it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use slips_core::addr::canonical;

/// The other ends of the last remote logins since then, in seconds since the Unix epoch, the latest first, each once.
pub(super) fn last_logins(root: &Path, since: u64) -> Vec<IpAddr> {
    tail(&root.join("var/log/wtmp")).map(|bytes| logins(&bytes, since)).unwrap_or_default()
}

fn logins(bytes: &[u8], since: u64) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    // Whole records from the end: what was cut off is at the beginning.
    for record in bytes.rchunks_exact(RECORD) {
        let Some(addr) = login(record).filter(|_| began(record).is_some_and(|began| began >= since)) else {
            continue;
        };
        if !found.contains(&addr) {
            found.push(addr);
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// From where somebody logged in; none for another record, and for a login at this machine.
fn login(record: &[u8]) -> Option<IpAddr> {
    let kind = i16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
    let bytes: [u8; 16] = record.get(ADDRESS..ADDRESS + 16)?.try_into().ok()?;
    let (v4, rest) = bytes.split_first_chunk::<4>()?;
    let addr = if rest.iter().all(|byte| *byte == 0) {
        IpAddr::V4(Ipv4Addr::from(*v4))
    } else {
        canonical(IpAddr::V6(Ipv6Addr::from(bytes)))
    };
    (kind == USER_PROCESS && !addr.is_unspecified() && !addr.is_loopback()).then_some(addr)
}

/// When it began, in seconds since the Unix epoch; of 32 bits that have no sign here, since they last until 2106 so.
fn began(record: &[u8]) -> Option<u64> {
    let bytes = record.get(SECONDS..)?;
    if WIDE {
        return u64::from_ne_bytes(*bytes.first_chunk()?).into();
    }
    Some(u32::from_ne_bytes(*bytes.first_chunk()?).into())
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // So that the rest is whole records.
    let skipped = length.saturating_sub(READ) / RECORD as u64 * RECORD as u64;
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(READ + RECORD as u64).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.len() / RECORD * RECORD);
    Ok(bytes)
}

/// So many addresses are protected.
const MOST: usize = 16;
/// So much of the end of the file is read.
const READ: u64 = 256 << 10;
// struct utmp of utmp(5) with the GNU C library: on some machines its times are wider than 32 bits.
const WIDE: bool = cfg!(any(target_arch = "aarch64", target_arch = "s390x", target_arch = "loongarch64"));
const RECORD: usize = if WIDE { 400 } else { 384 };
const ADDRESS: usize = if WIDE { 360 } else { 348 };
const SECONDS: usize = if WIDE { 344 } else { 340 };
const USER_PROCESS: i16 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_700_000_000;

    fn record(kind: i16, addr: &[u8]) -> Vec<u8> {
        let mut record = vec![0; RECORD];
        // With 64 bits the low half on machines that begin with it, and all with 32.
        record[SECONDS..SECONDS + 4].copy_from_slice(&NOW.to_ne_bytes());
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[ADDRESS..ADDRESS + addr.len()].copy_from_slice(addr);
        record
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn a_record_is_as_long_as_the_c_library_writes_it() {
        assert_eq!(RECORD, size_of::<libc::utmpx>());
        assert_eq!(ADDRESS, std::mem::offset_of!(libc::utmpx, ut_addr_v6));
        assert_eq!(SECONDS, std::mem::offset_of!(libc::utmpx, ut_tv));
    }

    #[test]
    fn the_last_logins_are_read_from_the_end() {
        let v6: IpAddr = "2001:db8::7".parse().expect("ip");
        let IpAddr::V6(bytes) = v6 else { panic!("IPv6") };
        let mut file = Vec::new();
        for n in 0..1000u32 {
            file.extend(record(7, &(0x0a00_0000 + n).to_be_bytes()));
        }
        file.extend(record(7, &[192, 0, 2, 1]));
        file.extend(record(8, &[192, 0, 2, 2]));
        file.extend(record(7, &bytes.octets()));
        file.extend(record(7, &[0; 4]));
        file.extend(record(7, &[192, 0, 2, 1]));
        file.extend([1; 100]);
        let root = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(root.path().join("var/log")).expect("folder");
        assert_eq!(last_logins(root.path(), 0), Vec::<IpAddr>::new());
        std::fs::write(root.path().join("var/log/wtmp"), &file).expect("wtmp");
        assert_eq!(last_logins(root.path(), u64::from(NOW) + 1), Vec::<IpAddr>::new(), "too long ago");
        let found = last_logins(root.path(), NOW.into());
        assert_eq!(found.len(), MOST);
        assert_eq!(
            found[..3],
            ["192.0.2.1", "2001:db8::7", "10.0.3.231"].map(|a| a.parse::<IpAddr>().expect(a))
        );
        for at in 0..RECORD {
            logins(&file[..at], 0);
            began(&file[..at]);
            login(&file[..at]);
        }
    }
}

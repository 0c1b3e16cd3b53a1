//! The database in a tar archive, as MaxMind sends one: between a copyright, a licence and a read-me.

use std::io::{self, Read};

/// Bytes of a header, and of what contents are filled up to.
pub(super) const BLOCK: usize = 512;
/// What the name of a database ends with.
const WANTED: &[u8] = b".mmdb";
/// Where in a header the name, the size, the checksum, the kind, the format and the folder are.
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const SUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const FORMAT: std::ops::Range<usize> = 257..262;

/// Whether this is how an archive begins.
pub(super) fn is_tar(begin: &[u8]) -> bool {
    let Some(header) = begin.first_chunk::<BLOCK>() else { return false };
    let sum = header.iter().enumerate().map(|(at, byte)| if SUM.contains(&at) { b' ' } else { *byte });
    header.get(FORMAT) == Some(b"ustar") && octal(header, SUM) == Some(sum.map(u64::from).sum())
}

/// A number in the octal digits of a field.
fn octal(header: &[u8; BLOCK], at: std::ops::Range<usize>) -> Option<u64> {
    let digits = header.get(at)?.split(|byte| matches!(byte, 0 | b' ')).find(|part| !part.is_empty())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// The first database of an archive. What comes after it is not read.
pub(super) fn database<R: Read>(mut from: R) -> io::Result<Database<R>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    loop {
        let mut header = [0; BLOCK];
        from.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            return Err(broken("an archive without a database (.mmdb)"));
        }
        let size = octal(&header, SIZE).filter(|_| is_tar(&header));
        let size = size.ok_or_else(|| broken("an archive with a header that makes no sense"))?;
        let name = header.get(NAME).and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
        let is_file = matches!(header.get(KIND), Some(b'0' | 0));
        if is_file && name.ends_with(WANTED) {
            return Ok(Database { from: from.take(size) });
        }
        let filled = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        if io::copy(&mut from.by_ref().take(filled), &mut io::sink())? < filled {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The bytes of a file; an archive that ends within it is an error.
pub(super) struct Database<R> {
    from: io::Take<R>,
}

impl<R: Read> Read for Database<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        if read == 0 && !into.is_empty() && self.from.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An archive of files and folders (a name that ends with `/`).
    pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (name, bytes) in files {
            let mut header = [0; BLOCK];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..108].copy_from_slice(b"0000644\0");
            header[SIZE].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
            header[KIND] = if name.ends_with('/') { b'5' } else { b'0' };
            header[257..265].copy_from_slice(b"ustar\x0000");
            header[SUM].fill(b' ');
            let sum: u64 = header.iter().copied().map(u64::from).sum();
            header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            all.extend(header);
            all.extend(*bytes);
            all.resize(all.len().next_multiple_of(BLOCK), 0);
        }
        all.resize(all.len() + 2 * BLOCK, 0);
        all
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        database(bytes)?.read_to_end(&mut whole)?;
        Ok(whole)
    }

    #[test]
    fn the_database_is_found_among_what_comes_with_it() {
        let data = [7; 1000];
        let whole = archive(&[
            ("GeoLite2-ASN_20261120/", b""),
            ("GeoLite2-ASN_20261120/COPYRIGHT.txt", b"whose"),
            ("GeoLite2-ASN_20261120/GeoLite2-ASN.mmdb", &data),
            ("GeoLite2-ASN_20261120/LICENSE.txt", &[b'x'; 600]),
        ]);
        assert!(is_tar(&whole));
        assert_eq!(read(&whole).expect("read"), data);
        let none = archive(&[("a/", b""), ("a/LICENSE.txt", b"what"), ("a/x.mmdb/", b"")]);
        assert!(read(&none).expect_err("none").to_string().contains("without a database"));
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error_and_a_list_is_no_archive() {
        let whole = archive(&[("a/LICENSE.txt", b"what"), ("a/x.mmdb", &[7; 600])]);
        for cut in 0..3 * BLOCK + 600 {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in [0, SIZE.start + 2, SUM.start, 300] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(!is_tar(&changed) && read(&changed).is_err(), "changed at {at}");
        }
        assert!(!is_tar(&[b'a'; 600]) && !is_tar(b"ustar"));
    }
}

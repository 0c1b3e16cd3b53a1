//! What comes packed by gzip or zip, or as a tar archive, unpacked as it comes. Whoever reads bounds how much.

use std::io::{self, BufReader, Cursor, Read};

use flate2::Crc;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};

use super::tar;

/// A packed file may be packed once more by the way it is sent; more is nobody's habit.
const LAYERS: usize = 2;

/// The bytes behind at most two layers of packing; what is not packed stays as it is.
pub fn unpacked<'a>(from: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = from;
    for layer in 0..=LAYERS {
        let (begin, rest) = peek(reader)?;
        let whole = BufReader::new(Cursor::new(begin.clone()).chain(rest));
        reader = match begin.get(..4) {
            Some([0x1f, 0x8b, 8, _]) if layer < LAYERS => Box::new(MultiGzDecoder::new(whole)),
            Some(b"PK\x03\x04") if layer < LAYERS => Box::new(FirstFile::open(whole)?),
            _ if tar::is_tar(&begin) => return Ok(Box::new(tar::database(whole)?)),
            _ => return Ok(Box::new(whole)),
        };
    }
    Ok(reader)
}

/// The first bytes, and what comes after them.
fn peek<'a>(mut from: Box<dyn Read + 'a>) -> io::Result<(Vec<u8>, Box<dyn Read + 'a>)> {
    let mut begin = Vec::new();
    from.by_ref().take(tar::BLOCK as u64).read_to_end(&mut begin)?;
    Ok((begin, from))
}

/// The first file in a zip archive: lists are packed alone. What comes after it is not read.
struct FirstFile<R> {
    body: Body<R>,
    crc: Crc,
    /// What the bytes must add up to; a header that does not know it yet says it after them.
    expected: Option<u32>,
}

enum Body<R> {
    Deflated(DeflateDecoder<BufReader<R>>),
    Stored(io::Take<BufReader<R>>),
}

/// Flags of an entry: encrypted, and sizes after the bytes.
const ENCRYPTED: u16 = 1;
const SIZES_AFTER: u16 = 8;

impl<R: Read> FirstFile<R> {
    fn open(mut from: BufReader<R>) -> io::Result<Self> {
        loop {
            let mut header = [0; 30];
            from.read_exact(&mut header)?;
            if header.get(..4) != Some(b"PK\x03\x04") {
                return Err(broken("an archive without a file"));
            }
            let [flags, method, name, extra] = [6, 8, 26, 28].map(|at| short(&header, at));
            let [crc, packed] =
                [14, 18].map(|at| u32::from(short(&header, at)) | u32::from(short(&header, at + 2)) << 16);
            let mut path = vec![0; usize::from(name)];
            from.read_exact(&mut path)?;
            skip(&mut from, u64::from(extra))?;
            let known = flags & SIZES_AFTER == 0;
            if path.ends_with(b"/") && known {
                skip(&mut from, u64::from(packed))?;
                continue;
            }
            let body = match method {
                _ if flags & ENCRYPTED != 0 => return Err(broken("an encrypted archive")),
                8 => Body::Deflated(DeflateDecoder::new(from)),
                0 if known => Body::Stored(from.take(u64::from(packed))),
                _ => return Err(broken("an archive of a kind that is not read")),
            };
            return Ok(Self { body, crc: Crc::new(), expected: known.then_some(crc) });
        }
    }

    /// The whole file came.
    fn end(&mut self) -> io::Result<()> {
        let expected = match (&mut self.body, self.expected) {
            (_, Some(expected)) => expected,
            (Body::Deflated(body), None) => {
                let mut after = [0; 8];
                body.get_mut().read_exact(&mut after)?;
                let at = if after.starts_with(b"PK\x07\x08") { 4 } else { 0 };
                u32::from(short(&after, at)) | u32::from(short(&after, at + 2)) << 16
            }
            (Body::Stored(_), None) => return Err(broken("an archive of a kind that is not read")),
        };
        self.expected = Some(self.crc.sum());
        if self.crc.sum() == expected {
            Ok(())
        } else {
            Err(broken("a file in an archive with a wrong checksum"))
        }
    }
}

impl<R: Read> Read for FirstFile<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.body {
            Body::Deflated(body) => body.read(into)?,
            Body::Stored(body) => {
                let read = body.read(into)?;
                if read == 0 && body.limit() > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                read
            }
        };
        match read {
            0 => self.end()?,
            _ => self.crc.update(into.get(..read).unwrap_or_default()),
        }
        Ok(read)
    }
}

fn skip(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut from.by_ref().take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn short(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};

    use super::*;

    const TEXT: &[u8] = b"bad.example\nfile.type.url.example\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).expect("packed");
        packer.finish().expect("packed")
    }

    /// An archive with one file, its sizes before or after it, behind a folder.
    fn zip(bytes: &[u8], after: bool, deflated: bool) -> Vec<u8> {
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).expect("packed");
        let packed = if deflated { packer.finish().expect("packed") } else { bytes.to_vec() };
        let mut crc = Crc::new();
        crc.update(bytes);
        let header = |flags: u16, method: u16, crc: u32, size: u32, name: &[u8]| {
            let mut header = b"PK\x03\x04\x14\0".to_vec();
            for short in [flags, method, 0, 0] {
                header.extend(short.to_le_bytes());
            }
            for long in [crc, size, size] {
                header.extend(long.to_le_bytes());
            }
            header.extend((name.len() as u16).to_le_bytes());
            header.extend([3, 0]);
            header.extend(name);
            header.extend(b"xyz");
            header
        };
        let mut archive = header(0, 0, 0, 0, b"lists/");
        let (size, sum) = if after { (0, 0) } else { (packed.len() as u32, crc.sum()) };
        archive.extend(header(
            if after { 8 } else { 0 },
            if deflated { 8 } else { 0 },
            sum,
            size,
            b"lists/a.txt",
        ));
        archive.extend(&packed);
        if after {
            archive.extend(b"PK\x07\x08");
            archive.extend(crc.sum().to_le_bytes());
            archive.extend((packed.len() as u32).to_le_bytes());
        }
        archive.extend(b"PK\x01\x02 and so on");
        archive
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        unpacked(Box::new(bytes))?.read_to_end(&mut whole)?;
        Ok(whole)
    }

    #[test]
    fn what_is_packed_is_unpacked_and_the_rest_stays() {
        for packed in [
            TEXT.to_vec(),
            gzip(TEXT),
            gzip(&gzip(TEXT)),
            zip(TEXT, false, true),
            zip(TEXT, true, true),
            zip(TEXT, false, false),
            gzip(&zip(TEXT, true, true)),
        ] {
            assert_eq!(read(&packed).expect("read"), TEXT);
        }
        for short in [&b""[..], b"a", b"PK", b"\x1f\x8b"] {
            assert_eq!(read(short).expect("as it is"), short);
        }
        let inside = tar::tests::archive(&[("GeoLite2/COPYRIGHT.txt", b"whose"), ("GeoLite2/a.mmdb", TEXT)]);
        for packed in [inside.clone(), gzip(&inside), gzip(&gzip(&inside))] {
            assert_eq!(read(&packed).expect("read"), TEXT);
        }
        let thrice = gzip(&gzip(&gzip(TEXT)));
        assert_eq!(read(&thrice).expect("two layers"), gzip(TEXT));
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error() {
        for packed in [gzip(TEXT), zip(TEXT, false, true), zip(TEXT, true, true), zip(TEXT, false, false)] {
            let whole = packed.len() - if packed.starts_with(b"PK") { 14 } else { 0 };
            for cut in 4..whole {
                if let Ok(read) = read(&packed[..cut]) {
                    // Only the trailing size of a data descriptor is not needed.
                    assert!(read == TEXT && whole - cut <= 4, "cut at {cut} of {whole}");
                }
            }
        }
        let mut changed = zip(TEXT, false, false);
        let at = changed.windows(3).position(|three| three == b"bad").expect("the text");
        changed[at] = b'm';
        assert!(read(&changed).is_err(), "a wrong checksum");
        let mut encrypted = zip(TEXT, false, true);
        let second = encrypted.windows(4).rposition(|four| four == b"PK\x03\x04").expect("the file");
        encrypted[second + 6] = 1;
        assert!(read(&encrypted).is_err(), "encrypted");
    }
}

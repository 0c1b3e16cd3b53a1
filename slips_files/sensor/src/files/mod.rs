//! Files that protocols carry: decompressed, typed by content, hashed on the fly, never kept.

mod inflate;
mod mime;

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use slips_core::event::{Event, File};
use slips_core::flow::Uid;

pub(crate) use self::inflate::Coding;
use self::inflate::Inflate;
use crate::emit;
use crate::reader::Cx;
use crate::settings::Settings;
use crate::tls::hex;
use crate::track::Dir;

/// Spare engines that are kept.
const MAX_SPARE: usize = 64;

/// The boxes themselves wait for the next files.
type Spare<T> = Vec<Box<T>>;

/// The three digests of a file, as far as it came.
#[derive(Debug, Default)]
struct Hashes {
    md5: Md5,
    sha1: Sha1,
    sha256: Sha256,
    length: u64,
}

/// What all files of a sensor share.
#[derive(Debug)]
pub(crate) struct Engines {
    inflates: Spare<Inflate>,
    hashes: Spare<Hashes>,
    /// In use now, and how many may be.
    inflating: usize,
    hashing: usize,
    max: usize,
    max_length: u64,
    max_inflated: u64,
    room: Vec<u8>,
    pub(crate) files: u64,
    /// Files that were not hashed or not decompressed because too many were under way.
    pub(crate) passed_over: u64,
    /// Files that were not hashed or decompressed to their end because they are too long.
    pub(crate) cut_short: u64,
}

impl Engines {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            inflates: Vec::new(),
            hashes: Vec::new(),
            inflating: 0,
            hashing: 0,
            max: settings.max_files as usize,
            max_length: settings.max_hashed_bytes,
            max_inflated: settings.max_inflated_bytes,
            room: Vec::new(),
            files: 0,
            passed_over: 0,
            cut_short: 0,
        }
    }

    fn inflate(&mut self, coding: Coding) -> Option<Box<Inflate>> {
        if self.inflating >= self.max {
            self.passed_over += 1;
            return None;
        }
        self.inflating += 1;
        self.room.resize(inflate::CHUNK, 0);
        let mut inflate = self.inflates.pop().unwrap_or_else(|| Box::new(Inflate::new(self.max_inflated)));
        inflate.begin(coding);
        Some(inflate)
    }

    fn hashes(&mut self) -> Option<Box<Hashes>> {
        if self.hashing >= self.max {
            self.passed_over += 1;
            return None;
        }
        self.hashing += 1;
        Some(self.hashes.pop().unwrap_or_default())
    }

    fn take_back(&mut self, inflate: Option<Box<Inflate>>, hashes: Option<Box<Hashes>>) {
        if let Some(inflate) = inflate {
            self.inflating = self.inflating.saturating_sub(1);
            if self.inflates.len() < MAX_SPARE {
                self.inflates.push(inflate);
            }
        }
        if let Some(mut hashes) = hashes {
            self.hashing = self.hashing.saturating_sub(1);
            if self.hashes.len() < MAX_SPARE {
                *hashes = Hashes::default();
                self.hashes.push(hashes);
            }
        }
    }
}

/// A file on its way.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Decoded bytes that were seen.
    length: u64,
    /// Length that was announced, where it is that of the file.
    total: Option<u64>,
    has_gap: bool,
    /// Bytes that are known to be lost.
    missing: u64,
    /// It is a piece of a file: neither its type nor its digests tell anything.
    is_piece: bool,
    first: Vec<u8>,
    inflate: Option<Box<Inflate>>,
    is_coded: bool,
    hashes: Option<Box<Hashes>>,
}

/// What is known of a file at its end.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) fuid: Uid,
    pub(crate) mime: &'static str,
}

impl Body {
    /// Begins a file; `total` is its length where that is known.
    pub(crate) fn begin(&mut self, coding: Option<Coding>, total: Option<u64>, engines: &mut Engines) {
        self.abandon(engines);
        self.is_coded = coding.is_some();
        self.total = total.filter(|_| !self.is_coded);
        self.inflate = coding.and_then(|coding| engines.inflate(coding));
    }

    /// It is only a piece of a file.
    pub(crate) fn be_piece(&mut self) {
        self.is_piece = true;
    }

    /// Decoded bytes that were seen.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Memory that it holds.
    pub(crate) fn held(&self) -> usize {
        self.first.len()
    }

    /// Takes the next bytes as they are on the wire.
    pub(crate) fn take(&mut self, bytes: &[u8], engines: &mut Engines) {
        let Some(mut inflate) = self.inflate.take() else { return self.add(bytes, engines) };
        let mut room = std::mem::take(&mut engines.room);
        if !self.has_gap {
            inflate.take(bytes, &mut room, &mut |decoded| self.add(decoded, engines));
        }
        engines.room = room;
        self.inflate = Some(inflate);
    }

    fn add(&mut self, bytes: &[u8], engines: &mut Engines) {
        if bytes.is_empty() {
            return;
        }
        if self.length == 0 {
            self.hashes = engines.hashes();
        }
        self.length += bytes.len() as u64;
        let wanted = mime::SNIFFED.saturating_sub(self.first.len());
        if wanted > 0 && !self.has_gap {
            self.first.extend_from_slice(bytes.get(..wanted).unwrap_or(bytes));
        }
        if let Some(hashes) = self.hashes.as_mut().filter(|_| self.length <= engines.max_length) {
            hashes.md5.update(bytes);
            hashes.sha1.update(bytes);
            hashes.sha256.update(bytes);
            hashes.length += bytes.len() as u64;
        }
    }

    /// Some of its bytes are lost.
    pub(crate) fn lose(&mut self, bytes: u64) {
        self.has_gap = true;
        self.missing = self.missing.saturating_add(bytes);
    }

    /// The file is over: tells of it, unless nothing of it was seen. `sender` sent it.
    pub(crate) fn end(&mut self, source: &str, sender: Dir, is_whole: bool, cx: &mut Cx<'_>) -> Option<Told> {
        if self.length == 0 {
            self.abandon(&mut cx.tools.files);
            return None;
        }
        let mime = if self.is_piece { "" } else { mime::of(&self.first) };
        let engines = &mut cx.tools.files;
        engines.files += 1;
        let is_too_long = self.length > engines.max_length && self.hashes.is_some();
        engines.cut_short +=
            u64::from(is_too_long || self.inflate.as_ref().is_some_and(|it| it.is_cut_short));
        let fuid = cx.track.uid.file(cx.tools.key, engines.files);
        let mut file = File {
            at: cx.at,
            fuid,
            uid: cx.track.uid.print(),
            source: source.to_owned(),
            mime_type: mime.to_owned(),
            total_bytes: self.total,
            seen_bytes: Some(self.length),
            missing_bytes: Some(self.missing),
            is_orig: Some(sender == Dir::Orig),
            ..File::default()
        };
        let hashes = self.hashes.as_mut().filter(|hashes| hashes.length == self.length && !self.has_gap);
        if let Some(hashes) = hashes.filter(|_| is_whole && !self.is_piece) {
            file.analyzers = ["MD5", "SHA1", "SHA256"].map(str::to_owned).to_vec();
            file.md5 = hex(&hashes.md5.finalize_reset());
            file.sha1 = hex(&hashes.sha1.finalize_reset());
            file.sha256 = hex(&hashes.sha256.finalize_reset());
        }
        let about = emit::about(cx.track, cx.at);
        let (from, to) = if sender == Dir::Orig { (about.src, about.dst) } else { (about.dst, about.src) };
        (file.sender, file.receiver) = (Some(from.addr), Some(to.addr));
        file.ends = Some((about.src, about.dst));
        self.abandon(&mut cx.tools.files);
        cx.tell(Event::File(Box::new(file)));
        Some(Told { fuid, mime })
    }

    /// Forgets the file; engines go back.
    pub(crate) fn abandon(&mut self, engines: &mut Engines) {
        engines.take_back(self.inflate.take(), self.hashes.take());
        let mut first = std::mem::take(&mut self.first);
        first.clear();
        *self = Self { first, ..Self::default() };
    }
}

//! The write-ahead log of a SQLite file, read without SQLite.
//!
//! SQLite stops at the first frame that does not fit, since what follows may be left from a transaction that was never
//! completed. Where the disk damaged a frame, that drops everything after it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::pages::SIZE;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Marks a write-ahead log; its last bit says how the checksums read the bytes.
const MAGIC: u32 = 0x377f_0682;

/// What a write-ahead log has.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Where the newest sound image of each page begins, by page number.
    pub(super) images: HashMap<u32, u64>,
    /// The frames that are not what was written, counted from 1.
    pub(super) damaged: Vec<u64>,
    /// Whether a transaction was completed after one with a damaged frame: then that one was completed, too, and is
    /// lost to SQLite with all that follow.
    pub(super) lost_commits: bool,
}

impl Frames {
    /// Reads a write-ahead log; one that is missing or empty has no frames.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            opened => opened?,
        };
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut header = [0; HEADER];
        if !fill(&mut reader, &mut header)? {
            return Ok(Self::default());
        }
        let mut scan = Scan::begin(&header);
        let mut frame = vec![0; FRAME_HEADER + SIZE];
        let mut position = HEADER as u64;
        while fill(&mut reader, &mut frame)? {
            scan.take(&frame, position);
            position += frame.len() as u64;
        }
        Ok(scan.found)
    }
}

/// A pass over the frames.
struct Scan {
    order: Order,
    /// Marks the frames of this generation: the file is written over from its beginning. None while unknown.
    salts: Option<[u8; 8]>,
    /// The checksum of a frame goes on from the one before: as that was stored and, where it was not what was written, as
    /// it should have been.
    previous: [(u32, u32); 2],
    /// Whether the frame before is of this generation.
    belongs: bool,
    number: u64,
    /// Frames of another generation: what is left of an earlier one, unless frames of this one follow.
    foreign: Vec<u64>,
    damage: Damage,
    found: Frames,
}

/// Where damage was met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    None,
    /// And no transaction was completed since: it may be one that never was.
    Open,
    /// Whatever comes now belongs to a later transaction, which began when the one with the damage was on the disk.
    Passed,
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Scan {
    fn begin(header: &[u8; HEADER]) -> Self {
        let order = match word(header, 0) {
            MAGIC => Order::Little,
            magic if magic == MAGIC | 1 => Order::Big,
            _ if cfg!(target_endian = "big") => Order::Big,
            _ => Order::Little,
        };
        let stored = (word(header, 24), word(header, 28));
        let computed = order.checksum((0, 0), &header[..24]);
        let is_sound = computed == stored;
        Self {
            order,
            // The first frame is always of the newest generation.
            salts: is_sound.then(|| bytes(header, 16)),
            previous: [stored, computed],
            belongs: true,
            number: 0,
            foreign: Vec::new(),
            damage: if is_sound { Damage::None } else { Damage::Open },
            found: Frames::default(),
        }
    }

    fn take(&mut self, frame: &[u8], position: u64) {
        self.number += 1;
        let salts: [u8; 8] = bytes(frame, 8);
        let generation = *self.salts.get_or_insert(salts);
        let stored = (word(frame, 16), word(frame, 20));
        let page = word(frame, 0);
        let computed = self.previous.map(|seed| {
            let seed = self.order.checksum(seed, &frame[..8]);
            self.order.checksum(seed, &frame[FRAME_HEADER..])
        });
        let is_sound = computed.contains(&stored) && page != 0;
        self.previous = [stored, computed[0]];
        // One that goes on from a frame of this generation is of this generation, whatever its mark says.
        self.belongs = salts == generation || (self.belongs && is_sound);
        if !self.belongs {
            self.foreign.push(self.number);
        } else if !is_sound {
            self.meet_damage();
            self.found.damaged.push(self.number);
        } else {
            if !self.foreign.is_empty() {
                self.meet_damage();
                self.found.damaged.append(&mut self.foreign);
            }
            self.found.lost_commits |= self.damage == Damage::Passed;
            self.found.images.insert(page, position + FRAME_HEADER as u64);
            let completes = word(frame, 4) != 0;
            if completes && self.damage == Damage::Open {
                self.damage = Damage::Passed;
            }
        }
    }

    fn meet_damage(&mut self) {
        if self.damage == Damage::None {
            self.damage = Damage::Open;
        }
    }
}

impl Order {
    /// The checksum of SQLite: two sums that feed each other.
    fn checksum(self, (mut first, mut second): (u32, u32), bytes: &[u8]) -> (u32, u32) {
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(self.word(pair, 0)).wrapping_add(second);
            second = second.wrapping_add(self.word(pair, 4)).wrapping_add(first);
        }
        (first, second)
    }

    fn word(self, from: &[u8], at: usize) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes(from, at)),
            Self::Big => u32::from_be_bytes(bytes(from, at)),
        }
    }
}

fn word(from: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes(from, at))
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    from[at..at + N].try_into().expect("a slice of this length")
}

/// Fills a buffer, and says whether there was enough for it.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

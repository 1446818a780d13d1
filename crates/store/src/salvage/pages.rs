//! The pages of a SQLite file as they were last written, read without SQLite.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::wal::Frames;

/// Bytes of a page, all of them used: what SQLite does unless it is told otherwise, and nobody tells it. What a damaged
/// header says of it does not matter.
pub(super) const SIZE: usize = 4096;

/// Reads pages: from the write-ahead log where it has a sound image, otherwise from the file.
#[derive(Debug)]
pub(super) struct Pages {
    file: File,
    length: u64,
    wal: Option<File>,
    pub(super) frames: Frames,
}

impl Pages {
    pub(super) fn open(path: &Path, wal: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let frames = Frames::read(wal)?;
        let wal = (!frames.images.is_empty()).then(|| File::open(wal));
        Ok(Self {
            length: file.metadata()?.len(),
            file,
            wal: wal.transpose()?,
            frames,
        })
    }

    /// The number of the last page, in the file or in the write-ahead log.
    pub(super) fn last(&self) -> u32 {
        let in_file = u32::try_from(self.length.div_ceil(SIZE as u64)).unwrap_or(u32::MAX);
        self.frames.images.keys().copied().max().unwrap_or(0).max(in_file)
    }

    /// Reads a page; none where there is none. What is cut off at the end of the file reads as zeros.
    pub(super) fn read(&mut self, number: u32) -> io::Result<Option<Vec<u8>>> {
        if let (Some(position), Some(wal)) = (self.frames.images.get(&number), &mut self.wal) {
            return read_at(wal, *position).map(Some);
        }
        let Some(index) = number.checked_sub(1) else {
            return Ok(None);
        };
        let position = u64::from(index) * SIZE as u64;
        if self.length <= position {
            return Ok(None);
        }
        read_at(&mut self.file, position).map(Some)
    }
}

fn read_at(file: &mut File, position: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::with_capacity(SIZE);
    file.take(SIZE as u64).read_to_end(&mut bytes)?;
    bytes.resize(SIZE, 0);
    Ok(bytes)
}

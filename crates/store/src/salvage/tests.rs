use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::OnceLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::contract::entry;
use crate::log::{Entry, EventLog};
use crate::{Execution, Options, Store, Update};

const RECORDS: u64 = 400;
const LOG_FILE: &str = "log.db";
const WAL_FILE: &str = "log.db-wal";

/// A log as it was before anything happened to it.
struct Original {
    files: BTreeMap<&'static str, Vec<u8>>,
    /// Each record as it was written, and as it is.
    records: BTreeMap<Sequence, (Record, Record)>,
    /// The places in the files that each record needs, in units of pages or frames.
    needs: BTreeMap<Sequence, BTreeSet<(&'static str, usize)>>,
}

/// Records of very different sizes.
fn sized(number: u64) -> Entry {
    let mut entry = entry(number);
    let length = match number % 10 {
        0 => 20_000,
        1 | 2 => 5_000,
        3..=5 => 700,
        _ => 0,
    };
    let text = format!("{number} {}", "ä".repeat(length / 2));
    entry.body.text_representation = Some(text);
    entry
}

impl Original {
    /// One that was closed: everything is in the file.
    fn closed() -> &'static Self {
        static ORIGINAL: OnceLock<Original> = OnceLock::new();
        ORIGINAL.get_or_init(|| Self::make(true))
    }

    /// One whose server was killed: most of it is in the write-ahead log.
    fn killed() -> &'static Self {
        static ORIGINAL: OnceLock<Original> = OnceLock::new();
        ORIGINAL.get_or_init(|| Self::make(false))
    }

    fn make(closed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let options = Options {
                execution: Execution::Inline,
                ..Options::default()
            };
            let (store, _) = Store::open(directory.path(), options).unwrap();
            let log = &store.log;
            for first in (0..RECORDS).step_by(20) {
                log.append((first..first + 20).map(sized).collect())
                    .await
                    .unwrap();
            }
            let written = log.read(Sequence::ZERO, usize::MAX).await.unwrap();
            // Erasing empties the write-ahead log, and what comes after is in it.
            log.erase([3, 31, 250].map(Sequence::new).to_vec()).await.unwrap();
            for first in (RECORDS..RECORDS + 100).step_by(10) {
                log.append((first..first + 10).map(sized).collect())
                    .await
                    .unwrap();
            }
            let now = log.read(Sequence::ZERO, usize::MAX).await.unwrap();
            let update = Update {
                applied: log.head(),
                cursors: vec![("bob".parse().unwrap(), Sequence::new(495))],
                ..Update::default()
            };
            store.view.commit(update).await.unwrap();
            if closed {
                log.close().await.unwrap();
            }
            let mut records = BTreeMap::new();
            let before: BTreeMap<_, _> = written
                .into_iter()
                .map(|record| (record.sequence, record))
                .collect();
            for record in now {
                let written = before.get(&record.sequence).unwrap_or(&record).clone();
                records.insert(record.sequence, (written, record));
            }
            let names = [LOG_FILE, WAL_FILE, "view.db", "view.db-wal"];
            let files = names.into_iter().filter_map(|name| {
                let bytes = fs::read(directory.path().join(name)).ok()?;
                (!bytes.is_empty()).then_some((name, bytes))
            });
            let files: BTreeMap<_, _> = files.collect();
            assert_eq!(files.contains_key(WAL_FILE), !closed);
            let mut original = Self {
                files,
                records,
                needs: BTreeMap::new(),
            };
            original.needs = original.find_needs();
            original
        })
    }

    fn find_needs(&self) -> BTreeMap<Sequence, BTreeSet<(&'static str, usize)>> {
        let directory = self.place();
        let mut salvage = Salvage::look(directory.path()).unwrap();
        assert_eq!(
            salvage.findings,
            Findings {
                records: self.records.len() as u64,
                head: *self.records.keys().next_back().unwrap(),
                ..Findings::default()
            }
        );
        let mut needs = BTreeMap::new();
        for (sequence, place) in &salvage.places {
            let page = salvage.pages.read(place.page).unwrap().unwrap();
            let mut pages = cells::overflow(&mut salvage.pages, &page, place.cell);
            pages.push(place.page);
            let unit = |page: u32| match salvage.pages.frames.images.get(&page) {
                Some(position) => (WAL_FILE, usize::try_from(*position).unwrap() / (pages::SIZE + 24)),
                None => (LOG_FILE, usize::try_from(page).unwrap() - 1),
            };
            needs.insert(*sequence, pages.into_iter().map(unit).collect());
        }
        needs
    }

    /// The unit of a file that a byte is in; none for the header of the write-ahead log.
    fn unit(name: &'static str, at: usize) -> Option<(&'static str, usize)> {
        match name {
            WAL_FILE => Some((name, at.checked_sub(32)? / (pages::SIZE + 24))),
            _ => Some((name, at / pages::SIZE)),
        }
    }

    fn place(&self) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        directory
    }

    /// Repairs what is in a directory, in which these units are damaged, and checks what comes of it.
    fn check_repair(&self, directory: &Path, damaged: &BTreeSet<(&'static str, usize)>) {
        let into = tempfile::tempdir().unwrap();
        let salvage = Salvage::look(directory).unwrap();
        let findings = salvage.findings().clone();
        let copied = salvage.write(into.path()).unwrap();
        assert_eq!((copied.head, copied.records), (findings.head, findings.records));

        let options = Options {
            execution: Execution::Inline,
            ..Options::default()
        };
        let (store, loaded) = Store::open(into.path(), options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let saved = runtime
            .block_on(store.log.read(Sequence::ZERO, usize::MAX))
            .unwrap();
        assert!(saved.is_sorted_by_key(|record| record.sequence));
        for record in &saved {
            let (written, now) = &self.records[&record.sequence];
            assert!(
                record == now || record == written,
                "record {} is harmed",
                record.sequence
            );
        }
        let saved: BTreeSet<_> = saved.into_iter().map(|record| record.sequence).collect();
        for (sequence, needed) in &self.needs {
            if needed.is_disjoint(damaged) {
                assert!(
                    saved.contains(sequence),
                    "record {sequence} could have been saved"
                );
            }
        }
        // The view is not damaged, so the end is known.
        let all: BTreeSet<Sequence> = self.records.keys().copied().collect();
        let lost: BTreeSet<Sequence> = findings
            .lost
            .iter()
            .flat_map(|gap| (gap.first.get()..=gap.last.get()).map(Sequence::new))
            .collect();
        assert_eq!(lost, all.difference(&saved).copied().collect());
        assert_eq!(findings.lost_records(), lost.len() as u64);
        if lost.is_empty() {
            assert_eq!(store.log.head(), *all.last().unwrap());
        }
        let next = runtime.block_on(store.log.append(vec![entry(9_999)])).unwrap();
        assert_eq!(next, [all.last().unwrap().next()], "no sequence is used again");
        assert!(loaded.cursors.iter().all(|(_, cursor)| *cursor <= findings.head));
    }
}

#[test]
fn a_sound_log_is_sound() {
    for original in [Original::closed(), Original::killed()] {
        let directory = original.place();
        let salvage = Salvage::look(directory.path()).unwrap();
        assert!(salvage.findings().is_sound(), "{:?}", salvage.findings());
        original.check_repair(directory.path(), &BTreeSet::new());
    }
}

#[test]
fn of_a_truncated_log_everything_before_the_cut_is_saved() {
    for original in [Original::closed(), Original::killed()] {
        for name in [LOG_FILE, WAL_FILE] {
            let Some(whole) = original.files.get(name) else {
                continue;
            };
            let step = whole.len() / 9;
            for length in (0..whole.len()).step_by(step) {
                let directory = original.place();
                fs::write(directory.path().join(name), &whole[..length]).unwrap();
                let cut = (length..whole.len()).filter_map(|at| Original::unit(name, at));
                original.check_repair(directory.path(), &cut.collect());
            }
        }
    }
}

#[test]
fn whatever_page_is_lost_the_others_are_saved() {
    let original = Original::closed();
    let pages = original.files[LOG_FILE].len() / pages::SIZE;
    for page in (0..pages).step_by(23).chain(0..6) {
        let directory = original.place();
        let mut bytes = original.files[LOG_FILE].clone();
        bytes[page * pages::SIZE..][..pages::SIZE].fill(0xa5);
        fs::write(directory.path().join(LOG_FILE), bytes).unwrap();
        let salvage = Salvage::look(directory.path()).unwrap();
        assert!(!salvage.findings().is_sound(), "page {page} is not missed");
        original.check_repair(directory.path(), &BTreeSet::from([(LOG_FILE, page)]));
    }
}

#[test]
fn a_flipped_bit_in_a_text_is_found() {
    let original = Original::closed();
    let directory = original.place();
    let mut bytes = original.files[LOG_FILE].clone();
    let at = bytes
        .windows(11)
        .rposition(|window| window == b"message 123")
        .unwrap();
    bytes[at + 8] ^= 1;
    fs::write(directory.path().join(LOG_FILE), bytes).unwrap();
    let salvage = Salvage::look(directory.path()).unwrap();
    let only = Sequence::new(124);
    assert_eq!(
        salvage.findings().lost,
        [Gap {
            first: only,
            last: only
        }]
    );
    assert!(salvage.findings().damage[0].contains("has a row that is not what was written"));
    original.check_repair(
        directory.path(),
        &Original::unit(LOG_FILE, at).into_iter().collect(),
    );
}

#[test]
fn what_sqlite_drops_behind_a_damaged_frame_is_saved() {
    let original = Original::killed();
    let directory = original.place();
    let mut bytes = original.files[WAL_FILE].clone();
    let at = 32 + 3 * (24 + pages::SIZE) + 100;
    bytes[at] ^= 4;
    fs::write(directory.path().join(WAL_FILE), bytes).unwrap();
    let salvage = Salvage::look(directory.path()).unwrap();
    assert!(salvage.pages.frames.lost_commits);
    assert!(salvage.findings().lost_records() < 20, "{:?}", salvage.findings());
    original.check_repair(
        directory.path(),
        &Original::unit(WAL_FILE, at).into_iter().collect(),
    );
}

#[test]
fn a_transaction_that_was_never_completed_is_no_damage() {
    let original = Original::killed();
    let bytes = &original.files[WAL_FILE];
    let frames = (bytes.len() - 32) / (24 + pages::SIZE);
    let start = |frame: usize| 32 + frame * (24 + pages::SIZE);
    let completes = |frame: &usize| bytes[start(*frame) + 4..][..4] != [0; 4];
    let last = (0..frames - 1).rev().find(completes).unwrap() + 1;
    assert!(last + 1 < frames, "the last transaction has several frames");
    for torn in last..frames {
        let directory = original.place();
        let mut torn_bytes = bytes.clone();
        torn_bytes[start(torn) + 24..][..512].fill(0);
        fs::write(directory.path().join(WAL_FILE), torn_bytes).unwrap();
        let salvage = Salvage::look(directory.path()).unwrap();
        assert!(!salvage.pages.frames.lost_commits, "frame {torn}");
    }
}

#[test]
fn cursors_are_kept_as_far_as_the_log_goes() {
    let original = Original::closed();
    let directory = original.place();
    let whole = &original.files[LOG_FILE];
    fs::write(directory.path().join(LOG_FILE), &whole[..whole.len() / 2]).unwrap();
    let into = tempfile::tempdir().unwrap();
    let salvage = Salvage::look(directory.path()).unwrap();
    let head = salvage.findings().head;
    salvage.write(into.path()).unwrap();
    let (store, loaded) = Store::open(into.path(), Options::default()).unwrap();
    assert_eq!(loaded.cursors, [("bob".parse().unwrap(), head)]);
    let before = Store::open(original.place().path(), Options::default())
        .unwrap()
        .0;
    assert_eq!(store.log.lineage().shared_with(before.log.id()), Some(head));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn after_any_flipped_bits_every_record_on_undamaged_pages_is_saved_unharmed(
        killed in any::<bool>(),
        flips in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0..8_u32), 1..12),
    ) {
        let original = if killed { Original::killed() } else { Original::closed() };
        let directory = original.place();
        let mut files = original.files.clone();
        let mut damaged = BTreeSet::new();
        for (in_wal, place, bit) in flips {
            let name = if killed && in_wal { WAL_FILE } else { LOG_FILE };
            let bytes = files.get_mut(name).unwrap();
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            damaged.extend(Original::unit(name, at));
        }
        for (name, bytes) in files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        original.check_repair(directory.path(), &damaged);
    }
}

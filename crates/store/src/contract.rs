//! What every log does alike, as a suite that its tests run.
//!
//! A log written elsewhere enables the feature `contract`, implements [`Factory`] and awaits [`run`] in a test.

use std::sync::Arc;

use openagents_protocol::record::{Act, Body};
use openagents_protocol::{Address, EventName, Header, Sequence, Source};

use crate::log::{Entry, EventLog, LogFuture};
use crate::view::Direction;

/// A log under test.
pub type SharedLog = Arc<dyn EventLog>;

/// Makes the logs that the suite runs on.
pub trait Factory: Send {
    /// A new, empty log. The earlier ones are used no more.
    fn create(&mut self) -> LogFuture<'_, SharedLog>;

    /// Closes the log that was made last and opens what is left of it; none for logs that end with the process.
    fn reopen(&mut self, log: SharedLog) -> LogFuture<'_, Option<SharedLog>>;
}

/// Runs the suite.
///
/// # Panics
///
/// Where the log does not keep its contract.
pub async fn run(factory: &mut dyn Factory) {
    sequences_increase_in_the_order_of_appends(&*create(factory).await).await;
    an_empty_append_changes_nothing(&*create(factory).await).await;
    reading_in_pages_finds_everything_once(&*create(factory).await).await;
    reading_at_sequences_passes_over_missing_ones(&*create(factory).await).await;
    reading_some_stops_with_the_bytes_in_either_direction(&*create(factory).await).await;
    a_follower_sees_whole_batches_in_order(&*create(factory).await).await;
    erasing_leaves_the_header(&*create(factory).await).await;
    removing_leaves_a_gap(&*create(factory).await).await;
    reopening_keeps_everything(factory).await;
}

async fn create(factory: &mut dyn Factory) -> SharedLog {
    factory.create().await.expect("a new log opens")
}

/// A small message; equal numbers make equal entries.
pub fn entry(number: u64) -> Entry {
    let name = EventName::try_from("channel.message.posted".to_owned()).expect("a legal name");
    let destination: Address = "channel:general".parse().expect("a legal address");
    let payload = format!(r#"{{"content":{{"text":"message {number}"}}}}"#);
    let body = Body {
        payload: payload.parse().expect("JSON"),
        ..Body::empty()
    };
    let source = Source::Agent("alice".parse().expect("a legal id"));
    let act = Act::Message { reply_to: None };
    let mut header = Header::new(name, source, destination, 1_700_000_000_000 + number, act, &body);
    header.event_id = format!("event-{number}").parse().expect("a legal id");
    Entry { header, body }
}

async fn append(log: &dyn EventLog, numbers: std::ops::Range<u64>) -> Vec<Sequence> {
    log.append(numbers.map(entry).collect())
        .await
        .expect("an append to a sound log")
}

/// Waits until everything that was acknowledged can be read.
async fn settle(log: &dyn EventLog) {
    let head = log.head();
    log.stored()
        .wait_for(|stored| head <= *stored)
        .await
        .expect("the log is open");
}

async fn read_all(log: &dyn EventLog) -> Vec<(Sequence, Entry)> {
    settle(log).await;
    let records = log
        .read(Sequence::ZERO, usize::MAX)
        .await
        .expect("a sound log reads");
    let whole = |body: Option<Body>| body.expect("nothing was erased");
    records
        .into_iter()
        .map(|it| {
            (
                it.sequence,
                Entry {
                    header: it.header,
                    body: whole(it.body),
                },
            )
        })
        .collect()
}

async fn sequences_increase_in_the_order_of_appends(log: &dyn EventLog) {
    assert_eq!(log.head(), Sequence::ZERO);
    let mut sequences = append(log, 0..3).await;
    sequences.extend(append(log, 3..4).await);
    sequences.extend(append(log, 4..300).await);
    assert_eq!(sequences.len(), 300);
    assert!(Sequence::ZERO < sequences[0]);
    assert!(sequences.is_sorted_by(|one, next| one < next));
    assert_eq!(log.head(), sequences[299]);

    let expected: Vec<_> = sequences.into_iter().zip((0..300).map(entry)).collect();
    assert!(
        read_all(log).await == expected,
        "what is read differs from what was appended"
    );
}

async fn an_empty_append_changes_nothing(log: &dyn EventLog) {
    assert!(append(log, 0..0).await.is_empty());
    assert_eq!(log.head(), Sequence::ZERO);
    assert!(
        log.read(Sequence::ZERO, 10)
            .await
            .expect("an empty log reads")
            .is_empty()
    );
    assert!(
        log.read_at(vec![Sequence::new(1)])
            .await
            .expect("an empty log reads")
            .is_empty()
    );
    append(log, 0..1).await;
    assert_eq!(read_all(log).await.len(), 1);
}

async fn reading_in_pages_finds_everything_once(log: &dyn EventLog) {
    let sequences = append(log, 0..25).await;
    settle(log).await;
    let mut found = Vec::new();
    let mut after = Sequence::ZERO;
    loop {
        let page = log.read(after, 10).await.expect("a sound log reads");
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        after = last.sequence;
        found.extend(page.iter().map(|record| record.sequence));
    }
    assert_eq!(found, sequences);
    assert!(
        log.read(Sequence::ZERO, 0)
            .await
            .expect("nothing is easily read")
            .is_empty()
    );
    assert!(
        log.read(Sequence::MAX, 10)
            .await
            .expect("nothing is easily read")
            .is_empty()
    );
}

async fn reading_at_sequences_passes_over_missing_ones(log: &dyn EventLog) {
    let sequences = append(log, 0..10).await;
    settle(log).await;
    let wanted = vec![
        Sequence::MAX,
        sequences[7],
        Sequence::ZERO,
        sequences[2],
        sequences[7],
        log.head().next(),
    ];
    let found = log.read_at(wanted).await.expect("a sound log reads");
    let found: Vec<_> = found
        .into_iter()
        .map(|it| (it.sequence, it.header.event_id.to_string()))
        .collect();
    assert_eq!(
        found,
        [
            (sequences[2], "event-2".to_owned()),
            (sequences[7], "event-7".to_owned())
        ]
    );
    assert!(
        log.read_at(Vec::new())
            .await
            .expect("nothing is easily read")
            .is_empty()
    );
}

async fn reading_some_stops_with_the_bytes_in_either_direction(log: &dyn EventLog) {
    let sequences = append(log, 0..10).await;
    settle(log).await;
    let read = async |direction, bytes| -> Vec<Sequence> {
        let wanted = vec![sequences[4], sequences[8], sequences[1], sequences[8]];
        let found = log.read_some(wanted, direction, bytes).await;
        let found = found.expect("a sound log reads");
        found.iter().map(|record| record.sequence).collect()
    };
    let (first, middle, last) = (sequences[1], sequences[4], sequences[8]);
    assert_eq!(read(Direction::Forward, usize::MAX).await, [first, middle, last]);
    assert_eq!(read(Direction::Backward, usize::MAX).await, [last, middle, first]);
    assert_eq!(read(Direction::Forward, 1).await, [first]);
    assert_eq!(read(Direction::Backward, 1).await, [last]);
}

async fn a_follower_sees_whole_batches_in_order(log: &dyn EventLog) {
    const BATCHES: u64 = 40;
    let mut stored = log.stored();
    let appends = async {
        let mut all = Vec::new();
        let mut ends = Vec::new();
        for batch in 0..BATCHES {
            let sequences = append(log, batch * 100..batch * 100 + batch + 1).await;
            ends.extend(sequences.last().copied());
            all.extend(sequences);
            tokio::task::yield_now().await;
        }
        (all, ends)
    };
    let follower = async {
        let expected =
            usize::try_from((0..BATCHES).map(|batch| batch + 1).sum::<u64>()).expect("a small number");
        let mut found = Vec::new();
        let mut announced = Vec::new();
        while found.len() < expected {
            stored.changed().await.expect("the log is open");
            let through = *stored.borrow_and_update();
            announced.push(through);
            let after = found.last().copied().unwrap_or_default();
            let records = log.read(after, usize::MAX).await.expect("a sound log reads");
            found.extend(records.iter().map(|record| record.sequence));
            assert!(
                found.last().is_some_and(|last| through <= *last),
                "what was announced can be read"
            );
        }
        (found, announced)
    };
    let ((all, ends), (found, announced)) = tokio::join!(appends, follower);
    assert_eq!(found, all);
    assert!(
        announced.iter().all(|sequence| ends.contains(sequence)),
        "a part of a batch was announced"
    );
}

async fn erasing_leaves_the_header(log: &dyn EventLog) {
    let sequences = append(log, 0..5).await;
    // Without settling: what is acknowledged can be erased.
    log.erase(vec![sequences[1], sequences[3], Sequence::MAX])
        .await
        .expect("a sound log erases");
    settle(log).await;
    let records = log.read(Sequence::ZERO, 10).await.expect("a sound log reads");
    let erased: Vec<bool> = records.iter().map(|record| record.body.is_none()).collect();
    assert_eq!(erased, [false, true, false, true, false]);
    assert_eq!(records[1].header, entry(1).header);
    let found = log.read_at(vec![sequences[3]]).await.expect("a sound log reads");
    assert!(found[0].body.is_none());
    log.erase(vec![sequences[1]])
        .await
        .expect("erasing twice is no error");
    log.erase(Vec::new()).await.expect("erasing nothing is no error");
}

async fn removing_leaves_a_gap(log: &dyn EventLog) {
    let sequences = append(log, 0..10).await;
    let before = log.size().await.expect("a sound log tells its size");
    assert_ne!(before, 0);
    // Without settling: what is acknowledged can be removed. The last one stays.
    let gone = [0, 1, 2, 5, 6, 9].map(|index: usize| sequences[index]);
    log.remove(gone.to_vec()).await.expect("a sound log removes");
    log.remove(vec![sequences[3], sequences[1], Sequence::MAX])
        .await
        .expect("what is not there is passed over");
    log.remove(Vec::new())
        .await
        .expect("removing nothing is no error");
    settle(log).await;
    let left = [4, 7, 8, 9].map(|index: usize| sequences[index]);
    let found = log.read(Sequence::ZERO, 100).await.expect("a sound log reads");
    assert_eq!(found.iter().map(|it| it.sequence).collect::<Vec<_>>(), left);
    let page = log.read(sequences[0], 2).await.expect("a sound log reads");
    assert_eq!(page.iter().map(|it| it.sequence).collect::<Vec<_>>(), left[..2]);
    let found = log.read_at(sequences.clone()).await.expect("a sound log reads");
    assert_eq!(found.len(), left.len());
    assert_eq!(log.head(), sequences[9]);
    let next = append(log, 10..11).await;
    assert_eq!(next, [sequences[9].next()], "no sequence is given out twice");
}

async fn reopening_keeps_everything(factory: &mut dyn Factory) {
    let log = create(factory).await;
    append(&*log, 0..100).await;
    let sequences = append(&*log, 100..200).await;
    log.erase(vec![sequences[0]]).await.expect("a sound log erases");
    log.remove(vec![sequences[7], sequences[8]])
        .await
        .expect("a sound log removes");
    let Some(log) = factory.reopen(log).await.expect("a log opens again") else {
        return;
    };
    assert_eq!(log.head(), sequences[99]);
    assert_eq!(*log.stored().borrow(), sequences[99]);
    let records = log
        .read(Sequence::ZERO, usize::MAX)
        .await
        .expect("a sound log reads");
    assert_eq!(records.len(), 198);
    assert!(records[100].body.is_none());
    assert_eq!(records[197].header, entry(199).header);
    assert!(sequences[99] < append(&*log, 200..201).await[0]);
}

use std::collections::BTreeSet;

use openagents_protocol::Json;
use openagents_protocol::call::{ChannelPermissions, ChannelSettings};
use openagents_protocol::record::{Role, TokenGrant};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::block::{Block, Steps};
use super::*;

const LOG: Uuid = Uuid::from_u128(1);

fn open(directory: &TempDir, head: u64) -> (View, Loaded) {
    View::open(directory.path(), LOG, Sequence::new(head), Execution::Blocking).unwrap()
}

fn agent(id: &str) -> AgentId {
    id.parse().unwrap()
}

fn channel(name: &str) -> Stream {
    Stream::Channel(name.parse().unwrap())
}

fn event(sequence: u64, streams: Vec<Stream>) -> Indexed {
    Indexed {
        sequence: Sequence::new(sequence),
        event_id: format!("event-{sequence}").parse().unwrap(),
        source: Source::Agent(agent("alice")),
        digest: Digest::from_bytes([7; 16]),
        destination: "channel:general".parse().unwrap(),
        thread: Some("root".parse().unwrap()),
        kind: EventKind::Message,
        titled: false,
        audience: None,
        chain: Chain {
            root: Some("first".parse().unwrap()),
            hops: 2,
            time_ms: 1_700_000_000_000,
        },
        streams,
        note: None,
    }
}

fn update(applied: u64, events: Vec<Indexed>) -> Update {
    Update {
        applied: Sequence::new(applied),
        events,
        ..Update::default()
    }
}

fn sequences(numbers: impl IntoIterator<Item = u64>) -> Vec<Sequence> {
    numbers.into_iter().map(Sequence::new).collect()
}

async fn all_of(view: &View, stream: Stream) -> Vec<Sequence> {
    view.page(stream, Bounds::default(), Direction::Forward, 0, usize::MAX)
        .await
        .unwrap()
}

fn agent_row(id: &str) -> AgentRow {
    AgentRow {
        agent_id: agent(id),
        first_sequence: Sequence::new(1),
        metadata: Json::empty_object(),
        generated: false,
        online: true,
        joined_ms: 1,
        last_seen_ms: 2,
        status: None,
        group: None,
        key: None,
    }
}

#[tokio::test]
async fn what_was_committed_is_loaded_again() {
    let directory = tempfile::tempdir().unwrap();
    let (view, loaded) = open(&directory, 0);
    assert_eq!(loaded, Loaded::default());
    let channel_row = ChannelRow {
        channel: "general".parse().unwrap(),
        description: "all".to_owned(),
        creator: Source::Agent(agent("alice")),
        created_ms: 3,
        created_at: Sequence::ZERO,
        topic: "plans".to_owned(),
        settings: ChannelSettings::default(),
        permissions: ChannelPermissions::default(),
        archived: true,
    };
    let spans = vec![Span {
        from: Sequence::new(1),
        to: Some(Sequence::new(2)),
    }];
    let membership = MembershipRow {
        channel: "general".parse().unwrap(),
        agent_id: agent("bob"),
        spans,
    };
    let subscription = SubscriptionRow {
        id: "s".parse().unwrap(),
        agent_id: agent("bob"),
        patterns: vec!["channel.*".parse().unwrap()],
        channels: None,
    };
    let hash = "00".to_owned();
    let grant = TokenGrant {
        id: "t".parse().unwrap(),
        hash,
        role: Role::Admin,
        agent_id: None,
        expires_ms: None,
    };
    let token = TokenRow {
        grant,
        created_ms: 4,
        revoked: false,
    };
    let committed = Update {
        applied: Sequence::new(3),
        events: vec![
            event(1, vec![channel("general")]),
            event(3, vec![channel("general"), Stream::Everyone]),
        ],
        changes: vec![
            StateChange::PutAgent(agent_row("alice")),
            StateChange::PutAgent(agent_row("gone")),
            StateChange::RemoveAgent(agent("gone")),
            StateChange::PutChannel(channel_row.clone()),
            StateChange::PutMembership(membership.clone()),
            StateChange::PutSubscription(subscription.clone()),
            StateChange::PutToken(token.clone()),
            StateChange::PutHorizon(Address::Everyone, Sequence::new(1)),
            StateChange::PutHorizon(Address::Everyone, Sequence::new(2)),
        ],
        cursors: vec![(agent("bob"), Sequence::new(2))],
        id_watermark: u64::MAX,
    };
    view.commit(committed).await.unwrap();
    assert_eq!(view.applied(), Sequence::new(3));
    drop(view);

    let (view, loaded) = open(&directory, 3);
    let expected = Loaded {
        file_bytes: 0,
        applied: Sequence::new(3),
        id_watermark: u64::MAX,
        agents: vec![agent_row("alice")],
        channels: vec![channel_row],
        memberships: vec![membership],
        subscriptions: vec![subscription],
        tokens: vec![token],
        horizons: vec![(Address::Everyone, Sequence::new(2))],
        cursors: vec![(agent("bob"), Sequence::new(2))],
        channel_lengths: vec![("general".parse().unwrap(), 2, Sequence::new(3))],
    };
    assert_eq!(loaded, expected);
    let found = view
        .find(vec!["nobody".parse().unwrap(), "event-3".parse().unwrap()])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].sequence, Sequence::new(3));
    assert_eq!(found[0].destination, "channel:general".parse().unwrap());
    assert_eq!(found[0].thread, Some("root".parse().unwrap()));
    assert_eq!(found[0].chain, event(3, vec![]).chain);
}

#[tokio::test]
async fn applying_a_part_of_the_log_twice_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 9);
    let first = update(
        2,
        vec![
            event(1, vec![Stream::Everyone]),
            event(2, vec![Stream::Everyone, Stream::Everyone]),
        ],
    );
    let mut second = update(
        3,
        vec![event(2, vec![Stream::Everyone]), event(3, vec![Stream::Everyone])],
    );
    second.changes.push(StateChange::PutAgent(agent_row("alice")));
    view.commit(first.clone()).await.unwrap();
    view.commit(second).await.unwrap();
    let mut stale = first;
    stale.changes.push(StateChange::RemoveAgent(agent("alice")));
    view.commit(stale).await.unwrap();
    assert_eq!(view.applied(), Sequence::new(3));
    assert_eq!(all_of(&view, Stream::Everyone).await, sequences(1..=3));
    assert_eq!(
        view.count(&[Stream::Everyone], Sequence::ZERO, Sequence::MAX)
            .await
            .unwrap(),
        3
    );
    drop(view);
    assert_eq!(open(&directory, 9).1.agents.len(), 1);
}

#[tokio::test]
async fn an_update_that_fails_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 9);
    view.commit(update(1, vec![event(1, vec![Stream::Everyone])]))
        .await
        .unwrap();
    let saboteur = Connection::open(directory.path().join(View::FILE)).unwrap();
    // The cursors come last: everything before them is already written when they fail.
    saboteur
        .execute_batch("ALTER TABLE cursors RENAME TO elsewhere")
        .unwrap();
    let mut failing = update(2, vec![event(2, vec![Stream::Everyone, channel("new")])]);
    failing.changes.push(StateChange::PutAgent(agent_row("alice")));
    failing.cursors.push((agent("bob"), Sequence::new(1)));
    view.commit(failing.clone()).await.unwrap_err();
    assert_eq!(view.applied(), Sequence::new(1));
    assert_eq!(all_of(&view, Stream::Everyone).await, sequences([1]));

    saboteur
        .execute_batch("ALTER TABLE elsewhere RENAME TO cursors")
        .unwrap();
    view.commit(failing).await.unwrap();
    assert_eq!(all_of(&view, Stream::Everyone).await, sequences([1, 2]));
    assert_eq!(all_of(&view, channel("new")).await, sequences([2]));
    assert_eq!(
        view.count(&[Stream::Everyone], Sequence::ZERO, Sequence::MAX)
            .await
            .unwrap(),
        2
    );
}

/// Commits one event and two cursors to a new view.
async fn a_used_view() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 5);
    let mut used = update(5, vec![event(5, vec![Stream::Everyone])]);
    used.cursors = vec![
        (agent("alice"), Sequence::new(2)),
        (agent("bob"), Sequence::new(5)),
    ];
    used.changes.push(StateChange::PutAgent(agent_row("alice")));
    view.commit(used).await.unwrap();
    directory
}

fn started_over(loaded: &Loaded, cursors: &[(&str, u64)]) {
    let cursors = cursors
        .iter()
        .map(|(id, sequence)| (agent(id), Sequence::new(*sequence)))
        .collect();
    assert_eq!(
        *loaded,
        Loaded {
            cursors,
            ..Loaded::default()
        }
    );
}

#[tokio::test]
async fn a_view_that_is_ahead_of_its_log_starts_over() {
    let directory = a_used_view().await;
    let (view, loaded) = open(&directory, 4);
    // A cursor beyond the end would pass over what is written there next.
    started_over(&loaded, &[("alice", 2), ("bob", 4)]);
    assert!(all_of(&view, Stream::Everyone).await.is_empty());
    view.commit(update(4, vec![event(4, vec![Stream::Everyone])]))
        .await
        .unwrap();
    assert_eq!(all_of(&view, Stream::Everyone).await, sequences([4]));
}

#[tokio::test]
async fn a_view_of_another_log_starts_over_without_cursors() {
    let directory = a_used_view().await;
    let other = View::open(
        directory.path(),
        Uuid::from_u128(2),
        Sequence::new(9),
        Execution::Inline,
    )
    .unwrap();
    started_over(&other.1, &[]);
}

#[tokio::test]
async fn a_view_of_another_format_starts_over() {
    for format in [0, 7] {
        let directory = a_used_view().await;
        let connection = Connection::open(directory.path().join(View::FILE)).unwrap();
        connection.pragma_update(None, "user_version", format).unwrap();
        drop(connection);
        started_over(&open(&directory, 9).1, &[("alice", 2), ("bob", 5)]);
    }
}

#[tokio::test]
async fn a_view_that_has_a_row_for_each_entry_starts_over_and_lists_them_in_blocks() {
    let directory = a_used_view().await;
    let connection = Connection::open(directory.path().join(View::FILE)).unwrap();
    connection
        .execute_batch(
            "DROP TABLE blocks;
             CREATE TABLE entries (stream INTEGER NOT NULL, sequence INTEGER NOT NULL, position INTEGER NOT NULL,
                                   PRIMARY KEY (stream, sequence)) WITHOUT ROWID;
             INSERT INTO entries SELECT id, 5, 1 FROM streams;
             PRAGMA user_version = 5;",
        )
        .unwrap();
    drop(connection);
    let (view, loaded) = open(&directory, 9);
    started_over(&loaded, &[("alice", 2), ("bob", 5)]);
    view.commit(update(5, vec![event(5, vec![Stream::Everyone])]))
        .await
        .unwrap();
    assert_eq!(all_of(&view, Stream::Everyone).await, sequences([5]));
}

#[tokio::test]
async fn a_discarded_view_keeps_its_cursors() {
    let directory = a_used_view().await;
    View::discard(directory.path()).unwrap();
    started_over(&open(&directory, 9).1, &[("alice", 2), ("bob", 5)]);
    View::discard(tempfile::tempdir().unwrap().path()).unwrap();
}

#[tokio::test]
async fn a_damaged_view_is_moved_aside() {
    let directory = a_used_view().await;
    let path = directory.path().join(View::FILE);
    std::fs::write(&path, "not a database".repeat(1_000)).unwrap();
    started_over(&open(&directory, 9).1, &[]);
    assert!(directory.path().join("view.db.damaged").exists());

    let directory = a_used_view().await;
    let connection = Connection::open(directory.path().join(View::FILE)).unwrap();
    connection
        .execute("UPDATE state SET value = 'no JSON'", [])
        .unwrap();
    drop(connection);
    started_over(&open(&directory, 9).1, &[("alice", 2), ("bob", 5)]);
    assert!(directory.path().join("view.db.damaged").exists());

    let directory = a_used_view().await;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(directory.path().join(View::FILE))
        .unwrap();
    file.set_len(8192).unwrap();
    started_over(&open(&directory, 9).1, &[]);
}

/// Fills the page with which a table begins.
#[cfg(unix)]
fn damage_table(directory: &TempDir, table: &str) {
    use std::os::unix::fs::FileExt;

    let path = directory.path().join(View::FILE);
    let connection = Connection::open(&path).unwrap();
    let root: u64 = connection
        .query_one(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
            [table],
            |row| row.get::<_, i64>(0).map(i64::cast_unsigned),
        )
        .unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(connection);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xee; 4096], (root - 1) * 4096).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_view_that_is_found_damaged_in_use_is_built_anew_by_the_next_one_to_open_it() {
    let directory = a_used_view().await;
    damage_table(&directory, "events");
    let (view, loaded) = open(&directory, 9);
    assert_ne!(
        loaded.applied,
        Sequence::ZERO,
        "nothing is seen of it at the start"
    );
    let error = view.commit(update(9, vec![event(9, vec![])])).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    drop(view);
    started_over(&open(&directory, 9).1, &[("alice", 2), ("bob", 5)]);
    let (view, _) = open(&directory, 9);
    view.commit(update(9, vec![event(9, vec![])])).await.unwrap();

    let directory = a_used_view().await;
    damage_table(&directory, "events");
    let (view, _) = open(&directory, 9);
    view.find(vec!["event-1".parse().unwrap()]).await.unwrap_err();
    drop(view);
    started_over(&open(&directory, 9).1, &[("alice", 2), ("bob", 5)]);
}

#[tokio::test]
async fn an_agent_that_is_removed_takes_its_cursor_along() {
    let directory = a_used_view().await;
    let (view, _) = open(&directory, 9);
    let mut removed = update(6, vec![]);
    removed.changes.push(StateChange::RemoveAgent(agent("alice")));
    view.commit(removed).await.unwrap();
    drop(view);
    let cursors = open(&directory, 9).1.cursors;
    assert_eq!(cursors, [(agent("bob"), Sequence::new(5))]);
}

#[tokio::test]
async fn pages_go_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 99);
    let events = (1..=10)
        .map(|number| event(number * 2, vec![channel("general")]))
        .collect();
    view.commit(update(20, events)).await.unwrap();
    let page = async |after, before, direction, offset, limit| {
        let bounds = Bounds {
            after: Sequence::new(after),
            before: Sequence::new(before),
        };
        view.page(channel("general"), bounds, direction, offset, limit)
            .await
            .unwrap()
    };
    assert_eq!(page(4, 12, Direction::Forward, 0, 9).await, sequences([6, 8, 10]));
    assert_eq!(page(4, 12, Direction::Backward, 0, 2).await, sequences([10, 8]));
    assert_eq!(page(0, 99, Direction::Backward, 3, 2).await, sequences([14, 12]));
    assert_eq!(page(0, 99, Direction::Forward, 9, 5).await, sequences([20]));
    assert!(page(0, 99, Direction::Forward, u64::MAX, 5).await.is_empty());
    assert!(all_of(&view, channel("unknown")).await.is_empty());
}

/// The streams of the model: few enough that many events share them.
fn streams() -> [Stream; 5] {
    let conversation = Stream::Conversation(agent("alice"), agent("bob"));
    [
        channel("general"),
        channel("dev"),
        Stream::Inbox(agent("bob")),
        conversation,
        Stream::Everyone,
    ]
}

/// Events of a model: where each is, and in which of the streams.
type Model = Vec<(Sequence, BTreeSet<usize>)>;

/// Steps from one event to the next, and the streams of each. Some are so far apart that blocks have few entries.
fn growth() -> impl Strategy<Value = Vec<(u64, BTreeSet<usize>)>> {
    let step = prop_oneof![3 => 1_u64..4, 2 => 1_u64..5_000_000];
    prop::collection::vec((step, prop::collection::btree_set(0_usize..5, 0..5)), 0..600)
}

async fn grow(view: &View, model: &mut Model, growth: Vec<(u64, BTreeSet<usize>)>, commits: usize) {
    let mut sequence = view.applied().get();
    let added: Model = growth
        .into_iter()
        .map(|(step, members)| {
            sequence += step;
            (Sequence::new(sequence), members)
        })
        .collect();
    for chunk in added.chunks(commits) {
        let events = chunk
            .iter()
            .map(|(sequence, members)| of_model(*sequence, members));
        view.commit(update(chunk.last().unwrap().0.get(), events.collect()))
            .await
            .unwrap();
    }
    model.extend(added);
}

fn of_model(sequence: Sequence, members: &BTreeSet<usize>) -> Indexed {
    event(
        sequence.get(),
        members.iter().map(|member| streams()[*member].clone()).collect(),
    )
}

/// What is asked of a view: of some streams, between two events and a little beside them, some entries after others.
type Question = (BTreeSet<usize>, [(prop::sample::Index, u64); 2], usize, u64);

fn question() -> impl Strategy<Value = Question> {
    let end = || (any::<prop::sample::Index>(), 0_u64..3);
    let limit = prop_oneof![0_usize..20, 0_usize..2_000];
    let offset = prop_oneof![0_u64..20, 0_u64..700];
    (
        prop::collection::btree_set(0_usize..5, 0..5),
        [end(), end()],
        limit,
        offset,
    )
}

async fn ask(view: &View, model: &Model, (members, ends, limit, offset): Question) {
    let [after, through] = ends.map(|(index, beside)| match model.as_slice() {
        [] => Sequence::new(beside),
        model => Sequence::new((index.get(model).0.get() + beside).saturating_sub(1)),
    });
    let chosen: Vec<Stream> = members.iter().map(|member| streams()[*member].clone()).collect();
    let within = |sequence: Sequence| after < sequence && sequence <= through;
    let union: Vec<Sequence> = model
        .iter()
        .filter(|(sequence, of)| within(*sequence) && !of.is_disjoint(&members))
        .map(|(sequence, _)| *sequence)
        .collect();
    let merged = view.merge(chosen.clone(), after, through, limit).await.unwrap();
    assert_eq!(&merged, &union[..union.len().min(limit)]);
    let newest = view.newest(chosen.clone(), after, through, limit).await.unwrap();
    assert_eq!(&newest, &union[union.len().saturating_sub(limit)..]);
    let count: usize = model
        .iter()
        .filter(|(sequence, _)| within(*sequence))
        .map(|(_, of)| of.intersection(&members).count())
        .sum();
    assert_eq!(view.count(&chosen, after, through).await.unwrap(), count as u64);
    if let Some(both) = members.first().zip(members.last()) {
        let both = <[&usize; 2]>::from(both);
        let count = model
            .iter()
            .filter(|(sequence, of)| within(*sequence) && both.iter().all(|member| of.contains(member)))
            .count();
        let counted = view
            .count_in_both(
                both.map(|member| streams()[*member].clone()),
                after,
                through,
                limit,
            )
            .await
            .unwrap();
        assert_eq!(counted, count.min(limit) as u64);
    }
    for member in members {
        let mut expected: Vec<Sequence> = model
            .iter()
            .filter(|(sequence, of)| after < *sequence && *sequence < through && of.contains(&member))
            .map(|(sequence, _)| *sequence)
            .collect();
        let bounds = Bounds {
            after,
            before: through,
        };
        let passed = usize::try_from(offset).unwrap();
        for direction in [Direction::Forward, Direction::Backward] {
            let stream = streams()[member].clone();
            let page = view.page(stream, bounds, direction, offset, limit).await.unwrap();
            let wanted: Vec<_> = expected.iter().skip(passed).take(limit).copied().collect();
            assert_eq!(page, wanted);
            expected.reverse();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_a_plain_list(
        first in growth(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..250), 0..4),
        then in growth(),
        commits in 1_usize..300,
        questions in prop::collection::vec(question(), 3..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (view, _) = View::open(directory.path(), LOG, Sequence::MAX, Execution::Inline).unwrap();
        let mut model = Model::new();
        runtime.block_on(async {
            grow(&view, &mut model, first, commits).await;
            for question in questions.clone() {
                ask(&view, &model, question).await;
            }
            for (index, length) in cuts {
                if model.is_empty() {
                    break;
                }
                let from = index.index(model.len());
                let through = model.len().min(from + length);
                let removed = model.drain(from..through).map(|(sequence, members)| Unlisted {
                    event: of_model(sequence, &members),
                    fate: Fate::Removed,
                    counted: true,
                });
                view.unlist(removed.collect()).await.unwrap();
            }
            for question in questions.clone() {
                ask(&view, &model, question).await;
            }
            grow(&view, &mut model, then, commits).await;
            for question in questions.clone() {
                ask(&view, &model, question).await;
            }
            // What is remembered of the ends of streams is what the file has.
            drop(view);
            let (view, _) = View::open(directory.path(), LOG, Sequence::MAX, Execution::Inline).unwrap();
            for question in questions {
                ask(&view, &model, question).await;
            }
        });
    }
}

#[tokio::test]
async fn a_block_that_is_not_in_its_format_has_the_view_built_anew() {
    let spoiled = || async {
        let directory = a_used_view().await;
        let connection = Connection::open(directory.path().join(View::FILE)).unwrap();
        connection.execute("UPDATE blocks SET rest = x'80'", []).unwrap();
        directory
    };
    let directory = spoiled().await;
    let (view, _) = open(&directory, 9);
    let bounds = Bounds::default();
    let error = view
        .page(Stream::Everyone, bounds, Direction::Forward, 0, 9)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    drop(view);
    started_over(&open(&directory, 9).1, &[("alice", 2), ("bob", 5)]);

    let directory = spoiled().await;
    let (view, _) = open(&directory, 9);
    let next = update(6, vec![event(6, vec![Stream::Everyone])]);
    let error = view.commit(next.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    drop(view);
    let (view, loaded) = open(&directory, 9);
    started_over(&loaded, &[("alice", 2), ("bob", 5)]);
    view.commit(next).await.unwrap();
    assert_eq!(all_of(&view, Stream::Everyone).await, sequences([6]));
}

#[tokio::test]
async fn a_stream_takes_a_row_for_each_commit_that_it_grows_in_at_most() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 9_999);
    let to_bob = || {
        vec![
            Stream::Inbox(agent("bob")),
            Stream::Conversation(agent("alice"), agent("bob")),
        ]
    };
    let writer = Connection::open(directory.path().join(View::FILE)).unwrap();
    let rows = |table: &str| -> i64 {
        writer
            .query_one(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap()
    };
    for commit in 0..4 {
        let events = (1..=250).map(|number| event(commit * 250 + number, to_bob()));
        view.commit(update((commit + 1) * 250, events.collect()))
            .await
            .unwrap();
        // A block of neighbours has 513 entries.
        assert_eq!(rows("blocks"), if commit < 2 { 2 } else { 4 });
        assert_eq!(rows("conversations"), 2);
    }
    assert_eq!(
        all_of(&view, Stream::Inbox(agent("bob"))).await,
        sequences(1..=1_000)
    );
}

fn noting(sequence: u64, note: Note) -> Indexed {
    Indexed {
        kind: EventKind::Other,
        note: Some(note),
        ..event(sequence, vec![channel("general")])
    }
}

async fn commit(view: &View, through: u64, events: Vec<Indexed>) {
    let update = Update {
        applied: Sequence::new(through),
        events,
        ..Update::default()
    };
    view.commit(update).await.unwrap();
}

fn reaction(agent_id: &str) -> ReactionKey {
    ReactionKey {
        message: "event-1".parse().unwrap(),
        reaction: "thumbsup".to_owned(),
        agent: agent(agent_id),
    }
}

#[tokio::test]
async fn what_later_events_say_of_a_message_is_found_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 0);
    let message: EventId = "event-1".parse().unwrap();
    let replies = Stream::Thread(message.clone());
    let events = vec![
        event(1, vec![channel("general")]),
        event(2, vec![channel("general"), replies.clone()]),
        noting(3, Note::Reacted(reaction("alice"), Reacted::Added)),
        noting(4, Note::Edited(message.clone())),
        noting(5, Note::Reacted(reaction("bob"), Reacted::Added)),
        noting(6, Note::Reacted(reaction("alice"), Reacted::Removed)),
        noting(7, Note::Edited(message.clone())),
        event(8, vec![channel("general"), replies]),
    ];
    commit(&view, 8, events).await;

    let (through, annotations) = view.annotations(vec![message.clone()]).await.unwrap();
    assert_eq!(through, Sequence::new(8));
    let expected = Annotations {
        edited: Some(Sequence::new(7)),
        deleted: false,
        reactions: vec![(Sequence::new(5), "thumbsup".to_owned(), agent("bob"))],
        replies: 2,
    };
    assert_eq!(annotations, [expected]);
    let by = ["alice", "bob"].map(|id| (message.clone(), agent(id)));
    assert_eq!(view.reactions(by.to_vec()).await.unwrap(), [reaction("bob")]);
    assert!(view.unerased(10).await.unwrap().is_empty());

    let delete = |sequence, event_id: &EventId, thread: Option<&EventId>| Indexed {
        thread: thread.cloned(),
        ..noting(sequence, Note::Deleted(event_id.clone()))
    };
    commit(&view, 9, vec![delete(9, &message, None)]).await;
    assert!(view.find(vec![message.clone()]).await.unwrap()[0].deleted);
    let mut erasable = view.unerased(10).await.unwrap().remove(0);
    erasable.sequences.sort_unstable();
    let expected = Erasable {
        event_id: message.clone(),
        kind: EventKind::Message,
        sequences: sequences([1, 4, 7]),
    };
    assert_eq!(erasable, expected);
    view.mark_erased(vec![message.clone()]).await.unwrap();
    assert!(view.unerased(10).await.unwrap().is_empty());

    let reply: EventId = "event-2".parse().unwrap();
    let twice = vec![
        delete(10, &reply, Some(&message)),
        delete(11, &reply, Some(&message)),
    ];
    commit(&view, 11, twice).await;
    let (_, annotations) = view.annotations(vec![message]).await.unwrap();
    assert_eq!(annotations[0].replies, 1, "what is deleted does not count");
}

#[tokio::test]
async fn a_message_that_has_a_title_or_a_reply_began_a_thread() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 0);
    let begin = |sequence, titled| Indexed {
        thread: None,
        titled,
        audience: titled.then(|| vec![agent("bob")]),
        ..event(sequence, vec![channel("general")])
    };
    let answered: EventId = "event-3".parse().unwrap();
    let reply = event(4, vec![Stream::Thread(answered)]);
    commit(
        &view,
        4,
        vec![begin(1, false), begin(2, true), begin(3, false), reply],
    )
    .await;
    let ids = ["event-1", "event-2", "event-3"].map(|id| id.parse().unwrap());
    let found = view.find(ids.to_vec()).await.unwrap();
    let threaded: Vec<bool> = found.iter().map(|found| found.threaded).collect();
    assert_eq!(threaded, [false, true, true]);
    assert_eq!(found[1].audience, Some(vec![agent("bob")]));
    assert_eq!(found[0].audience, None);
}

#[tokio::test]
async fn a_released_message_takes_the_place_of_the_held_one_and_is_erased_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 0);
    let id: EventId = "event-1".parse().unwrap();
    let held = Indexed {
        kind: EventKind::Held,
        ..event(1, vec![Stream::Held])
    };
    let again = |sequence| Indexed {
        event_id: id.clone(),
        ..event(sequence, vec![channel("general")])
    };
    commit(&view, 3, vec![held, again(2), again(3)]).await;
    let found = view.find(vec![id.clone()]).await.unwrap().remove(0);
    assert_eq!(
        (found.sequence, found.kind),
        (Sequence::new(2), EventKind::Message)
    );
    commit(&view, 4, vec![noting(4, Note::Deleted(id))]).await;
    let mut erasable = view.unerased(10).await.unwrap().remove(0).sequences;
    erasable.sort_unstable();
    assert_eq!(erasable, sequences([1, 2]));
}

#[tokio::test]
async fn events_that_are_listed_together_are_listed_as_one_by_one() {
    let history: Vec<Indexed> = (1..=200)
        .map(|sequence| {
            let indexed = event(sequence, vec![channel("general")]);
            let named = |earlier: u64| format!("event-{earlier}").parse().unwrap();
            match (sequence % 10, sequence % 70) {
                (_, 7) => Indexed {
                    note: Some(Note::Deleted(named(sequence - 3))),
                    ..indexed
                },
                (0, _) => Indexed {
                    kind: EventKind::Held,
                    ..indexed
                },
                (9, _) if 30 < sequence => Indexed {
                    event_id: named(sequence - 29),
                    ..indexed
                },
                (8, _) => Indexed {
                    event_id: named(8),
                    ..indexed
                },
                _ => indexed,
            }
        })
        .collect();
    let (together, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (view, _) = open(&together, 0);
    commit(&view, 200, history.clone()).await;
    drop(view);
    let (view, _) = open(&alone, 0);
    for indexed in history {
        commit(&view, indexed.sequence.get(), vec![indexed]).await;
    }
    drop(view);
    assert_eq!(contents(&together), contents(&alone));
}

#[tokio::test]
async fn conversations_come_newest_first_and_count_what_is_in_both_streams() {
    let directory = tempfile::tempdir().unwrap();
    let (view, _) = open(&directory, 0);
    let between = |one: &str, other: &str| Stream::Conversation(agent(one), agent(other));
    let sent =
        |sequence, from: &str, to: &str| event(sequence, vec![between(from, to), Stream::Inbox(agent(to))]);
    let events = vec![
        sent(1, "alice", "bob"),
        sent(2, "carol", "alice"),
        sent(3, "bob", "alice"),
        sent(4, "alice", "bob"),
        sent(5, "bob", "alice"),
    ];
    commit(&view, 5, events).await;

    let of_alice = view
        .conversations(agent("alice"), Sequence::MAX, 10)
        .await
        .unwrap();
    assert_eq!(
        of_alice,
        [
            (agent("bob"), Sequence::new(5)),
            (agent("carol"), Sequence::new(2))
        ]
    );
    let older = view
        .conversations(agent("alice"), Sequence::new(5), 10)
        .await
        .unwrap();
    assert_eq!(older, [(agent("carol"), Sequence::new(2))]);
    let unread = |after, limit| {
        view.count_in_both(
            [between("alice", "bob"), Stream::Inbox(agent("alice"))],
            Sequence::new(after),
            Sequence::MAX,
            limit,
        )
    };
    assert_eq!(unread(0, 10).await.unwrap(), 2);
    assert_eq!(unread(3, 10).await.unwrap(), 1);
    assert_eq!(unread(0, 1).await.unwrap(), 1);
}

/// An event of a history in which agents post, reply, edit, delete and react in two channels and to each other.
fn told(history: &[Indexed], kind: u8, pick: prop::sample::Index) -> Indexed {
    let sequence = history.len() as u64 + 1;
    let plain = |destination: &str, streams: Vec<Stream>| Indexed {
        destination: destination.parse().unwrap(),
        thread: None,
        ..event(sequence, streams)
    };
    let messages: Vec<&Indexed> = history
        .iter()
        .filter(|it| it.kind == EventKind::Message)
        .collect();
    let conversation = Stream::Conversation(agent("alice"), agent("bob"));
    match kind {
        0 => return plain("channel:general", vec![channel("general")]),
        1 => {
            return plain(
                "channel:other",
                vec![channel("other"), Stream::Mentions(agent("bob"))],
            );
        }
        2 => return plain("agent:bob", vec![Stream::Inbox(agent("bob")), conversation]),
        3 => return plain("agent:alice", vec![Stream::Inbox(agent("alice")), conversation]),
        _ if messages.is_empty() => return plain("channel:general", vec![channel("general")]),
        _ => {}
    }
    let about = *pick.get(&messages);
    let id = about.event_id.clone();
    let mut streams: Vec<Stream> = about
        .streams
        .iter()
        .filter(|stream| !matches!(stream, Stream::Thread(_) | Stream::Mentions(_)))
        .cloned()
        .collect();
    if kind == 4 {
        let root = about.thread.clone().unwrap_or(id);
        streams.push(Stream::Thread(root.clone()));
        return Indexed {
            destination: about.destination.clone(),
            thread: Some(root),
            ..event(sequence, streams)
        };
    }
    streams.retain(|stream| !matches!(stream, Stream::Conversation(..)));
    let key = ReactionKey {
        message: id.clone(),
        reaction: "eyes".to_owned(),
        agent: agent("alice"),
    };
    let notes = history.iter().rev().filter_map(|it| it.note.as_ref());
    let is_deleted = notes.clone().any(|note| *note == Note::Deleted(id.clone()));
    let reacted = notes.clone().find_map(|note| match note {
        Note::Reacted(of, reacted) if *of == key => Some(*reacted),
        _ => None,
    });
    // Nothing is decided that is so already.
    let note = match kind {
        6 if !is_deleted => Note::Deleted(id),
        7 if reacted != Some(Reacted::Added) => Note::Reacted(key, Reacted::Added),
        8 if reacted == Some(Reacted::Added) => Note::Reacted(key, Reacted::Removed),
        _ => Note::Edited(id),
    };
    Indexed {
        destination: about.destination.clone(),
        thread: about.thread.clone(),
        kind: EventKind::Other,
        note: Some(note),
        ..event(sequence, streams)
    }
}

/// What streams list.
fn listed(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT name, first, rest FROM blocks JOIN streams ON id = stream ORDER BY 1, 2")
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let name: String = row.get(0).unwrap();
        let rest: Vec<u8> = row.get(2).unwrap();
        let block = Block::read(row.get(1).unwrap(), &rest).unwrap();
        let mut steps = Steps::of(&block, Direction::Forward);
        found.extend(std::iter::from_fn(|| steps.next(&block)).map(|entry| format!("entry {name} {entry}")));
    }
    found
}

/// What is in a view, whatever its rows are numbered by.
fn contents(directory: &TempDir) -> Vec<String> {
    let connection = Connection::open(directory.path().join(View::FILE)).unwrap();
    let mut found = listed(&connection);
    for rows in [
        "SELECT 'event', event_id, sequence FROM events ORDER BY 2",
        "SELECT 'edit', message, sequence FROM edits ORDER BY 2, 3",
        "SELECT 'deletion', event_id, 0 FROM deletions ORDER BY 2",
        "SELECT 'deleted replies', root, count FROM deleted_replies WHERE count <> 0 ORDER BY 2",
        "SELECT 'reaction', message, sequence FROM reactions ORDER BY 2, 3",
        "SELECT 'conversation', agent, sequence FROM conversations ORDER BY 2",
        "SELECT 'posts', channel, posts FROM tallies WHERE posts <> 0 ORDER BY 2",
        "SELECT 'replies', channel, replies FROM tallies WHERE replies <> 0 ORDER BY 2",
        "SELECT 'threads', channel, threads FROM tallies WHERE threads <> 0 ORDER BY 2",
        "SELECT 'unused stream', name, 0 FROM streams WHERE id NOT IN (SELECT stream FROM blocks)",
    ] {
        let mut statement = connection.prepare(rows).unwrap();
        let rows = statement.query_map([], |row| {
            let (what, name, number): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("{what} {name} {number}"))
        });
        found.extend(rows.unwrap().map(Result::unwrap));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_removed_leaves_the_view_that_a_log_without_it_has(
        told_of in prop::collection::vec((0_u8..9, any::<prop::sample::Index>()), 1..60),
        cuts in prop::collection::vec((0_usize..4, any::<prop::sample::Index>()), 1..4),
        ranges in prop::collection::vec((0_u64..60, 0_u64..60), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut history: Vec<Indexed> = Vec::new();
        for (kind, pick) in told_of {
            history.push(told(&history, kind, pick));
        }
        let end = history.len() as u64;
        let places: [Address; 4] = ["channel:general", "channel:other", "agent:bob", "agent:alice"]
            .map(|place| place.parse().unwrap());
        let mut removed: Vec<Sequence> = Vec::new();
        let directory = tempfile::tempdir().unwrap();
        let rebuilt = tempfile::tempdir().unwrap();
        let streams = [
            channel("general"),
            channel("other"),
            Stream::Inbox(agent("bob")),
            Stream::Conversation(agent("alice"), agent("bob")),
            Stream::Mentions(agent("bob")),
        ];
        let ids: Vec<EventId> = history.iter().map(|it| it.event_id.clone()).collect();
        runtime.block_on(async {
            let (view, _) = open(&directory, 99);
            view.commit(update(end, history.clone())).await.unwrap();
            for (place, cut) in cuts {
                let there: Vec<&Indexed> = history
                    .iter()
                    .filter(|it| it.destination == places[place] && !removed.contains(&it.sequence))
                    .collect();
                if there.is_empty() {
                    continue;
                }
                let listed: Vec<Unlisted> = there[..=cut.index(there.len())]
                    .iter()
                    .map(|event| Unlisted {
                        event: Indexed::clone(event),
                        fate: Fate::Removed,
                        counted: true,
                    })
                    .collect();
                removed.extend(listed.iter().map(|it| it.event.sequence));
                view.unlist(listed).await.unwrap();
            }
            removed.sort_unstable();
            assert_eq!(view.removals(99).await.unwrap(), removed);
            view.mark_removed(removed.clone()).await.unwrap();
            assert_eq!(view.removals(99).await.unwrap(), []);

            history.retain(|it| !removed.contains(&it.sequence));
            let (other, _) = open(&rebuilt, 99);
            other.commit(update(end, history.clone())).await.unwrap();
            assert_eq!(contents(&directory), contents(&rebuilt));
            for (after, through) in ranges {
                for stream in &streams {
                    let (after, through) = (Sequence::new(after), Sequence::new(through));
                    let counted = view.count(std::slice::from_ref(stream), after, through).await.unwrap();
                    let expected = history.iter().filter(|it| {
                        it.streams.contains(stream) && after < it.sequence && it.sequence <= through
                    });
                    assert_eq!(counted, expected.count() as u64, "{stream:?} {after} {through}");
                }
            }
            assert_eq!(
                view.annotations(ids.clone()).await.unwrap().1,
                other.annotations(ids).await.unwrap().1
            );
            // What comes next is counted on.
            let next = Indexed { thread: None, ..event(end + 1, vec![channel("general")]) };
            for view in [&view, &other] {
                view.commit(update(end + 1, vec![next.clone()])).await.unwrap();
            }
            assert_eq!(contents(&directory), contents(&rebuilt));
        });
    }
}

use std::collections::{BTreeMap, HashSet};

use openagents_protocol::AgentId;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::view::Bounds;

const LOG: Log = Log {
    id: Uuid::from_u128(1),
    head: Sequence::new(1_000_000),
};

/// So few that a test has many blocks.
const FEW: Limits = Limits {
    messages: 8,
    bytes: 4_000,
};

fn open_with(directory: &TempDir, limits: Limits) -> Index {
    Index::open_with(directory.path(), LOG, Execution::Inline, limits).unwrap()
}

fn open(directory: &TempDir) -> Index {
    open_with(directory, FEW)
}

fn agent(id: &str) -> AgentId {
    id.parse().unwrap()
}

fn channel(name: &str) -> Place {
    Place::Channel(name.parse().unwrap())
}

fn text(sequence: u64, place: Place, sender: &str, text: &str) -> Text {
    Text {
        sequence: Sequence::new(sequence),
        place,
        sender: Source::Agent(agent(sender)),
        time_ms: 1_000 * sequence,
        text: text.to_owned(),
    }
}

fn general(sequence: u64, words: &str) -> Text {
    text(sequence, channel("general"), "alice", words)
}

async fn commit(index: &Index, through: u64, texts: Vec<Text>) {
    change(index, through, texts, vec![]).await;
}

async fn change(index: &Index, through: u64, texts: Vec<Text>, removed: Vec<u64>) {
    let batch = Batch {
        through: Sequence::new(through),
        texts,
        removed: removed.into_iter().map(Sequence::new).collect(),
    };
    index.commit(move || batch).await.unwrap();
}

fn everywhere() -> Within {
    Within::Those(Arc::new(|_| Some(Sequence::ZERO)))
}

fn search(query: &str) -> Search {
    Search {
        query: Arc::new(Query::parse(query).unwrap()),
        within: everywhere(),
        sender: None,
        bounds: Bounds::default(),
        times: 0..u64::MAX,
        limit: 100,
    }
}

async fn found(index: &Index, search: Search) -> Vec<u64> {
    let hits = index.find(search).await.unwrap();
    hits.sequences.into_iter().map(Sequence::get).collect()
}

#[tokio::test]
async fn messages_are_found_by_words_place_sender_and_time_the_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory);
    let texts = (1..=30).map(|number| {
        let place = match number % 3 {
            0 => channel("general"),
            1 => channel("ops"),
            _ => Place::Conversation(agent("bob"), agent("alice")),
        };
        let sender = if number % 2 == 0 { "alice" } else { "bob" };
        text(number, place, sender, &format!("Word number{number} in common"))
    });
    commit(&index, 30, texts.collect()).await;
    for index in [index, open(&directory)] {
        let of = |search| found(&index, search);
        assert_eq!(of(search("number17")).await, [17]);
        assert_eq!(of(search("COMMON \"in common\"")).await.len(), 30);
        assert_eq!(
            of(search("number2*")).await,
            [29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 2]
        );
        assert_eq!(of(search("common number")).await, [0; 0]);
        let general = Within::One(channel("general"), Sequence::new(12));
        let within = Search {
            within: general,
            ..search("common")
        };
        assert_eq!(of(within.clone()).await, [30, 27, 24, 21, 18, 15]);
        let by = |sender: &str| Some(Source::Agent(agent(sender)));
        let sender = Search {
            sender: by("bob"),
            ..within.clone()
        };
        assert_eq!(of(sender).await, [27, 21, 15]);
        assert_eq!(
            of(Search {
                sender: by("nobody"),
                ..within.clone()
            })
            .await,
            [0; 0]
        );
        let both = Within::One(Place::Conversation(agent("alice"), agent("bob")), Sequence::ZERO);
        let times = Search {
            within: both,
            times: 5_000..14_000,
            ..search("word")
        };
        assert_eq!(of(times).await, [11, 8, 5]);
        let nowhere = Within::One(channel("elsewhere"), Sequence::ZERO);
        assert_eq!(
            of(Search {
                within: nowhere,
                ..search("common")
            })
            .await,
            [0; 0]
        );
        let bounds = Bounds {
            after: Sequence::new(5),
            before: Sequence::new(9),
        };
        assert_eq!(
            of(Search {
                bounds,
                ..search("common")
            })
            .await,
            [8, 7, 6]
        );
        let some = Within::Those(Arc::new(|place| match place {
            Place::Channel(channel) if channel.as_str() == "ops" => Some(Sequence::new(20)),
            Place::Conversation(one, other) => {
                [one, other].contains(&&agent("bob")).then_some(Sequence::new(22))
            }
            Place::Channel(_) => None,
        }));
        let some = Search {
            within: some,
            ..search("common")
        };
        assert_eq!(of(some).await, [29, 28, 26, 25, 23, 22]);
    }
}

#[tokio::test]
async fn a_page_says_where_to_go_on_also_when_the_effort_did_not_suffice() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory);
    let texts = (1..=100).map(|number| {
        let place = if number <= 90 {
            channel("closed")
        } else {
            channel("general")
        };
        text(number, place, "alice", "common")
    });
    commit(&index, 100, texts.collect()).await;
    let limited = Search {
        limit: 7,
        ..search("common")
    };
    let first = index.find(limited.clone()).await.unwrap();
    assert_eq!((first.sequences.len(), first.next), (7, Some(Sequence::new(94))));
    let whole = index
        .find(Search {
            limit: 101,
            ..limited
        })
        .await
        .unwrap();
    assert_eq!((whole.sequences.len(), whole.next), (100, None));

    let closed = Within::Those(Arc::new(|place| {
        (*place == channel("general")).then_some(Sequence::ZERO)
    }));
    let mut search = Search {
        within: closed,
        ..search("common")
    };
    let mut pages = Vec::new();
    loop {
        let hits = index.find_with(search.clone(), 3).await.unwrap();
        pages.push(hits.sequences.len());
        let Some(next) = hits.next else { break };
        assert!(next < search.bounds.before);
        search.bounds.before = next;
    }
    assert_eq!(pages.iter().sum::<usize>(), 10);
    assert!(3 < pages.len(), "{pages:?}");
}

/// Every message of the model that a search wants, newest first.
fn expected(model: &BTreeMap<u64, Text>, search: &Search) -> Vec<u64> {
    let wanted = |text: &&Text| {
        search.query.matches(&text.text)
            && search.sender.as_ref().is_none_or(|sender| *sender == text.sender)
            && search.times.contains(&text.time_ms)
            && search.bounds.after < text.sequence
            && text.sequence < search.bounds.before
            && match &search.within {
                Within::One(place, after) => *place == text.place && *after < text.sequence,
                Within::Those(tell) => tell(&text.place).is_some_and(|after| after < text.sequence),
            }
    };
    let found = model.values().rev().filter(wanted);
    found.map(|text| text.sequence.get()).take(search.limit).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Say(Vec<(u8, u8, String)>),
    Edit(prop::sample::Index, String),
    Remove(prop::sample::Index),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let words = || "[a-c]{1,2}( [a-c]{1,2}){0,5}|-";
    prop_oneof![
        4 => prop::collection::vec((0..3u8, 0..3u8, words()), 1..20).prop_map(Step::Say),
        2 => (any::<prop::sample::Index>(), words()).prop_map(|(which, text)| Step::Edit(which, text)),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

fn any_search() -> impl Strategy<Value = Search> {
    let clause = "[a-c]{1,2}\\*?|\"[a-c]{1,2} [a-c]\"\\*?";
    let query = prop::collection::vec(clause, 1..3).prop_map(|clauses| clauses.join(" "));
    let within = prop_oneof![
        Just(everywhere()),
        (0..3u8, 0..40u64).prop_map(|(place, after)| Within::One(some_place(place), Sequence::new(after))),
        (0..3u8, 0..40u64).prop_map(|(closed, after)| Within::Those(Arc::new(move |place| {
            (*place != some_place(closed)).then_some(Sequence::new(after))
        }))),
    ];
    let bounds = (
        0..100u64,
        prop_oneof![Just(Sequence::MAX), (0..200u64).prop_map(Sequence::new)],
    );
    let times = prop_oneof![
        Just(0..u64::MAX),
        (0..150_000u64, 0..150_000u64).prop_map(|(from, to)| from..to)
    ];
    (query, within, prop::option::of(0..3u8), bounds, times, 1..30usize).prop_map(
        |(query, within, sender, (after, before), times, limit)| Search {
            within,
            sender: sender.map(|sender| Source::Agent(agent(&format!("agent{sender}")))),
            bounds: Bounds {
                after: Sequence::new(after),
                before,
            },
            times,
            limit,
            ..search(&query)
        },
    )
}

fn some_place(number: u8) -> Place {
    match number {
        0 => channel("general"),
        1 => channel("ops"),
        _ => Place::Conversation(agent("agent0"), agent("agent1")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_found_is_what_a_look_at_every_message_finds(
        steps in prop::collection::vec(step(), 1..25),
        searches in prop::collection::vec(any_search(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut index = open(&directory);
            let mut model: BTreeMap<u64, Text> = BTreeMap::new();
            let (mut head, mut said) = (0, 0);
            for step in steps {
                head += 1;
                match step {
                    Step::Say(all) => {
                        let mut texts = Vec::new();
                        for (place, sender, words) in all {
                            // Gaps: not every record of a log is a message.
                            head += 1 + u64::from(sender == 2);
                            said = head;
                            texts.push(text(head, some_place(place), &format!("agent{sender}"), &words));
                        }
                        model.extend(texts.iter().map(|text| (text.sequence.get(), text.clone())));
                        commit(&index, head, texts).await;
                    }
                    Step::Edit(which, words) if !model.is_empty() => {
                        let edited = which.index(model.len());
                        let edited = model.values_mut().nth(edited).unwrap();
                        edited.text = words;
                        let edited = edited.clone();
                        commit(&index, head, vec![edited]).await;
                    }
                    Step::Remove(which) if 0 < said => {
                        // Also of what was never there, or is gone.
                        let removed = 1 + which.index(usize::try_from(said).unwrap()) as u64;
                        model.remove(&removed);
                        change(&index, head, vec![], vec![removed]).await;
                    }
                    Step::Reopen => {
                        drop(index);
                        index = open(&directory);
                    }
                    Step::Edit(..) | Step::Remove(_) => {}
                }
            }
            for search in searches {
                let expected = expected(&model, &search);
                let hits = index.find(search.clone()).await.unwrap();
                let numbers: Vec<u64> = hits.sequences.iter().map(|sequence| sequence.get()).collect();
                assert_eq!(numbers, expected, "{search:?}");
                let full = expected.len() == search.limit;
                assert_eq!(hits.next, hits.sequences.last().copied().filter(|_| full));
            }
        });
    }
}

/// The words of nine letters that begin with a `q`, wherever they stand in the files.
fn secrets_in_files(directory: &TempDir) -> HashSet<String> {
    let mut found = HashSet::new();
    for file in database::files(&directory.path().join(Index::FILE)) {
        let bytes = std::fs::read(file).unwrap_or_default();
        let secrets = bytes.windows(9).filter(|window| window[0] == b'q');
        found.extend(secrets.map(|secret| String::from_utf8_lossy(secret).into_owned()));
    }
    found
}

#[tokio::test]
async fn of_erased_messages_no_word_stays_in_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        messages: 500,
        ..Limits::default()
    };
    let index = open_with(&directory, limits);
    // The order of the words has nothing to do with that of the messages.
    let secret = |number: u64| format!("q{:08x}", number * 7_919_191 % 4_294_967_291);
    let say = |number: u64| general(number, &format!("some words and {} beside them", secret(number)));
    for start in (1..4_000).step_by(100) {
        commit(&index, start + 99, (start..start + 100).map(say).collect()).await;
    }
    let edited = (3..4_000)
        .step_by(9)
        .map(|number| general(number, "another text"));
    commit(&index, 4_001, edited.collect()).await;

    let (erased, left): (Vec<u64>, Vec<u64>) = (1..=4_000).partition(|number: &u64| number.is_multiple_of(3));
    change(&index, 4_002, vec![], erased.clone()).await;
    let words = secrets_in_files(&directory);
    for number in erased {
        assert!(!words.contains(&secret(number)), "{number}");
    }
    assert!(left.iter().any(|number| words.contains(&secret(*number))));
    assert_eq!(found(&index, search(&secret(2))).await, [2]);
    assert_eq!(found(&index, search(&secret(3_999))).await, [0; 0]);
}

#[tokio::test]
async fn an_index_that_does_not_fit_its_log_is_made_anew() {
    type Harm = Box<dyn Fn(&Path)>;
    let sql = |statement: &'static str| -> Harm {
        Box::new(move |path| {
            let connection = Connection::open(path).unwrap();
            connection.execute_batch(statement).unwrap();
        })
    };
    let header = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[..100].fill(1);
        std::fs::write(path, bytes).unwrap();
    };
    let harms: [(&str, Harm); 7] = [
        ("older", sql("PRAGMA user_version = 0")),
        ("newer", sql("PRAGMA user_version = 99")),
        ("foreign", sql("PRAGMA application_id = 1")),
        ("without a table", sql("DROP TABLE tail")),
        ("lost", Box::new(|path| std::fs::remove_file(path).unwrap())),
        (
            "noise",
            Box::new(|path| std::fs::write(path, [7; 10_000]).unwrap()),
        ),
        ("header", Box::new(header)),
    ];
    for (what, harm) in harms {
        let directory = tempfile::tempdir().unwrap();
        let index = open(&directory);
        commit(
            &index,
            20,
            (1..=20).map(|number| general(number, "word")).collect(),
        )
        .await;
        drop(index);
        harm(&directory.path().join(Index::FILE));
        let index = open(&directory);
        assert_eq!(index.indexed(), Sequence::ZERO, "{what}");
        assert_eq!(found(&index, search("word")).await, [0; 0], "{what}");
        commit(&index, 3, vec![general(3, "word")]).await;
        assert_eq!(found(&index, search("word")).await, [3], "{what}");
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert!(
            names.len() <= 3,
            "{what}: nothing is kept of the old one: {names:?}"
        );
    }
}

#[tokio::test]
async fn an_index_of_another_log_or_ahead_of_its_own_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory);
    commit(&index, 20, vec![general(20, "word")]).await;
    drop(index);
    let again = |log: u128, head: u64| {
        let log = Uuid::from_u128(log);
        Index::open(directory.path(), log, Sequence::new(head), Execution::Inline).unwrap()
    };
    assert_eq!(again(1, 20).indexed(), Sequence::new(20));
    assert_eq!(again(1, 19).indexed(), Sequence::ZERO);
    commit(&again(1, 20), 20, vec![general(20, "word")]).await;
    assert_eq!(again(2, 20).indexed(), Sequence::ZERO);
    commit(&again(2, 20), 20, vec![general(20, "word")]).await;
    Index::discard(directory.path()).unwrap();
    assert_eq!(again(2, 20).indexed(), Sequence::ZERO);
}

#[tokio::test]
async fn damage_that_shows_only_in_use_is_told_and_repaired_by_the_next_opening() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory);
    commit(
        &index,
        20,
        (1..=20).map(|number| general(number, "word")).collect(),
    )
    .await;
    let other = Connection::open(directory.path().join(Index::FILE)).unwrap();
    other
        .execute_batch("UPDATE pages SET data = zeroblob(4000) || x'ff'; UPDATE columns SET data = x'09'")
        .unwrap();
    drop(other);
    assert!(matches!(
        index.find(search("word")).await,
        Err(Error::Damaged { .. })
    ));
    drop(index);
    let index = open(&directory);
    assert_eq!(index.indexed(), Sequence::ZERO);
    drop(index);
    assert_eq!(open(&directory).indexed(), Sequence::ZERO, "once is enough");
}

#[tokio::test]
async fn a_batch_is_taken_whole_once_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(&directory);
    commit(&index, 5, vec![general(5, "one")]).await;
    commit(&index, 5, vec![general(5, "two")]).await;
    assert_eq!(found(&index, search("one")).await, [5]);
    let refuse =
        "CREATE TRIGGER full BEFORE INSERT ON tail WHEN new.sequence = 7 BEGIN SELECT raise(FAIL, 'no'); END";
    let other = Connection::open(directory.path().join(Index::FILE)).unwrap();
    other.execute_batch(refuse).unwrap();
    let batch = Batch {
        through: Sequence::new(7),
        texts: vec![text(6, channel("new"), "bob", "six"), general(7, "seven")],
        removed: vec![Sequence::new(5)],
    };
    let again = batch.clone();
    index.commit(move || batch).await.unwrap_err();
    assert_eq!(index.indexed(), Sequence::new(5));
    assert_eq!(found(&index, search("one")).await, [5]);
    assert_eq!(found(&index, search("six")).await, [0; 0]);
    other.execute_batch("DROP TRIGGER full").unwrap();
    index.commit(move || again).await.unwrap();
    assert_eq!(found(&index, search("s*")).await, [7, 6]);
    assert_eq!(found(&index, search("one")).await, [0; 0]);
}

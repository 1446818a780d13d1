//! Whatever the schedule: nothing is lost, nothing is out of order, nothing comes twice in one session.

use openagents_protocol::Sequence;
use openagents_protocol::frame::Backlog;
use proptest::prelude::*;

use crate::room::{Reader, Room};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// So many posts.
    Post(u16),
    /// So many direct messages.
    Tell(u16),
    /// The reader reads so many events and acknowledges them.
    Read(u16),
    /// The reader's connection breaks, and it comes back with what it has handled.
    Break,
    /// The workspace closes and opens.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u16..400).prop_map(Step::Post),
        4 => (1_u16..400).prop_map(Step::Tell),
        6 => (1_u16..700).prop_map(Step::Read),
        2 => Just(Step::Break),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

async fn follow(steps: Vec<Step>) {
    let mut room = Room::open().await;
    let mut reader: Reader = room.attach("bob").await;
    let (mut sent, mut read, mut handled) = (Vec::new(), Vec::new(), Sequence::ZERO);
    for step in steps {
        match step {
            Step::Post(count) => {
                for _ in 0..count {
                    let text = sent.len().to_string();
                    room.post("alice", &text).await;
                    sent.push(text);
                }
            }
            Step::Tell(count) => {
                for _ in 0..count {
                    let text = sent.len().to_string();
                    room.tell("alice", "bob", &text).await;
                    sent.push(text);
                }
            }
            Step::Read(count) => {
                for _ in 0..usize::from(count).min(sent.len() - read.len()) {
                    let event = reader.read().await;
                    handled = event.sequence.unwrap();
                    read.push(event.text().unwrap().to_owned());
                    reader.session.acknowledge(handled);
                }
            }
            Step::Break => {
                drop(reader);
                reader = room
                    .attach_with(Some("bob"), Some(handled), Backlog::All)
                    .await
                    .unwrap();
            }
            Step::Reopen => {
                drop(reader);
                room = room.reopen().await;
                reader = room
                    .attach_with(Some("bob"), Some(handled), Backlog::All)
                    .await
                    .unwrap();
            }
        }
    }
    while read.len() < sent.len() {
        read.push(reader.text().await);
    }
    assert_eq!(read, sent);
    room.workspace.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_is_lost_reordered_or_doubled_under_any_schedule(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(steps));
    }
}

//! One post, from publish to the receipt, handed to 1, 100 and 1,000 sessions that take it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use openagents_protocol::frame::{Backlog, SessionKind};
use openagents_protocol::record::Role;
use openagents_protocol::{Draft, Event, Sequence};
use openagents_workspace::{Attach, Caller, Durability, Principal, Settings, Workspace};
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;

fn route(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("route");
    for readers in [1, 100, 1000] {
        let directory = tempfile::tempdir().expect("a directory");
        let workspace = runtime.block_on(fill(directory.path(), readers));
        let author = Caller::new("author".parse().expect("an id"), Role::Member);
        group.throughput(Throughput::Elements(readers));
        group.bench_function(BenchmarkId::from_parameter(readers), |bencher| {
            bencher.iter(|| {
                let post = Event::new("channel.message.posted")
                    .to("channel:general")
                    .payload(serde_json::json!({"content": "hello"}));
                let draft = Draft::parse(post).expect("well-formed");
                runtime
                    .block_on(workspace.publish(&author, draft))
                    .expect("accepted")
            });
        });
        runtime.block_on(workspace.close());
    }
    group.finish();
}

/// A workspace with readers that take and acknowledge what comes.
async fn fill(directory: &std::path::Path, readers: u64) -> Workspace {
    let mut settings = Settings::default();
    settings.durability = Durability::Memory;
    let workspace = Workspace::open(directory, settings).await.expect("a workspace");
    let tasks = TaskTracker::new();
    for number in 0..readers {
        let attach = Attach {
            principal: Principal::anyone(Role::Member),
            agent_id: Some(format!("reader-{number}").parse().expect("an id")),
            kind: SessionKind::Consuming,
            session_key: None,
            metadata: None,
            after: None,
            log: None,
            backlog: Backlog::None,
        };
        let (session, mut deliveries) = workspace.attach(attach).await.expect("a session");
        tasks.spawn(async move {
            loop {
                let outgoing = deliveries.next().await;
                if outgoing
                    .iter()
                    .any(|item| matches!(item, openagents_workspace::Outgoing::End(_)))
                {
                    return;
                }
                session.acknowledge(Sequence::MAX);
            }
        });
    }
    workspace
}

criterion_group!(benches, route);
criterion_main!(benches);

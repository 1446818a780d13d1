//! Batches appended to the log, for every durability.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use openagents_protocol::Source;
use openagents_protocol::record::{Act, Body, Header};
use openagents_store::{Durability, Entry, EventLog, Options, Store};
use tokio::runtime::Runtime;

fn entry() -> Entry {
    let payload = serde_json::json!({"content": {"text": "x".repeat(256)}}).into();
    let body = Body {
        payload,
        ..Body::empty()
    };
    let name = "direct.message.received".parse().expect("a name");
    let destination = "agent:receiver".parse().expect("an address");
    let source = Source::Agent("sender".parse().expect("an id"));
    let header = Header::new(
        name,
        source,
        destination,
        0,
        Act::Message { reply_to: None },
        &body,
    );
    Entry { header, body }
}

fn append(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("append");
    for durability in [Durability::Fsync, Durability::Os, Durability::Memory] {
        for size in [1, 64, 512] {
            let directory = tempfile::tempdir().expect("a directory");
            let options = Options {
                durability,
                ..Options::default()
            };
            let (store, _) = Store::open(directory.path(), options).expect("a store");
            group.throughput(Throughput::Elements(size));
            group.bench_function(BenchmarkId::new(durability.to_string(), size), |bencher| {
                bencher.iter_batched(
                    || (0..size).map(|_| entry()).collect(),
                    |batch| runtime.block_on(store.log.append(batch)).expect("appended"),
                    BatchSize::LargeInput,
                );
            });
            runtime.block_on(store.log.close()).expect("closed");
        }
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);

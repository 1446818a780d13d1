//! From the text of a publish to a draft that is ready to be decided.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openagents_protocol::Draft;
use openagents_protocol::frame::{ClientFrame, Publish};

fn decode(criterion: &mut Criterion) {
    let text = "x".repeat(256);
    let event = openagents_protocol::Event::new("direct.message.received")
        .to("agent:receiver")
        .payload(serde_json::json!({"content": {"text": text}}));
    let frame = ClientFrame::Publish(Box::new(Publish { id: 7, event })).encode();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("frame", |bencher| {
        bencher.iter(|| ClientFrame::decode(black_box(&frame)).expect("a frame"));
    });
    group.bench_function("frame and draft", |bencher| {
        bencher.iter(|| {
            let ClientFrame::Publish(publish) = ClientFrame::decode(black_box(&frame)).expect("a frame")
            else {
                unreachable!("it is a publish")
            };
            Draft::parse(publish.event).expect("well-formed")
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);

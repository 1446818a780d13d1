//! `openagents bench`: that it measures, not how much.

use crate::harness::served;

#[tokio::test]
async fn every_measurement_ends_with_its_numbers() {
    let (_folder, served) = served().await;
    let latency = served
        .run(&["bench", "latency", "--count", "20", "--json"])
        .await
        .json();
    assert_eq!(latency["messages"], 20);
    assert!(
        latency["p50_us"].as_f64() <= latency["max_us"].as_f64(),
        "{latency}"
    );

    let throughput = [
        "bench",
        "throughput",
        "--count",
        "300",
        "--window",
        "100",
        "--size",
        "10",
        "--json",
    ];
    let throughput = served.run(&throughput).await.json();
    assert_eq!(throughput["messages"], 300);
    assert!(
        Some(0.0) < throughput["delivered_per_second"].as_f64(),
        "{throughput}"
    );

    let fanout = served
        .run(&["bench", "fanout", "--agents", "3", "--count", "5", "--json"])
        .await
        .json();
    assert_eq!((&fanout["agents"], &fanout["posts"]), (&3.into(), &5.into()));

    let shown = served.run(&["bench", "latency", "--duration", "50ms"]).await.ok();
    assert!(shown.contains("p99"), "{shown}");
    served.stop().await;
}

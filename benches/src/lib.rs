//! Criterion benches: `cargo bench -p openagents-benches`. What they measure stands in `benches/benches/`.

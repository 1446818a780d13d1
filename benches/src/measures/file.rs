//! A large file that goes through the server and back.

use anyhow::{Context, Result, ensure};
use openagents_e2e::Peer;
use tokio::time::Instant;

use super::{FSYNC, Section};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::ours::Ours;
use crate::statistics::float;

/// Bytes.
const LARGE: u64 = 1 << 30;

const CASE: &str = "1 GiB sent, fetched and compared";

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    let path = bench.data("large-file");
    std::fs::File::create(&path)?.set_len(LARGE)?;
    let server = Ours::serve(bench, "fsync").await?;
    let program = std::env::current_exe()?.with_file_name("peer");
    let port = server.port.to_string();
    let arguments = ["transfer", &port, path.to_str().context("a plain path")?];
    // A run writes and reads four times its size.
    for _ in 0..bench.runs().min(3) {
        let (mut client, _) = Peer::start(&program, &arguments).await?;
        let begun = Instant::now();
        let most = client.line().await?.context("it tells when it is done")?;
        let about = About::new(Section::File, CASE, FSYNC);
        book.note(about, "time", Unit::Seconds, begun.elapsed().as_secs_f64());
        book.note(
            about,
            "server, at most resident",
            Unit::Kib,
            float(server.peak_memory_kib()?),
        );
        book.note(about, "client, at most resident", Unit::Kib, most.parse()?);
        ensure!(client.ended().await?.success(), "the copy differs");
    }
    server.kill().await
}

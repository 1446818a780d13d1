//! Keeps a connection whatever happens: connects with growing pauses, looks at regular times whether it is still heard,
//! and connects anew when it is not.
//!
//! The client does most of this by itself: it reconnects, resumes, and sends again what was not acknowledged. What is
//! left for a program is the first connection, and sessions that the workspace ended.
//!
//! `cargo run -p openagents-examples --bin robust_client -- [HOST [PORT [SECONDS]]]`, with or without a server. Ctrl-C
//! ends it.

use std::env;
use std::time::Duration;

use openagents_client::protocol::call::ListAgents;
use openagents_client::{AgentClient, CallError};

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let host = env::args().nth(1).unwrap_or_else(|| "localhost".to_owned());
    let port = env::args().nth(2).map_or(Ok(8700), |port| port.parse())?;
    let seconds = env::args().nth(3).map_or(Ok(5.0), |seconds| seconds.parse())?;
    let pause = Duration::try_from_secs_f64(seconds)?;

    let client = AgentClient::new("robust-client");
    let work = async {
        loop {
            connect(&client, &host, port).await;
            let error = watch(&client, pause).await;
            println!("lost: {error}");
            client.disconnect().await;
        }
    };
    tokio::select! {
        () = work => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    client.disconnect().await;
    Ok(())
}

/// Tries until it works.
async fn connect(client: &AgentClient, host: &str, port: u16) {
    let mut pause = Duration::from_millis(100);
    while let Err(error) = client.connect_to_server(host, port).await {
        println!("not connected: {error}");
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    println!("connected");
}

/// Asks the workspace who is there, again and again, until there is no answer in time.
async fn watch(client: &AgentClient, pause: Duration) -> CallError {
    loop {
        match client.call_within(ListAgents::default(), pause).await {
            Ok(there) => println!("{} agents", there.agents.len()),
            Err(error) => return error,
        }
        tokio::time::sleep(pause).await;
    }
}

//! A server and its clients over a Unix socket: both sides bring their own transport.

use std::path::PathBuf;
use std::time::Duration;

use openagents_client::{AgentClient, ByteStream, Dial, DialFuture};
use openagents_e2e::{SOON, within};
use openagents_server::{AcceptFuture, Config, Listener, Server};
use tokio::net::{UnixListener, UnixStream};

struct Socket(UnixListener);

impl Listener for Socket {
    fn accept(&mut self) -> AcceptFuture<'_> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            let stream: Box<dyn openagents_server::ByteStream> = Box::new(stream);
            Ok(stream)
        })
    }
}

struct Path(PathBuf);

impl Dial for Path {
    fn dial(&self) -> DialFuture<'_> {
        Box::pin(async {
            let stream: Box<dyn ByteStream> = Box::new(UnixStream::connect(&self.0).await?);
            Ok(stream)
        })
    }
}

#[tokio::test]
async fn agents_ask_each_other_and_share_files_over_a_unix_socket() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("socket");
    let config = Config::new(directory.path().join("data"));
    let server = Server::serve(config, Socket(UnixListener::bind(&path)?)).await?;
    let join = async |agent_id: &str| {
        let client = AgentClient::new(agent_id);
        let connect = client
            .connect_to_server("localhost", 8700)
            .dial(Path(path.clone()));
        within(SOON, connect.into_future()).await?;
        anyhow::Ok(client)
    };
    let (asking, answering) = (join("asking").await?, join("answering").await?);
    let answerer = answering.downgrade();
    answering.register_event_handler(["direct.message.received"], move |event| {
        let answerer = answerer.clone();
        async move {
            if let Some(client) = answerer.upgrade() {
                client.workspace().agent(&event.source_id).send("yes").await;
            }
        }
    })?;
    let answer = asking
        .workspace()
        .agent("answering")
        .send_and_wait("are you there?", Duration::from_secs(20))
        .await;
    assert_eq!(
        answer
            .and_then(|answer| answer.text().map(str::to_owned))
            .as_deref(),
        Some("yes")
    );
    let notes = directory.path().join("notes.txt");
    std::fs::write(&notes, "over the same socket")?;
    let shared = within(
        SOON,
        asking
            .workspace()
            .agent("answering")
            .send_file(&notes)
            .into_future(),
    )
    .await?;
    let content = answering.workspace().read_file(&shared.id).await?;
    assert_eq!(content, b"over the same socket");
    server.shutdown().await;
    Ok(())
}

//! Connections that come over something else than TCP.

use openagents_server::{AcceptFuture, ByteStream, Listener, Server, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::harness::{LIMIT, config, within};

/// Takes pipes.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    fn accept(&mut self) -> AcceptFuture<'_> {
        Box::pin(async {
            match self.0.recv().await {
                Some(pipe) => {
                    let pipe: Box<dyn ByteStream> = Box::new(pipe);
                    Ok(pipe)
                }
                None => std::future::pending().await,
            }
        })
    }
}

async fn pipe(pipes: &mpsc::Sender<DuplexStream>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(4096);
    pipes.send(far).await.unwrap();
    near
}

#[tokio::test]
async fn the_byte_that_tells_tls_from_clear_is_read_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (pipes, accepted) = mpsc::channel(1);
    let secure = config(&directory, |config| {
        let names = vec!["localhost".to_owned()];
        config.tls = Some(Tls::SelfSigned { names });
    });
    let server = Server::serve(secure, Pipes(accepted)).await.unwrap();
    let mut clear = pipe(&pipes).await;
    clear
        .write_all(b"GET /api/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    within(LIMIT, clear.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    within(LIMIT, server.shutdown()).await;
}

//! The simulated network, as transports of server and client.

use std::sync::Arc;

use openagents_client::{Dial, DialFuture};
use openagents_server::{AcceptFuture, Listener};
use turmoil::net::{TcpListener, TcpStream};

use crate::flawed::Flawed;
use crate::scene::Scene;

/// The port of the server.
pub(crate) const PORT: u16 = 8700;

/// Takes connections of the simulated network.
pub(crate) struct Socket(TcpListener);

impl Socket {
    pub(crate) async fn bind() -> std::io::Result<Self> {
        Ok(Self(TcpListener::bind(("0.0.0.0", PORT)).await?))
    }
}

impl Listener for Socket {
    fn accept(&mut self) -> AcceptFuture<'_> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            let stream: Box<dyn openagents_server::ByteStream> = Box::new(stream);
            Ok(stream)
        })
    }
}

/// Makes connections over the simulated network.
pub(crate) struct Way {
    pub(crate) scene: Arc<Scene>,
    pub(crate) agent: String,
}

impl Dial for Way {
    fn dial(&self) -> DialFuture<'_> {
        Box::pin(async {
            let stream = TcpStream::connect(("server", PORT)).await?;
            let stream: Box<dyn openagents_client::ByteStream> = match self.scene.plan.flaw {
                Some(flaw) => Box::new(Flawed::new(stream, flaw, &self.agent)),
                None => Box::new(stream),
            };
            Ok(stream)
        })
    }
}

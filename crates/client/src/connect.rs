//! Joining a workspace.

use std::fmt;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use openagents_protocol::frame::{Backlog, Hello, PROTOCOL_VERSION, SessionKind};
use openagents_protocol::{AgentId, Json, Secret, Sequence};

use crate::AgentClient;
use crate::connector::Connector;
use crate::connector::endpoint::Endpoint;
use crate::connector::tls::TlsFiles;
use crate::dial::Dial;
use crate::error::ConnectError;
use crate::send::DEFAULT_TIMEOUT;

/// A connection to be made; from [`AgentClient::connect_to_server`].
///
/// Port 443 and a host with `https://` or `wss://` mean TLS; a host with `http://` or `ws://` means plain on any
/// port. Otherwise [`Connect::use_tls`] decides, and the default is plain.
#[must_use = "a connection is not made until it is awaited"]
pub struct Connect {
    client: AgentClient,
    host: String,
    port: u16,
    dial: Option<Arc<dyn Dial>>,
    use_tls: bool,
    files: TlsFiles,
    timeout: Duration,
    hello: Hello,
}

impl Connect {
    pub(crate) fn new(client: AgentClient, host: String, port: u16) -> Self {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            client: Some(concat!("openagents-rust/", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Hello::default()
        };
        Self {
            client,
            host,
            port,
            dial: None,
            use_tls: false,
            files: TlsFiles::default(),
            timeout: DEFAULT_TIMEOUT,
            hello,
        }
    }

    pub(crate) fn client(&self) -> &AgentClient {
        &self.client
    }

    /// The same connection for another client.
    pub(crate) fn with_client(mut self, client: AgentClient) -> Self {
        self.client = client;
        self
    }

    /// A workspace token or an agent token.
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.hello.token = Some(token.into());
        self
    }

    /// The password of a group of agents, or its lower-case hex SHA-256 where that is what the workspace stores; beside a
    /// token it decides the group. Without a token, the SHA-256 of one counts as that token.
    pub fn password_hash(mut self, hash: impl Into<Secret>) -> Self {
        self.hello.password_hash = Some(hash.into());
        self
    }

    /// What the agent says of itself, a JSON object; documented keys are `name`, `capabilities`, `role`.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.hello.metadata = Some(metadata.into());
        self
    }

    /// Asks for TLS where neither port nor scheme decide.
    pub fn use_tls(mut self, use_tls: bool) -> Self {
        self.use_tls = use_tls;
        self
    }

    /// Another way to the server than TCP to its host and port, such as a Unix socket or a proxy. Host and port still
    /// name the server, in requests and for TLS.
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = Some(Arc::new(dial));
        self
    }

    /// A file with certificates in PEM that are trusted besides those of this machine.
    pub fn ca_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.authority = Some(path.into());
        self
    }

    /// Files in PEM with a certificate, to show to the server, and its key.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.files.own = Some((certificate.into(), key.into()));
        self
    }

    /// Takes any server for the one that was meant: whoever is on the way can read and change everything. Not for
    /// use beyond tests.
    pub fn trust_anybody(mut self) -> Self {
        self.files.trust_anybody = true;
        self
    }

    /// How much of what was missed while away is wanted; direct messages and mentions always are, except with
    /// [`Backlog::None`]. Default: what the operator decided, and that is by default of the channels at most 1,000
    /// events and 24 hours.
    pub fn backlog(mut self, backlog: Backlog) -> Self {
        self.hello.backlog = Some(backlog);
        self
    }

    /// The highest sequence that is handled already: the session goes on after it, or after the cursor of the
    /// workspace where that is larger.
    pub fn after(mut self, sequence: Sequence) -> Self {
        self.hello.after = Some(sequence);
        self
    }

    /// How long to wait for the session to begin; default 30 s. Reconnecting uses it for each attempt.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Watches: this session neither moves the cursor of the agent nor makes it appear online, and there may be
    /// any number of them.
    pub fn watching(mut self) -> Self {
        self.hello.session = SessionKind::Watching;
        self
    }

    async fn connect(mut self) -> Result<(), ConnectError> {
        let endpoint = Endpoint::parse(&self.host, self.port, self.use_tls)?;
        self.hello.agent_id = match self.client.core().written_id() {
            Some(written) => Some(AgentId::from_written(written)?.as_str().to_owned()),
            None => None,
        };
        if self
            .hello
            .metadata
            .as_ref()
            .is_some_and(|metadata| !metadata.is_object())
        {
            return Err(ConnectError::InvalidMetadata);
        }
        let connector = Connector::prepare(endpoint, self.dial, self.files, self.timeout).await?;
        self.hello.follow_system = self.client.core().hub.follows_system();
        self.client.core().join(connector, self.hello).await
    }
}

impl IntoFuture for Connect {
    type Output = Result<(), ConnectError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Connect");
        shown
            .field("host", &self.host)
            .field("port", &self.port)
            .field("use_tls", &self.use_tls);
        shown.finish_non_exhaustive()
    }
}

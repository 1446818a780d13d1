//! The server: binds, accepts, serves, drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use openagents_workspace::Workspace;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::host::Host;
use crate::listener::{Filtered, Listener};
use crate::socket::Socket;
use crate::{Error, connection, health, rest, tls};

/// A server that runs until it is shut down.
///
/// ```
/// # tokio_test::block_on(async {
/// use openagents_server::{Config, Server};
///
/// let directory = tempfile::tempdir()?;
/// let mut config = Config::new(directory.path());
/// config.listen = "127.0.0.1:0".parse()?;
/// let server = Server::bind(config).await?;
/// println!("ready {}", server.url());
/// server.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Server {
    host: Arc<Host>,
    local_address: SocketAddr,
    secure: bool,
    supervisor: tokio_util::task::TaskTracker,
}

impl Server {
    /// Opens the workspace and listens; resolves when connections are taken.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing is left running then.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| Error::Listen {
                listen: config.listen,
                source,
            })?;
        let local_address = listener.local_addr().map_err(|source| Error::Listen {
            listen: config.listen,
            source,
        })?;
        let listener = Filtered::new(listener, config.addresses.clone());
        Self::serve_at(config, listener, local_address).await
    }

    /// Opens the workspace and takes connections from any listener, such as one for a Unix socket; resolves when they
    /// are taken.
    ///
    /// `config.listen` stands for where clients reach it: it decides whether a token is wanted, and
    /// [`Server::local_addr`] tells it.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing is left running then.
    pub async fn serve(config: Config, listener: impl Listener) -> Result<Self, Error> {
        let local_address = config.listen;
        Self::serve_at(config, listener, local_address).await
    }

    async fn serve_at(
        config: Config,
        listener: impl Listener,
        local_address: SocketAddr,
    ) -> Result<Self, Error> {
        let workspace = Workspace::open(&config.data, config.workspace.clone())
            .await
            .map_err(|source| Error::Workspace {
                data: config.data.clone(),
                source: Box::new(source),
            })?;
        if let Err(error) = config.check_openness(workspace.has_tokens()) {
            workspace.close().await;
            return Err(error);
        }
        let acceptor = match config
            .tls
            .as_ref()
            .map(|tls| tls::acceptor(tls, &config.data))
            .transpose()
        {
            Ok(acceptor) => acceptor,
            Err(error) => {
                workspace.close().await;
                return Err(error);
            }
        };
        let secure = acceptor.is_some();
        let host = Arc::new(Host::new(workspace, &config));
        let supervisor = tokio_util::task::TaskTracker::new();
        supervisor.spawn(Arc::clone(&host).supervise());
        supervisor.spawn(accept(listener, acceptor, Arc::clone(&host)));
        supervisor.close();
        Ok(Self {
            host,
            local_address,
            secure,
            supervisor,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.local_address)
    }

    /// The workspace it serves.
    pub fn workspace(&self) -> Arc<Workspace> {
        self.host.workspace()
    }

    /// Whether everybody is admitted.
    pub fn is_open(&self) -> bool {
        self.host.is_open()
    }

    /// Stops accepting, says goodbye to every session, commits what was accepted and closes the workspace.
    pub async fn shutdown(self) {
        let host = &self.host;
        host.stopping.cancel();
        self.supervisor.wait().await;
        host.workspace().close().await;
        host.tracker.close();
        if timeout(host.limits.drain, host.tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = host.tracker.len(),
                "connections did not end in time"
            );
        }
    }
}

/// Accepts connections until the server stops.
async fn accept(mut listener: impl Listener, acceptor: Option<TlsAcceptor>, host: Arc<Host>) {
    let router = router(Arc::clone(&host));
    let in_clear = health::router(Arc::clone(&host));
    let room = Arc::new(Semaphore::new(
        host.limits.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    loop {
        let accepted = tokio::select! {
            () = host.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, most likely: those in use have to be closed first.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(
                limit = host.limits.max_connections,
                "too many connections; a new one was closed"
            );
            continue;
        };
        let socket = Socket::new(stream, permit, host.tracker.clone(), host.limits.write_timeout);
        let (acceptor, router, in_clear, host) = (
            acceptor.clone(),
            router.clone(),
            in_clear.clone(),
            Arc::clone(&host),
        );
        host.tracker.clone().spawn(async move {
            serve_socket(socket, acceptor, router, in_clear, &host).await;
        });
    }
}

async fn serve_socket(
    mut socket: Socket,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    in_clear: Router,
    host: &Arc<Host>,
) {
    let Some(acceptor) = acceptor else {
        return serve_http(socket, router, host).await;
    };
    match timeout(host.limits.hello_timeout, socket.peek()).await {
        // The first byte of a TLS handshake.
        Ok(Ok(Some(0x16))) => match timeout(host.limits.hello_timeout, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => serve_http(stream, router, host).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        Ok(Ok(Some(_))) => serve_http(socket, in_clear, host).await,
        _ => {}
    }
}

async fn serve_http<S>(stream: S, router: Router, host: &Arc<Host>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .keep_alive(host.limits.keep_alive)
        .header_read_timeout(host.limits.hello_timeout)
        .max_buf_size(16 * 1024);
    let mut serving = std::pin::pin!(
        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .with_upgrades()
    );
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = host.stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::trace!(%error, "an HTTP connection broke");
    }
}

fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/ws", get(upgrade))
        .merge(health::routes())
        .merge(rest::routes(&host))
        .fallback(rest::not_found)
        .with_state(host)
}

/// Makes a WebSocket of a request, unless it comes from the page of a foreign site.
async fn upgrade(State(host): State<Arc<Host>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !host.admits_origin(value(header::ORIGIN), value(header::HOST)) {
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response();
    }
    let limit = host.limits.max_frame_bytes;
    let token = host.tracker.token();
    upgrade
        .read_buffer_size(4 * 1024)
        .write_buffer_size(16 * 1024)
        .max_write_buffer_size(limit.saturating_mul(4).saturating_add(1024 * 1024))
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| async move {
            connection::serve(socket, host).await;
            drop(token);
        })
}

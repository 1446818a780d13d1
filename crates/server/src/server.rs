//! The server: binds, accepts, serves, drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use openagents_workspace::Workspace;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::config::{Addresses, Config};
use crate::host::Host;
use crate::line::{Line, MAX_STREAMS};
use crate::listener::{Filtered, Listener};
use crate::socket::Socket;
use crate::{Error, connection, descriptors, health, legacy, rest, tls};

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
    grpc_address: Option<SocketAddr>,
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
        let (listener, local_address) = listen_on(config.listen, &config.addresses).await?;
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
        let grpc_listener = match config.legacy.grpc {
            Some(listen) => match listen_on(listen, &config.addresses).await {
                Ok(listener) => Some(listener),
                Err(error) => {
                    workspace.close().await;
                    return Err(error);
                }
            },
            None => None,
        };
        let grpc_address = grpc_listener.as_ref().map(|(_, address)| *address);
        let host = Arc::new(Host::new(workspace, &config));
        host.desk
            .listens(local_address.port(), grpc_address.map(|address| address.port()));
        let supervisor = tokio_util::task::TaskTracker::new();
        supervisor.spawn(Arc::clone(&host).supervise());
        // One limit of connections for every port.
        let room = descriptors::connections(host.limits.max_connections);
        let room = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
        let in_clear = health::router(Arc::clone(&host));
        if let Some((listener, _)) = grpc_listener {
            let port = Port {
                router: legacy::grpc_only(Arc::clone(&host)),
                in_clear: in_clear.clone(),
                acceptor: acceptor.clone(),
            };
            supervisor.spawn(accept(listener, port, Arc::clone(&room), Arc::clone(&host)));
        }
        let port = Port {
            router: router(Arc::clone(&host)),
            in_clear,
            acceptor,
        };
        supervisor.spawn(accept(listener, port, room, Arc::clone(&host)));
        supervisor.close();
        Ok(Self {
            host,
            grpc_address,
            local_address,
            secure,
            supervisor,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
    }

    /// Where it listens for gRPC besides, if it does.
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc_address
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

async fn listen_on(listen: SocketAddr, addresses: &Addresses) -> Result<(Filtered, SocketAddr), Error> {
    let refused = |source| Error::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((Filtered::new(listener, addresses.clone()), address))
}

/// What is served at a port.
#[derive(Clone)]
struct Port {
    router: Router,
    /// Served to those that do not speak TLS where it is spoken.
    in_clear: Router,
    acceptor: Option<TlsAcceptor>,
}

/// Accepts connections until the server stops.
async fn accept(mut listener: impl Listener, port: Port, room: Arc<Semaphore>, host: Arc<Host>) {
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
            tracing::warn!("too many connections; a new one was closed");
            continue;
        };
        let socket = Socket::new(stream, permit, host.tracker.clone(), host.limits.write_timeout);
        let (port, host) = (port.clone(), Arc::clone(&host));
        host.tracker.clone().spawn(async move {
            serve_socket(socket, port, &host).await;
        });
    }
}

async fn serve_socket(mut socket: Socket, port: Port, host: &Arc<Host>) {
    let Port {
        router,
        in_clear,
        acceptor,
    } = port;
    let line = socket.line();
    let Some(acceptor) = acceptor else {
        return serve_http(socket, line, router, host).await;
    };
    match timeout(host.limits.hello_timeout, socket.peek()).await {
        // The first byte of a TLS handshake.
        Ok(Ok(Some(0x16))) => match timeout(host.limits.hello_timeout, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => serve_http(stream, line, router, host).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        Ok(Ok(Some(_))) => serve_http(socket, line, in_clear, host).await,
        _ => {}
    }
}

/// Largest headers of a request, in bytes.
const MAX_HEADERS: usize = 16 * 1024;

async fn serve_http<S>(stream: S, line: Arc<Line>, router: Router, host: &Arc<Host>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut http = auto::Builder::new(Tracked(host.tracker.clone()));
    http.http1()
        .timer(TokioTimer::new())
        .keep_alive(host.limits.keep_alive)
        .header_read_timeout(host.limits.hello_timeout)
        .max_buf_size(MAX_HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(host.limits.ping_after)
        .keep_alive_timeout(host.limits.ping_after)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX));
    let begun = Arc::new(Notify::new());
    let first = Arc::clone(&begun);
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        first.notify_one();
        request.extensions_mut().insert(Arc::clone(&line));
        router.clone().oneshot(Request::from(request))
    });
    let mut serving = std::pin::pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), answer));
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        // Whoever does not even say which HTTP it speaks is not waited for.
        () = silence(&begun, host.limits.hello_timeout) => return,
        () = host.stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::trace!(%error, "an HTTP connection broke");
    }
}

/// Resolves when no first request came in time, and never otherwise.
async fn silence(begun: &Notify, limit: Duration) {
    if timeout(limit, begun.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Runs what belongs to a connection, so that a shutdown can wait for it.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/ws", get(upgrade))
        .merge(health::routes())
        .merge(rest::routes(&host))
        .merge(legacy::routes(&host))
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

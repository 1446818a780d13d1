//! `network.transports`: where the server listens, and how it speaks there.

use std::path::{Path, PathBuf};

use anyhow::bail;
use openagents_server::{Config, Tls};

use super::keys::{Transport, TransportConfig};
use super::{Effect, LeftOut};

/// The path at which the native protocol is spoken.
const WEB_SOCKET_PATH: &str = "/ws";

/// Where gRPC is spoken besides, where the file says no port.
const GRPC_PORT: u16 = 8600;

/// Takes the first HTTP transport, or the first WebSocket where there is none: its port is for everything, and that of
/// the first gRPC transport for gRPC besides. The rules of further WebSocket transports hold there, too; all others are
/// left out.
pub(super) fn take(
    transports: Vec<Transport>,
    folder: &Path,
    config: &mut Config,
    effect: &mut Effect,
) -> anyhow::Result<()> {
    let first = |kind: &str| transports.iter().position(|transport| transport.kind == kind);
    let main = first("http").or_else(|| first("websocket"));
    for (index, transport) in transports.into_iter().enumerate() {
        let path = format!("network.transports[{index}]");
        let is_main = main == Some(index);
        if transport.kind == "grpc" && effect.grpc.is_none() {
            let written = transport.config.unwrap_or_default();
            let port = written.port.or(transport.port).unwrap_or(GRPC_PORT);
            let most = written.max_message_size.or(written.max_receive_message_size);
            if let Some(most) = most {
                config.legacy.max_message_bytes = most.in_memory();
            }
            leave_out_of_grpc(&written, &path, effect);
            effect.grpc = Some((written.host.or(transport.host), port));
            continue;
        }
        if !is_main && transport.kind != "websocket" {
            effect.left_out.push(LeftOut::new(path, transport.kind));
            continue;
        }
        let written = transport.config.unwrap_or_default();
        let (host, port) = (
            written.host.clone().or(transport.host),
            written.port.or(transport.port),
        );
        if is_main {
            (effect.host, effect.port) = (host, port);
        } else {
            let port = port.filter(|port| effect.port != Some(*port));
            let elsewhere = [("host", host.is_some()), ("port", port.is_some())];
            for (key, _) in elsewhere.into_iter().filter(|(_, written)| *written) {
                let why = "everything is on the port of the http transport";
                effect
                    .left_out
                    .push(LeftOut::new(format!("{path}.config.{key}"), why));
            }
        }
        if written
            .path
            .as_deref()
            .is_some_and(|path| path != WEB_SOCKET_PATH)
        {
            effect
                .left_out
                .push(LeftOut::new(format!("{path}.config.path"), "it is /ws"));
        }
        take_config(written, &path, folder, config)?;
    }
    Ok(())
}

/// What is said for gRPC by itself, and holds for all ports alike.
fn leave_out_of_grpc(written: &TransportConfig, path: &str, effect: &mut Effect) {
    let said = [
        ("max_connections", written.max_connections.is_some()),
        ("max_request_size", written.max_request_size.is_some()),
        ("request_timeout", written.request_timeout.is_some()),
        ("keep_alive", written.keep_alive.is_some()),
        ("cors_enabled", written.cors_enabled.is_some()),
        ("cors_origins", written.cors_origins.is_some()),
        ("tls_enabled", written.tls_enabled),
        ("tls_cert_path", written.tls_cert_path.is_some()),
        ("tls_key_path", written.tls_key_path.is_some()),
        ("path", written.path.is_some()),
        ("ping_interval", written.ping_interval.is_some()),
        ("ping_timeout", written.ping_timeout.is_some()),
    ];
    for (key, _) in said.into_iter().filter(|(_, written)| *written) {
        let why = "the http transport says it for all ports";
        effect
            .left_out
            .push(LeftOut::new(format!("{path}.config.{key}"), why));
    }
}

fn take_config(
    written: TransportConfig,
    path: &str,
    folder: &Path,
    config: &mut Config,
) -> anyhow::Result<()> {
    let limits = &mut config.limits;
    limits.max_connections = written.max_connections.unwrap_or(limits.max_connections);
    if let Some(most) = written.max_request_size.or(written.max_message_size) {
        limits.max_frame_bytes = most.in_memory();
    }
    if let Some(timeout) = written.request_timeout {
        limits.request_timeout = timeout.0;
    }
    limits.keep_alive = written.keep_alive.unwrap_or(limits.keep_alive);
    if let Some(interval) = written.ping_interval {
        limits.ping_after = interval.0;
    }
    if let Some(timeout) = written.ping_timeout {
        limits.pong_within = timeout.0;
    }
    if written.cors_enabled != Some(false) {
        config
            .allowed_origins
            .extend(written.cors_origins.unwrap_or_default());
    }
    if written.tls_enabled {
        let path = format!("{path}.config");
        config.tls = Some(certificate(
            &path,
            folder,
            written.tls_cert_path,
            written.tls_key_path,
        )?);
    }
    Ok(())
}

/// The certificate that an entry asks for.
pub(super) fn certificate(
    path: &str,
    folder: &Path,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> anyhow::Result<Tls> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Tls::Files {
            certificate: folder.join(certificate),
            key: folder.join(key),
        }),
        _ => bail!("{path}.tls_enabled: it needs the paths of a certificate and of its key beside it"),
    }
}

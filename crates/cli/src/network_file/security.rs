//! `network.security`, and the limits beside it: certificates, addresses, rates, and what messages may say.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Error};
use openagents_server::{Config, IpNet};

use super::keys::Security;
use super::transports::certificate;
use super::{Effect, LeftOut};

/// What the documentation gives for everybody, which does not mean IPv4 only.
const EVERYBODY: &str = "0.0.0.0/0";

pub(super) fn take(
    security: Security,
    folder: &Path,
    config: &mut Config,
    effect: &mut Effect,
) -> anyhow::Result<()> {
    const PATH: &str = "network.security";

    if security.tls_enabled {
        config.tls = Some(certificate(
            PATH,
            folder,
            security.tls_cert_file,
            security.tls_key_file,
        )?);
    }
    let lists = [
        ("allowed_ip_ranges", security.allowed_ip_ranges),
        ("blocked_ip_ranges", security.blocked_ip_ranges),
    ];
    for (key, written) in lists {
        let Some(written) = written else { continue };
        let path = format!("{PATH}.{key}");
        let ranges = ranges(&path, &written)?;
        if !security.firewall_enabled {
            effect
                .left_out
                .push(LeftOut::new(path, "firewall_enabled is not true"));
        } else if key == "blocked_ip_ranges" {
            config.addresses.blocked = ranges;
        } else if written != [EVERYBODY] {
            config.addresses.allowed = ranges;
        }
    }
    let content = &mut config.workspace.content;
    content.max_characters = security.max_message_length;
    match security.prohibited_words {
        Some(words) if security.content_filtering => content.prohibited_words = words,
        Some(_) => {
            let path = format!("{PATH}.prohibited_words");
            effect
                .left_out
                .push(LeftOut::new(path, "content_filtering is not true"));
        }
        None => {}
    }
    Ok(())
}

/// Ranges such as `10.0.0.0/8`, or single addresses.
fn ranges(path: &str, written: &[String]) -> anyhow::Result<Vec<IpNet>> {
    let parse = |(index, range): (usize, &String)| {
        let address = || range.parse::<IpAddr>().map(IpNet::from);
        range
            .parse()
            .or_else(|_| address())
            .map_err(Error::new)
            .with_context(|| format!("{path}[{index}]: {range:?} is no range such as `10.0.0.0/8`"))
    };
    written.iter().enumerate().map(parse).collect()
}

//! Where to connect, and whether through TLS.

use std::net::Ipv6Addr;

use crate::error::ConnectError;

/// A server: host, port, and whether TLS is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host name or address, IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Tls,
}

impl Endpoint {
    /// Reads a host as people write it: with or without scheme, brackets and path.
    ///
    /// A scheme decides about TLS. Without one, port 443 and `use_tls` ask for it.
    pub(crate) fn parse(written: &str, port: u16, use_tls: bool) -> Result<Self, ConnectError> {
        let invalid = |reason| {
            Err(ConnectError::InvalidHost {
                host: written.chars().take(256).collect(),
                reason,
            })
        };
        let trimmed = written.trim();
        let (scheme, rest) = match trimmed.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, trimmed),
        };
        let security = match scheme.as_deref() {
            Some("https" | "wss") => Security::Tls,
            Some("http" | "ws") => Security::Plain,
            Some(_) => return invalid("its scheme is none of http, https, ws, wss"),
            None if use_tls || port == 443 => Security::Tls,
            None => Security::Plain,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return invalid("it has a user name; pass a token instead");
        }
        let (host, written_port) = match authority.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, after)) => (host, after.strip_prefix(':')),
                None => return invalid("its bracket is not closed"),
            },
            None if authority.parse::<Ipv6Addr>().is_ok() => (authority, None),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if written_port.is_some_and(|text| text.parse() != Ok(port)) {
            return invalid("it names another port than the one given beside it");
        }
        let legal = |character: char| !character.is_control() && !character.is_whitespace();
        match host {
            "" => invalid("it is empty"),
            _ if 253 < host.len() => invalid("it is longer than 253 bytes"),
            _ if !host.chars().all(legal) => invalid("it has a blank or control character"),
            _ if host.contains(':') && host.parse::<Ipv6Addr>().is_err() => invalid("it is no IPv6 address"),
            _ => Ok(Self {
                host: host.to_owned(),
                port,
                security,
            }),
        }
    }

    /// Host and port as they stand in a URL.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, port: u16, use_tls: bool, expected: &str) {
        let shown = match Endpoint::parse(written, port, use_tls) {
            Ok(endpoint) => format!("{:?} {}", endpoint.security, endpoint.authority()),
            Err(ConnectError::InvalidHost { reason, .. }) => reason.to_owned(),
            Err(other) => other.to_string(),
        };
        assert_eq!(shown, expected, "{written} {port}");
    }

    #[test]
    fn port_443_a_scheme_or_the_caller_decide_about_tls() {
        check("localhost", 8700, false, "Plain localhost:8700");
        check("localhost", 8700, true, "Tls localhost:8700");
        check(
            "workspace-endpoint.openagents.org",
            443,
            false,
            "Tls workspace-endpoint.openagents.org:443",
        );
        check("https://example.org", 8700, false, "Tls example.org:8700");
        check("wss://example.org/ws", 8700, false, "Tls example.org:8700");
        check("http://example.org", 443, true, "Plain example.org:443");
        check("WS://example.org/", 443, false, "Plain example.org:443");
    }

    #[test]
    fn addresses_are_read_with_and_without_brackets() {
        check("::1", 8700, false, "Plain [::1]:8700");
        check("[::1]", 8700, false, "Plain [::1]:8700");
        check("http://[::1]:8700/path", 8700, false, "Plain [::1]:8700");
        check("127.0.0.1", 8700, false, "Plain 127.0.0.1:8700");
        check("127.0.0.1:8700", 8700, false, "Plain 127.0.0.1:8700");
    }

    #[test]
    fn what_is_no_host_is_refused_with_the_reason() {
        check("", 8700, false, "it is empty");
        check("two words", 8700, false, "it has a blank or control character");
        check(
            "ftp://example.org",
            21,
            false,
            "its scheme is none of http, https, ws, wss",
        );
        check(
            "user@example.org",
            8700,
            false,
            "it has a user name; pass a token instead",
        );
        check("[::1", 8700, false, "its bracket is not closed");
        check("[zz:1]", 8700, false, "it is no IPv6 address");
        check(
            "example.org:9999",
            8700,
            false,
            "it names another port than the one given beside it",
        );
    }
}

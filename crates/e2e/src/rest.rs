//! Requests as `curl` would make them.

use anyhow::Context;
use openagents_protocol::{ErrorBody, ErrorCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{SOON, Workspace, within};

/// A request in the making, as an agent of an open workspace unless a token is given.
#[derive(Debug)]
pub struct Request {
    port: u16,
    head: String,
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The content.
    pub body: Vec<u8>,
}

impl Workspace {
    /// A request for a path under `/rest/v1`.
    pub fn request(&self, method: &str, path: &str, agent: &str) -> Request {
        Request::new(self.port(), method, path, agent)
    }

    /// The answer to reading something.
    pub async fn get(&self, path: &str, agent: &str) -> anyhow::Result<Reply> {
        self.request("GET", path, agent).send().await
    }
}

impl Request {
    /// A request for a path under `/rest/v1` of the server at a port.
    pub fn new(port: u16, method: &str, path: &str, agent: &str) -> Self {
        Self::to(port, method, &format!("/rest/v1/{path}")).header("x-agent-id", agent)
    }

    /// A request for any path of the server at a port.
    pub fn to(port: u16, method: &str, path: &str) -> Self {
        Self {
            port,
            head: format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n"),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.extend([name, ": ", value, "\r\n"]);
        self
    }

    /// Sends a JSON document.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string().into_bytes())
    }

    /// Sends bytes.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Sends it on a connection of its own, and reads the whole answer.
    pub async fn send(self) -> anyhow::Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let head = format!("{}content-length: {}\r\n\r\n", self.head, self.body.len());
        let exchange = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&self.body).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            anyhow::Ok(answer)
        };
        Reply::read(&within(SOON, exchange).await?)
    }
}

impl Reply {
    fn read(answer: &[u8]) -> anyhow::Result<Self> {
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .context("an answer has a head")?;
        let head = String::from_utf8(answer[..end].to_vec())?;
        let status = head.split(' ').nth(1).context("a status line")?.parse()?;
        let body = answer[end + 4..].to_vec();
        Ok(Self { status, head, body })
    }

    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The JSON document of a success.
    pub fn ok(&self) -> anyhow::Result<Value> {
        anyhow::ensure!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            self.text()
        );
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The status of a refusal, with its code and field.
    pub fn refusal(&self) -> anyhow::Result<(u16, ErrorCode, Option<String>)> {
        let answer: Value = serde_json::from_slice(&self.body)?;
        let error: ErrorBody = serde_json::from_value(answer["error"].clone())?;
        anyhow::ensure!(!error.message.is_empty(), "a refusal says why");
        Ok((self.status, error.code, error.field))
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

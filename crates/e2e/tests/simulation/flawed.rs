//! Broken builds of a server, made of a good one: what it says is changed on its way to the client.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use crate::plan::Flaw;

/// A stream from a server with a flaw.
pub(crate) struct Flawed {
    inner: TcpStream,
    flaw: Flaw,
    agent: String,
    /// Came and is not looked at.
    raw: Vec<u8>,
    /// The answer to the handshake is over.
    open: bool,
    ready: VecDeque<u8>,
    /// Events that went by.
    events: u64,
    /// The last question that was answered.
    question: Option<String>,
}

/// The last direct message that came for some agent; for whoever takes it.
static STRAY: Mutex<Option<(String, Value)>> = Mutex::new(None);

impl Flawed {
    pub(crate) fn new(inner: TcpStream, flaw: Flaw, agent: &str) -> Self {
        Self {
            inner,
            flaw,
            agent: agent.to_owned(),
            raw: Vec::new(),
            open: false,
            ready: VecDeque::new(),
            events: 0,
            question: None,
        }
    }

    /// Looks at what came, as far as it is whole.
    fn look(&mut self) {
        if !self.open {
            let end = self.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else { return };
            self.ready.extend(self.raw.drain(..end + 4));
            self.open = true;
        }
        while let Some((head, length)) = frame(&self.raw) {
            let whole: Vec<u8> = self.raw.drain(..head + length).collect();
            let event = serde_json::from_slice::<Value>(&whole[head..])
                .ok()
                .filter(|frame| frame["type"] == "event");
            match event {
                Some(event) if event["sequence"].is_u64() => {
                    self.events += 1;
                    for event in self.spoil(event) {
                        self.ready.extend(text(event.to_string().as_bytes()));
                    }
                }
                Some(event)
                    if self.flaw == Flaw::KeepsSilent && event["event_name"] == "system.history.removed" => {}
                _ => self.ready.extend(whole),
            }
        }
    }

    fn spoil(&mut self, mut event: Value) -> Vec<Value> {
        match self.flaw {
            Flaw::LosesDeliveries if self.events.is_multiple_of(40) => Vec::new(),
            Flaw::DoublesDeliveries if self.events.is_multiple_of(40) => {
                let mut again = event.clone();
                again["sequence"] = (event["sequence"].as_u64().unwrap_or(0) + 1).into();
                again["event_id"] = format!("{} again", event["event_id"]).into();
                vec![event, again]
            }
            Flaw::LosesDeliveries
            | Flaw::DoublesDeliveries
            | Flaw::AcknowledgesTooEarly
            | Flaw::ForgetsCursors
            | Flaw::RemovesUnread
            | Flaw::KeepsSilent
            | Flaw::LosesRecords => vec![event],
            Flaw::LeaksMessages => {
                let mut stray = STRAY.lock().expect("poisoned");
                let direct = event["destination_id"] == format!("agent:{}", self.agent);
                let leaked = stray.take_if(|(whose, message)| {
                    *whose != self.agent && message["sequence"].as_u64() < event["sequence"].as_u64()
                });
                if direct {
                    *stray = Some((self.agent.clone(), event.clone()));
                }
                leaked
                    .map(|(_, message)| message)
                    .into_iter()
                    .chain([event])
                    .collect()
            }
            Flaw::MixesAnswers => {
                if let Some(question) = event["response_to"].as_str().map(str::to_owned)
                    && let Some(other) = self.question.replace(question)
                {
                    event["response_to"] = other.into();
                }
                vec![event]
            }
        }
    }
}

/// Length of the head and of the content of the first frame, once all of it is there.
fn frame(raw: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match *raw.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes(raw.get(2..4)?.try_into().ok()?)),
        ),
        127 => {
            let length = u64::from_be_bytes(raw.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        short => (2, usize::from(short)),
    };
    (head + length <= raw.len()).then_some((head, length))
}

/// A frame of text from a server.
fn text(content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 127];
    frame.extend((content.len() as u64).to_be_bytes());
    frame.extend(content);
    frame
}

impl AsyncRead for Flawed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ready.is_empty() {
            let mut piece = [0; 4096];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.raw.extend_from_slice(read.filled());
            self.look();
        }
        let count = buffer.remaining().min(self.ready.len());
        let bytes: Vec<u8> = self.ready.drain(..count).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flawed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

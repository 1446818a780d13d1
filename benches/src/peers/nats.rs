//! NATS as a process: core, and JetStream with its log in files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::{self, stream};
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use openagents_e2e::Peer;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::ours::Counter;
use super::{OneWay, PATIENCE, Publishes, text};
use crate::bench::{self, Bench};
use crate::processor;

/// When JetStream brings what it acknowledged to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// As it is delivered: every two minutes.
    Usual,
    /// Before it acknowledges.
    Always,
}

/// A running server.
pub(crate) struct Nats {
    process: Peer,
    address: String,
    data: PathBuf,
}

impl Nats {
    /// Serves core NATS, and JetStream beside it.
    pub(crate) async fn serve(bench: &Bench, sync: Sync) -> Result<Self> {
        let data = bench.data("nats");
        std::fs::create_dir_all(&data)?;
        let sync = match sync {
            Sync::Usual => "",
            Sync::Always => "sync_interval: always",
        };
        let folder = data.display();
        let settings = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{folder}\"\njetstream {{\nstore_dir: \"{folder}\"\n{sync}\n}}\n"
        );
        let file = data.join("nats.conf");
        std::fs::write(&file, settings)?;
        let log = data.join("log");
        let arguments = [&file, &log].map(|path| path.to_str().context("a plain path"));
        let [file, log] = arguments;
        let process = Peer::spawn(&bench.nats_server, &["-c", file?, "-l", log?], &[])?;
        let address = address(&data).await?;
        Ok(Self {
            process,
            address,
            data,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        // A client whose server was ended goes as well.
        let options = ConnectOptions::new()
            .subscription_capacity(1 << 20)
            .max_reconnects(1);
        Ok(options.connect(&self.address).await?)
    }

    /// The time of processors that the server has taken.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        processor::time_of(&self.process.id().context("it runs")?.to_string())
    }

    pub(crate) fn memory_kib(&self) -> Result<u64> {
        self.process.memory_kib()
    }

    pub(crate) async fn kill(self) -> Result<()> {
        self.process.kill().await?;
        Ok(bench::remove(&self.data)?)
    }
}

/// Where the server listens: it writes that into a file when it is ready.
async fn address(folder: &std::path::Path) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ports")
                && let Ok(told) = serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path)?)
                && let Some(address) = told["nats"][0].as_str()
            {
                return Ok(address.to_owned());
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("NATS did not become ready")
}

/// Two clients, one of which publishes what the other is subscribed to.
pub(crate) struct Messages {
    client: Client,
    subject: String,
    arrivals: mpsc::Receiver<Instant>,
    _receiving: AbortOnDropHandle<()>,
}

impl Messages {
    pub(crate) async fn begin(server: &Nats, subject: &str) -> Result<Self> {
        let receiver = server.connect().await?;
        let mut messages = receiver.subscribe(subject.to_owned()).await?;
        receiver.flush().await?;
        let (arrived, arrivals) = mpsc::channel(1);
        let receiving = TaskTracker::new().spawn(async move {
            while messages.next().await.is_some() && arrived.send(Instant::now()).await.is_ok() {}
        });
        Ok(Self {
            client: server.connect().await?,
            subject: subject.to_owned(),
            arrivals,
            _receiving: AbortOnDropHandle::new(receiving),
        })
    }
}

impl OneWay for Messages {
    async fn send(&mut self) -> Result<Duration> {
        let (subject, payload) = (self.subject.clone(), text::payload());
        let begun = Instant::now();
        self.client.publish(subject, payload).await?;
        Ok(self.arrivals.recv().await.context("the receiver is gone")? - begun)
    }
}

/// Publishes to core NATS, which acknowledges nothing.
pub(crate) struct Publisher {
    client: Client,
    subject: String,
}

impl Publisher {
    pub(crate) async fn to(server: &Nats, subject: &str) -> Result<Self> {
        Ok(Self {
            client: server.connect().await?,
            subject: subject.to_owned(),
        })
    }
}

impl Publishes for Publisher {
    async fn publish(&self) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        self.client.publish(self.subject.clone(), text::payload()).await?;
        Ok(std::future::ready(Ok(())))
    }
}

/// A client that counts what it gets of a subject; it goes when this is dropped.
pub(crate) struct Subscriber {
    _client: Client,
    _counting: AbortOnDropHandle<()>,
}

impl Subscriber {
    pub(crate) async fn begin(server: &Nats, subject: &str, counter: &Counter) -> Result<Self> {
        let client = server.connect().await?;
        let mut messages = client.subscribe(subject.to_owned()).await?;
        client.flush().await?;
        let counter = counter.clone();
        let counting = TaskTracker::new().spawn(async move {
            while messages.next().await.is_some() {
                counter.count();
            }
        });
        Ok(Self {
            _client: client,
            _counting: AbortOnDropHandle::new(counting),
        })
    }
}

/// A client whose questions another one answers.
pub(crate) struct Asker {
    client: Client,
    _answering: AbortOnDropHandle<()>,
}

impl Asker {
    pub(crate) async fn begin(server: &Nats) -> Result<Self> {
        let answerer = server.connect().await?;
        let mut questions = answerer.subscribe("question").await?;
        answerer.flush().await?;
        let answering = TaskTracker::new().spawn(async move {
            while let Some(question) = questions.next().await {
                if let Some(reply) = question.reply
                    && answerer.publish(reply, text::payload()).await.is_err()
                {
                    break;
                }
            }
        });
        Ok(Self {
            client: server.connect().await?,
            _answering: AbortOnDropHandle::new(answering),
        })
    }
}

impl OneWay for Asker {
    async fn send(&mut self) -> Result<Duration> {
        let payload = text::payload();
        let begun = Instant::now();
        self.client.request("question", payload).await?;
        Ok(begun.elapsed())
    }
}

const STREAM: &str = "messages";

/// A stream of JetStream.
pub(crate) struct JetStream {
    stream: stream::Stream,
    client: Client,
}

impl JetStream {
    pub(crate) async fn begin(server: &Nats) -> Result<Self> {
        let client = server.connect().await?;
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![STREAM.to_owned()],
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        let stream = jetstream::new(client.clone()).create_stream(config).await?;
        Ok(Self { stream, client })
    }

    /// Counts what a consumer is given in order, from the first message on.
    pub(crate) async fn consume(&self, counter: &Counter) -> Result<AbortOnDropHandle<()>> {
        let config = OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            ..OrderedConfig::default()
        };
        let mut messages = self.stream.create_consumer(config).await?.messages().await?;
        let counter = counter.clone();
        Ok(AbortOnDropHandle::new(TaskTracker::new().spawn(async move {
            while let Some(Ok(_)) = messages.next().await {
                counter.count();
            }
        })))
    }
}

/// Publishes to JetStream.
pub(crate) struct StreamPublisher(jetstream::Context);

impl StreamPublisher {
    pub(crate) async fn begin(server: &Nats) -> Result<Self> {
        let mut context = jetstream::new(server.connect().await?);
        context.set_timeout(PATIENCE);
        Ok(Self(context))
    }
}

impl Publishes for StreamPublisher {
    async fn publish(&self) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let acknowledged = self.0.publish(STREAM, text::payload()).await?;
        Ok(async move {
            acknowledged.await?;
            Ok(())
        })
    }
}

//! `openagents files`: listed, sent, fetched and deleted.

mod target;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use openagents_client::{AgentClient, CallError, FileError, FileInfo};
use openagents_protocol::EventId;
use openagents_protocol::call::{DeleteFile, GetFile, ListFiles};

use self::target::Target;
use crate::connect::Connection;
use crate::outcome;
use crate::output::{self, Output};
use crate::progress::{self, Progress};

const EXAMPLES: &str = "\
Files are streamed, so their size does not matter; the workspace has them under an id.

Examples:
  openagents files
  openagents files upload report.md --channel general --description 'What we found'
  openagents files upload data.csv --to reviewer
  openagents files download 01990f3c-…                   under its own name, in this folder
  openagents files download 01990f3c-… - | less
  openagents files delete 01990f3c-…";

/// List files, send and fetch them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the files that you may read, newest first, as without a subcommand
    List(List),
    /// Send a file: to a channel, to an agent, or else to everybody
    Upload(Box<Upload>),
    /// Fetch a file; it is there when all of it is and its checksum was compared
    Download(Box<Download>),
    /// Tell everything about a file
    Describe(One),
    /// Delete a file, content and all; for who uploaded it and for moderators
    Delete(One),
}

#[derive(Debug, Args)]
struct List {
    /// Only those of this channel
    #[arg(long)]
    channel: Option<String>,
    /// Only those that you and this agent sent each other
    #[arg(long, value_name = "ID", conflicts_with = "channel")]
    agent_with: Option<String>,
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Only those before this sequence
    #[arg(long, value_name = "SEQUENCE")]
    before: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Upload {
    /// The file to send
    path: PathBuf,
    /// Share it in this channel
    #[arg(long)]
    channel: Option<String>,
    /// Send it to this agent
    #[arg(long, value_name = "ID", conflicts_with = "channel")]
    to: Option<String>,
    /// What it is, at most 1,000 bytes
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Words to find it by, at most 20
    #[arg(long, value_name = "WORD,…", value_delimiter = ',')]
    tags: Vec<String>,
    /// Show it under another name
    #[arg(long)]
    name: Option<String>,
    /// Media type, such as text/csv [default: made of the name]
    #[arg(long, value_name = "TYPE")]
    mime_type: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Download {
    /// Id of the file
    #[arg(value_name = "FILE")]
    file_id: EventId,
    /// Where to put it: a file, a folder, or - for stdout [default: under its own name, in this folder]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct One {
    /// Id of the file
    #[arg(value_name = "FILE")]
    file_id: EventId,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments { command, list: plain } = arguments;
    match command {
        None => list(plain, output).await,
        Some(Command::List(wanted)) => list(wanted, output).await,
        Some(Command::Upload(wanted)) => upload(*wanted, output).await,
        Some(Command::Download(wanted)) => download(*wanted, output).await,
        Some(Command::Describe(One { file_id, connection })) => {
            let client = connection.watch().await?;
            describe(&outcome::ask(client, GetFile { file_id }).await?, output)
        }
        Some(Command::Delete(One { file_id, connection })) => {
            let done = format!("deleted {file_id}");
            outcome::change(&connection, DeleteFile { file_id }, output, done).await
        }
    }
}

async fn list(wanted: List, output: Output) -> anyhow::Result<()> {
    let List {
        channel,
        agent_with: agent_id,
        limit,
        before,
        connection,
    } = wanted;
    let client = connection.watch().await?;
    let params = ListFiles {
        channel,
        agent_id,
        limit: Some(limit),
        before,
    };
    let page = outcome::ask(client, params).await?;
    match output {
        Output::Json => output::json(&page)?,
        Output::Human if page.files.is_empty() => output::note("there are none"),
        Output::Human => {
            let rows: Vec<_> = page.files.iter().map(row).collect();
            output::table(["FILE", "SIZE", "FROM", "TO", "SHARED", "NAME"], &rows)?;
            if let (true, Some(oldest)) = (page.has_more, page.files.last()) {
                output::note(format!("older ones: --before {}", oldest.sequence));
            }
        }
    }
    Ok(())
}

fn row(file: &FileInfo) -> [String; 6] {
    [
        file.file_id.clone(),
        progress::size(file.size),
        output::printable_line(&file.uploader),
        place(file),
        output::moment(file.timestamp),
        output::printable_line(&file.filename),
    ]
}

fn place(file: &FileInfo) -> String {
    match (&file.channel, &file.target_id) {
        (Some(channel), _) => format!("#{}", output::printable_line(channel)),
        (None, Some(agent)) => output::printable_line(agent),
        (None, None) => "everybody".to_owned(),
    }
}

fn describe(file: &FileInfo, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return Ok(output::json(file)?);
    }
    let [id, size, from, to, shared, name] = row(file);
    output::fields(&[
        ("file", id),
        ("name", name),
        (
            "size",
            if file.size < 1024 {
                size
            } else {
                format!("{size} ({} bytes)", file.size)
            },
        ),
        ("type", output::printable_line(&file.mime_type)),
        ("sha-256", file.checksum.clone()),
        ("from", from),
        ("to", to),
        ("shared", shared),
        ("description", output::printable_line(&file.description)),
        ("tags", output::printable_line(&file.tags.join(", "))),
    ])?;
    Ok(())
}

async fn upload(wanted: Upload, output: Output) -> anyhow::Result<()> {
    let Upload {
        path, channel, to, ..
    } = &wanted;
    // What cannot be sent is known before anybody is asked.
    let metadata = tokio::fs::metadata(path).await;
    let metadata = metadata.with_context(|| format!("cannot use {}", path.display()))?;
    if !metadata.is_file() {
        bail!(
            "{} is no file: send files one by one, or an archive of them",
            path.display()
        );
    }
    let client = wanted.connection.watch().await?;
    let workspace = client.workspace();
    let mut sending = match (channel, to) {
        (Some(channel), _) => workspace.channel(channel).upload_file(path),
        (None, Some(agent)) => workspace.agent(agent).send_file(path),
        (None, None) => workspace.upload_file(path),
    };
    if let Some(description) = &wanted.description {
        sending = sending.description(description);
    }
    if !wanted.tags.is_empty() {
        let tags: Vec<&str> = wanted.tags.iter().map(String::as_str).collect();
        sending = sending.tags(&tags);
    }
    if let Some(name) = &wanted.name {
        sending = sending.filename(name);
    }
    if let Some(mime_type) = &wanted.mime_type {
        sending = sending.mime_type(mime_type);
    }
    let progress = Progress::new(output);
    let sent = sending.progress(move |done, all| progress.tell(done, all)).await;
    client.disconnect().await;
    let file = sent.map_err(plain)?;
    match output {
        Output::Json => output::json(&file)?,
        Output::Human => {
            let (id, name, size) = (
                &file.file_id,
                output::printable_line(&file.filename),
                progress::size(file.size),
            );
            output::line(format!("shared {name} ({size}) with {} as {id}", place(&file)))?;
        }
    }
    Ok(())
}

async fn download(wanted: Download, output: Output) -> anyhow::Result<()> {
    let Download {
        file_id,
        path,
        force,
        connection,
    } = wanted;
    let client = connection.watch().await?;
    let fetched = fetch(&client, &file_id, path, force, output).await;
    client.disconnect().await;
    let Some((file, path)) = fetched? else {
        return Ok(());
    };
    match output {
        Output::Json => {
            let mut told = serde_json::to_value(&file)?;
            told["path"] = path.display().to_string().into();
            output::json(&told)?;
        }
        Output::Human => {
            let size = progress::size(file.size);
            output::line(format!(
                "fetched {} ({size})",
                output::printable_line(&path.display().to_string())
            ))?;
        }
    }
    Ok(())
}

/// Fetches a file to where it is wanted; tells nothing where that is stdout.
async fn fetch(
    client: &AgentClient,
    file_id: &EventId,
    path: Option<PathBuf>,
    force: bool,
    output: Output,
) -> anyhow::Result<Option<(FileInfo, PathBuf)>> {
    let workspace = client.workspace();
    let target = Target::of(path);
    if let Target::Stdout = target {
        let mut content = workspace.open_file(file_id.as_str()).await.map_err(plain)?;
        let mut stdout = std::io::stdout();
        while let Some(piece) = content.next().await? {
            stdout.write_all(&piece)?;
        }
        stdout.flush()?;
        return Ok(None);
    }
    let file = workspace
        .get_file(file_id.as_str())
        .await
        .map_err(FileError::from)
        .map_err(plain)?;
    let path = target.path(&file.filename)?;
    if !force && tokio::fs::symlink_metadata(&path).await.is_ok() {
        bail!(
            "{} is there already: give another path, or replace it with --force",
            path.display()
        );
    }
    let progress = Progress::new(output);
    let fetching = workspace
        .download_file(file_id.as_str(), &path)
        .progress(move |done, all| progress.tell(done, all));
    let path = fetching.await.map_err(plain)?;
    Ok(Some((file, path)))
}

/// What the workspace said, as it said it.
fn plain(error: FileError) -> anyhow::Error {
    match error {
        FileError::Refused(error) | FileError::Call(CallError::Refused(error)) => error.into(),
        error => error.into(),
    }
}

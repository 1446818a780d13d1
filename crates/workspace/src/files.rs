//! Files: uploaded, listed, downloaded and deleted. Their content is in [`Blobs`], everything else in the log.

mod blobs;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use openagents_protocol::call::{DEFAULT_MESSAGES, DeleteFile, FileInfo, Files, GetFile, ListFiles};
use openagents_protocol::record::{Act, Body, Record, SharedFile};
use openagents_protocol::{
    Address, ErrorBody, ErrorCode, EventId, EventName, Header, Receipt, Sequence, Source,
};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction, Stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use self::blobs::BlobWriter;
pub(crate) use self::blobs::{Blobs, Error as BlobError};
use crate::calls::{agent_id, channel_name, page_limit, seconds, unreadable};
use crate::commit::Commit;
use crate::decide::{Wish, no_channel};
use crate::entitlement::{is_visible, may_read_history};
use crate::live::Waking;
use crate::rights::permission::{DELETE_POSTS, READ_CHANNELS};
use crate::workspace::{Caller, Inner, Workspace};

/// Longest name of a file, in bytes.
const MAX_FILENAME: usize = 255;

/// Longest description of a file, in bytes.
const MAX_DESCRIPTION: usize = 1000;

/// Most tags of a file, and the longest in bytes.
const MAX_TAGS: usize = 20;
const MAX_TAG: usize = 64;

/// Blobs that no file refers to are kept for this long: an upload may be about to be shared.
const UNREFERENCED: Duration = Duration::from_hours(24);

/// Records looked through at once while listing.
const CHUNK: usize = 256;

/// A file that somebody wants to share.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// Name to be shown; 1 to 255 bytes without control characters.
    pub filename: String,
    /// The channel it is shared in.
    pub channel: Option<String>,
    /// The agent it is sent to. With neither, it is shared with everyone.
    pub agent_id: Option<String>,
    /// What it is; at most 1,000 bytes.
    pub description: String,
    /// Words to find it by; at most 20 of at most 64 bytes.
    pub tags: Vec<String>,
    /// Media type; made of the name when there is none.
    pub mime_type: Option<String>,
    /// Bytes, where they are known beforehand.
    pub size: Option<u64>,
}

/// A file that is being uploaded. Dropped before it is finished, nothing remains.
#[derive(Debug)]
pub struct FileUpload {
    workspace: Workspace,
    caller: Caller,
    file_id: EventId,
    destination: Address,
    file: SharedFile,
    declared: Option<u64>,
    /// The most bytes it may have.
    limit: u64,
    writer: BlobWriter,
    _turn: OwnedSemaphorePermit,
}

/// The content of a file, in pieces.
pub type FileContent = BoxStream<'static, std::io::Result<Bytes>>;

impl Workspace {
    /// Begins an upload.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `too_large`, `limit_reached`, and whatever refuses an event to that destination.
    pub async fn begin_upload(&self, caller: &Caller, new: NewFile) -> Result<FileUpload, ErrorBody> {
        let destination = match (&new.channel, &new.agent_id) {
            (Some(channel), None) => Address::Channel(channel_name("channel", channel)?),
            (None, Some(agent)) => Address::Agent(agent_id("agent_id", agent)?),
            (None, None) => Address::Everyone,
            (Some(_), Some(_)) => {
                let message = "either a channel or an agent_id, not both";
                return Err(ErrorBody::field(ErrorCode::InvalidField, "channel", message));
            }
        };
        let file = describe(&new)?;
        let inner = self.inner();
        let uploads = Arc::clone(&inner.uploads);
        let turn = uploads.try_acquire_owned().map_err(|_| {
            let message = "too many uploads at once; try again in a moment";
            ErrorBody::new(ErrorCode::LimitReached, message)
        })?;
        let file_id = EventId::new();
        let file = SharedFile {
            size: new.size.unwrap_or(0),
            ..file
        };
        // What will be refused is refused before anything is sent.
        let rehearsal = Wish::ShareFile {
            file_id: file_id.clone(),
            file: file.clone(),
            destination: destination.clone(),
            rehearsal: true,
        };
        self.wish_for(caller, rehearsal).await?;
        let limit = self.largest_file(&destination);
        let writer = inner
            .blobs
            .begin(&file_id)
            .await
            .map_err(|error| unwritable(&error))?;
        Ok(FileUpload {
            workspace: self.clone(),
            caller: caller.clone(),
            file_id,
            destination,
            file,
            declared: new.size,
            limit,
            writer,
            _turn: turn,
        })
    }

    /// The most bytes that a file may have there.
    fn largest_file(&self, destination: &Address) -> u64 {
        let most = self.settings().max_file_bytes;
        let snapshot = self.snapshot();
        let channel = match destination {
            Address::Channel(channel) => snapshot.state.channels.get(channel),
            _ => None,
        };
        let here = channel.and_then(|channel| channel.settings.max_file_size);
        here.unwrap_or(most).min(most)
    }

    /// Tells about one file.
    ///
    /// # Errors
    ///
    /// `file_not_found`.
    pub async fn get_file(&self, caller: &Caller, params: GetFile) -> Result<FileInfo, ErrorBody> {
        let record = self.readable_file(caller, &params.file_id).await?;
        file_info(&record).ok_or_else(|| no_file(&params.file_id))
    }

    /// Lists the files that the caller may read, newest first.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `invalid_name`, `channel_not_found`, `agent_not_found`.
    pub async fn list_files(&self, caller: &Caller, params: ListFiles) -> Result<Files, ErrorBody> {
        let limit = page_limit(params.limit, DEFAULT_MESSAGES)?;
        let channel = params
            .channel
            .as_deref()
            .map(|channel| channel_name("channel", channel))
            .transpose()?;
        let other = params
            .agent_id
            .as_deref()
            .map(|agent| agent_id("agent_id", agent))
            .transpose()?;
        let snapshot = self.snapshot();
        if let Some(name) = channel
            .as_ref()
            .filter(|name| !snapshot.state.channels.contains_key(*name))
        {
            return Err(no_channel(name));
        }
        if let Some(agent) = other
            .as_ref()
            .filter(|id| !snapshot.state.agents.contains_key(*id))
        {
            let message = format!("no agent {agent} was ever here");
            return Err(ErrorBody::field(ErrorCode::AgentNotFound, "agent_id", message));
        }
        let wanted = |record: &Record| {
            let destination = &record.header.destination;
            let in_channel = channel
                .as_ref()
                .is_none_or(|channel| *destination == Address::Channel(channel.clone()));
            let with_other = other.as_ref().is_none_or(|other| {
                let sides = [record.header.source.agent(), addressee(destination)];
                let between = sides.contains(&Some(other)) && sides.contains(&Some(&caller.agent_id));
                addressee(destination).is_some() && between
            });
            in_channel && with_other && self.may_read_file(caller, record)
        };
        let mut before = params.before.map_or(Sequence::MAX, |before| {
            Sequence::new(before.min(Sequence::MAX.get()))
        });
        let inner = self.inner();
        inner.indexed_or_stalled(self.head()).await;
        let mut files = Vec::new();
        loop {
            let bounds = Bounds {
                before,
                ..Bounds::default()
            };
            let read = async {
                let page = inner
                    .view
                    .page(Stream::Files, bounds, Direction::Backward, 0, CHUNK);
                let mut records = inner.log.read_at(page.await?).await?;
                inner.empty_deleted(&mut records).await?;
                Ok(records)
            };
            let records: Vec<Record> = read.await.map_err(|error: StoreError| unreadable(&error))?;
            let Some(oldest) = records.first() else {
                return Ok(Files {
                    files,
                    has_more: false,
                });
            };
            before = oldest.sequence;
            for record in records.iter().rev().filter(|record| wanted(record)) {
                if files.len() == limit {
                    return Ok(Files {
                        files,
                        has_more: true,
                    });
                }
                files.extend(file_info(record));
            }
        }
    }

    /// The content of a file, or the part of it that is asked for by the first byte and the one after the last; those
    /// who may read the file are told of it.
    ///
    /// # Errors
    ///
    /// `file_not_found`, `storage_unavailable`.
    pub async fn read_file(
        &self,
        caller: &Caller,
        file_id: &EventId,
        part: Option<std::ops::Range<u64>>,
    ) -> Result<(FileInfo, FileContent), ErrorBody> {
        let record = self.readable_file(caller, file_id).await?;
        let info = file_info(&record).ok_or_else(|| no_file(file_id))?;
        let whole = 0..info.size;
        let part = part.unwrap_or(whole.clone());
        let part = part.start.min(whole.end)..part.end.min(whole.end);
        let inner = self.inner();
        let content = inner.blobs.read(file_id, part).await.map_err(|error| {
            tracing::error!(%error, %file_id, "the content of a file could not be read");
            if let blobs::Error::NotFound { .. } = error {
                let message = format!("the content of file {file_id} is lost; ask for it to be shared again");
                return ErrorBody::field(ErrorCode::FileNotFound, "file_id", message);
            }
            ErrorBody::new(
                ErrorCode::StorageUnavailable,
                "the content could not be read; try again",
            )
        })?;
        self.tell_download(caller, &record);
        Ok((
            info,
            content.map(|piece| piece.map_err(std::io::Error::other)).boxed(),
        ))
    }

    /// The content of a file for an agent that is told of it; no download is told of.
    ///
    /// # Errors
    ///
    /// `file_not_found`, `storage_unavailable`.
    pub async fn peek_file(&self, caller: &Caller, file_id: &EventId) -> Result<FileContent, ErrorBody> {
        let record = self.readable_file(caller, file_id).await?;
        let info = file_info(&record).ok_or_else(|| no_file(file_id))?;
        let content = self.inner().blobs.read(file_id, 0..info.size).await;
        let content = content.map_err(|error| {
            tracing::error!(%error, %file_id, "the content of a file could not be read");
            ErrorBody::new(
                ErrorCode::StorageUnavailable,
                "the content could not be read; try again",
            )
        })?;
        Ok(content.map(|piece| piece.map_err(std::io::Error::other)).boxed())
    }

    /// Deletes a file, content and all.
    ///
    /// # Errors
    ///
    /// `file_not_found`, `forbidden` unless the caller uploaded it or moderates.
    pub async fn delete_file(&self, caller: &Caller, params: DeleteFile) -> Result<Receipt, ErrorBody> {
        let file_id = params.file_id;
        let inner = self.inner();
        let found = inner.find_event(&file_id).await;
        let found = found.map_err(|error| unreadable(&error))?;
        // Who shared it, and moderators, delete what they cannot read any more, too.
        let known = found.filter(|record| {
            let own = record.header.source.agent() == Some(&caller.agent_id);
            let deletes = own || caller.rights().has(DELETE_POSTS);
            record.body.is_some() && (deletes || self.may_read_file(caller, record))
        });
        let Some(Act::FileShared { size }) = known.map(|record| record.header.act) else {
            return Err(no_file(&file_id));
        };
        self.wish_for(caller, Wish::DeleteFile { file_id, size }).await
    }

    async fn readable_file(&self, caller: &Caller, file_id: &EventId) -> Result<Record, ErrorBody> {
        let found = self
            .inner()
            .find_event(file_id)
            .await
            .map_err(|error| unreadable(&error))?;
        found
            .filter(|record| self.may_read_file(caller, record))
            .ok_or_else(|| no_file(file_id))
    }

    fn may_read_file(&self, caller: &Caller, record: &Record) -> bool {
        let header = &record.header;
        let shared = matches!(header.act, Act::FileShared { .. }) && record.body.is_some();
        let own = header.source.agent() == Some(&caller.agent_id);
        let snapshot = self.snapshot();
        shared
            && is_visible(&caller.agent_id, header)
            && match &header.destination {
                Address::Channel(channel) => {
                    let there = snapshot.state.channels.get(channel);
                    there.is_some_and(|channel| channel.created_at <= record.sequence)
                        && may_read_history(&snapshot.state, &caller.agent_id, channel)
                        && caller.rights().require(READ_CHANNELS).is_ok()
                }
                Address::Agent(addressee) => own || *addressee == caller.agent_id,
                Address::Everyone => true,
                _ => false,
            }
    }

    /// Tells those who may read a file that somebody downloads it.
    fn tell_download(&self, caller: &Caller, record: &Record) {
        let name: EventName = "workspace.file.downloaded".parse().expect("a valid name");
        let payload = json!({
            "file_id": record.header.event_id.as_str(),
            "downloader": caller.agent_id.as_str(),
        });
        let body = Body {
            payload: payload.into(),
            ..Body::empty()
        };
        // What was sent to the caller was sent by the one who is told.
        let destination = match (&record.header.destination, record.header.source.agent()) {
            (Address::Agent(addressee), Some(sender)) if *addressee == caller.agent_id => {
                Address::Agent(sender.clone())
            }
            (destination, _) => destination.clone(),
        };
        let now_ms = self.settings().clock.now_ms();
        let source = Source::Agent(caller.agent_id.clone());
        let header = Header::new(name, source, destination, now_ms, Act::Event {}, &body);
        let commit = Arc::new(Commit::new(Record {
            sequence: Sequence::ZERO,
            header,
            body: Some(body),
        }));
        let mut waking = Waking::default();
        self.inner()
            .live
            .route(&self.snapshot().state, &commit, &mut waking);
        waking.wake();
    }

    /// Deletes the files of channels that are deleted: nobody can read them, and they take room.
    async fn delete_unreachable_files(&self) -> Result<(), StoreError> {
        let inner = self.inner();
        inner.indexed_through(self.head()).await;
        let mut before = Sequence::MAX;
        loop {
            let bounds = Bounds {
                before,
                ..Bounds::default()
            };
            let page = inner
                .view
                .page(Stream::Files, bounds, Direction::Backward, 0, CHUNK);
            let mut records = inner.log.read_at(page.await?).await?;
            let Some(oldest) = records.first() else {
                return Ok(());
            };
            before = oldest.sequence;
            inner.empty_deleted(&mut records).await?;
            let snapshot = self.snapshot();
            let unreachable = |record: &Record| match &record.header.destination {
                Address::Channel(name) => {
                    let channel = snapshot.state.channels.get(name);
                    channel.is_none_or(|channel| record.sequence < channel.created_at)
                }
                _ => false,
            };
            for record in records
                .iter()
                .filter(|record| record.body.is_some() && unreachable(record))
            {
                if let Act::FileShared { size } = record.header.act {
                    let file_id = record.header.event_id.clone();
                    let wish = Wish::DeleteFile { file_id, size };
                    if let Err(error) = self.wish(&Source::System, wish).await {
                        tracing::warn!(%error, "could not delete a file of a deleted channel");
                    }
                }
            }
        }
    }

    /// Removes blobs that no file refers to.
    pub(crate) async fn collect_blobs(&self) {
        let inner = self.inner();
        let now = UNIX_EPOCH + Duration::from_millis(self.settings().clock.now_ms());
        let Some(time) = now.checked_sub(UNREFERENCED) else {
            return;
        };
        let collect = async {
            for id in inner
                .blobs
                .older_than(time)
                .await
                .map_err(|error| error.to_string())?
            {
                let found = inner.find_event(&id).await.map_err(|error| error.to_string())?;
                let is_file = |record: &Record| matches!(record.header.act, Act::FileShared { .. });
                if found.is_none_or(|record| !is_file(&record) || record.body.is_none()) {
                    tracing::info!(file_id = %id, "removing a blob that no file refers to");
                    inner.blobs.delete(&id).await.map_err(|error| error.to_string())?;
                }
            }
            Ok::<(), String>(())
        };
        if let Err(error) = collect.await {
            tracing::warn!(error, "could not look for blobs that no file refers to");
        }
    }
}

impl Inner {
    /// Takes the bodies out of records that the view knows to be deleted, erased yet or not.
    async fn empty_deleted(&self, records: &mut [Record]) -> Result<(), StoreError> {
        let ids = records.iter().map(|record| record.header.event_id.clone());
        let found = self.view.find(ids.collect()).await?;
        let deleted = found.into_iter().filter(|found| found.deleted);
        let deleted: HashSet<EventId> = deleted.map(|found| found.event_id).collect();
        for record in records {
            if deleted.contains(&record.header.event_id) {
                record.body = None;
            }
        }
        Ok(())
    }
}

impl FileUpload {
    /// The id that the file will have.
    pub fn file_id(&self) -> &EventId {
        &self.file_id
    }

    /// Writes the next piece.
    ///
    /// # Errors
    ///
    /// `too_large` once it is larger than the limit or than was declared, `storage_full`, `storage_unavailable`.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), ErrorBody> {
        let size = self.writer.size() + piece.len() as u64;
        let limit = self.limit;
        if limit < size {
            let message = format!("a file has at most {limit} bytes here");
            return Err(ErrorBody::field(ErrorCode::TooLarge, "content", message));
        }
        if self.declared.is_some_and(|declared| declared < size) {
            let message = "there is more content than was declared";
            return Err(ErrorBody::field(ErrorCode::InvalidField, "content", message));
        }
        self.writer.write(piece).await.map_err(|error| unwritable(&error))
    }

    /// Makes the content durable, compares its checksum with the one that was expected, and shares the file.
    ///
    /// # Errors
    ///
    /// `checksum_mismatch`, `invalid_field` where content is missing, and whatever refuses the event; nothing remains
    /// then.
    pub async fn finish(mut self, expected: Option<&str>) -> Result<(FileInfo, Receipt), ErrorBody> {
        let size = self.writer.size();
        if self.declared.is_some_and(|declared| declared != size) {
            let message = "there is less content than was declared";
            return Err(ErrorBody::field(ErrorCode::InvalidField, "content", message));
        }
        self.file.size = size;
        let Self {
            workspace,
            caller,
            file_id,
            destination,
            mut file,
            writer,
            ..
        } = self;
        let blobs = workspace.inner().blobs.clone();
        file.checksum = writer.finish().await.map_err(|error| unwritable(&error))?;
        let shared = async {
            if let Some(expected) = expected.filter(|expected| !expected.eq_ignore_ascii_case(&file.checksum))
            {
                let message = format!("the content has the SHA-256 {}, not {expected}", file.checksum);
                return Err(ErrorBody::field(ErrorCode::ChecksumMismatch, "checksum", message));
            }
            let wish = Wish::ShareFile {
                file_id: file_id.clone(),
                file,
                destination,
                rehearsal: false,
            };
            workspace.wish_for(&caller, wish).await
        };
        let outcome = shared.await;
        if let Err(error) = &outcome
            // After a failure of the store nobody knows whether the event was stored: the collector will.
            && error.code != ErrorCode::StorageUnavailable
            && let Err(error) = blobs.delete(&file_id).await
        {
            tracing::warn!(%error, %file_id, "a blob stays until it is collected");
        }
        let receipt = outcome?;
        let record = workspace.inner().find_event(&file_id).await;
        let record = record.map_err(|error| unreadable(&error))?;
        let info = record
            .as_ref()
            .and_then(file_info)
            .ok_or_else(|| no_file(&file_id))?;
        Ok((info, receipt))
    }
}

/// Looks for files of deleted channels, and for blobs that no file refers to, at regular times, until the workspace
/// closes.
pub(crate) async fn collect(workspace: Workspace) {
    let inner = workspace.inner();
    let mut ticks = tokio::time::interval(inner.settings.housekeeping);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.closing.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let work = async {
            if inner.unreachable_files.swap(false, Ordering::AcqRel)
                && let Err(error) = workspace.delete_unreachable_files().await
            {
                tracing::warn!(%error, "could not look for files of deleted channels");
                inner.unreachable_files.store(true, Ordering::Release);
            }
            workspace.collect_blobs().await;
        };
        tokio::select! {
            () = inner.closing.cancelled() => return,
            () = work => {}
        }
    }
}

/// What is known of a file before its content is.
fn describe(new: &NewFile) -> Result<SharedFile, ErrorBody> {
    let invalid =
        |field: &str, message: String| Err(ErrorBody::field(ErrorCode::InvalidField, field, message));
    let name = &new.filename;
    if name.is_empty() || MAX_FILENAME < name.len() || name.contains(char::is_control) {
        let message = format!("1 to {MAX_FILENAME} bytes without control characters");
        return invalid("filename", message);
    }
    if MAX_DESCRIPTION < new.description.len() {
        return invalid("description", format!("at most {MAX_DESCRIPTION} bytes"));
    }
    if MAX_TAGS < new.tags.len() || new.tags.iter().any(|tag| tag.is_empty() || MAX_TAG < tag.len()) {
        return invalid("tags", format!("at most {MAX_TAGS} tags of 1 to {MAX_TAG} bytes"));
    }
    let mime_type = match &new.mime_type {
        Some(written) => {
            let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            if 128 < written.len() || !written.contains('/') || !written.bytes().all(plain) {
                return invalid(
                    "mime_type",
                    "a media type such as `text/csv`, at most 128 bytes".to_owned(),
                );
            }
            written.clone()
        }
        None => mime_guess::from_path(name).first_or_octet_stream().to_string(),
    };
    Ok(SharedFile {
        filename: name.clone(),
        size: 0,
        mime_type,
        checksum: String::new(),
        description: new.description.clone(),
        tags: new.tags.clone(),
    })
}

fn file_info(record: &Record) -> Option<FileInfo> {
    let header = &record.header;
    let file = record.shared_file()?;
    let channel = match &header.destination {
        Address::Channel(channel) => Some(channel.to_string()),
        _ => None,
    };
    Some(FileInfo {
        file_id: header.event_id.to_string(),
        id: header.event_id.to_string(),
        filename: file.filename.clone(),
        name: file.filename,
        size: file.size,
        mime_type: file.mime_type,
        checksum: file.checksum,
        uploader: header.source.to_string(),
        description: file.description,
        tags: file.tags,
        channel,
        target_id: addressee(&header.destination).map(ToString::to_string),
        timestamp: seconds(header.time_ms),
        sequence: record.sequence,
    })
}

fn addressee(destination: &Address) -> Option<&openagents_protocol::AgentId> {
    match destination {
        Address::Agent(agent) => Some(agent),
        _ => None,
    }
}

/// The same answer for a file that does not exist, one that is deleted, and one that is for others.
fn no_file(file_id: &EventId) -> ErrorBody {
    let message = format!("there is no file {file_id} for this agent");
    ErrorBody::field(ErrorCode::FileNotFound, "file_id", message)
}

fn unwritable(error: &blobs::Error) -> ErrorBody {
    tracing::error!(%error, "the content of a file could not be written");
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::StorageFull
        {
            let message = "the disk of the server is full; nothing was stored";
            return ErrorBody::new(ErrorCode::StorageFull, message);
        }
        source = error.source();
    }
    let message = "the content could not be stored; try again";
    ErrorBody::new(ErrorCode::StorageUnavailable, message)
}

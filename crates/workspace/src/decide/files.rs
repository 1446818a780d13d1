//! Decisions about files: sharing and deleting them.

use openagents_protocol::call::Grantee;
use openagents_protocol::record::{Act, SharedFile};
use openagents_protocol::{Address, ErrorBody, ErrorCode, EventId, Source};
use openagents_store::view::EventKind;

use super::channels::is_granted;
use super::{Context, Decision, admit_to, change, place_of};
use crate::rights::permission::{DELETE_POSTS, UPLOAD_FILES};

/// Shares a file whose content is stored. A rehearsal only asks whether it could be shared.
pub(super) fn share(
    context: &Context<'_>,
    author: &Source,
    file_id: EventId,
    file: &SharedFile,
    destination: Address,
    rehearsal: bool,
) -> Result<Decision, ErrorBody> {
    context.rights.require(UPLOAD_FILES)?;
    admit_to(context, author, &destination)?;
    let mut most = context.settings.max_file_bytes;
    let mut types = context.settings.allowed_file_types.as_slice();
    if let Address::Channel(name) = &destination
        && let Some(channel) = context.state.channels.get(name)
    {
        let grantees = channel.permissions.upload_files.as_ref();
        if !is_granted(context, author, grantees, Grantee::All) {
            let message = format!("channel {name} does not let this agent share files");
            return Err(ErrorBody::field(ErrorCode::Forbidden, "channel", message));
        }
        most = channel.settings.max_file_size.unwrap_or(most).min(most);
        if let Some(allowed) = channel
            .settings
            .allowed_file_types
            .as_ref()
            .filter(|types| !types.is_empty())
        {
            types = allowed;
        }
    }
    if most < file.size {
        let message = format!("a file has at most {most} bytes here");
        return Err(ErrorBody::field(ErrorCode::TooLarge, "content", message));
    }
    let extension = file
        .filename
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    if !types.is_empty() && !extension.is_some_and(|extension| types.contains(&extension)) {
        let message = format!(
            "only files of these types may be shared here: {}",
            types.join(", ")
        );
        return Err(ErrorBody::field(ErrorCode::InvalidField, "filename", message));
    }
    if context.settings.max_stored_bytes < context.state.file_bytes.saturating_add(file.size) {
        let message = "the workspace has no room for more files: delete some first";
        return Err(ErrorBody::new(ErrorCode::LimitReached, message));
    }
    if rehearsal {
        return Ok(Decision::Nothing);
    }
    context.rates.take_file(author)?;
    let act = Act::FileShared { size: file.size };
    let mut decision = change(context, author, "workspace.file.uploaded", destination, act)?;
    if let Decision::Append { entries, .. } = &mut decision
        && let Some(shared) = entries.last_mut()
    {
        shared.header.event_id = file_id;
        shared.body = file.body();
    }
    Ok(decision)
}

pub(super) fn delete(
    context: &Context<'_>,
    author: &Source,
    file_id: EventId,
    size: u64,
) -> Result<Decision, ErrorBody> {
    let known = (context.known)(&file_id).filter(|known| known.kind == EventKind::File && !known.deleted);
    let known = known.ok_or_else(|| {
        let message = format!("there is no file {file_id} for this agent");
        ErrorBody::field(ErrorCode::FileNotFound, "file_id", message)
    })?;
    if known.source != *author && !context.rights.has(DELETE_POSTS) {
        let message = "only who uploaded it and moderators delete a file";
        return Err(ErrorBody::field(ErrorCode::Forbidden, "file_id", message));
    }
    let act = Act::FileDeleted { file_id, size };
    change(
        context,
        author,
        "workspace.file.deleted",
        place_of(context, &known),
        act,
    )
}

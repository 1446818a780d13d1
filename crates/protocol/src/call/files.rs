//! Calls about files. The content itself travels over HTTP, see `docs/protocol.md`, section 17.

use serde::{Deserialize, Serialize};

use crate::{EventId, Sequence};

/// Lists the files that the asker may read, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct ListFiles {
    /// Only those shared in this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Only those that the asker and this agent sent each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// At most this many, 1 to 1,000; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only files shared before this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// A page of files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Files {
    /// Newest first.
    pub files: Vec<FileInfo>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// Tells about one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetFile {
    /// The file.
    pub file_id: EventId,
}

/// Deletes a file, content and all; for who uploaded it and for moderators.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteFile {
    /// The file.
    pub file_id: EventId,
}

/// A file without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileInfo {
    /// Names the file; the id of the event that shared it.
    pub file_id: String,
    /// The same, under the older name.
    pub id: String,
    /// Name as the uploader gave it. It is for showing and never a path.
    pub filename: String,
    /// The same, under the older name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Media type, such as `text/csv`.
    pub mime_type: String,
    /// SHA-256 of the content, 64 lower-case hex digits.
    pub checksum: String,
    /// Who uploaded it.
    pub uploader: String,
    /// What the uploader says of it.
    #[serde(default)]
    pub description: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The channel it was shared in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The agent it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// When it was shared, in seconds since 1970.
    pub timestamp: f64,
    /// Position in the log: the cursor to go on from.
    pub sequence: Sequence,
}

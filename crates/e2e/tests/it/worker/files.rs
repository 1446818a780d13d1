//! Files that hooks read.

use std::path::PathBuf;

use openagents_client::{FileContext, FileError, HookResult, Worker, WorkerAgent, WorkerSettings};
use openagents_e2e::{SOON, Workspace, within};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What a reader found out about a file.
struct Found {
    known: Value,
    content: String,
    path: PathBuf,
}

/// Reads every file twice, from the disk and into memory.
struct Reader {
    found: mpsc::Sender<Result<Found, String>>,
    max_file_bytes: u64,
}

impl Reader {
    async fn read(context: &FileContext) -> Result<Found, FileError> {
        let path = context.file_path().await?.to_owned();
        let local = |source| FileError::Local {
            path: path.clone(),
            source,
        };
        let bytes = tokio::fs::read(&path).await.map_err(local)?;
        assert_eq!(context.content_bytes().await?, bytes);
        assert_eq!(context.clone().file_path().await?, path, "it is fetched once");
        let known = json!({
            "file_id": context.file_id(),
            "message_id": context.message_id(),
            "file_name": context.file_name(),
            "filename": context.filename(),
            "file_size": context.file_size(),
            "file_type": context.file_type(),
            "mime_type": context.mime_type(),
            "checksum": context.checksum(),
            "description": context.description(),
            "channel": context.channel(),
            "source_id": context.source_id(),
        });
        Ok(Found {
            known,
            content: String::from_utf8_lossy(&bytes).into_owned(),
            path,
        })
    }
}

impl WorkerAgent for Reader {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new().max_file_bytes(self.max_file_bytes)
    }

    async fn on_file_received(&self, _: &Worker, context: FileContext) -> HookResult {
        let found = Self::read(&context).await.map_err(|error| error.to_string());
        drop(context);
        self.found.send(found).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_shared_file_is_readable_in_the_hook_and_gone_afterwards() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let (found, mut files) = mpsc::channel(10);
    let reader = Reader {
        found,
        max_file_bytes: 100,
    };
    let _reader = reader.start("127.0.0.1", workspace.port()).await?;
    let ana = workspace.join("ana").await?;
    let local = tempfile::tempdir()?;
    let path = local.path().join("numbers.csv");
    tokio::fs::write(&path, "a,b\n1,2\n").await?;

    let there = ana.workspace();
    let sharing = [
        (there.channel("general").upload_file(&path), json!("general")),
        (there.agent("reader").send_file(&path), json!(null)),
        (there.upload_file(&path), json!(null)),
    ];
    for (upload, channel) in sharing {
        let info = upload.description("Two numbers").await?;
        let Found { known, content, path } = within(SOON, files.recv())
            .await
            .expect("a call")
            .map_err(anyhow::Error::msg)?;
        assert_eq!(content, "a,b\n1,2\n");
        let expected = json!({
            "file_id": info.file_id, "message_id": info.file_id, "file_name": "numbers.csv", "filename": "numbers.csv",
            "file_size": 8, "file_type": "text/csv", "mime_type": "text/csv", "checksum": info.checksum,
            "description": "Two numbers", "channel": channel, "source_id": "ana",
        });
        assert_eq!(known, expected);
        assert_eq!(
            path.extension().and_then(|extension| extension.to_str()),
            Some("csv")
        );
        assert!(!path.exists(), "the copy is removed with the context");
        assert!(!path.parent().expect("its directory").exists());
    }

    tokio::fs::write(&path, "x".repeat(101)).await?;
    there.channel("general").upload_file(&path).await?;
    let refused = within(SOON, files.recv()).await.expect("a call").err();
    assert_eq!(
        refused.as_deref(),
        Some("the file has 101 bytes, and at most 100 are fetched")
    );
    workspace.stop().await;
    Ok(())
}

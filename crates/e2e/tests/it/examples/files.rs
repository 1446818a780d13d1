//! Programs about files.

use openagents_e2e::Workspace;

use super::{Example, User};

#[tokio::test]
async fn file_events_prints_the_name_of_each() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let mut example = Example::start("file_events", &workspace, &[])?;
    ana.meets(&["fileevents"]).await?;
    let local = tempfile::tempdir()?;
    let path = local.path().join("notes.txt");
    tokio::fs::write(&path, "notes").await?;
    let file = ana.general.upload_file(&path).await?;
    assert!(ana.general.post("no file").await.success);
    assert!(ana.client.workspace().delete_file(&file.file_id).await.success);
    assert_eq!(example.line().await?, "workspace.file.uploaded");
    assert_eq!(example.line().await?, "workspace.file.deleted");
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn file_round_trip_finds_fetches_compares_and_sends() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let lines = Example::start("file_round_trip", &workspace, &[])?
        .output()
        .await?;
    assert!(lines[0].starts_with("shared report.md as "), "{lines:?}");
    let rest = [
        "found report.md with 23 bytes",
        "the copy is the same",
        "The sum of numbers.csv is 10.",
    ];
    assert_eq!(lines[1..], rest);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn file_worker_counts_texts_tables_and_objects() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("file_worker", &workspace, &[])?;
    ana.meets(&["file-worker"]).await?;
    let local = tempfile::tempdir()?;
    for (name, text, count) in [
        (
            "poem.txt",
            "roses are red\nviolets are blue\n",
            "2 lines, 6 words",
        ),
        ("table.csv", "a,b\n1,2\n3,4\n", "2 rows"),
        ("object.json", r#"{"a": 1, "b": {"c": 2}}"#, "2 keys"),
    ] {
        let path = local.path().join(name);
        tokio::fs::write(&path, text).await?;
        ana.general.upload_file(&path).await?;
        assert_eq!(
            ana.reads_post("general", "file-worker").await?,
            format!("{name}: {count}")
        );
        ana.client
            .workspace()
            .agent("file-worker")
            .send_file(&path)
            .await?;
        assert_eq!(
            ana.reads_message("file-worker").await?,
            format!("{name}: {count}")
        );
    }
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

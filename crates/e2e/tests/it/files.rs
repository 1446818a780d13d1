//! Files: sent, listed, fetched, deleted; for whom they are, and what remains of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use openagents_client::{AgentClient, ChannelPermissions, ChannelSettings, FileError, Grantee};
use openagents_e2e::{Peer, SOON, Stage, Workspace, check_event, keys, sha256, within};
use openagents_protocol::ErrorCode;
use openagents_protocol::call::{GetFile, ListFiles};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::tokens::Tokens;

/// A local file in a directory of its own.
struct Local(tempfile::TempDir);

impl Local {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> anyhow::Result<PathBuf> {
        std::fs::write(self.path(name), content)?;
        Ok(self.path(name))
    }
}

/// The blobs of a workspace, complete or not.
fn blobs(data: &Path) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(data.join("files"))?.count())
}

#[tokio::test]
async fn a_report_makes_the_round_trip() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let local = Local::new()?;
    let content = b"# Report\n\nAll is well.\n".repeat(10_000);
    let report = local.file("report.md", &content)?;
    let general = stage.agent("alice").workspace().channel("general");
    let shared = general
        .upload_file(&report)
        .description("What we found")
        .tags(&["weekly", "q3"])
        .await?;
    let told = serde_json::to_value(&shared)?;
    assert_eq!(
        keys(&told),
        "channel checksum description file_id filename id mime_type name sequence size tags timestamp uploader"
    );
    assert_eq!(
        (shared.file_id.as_str(), shared.filename.as_str()),
        (shared.id.as_str(), shared.name.as_str())
    );
    assert_eq!(
        (shared.name.as_str(), shared.size, shared.uploader.as_str()),
        ("report.md", 230_000, "alice")
    );
    assert_eq!(
        (shared.mime_type.as_str(), shared.checksum.as_str()),
        ("text/markdown", &*sha256(&content))
    );

    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    let uploaded = "channel checksum description file_id filename mime_type size tags uploader";
    check_event(&event, "workspace.file.uploaded", uploaded);
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "general", "file_id": shared.id, "filename": "report.md", "size": 230_000, "uploader": "alice",
                "mime_type": "text/markdown", "checksum": shared.checksum, "description": "What we found",
                "tags": ["weekly", "q3"]})
    );
    assert_eq!(event.event_id, shared.id);

    let bob = stage.agent("bob").workspace();
    assert_eq!(bob.list_files().await?, std::slice::from_ref(&shared));
    assert_eq!(bob.get_file(&shared.id).await?, shared);
    let copy = bob.download_file(&shared.id, local.path("copy.md")).await?;
    assert_eq!(std::fs::read(copy)?, content);
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(&event, "workspace.file.downloaded", "downloader file_id");
    assert_eq!(
        event.payload.value(),
        &json!({"file_id": shared.id, "downloader": "bob"})
    );
    assert_eq!(bob.read_file(&shared.id).await?, content);
    stage.heard().await?;

    assert!(
        stage
            .agent("alice")
            .workspace()
            .delete_file(&shared.id)
            .await
            .success
    );
    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    check_event(&event, "workspace.file.deleted", "agent_id channel file_id");
    assert!(bob.list_files().await?.is_empty());
    assert_eq!(
        bob.get_file(&shared.id).await.expect_err("gone").code(),
        "file_not_found"
    );
    assert_eq!(
        bob.read_file(&shared.id).await.expect_err("gone").code(),
        "file_not_found"
    );
    assert_eq!(
        std::fs::read_dir(local.0.path())?.count(),
        2,
        "no partial file stays"
    );
    let data = stage.workspace().data();
    let _kept = stage.keep().await;
    assert_eq!(blobs(&data)?, 0);
    Ok(())
}

#[tokio::test]
async fn a_file_is_for_those_it_was_shared_with() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let local = Local::new()?;
    let path = local.file("data.csv", b"a,b\n1,2\n")?;
    let alice = stage.agent("alice").workspace();
    let to_bob = alice.agent("bob").send_file(&path).description("for you").await?;
    assert_eq!(
        (to_bob.target_id.as_deref(), to_bob.channel.as_deref()),
        (Some("bob"), None)
    );
    let event = stage.heard_once_by(&["bob"]).await?;
    let uploaded = "checksum description file_id filename mime_type size tags target_id uploader";
    check_event(&event, "workspace.file.uploaded", uploaded);
    alice.create_channel("dev", "").await?;
    stage.agent("carol").workspace().channel("dev").leave().await?;
    let in_dev = alice.channel("dev").upload_file(&path).await?;
    let for_all = alice.upload_file(&path).await?;
    let heard = stage.heard().await?;
    let files = |agent: &str| {
        heard[agent]
            .iter()
            .filter(|event| event.event_name == "workspace.file.uploaded")
            .count()
    };
    assert_eq!((files("bob"), files("carol")), (2, 1));

    let carol = stage.agent("carol").workspace();
    let ids =
        |files: Vec<openagents_client::FileInfo>| files.into_iter().map(|file| file.id).collect::<Vec<_>>();
    assert_eq!(ids(carol.list_files().await?), std::slice::from_ref(&for_all.id));
    assert_eq!(
        ids(alice.list_files().await?),
        [for_all.id.clone(), in_dev.id.clone(), to_bob.id.clone()]
    );
    for secret in [&to_bob, &in_dev] {
        assert_eq!(
            carol.get_file(&secret.id).await.expect_err("not hers").code(),
            "file_not_found"
        );
        assert_eq!(
            carol.read_file(&secret.id).await.expect_err("not hers").code(),
            "file_not_found"
        );
        let path = format!("files/{}/content", secret.id);
        let refused = stage.workspace().get(&path, "carol").await?.refusal()?;
        assert_eq!(refused, (404, ErrorCode::FileNotFound, Some("file_id".into())));
    }
    // Nobody gets anything by its hash, whoever it is for.
    let by_hash = GetFile {
        file_id: to_bob.checksum.parse()?,
    };
    assert_eq!(
        stage.agent("bob").call(by_hash).await.expect_err("no id").code(),
        "file_not_found"
    );
    assert_eq!(
        stage
            .workspace()
            .get(&format!("files/{}/content", to_bob.checksum), "bob")
            .await?
            .status,
        404
    );
    let with_bob = ListFiles {
        agent_id: Some("bob".to_owned()),
        ..Default::default()
    };
    assert_eq!(
        ids(stage.agent("alice").call(with_bob).await?.files),
        std::slice::from_ref(&to_bob.id)
    );
    let of_dev = ListFiles {
        channel: Some("dev".to_owned()),
        ..Default::default()
    };
    assert_eq!(
        ids(stage.agent("alice").call(of_dev.clone()).await?.files),
        std::slice::from_ref(&in_dev.id)
    );
    assert!(stage.agent("carol").call(of_dev).await?.files.is_empty());

    // The sender is told that its file was fetched, and nobody else.
    stage.heard().await?;
    assert_eq!(
        stage.agent("bob").workspace().read_file(&to_bob.id).await?,
        b"a,b\n1,2\n"
    );
    let event = stage.heard_once_by(&["alice"]).await?;
    check_event(&event, "workspace.file.downloaded", "downloader file_id");
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn names_are_shown_as_given_and_are_no_paths() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob"]).await?;
    let local = Local::new()?;
    let path = local.file("plain", b"content")?;
    let general = stage.agent("alice").workspace().channel("general");
    for name in [
        "../../x",
        "/etc/passwd",
        "..",
        "a\\b",
        "файл.txt",
        "a b&c=d?.txt",
        "%2e%2e%2f",
        "x#1",
    ] {
        let shared = general.upload_file(&path).filename(name).await?;
        assert_eq!(shared.filename, name);
        let told = stage.agent("bob").workspace().get_file(&shared.id).await?;
        assert_eq!(told.filename, name);
        assert_eq!(
            stage.agent("bob").workspace().read_file(&shared.id).await?,
            b"content"
        );
        let content = stage
            .workspace()
            .get(&format!("files/{}/content", shared.id), "bob")
            .await?;
        let disposition = content.header("content-disposition").context("a header")?;
        assert!(
            disposition.starts_with("attachment; filename*=UTF-8''"),
            "{disposition}"
        );
        assert_eq!(content.header("x-content-type-options"), Some("nosniff"));
    }
    let data = stage.workspace().data();
    let names: Vec<_> = std::fs::read_dir(data.join("files"))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    assert!(names.iter().all(|name| name.len() == 36), "{names:?}");
    for wrong in ["", "a\nb", &"x".repeat(256)] {
        let refused = general
            .upload_file(&path)
            .filename(wrong)
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), "invalid_field", "{wrong:?}");
    }
    let long = general
        .upload_file(&path)
        .description("x".repeat(1001))
        .await
        .expect_err("refused");
    assert_eq!(long.code(), "invalid_field");
    assert_eq!(blobs(&data)?, names.len());
    let missing = general
        .upload_file(local.path("missing"))
        .await
        .expect_err("no such file");
    assert!(matches!(missing, FileError::Local { .. }));
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn limits_of_size_kind_and_room_hold_for_the_workspace_and_the_channel() -> anyhow::Result<()> {
    let mut stage = Stage::with(&["alice", "bob"], |config| {
        config.workspace.max_file_bytes = 1_000_000;
        config.workspace.max_stored_bytes = 1_500_000;
    })
    .await?;
    let local = Local::new()?;
    let alice = stage.agent("alice").workspace();
    let dev = alice.create_channel("dev", "").await?;
    let rules = ChannelSettings {
        max_file_size: Some(10),
        allowed_file_types: Some(vec!["csv".to_owned()]),
        ..Default::default()
    };
    assert!(dev.configure(rules).await.success);
    stage.heard().await?;
    let (small, large) = (
        local.file("s.csv", b"0123456789")?,
        local.file("l.csv", b"0123456789a")?,
    );
    let other = local.file("s.exe", b"0")?;
    let huge = local.file("huge.csv", &vec![7; 30_000_000])?;
    for (channel, path, code) in [
        (&dev, &large, "too_large"),
        (&dev, &other, "invalid_field"),
        (&dev, &huge, "too_large"),
        (&alice.channel("general"), &huge, "too_large"),
    ] {
        let refused = channel.upload_file(path).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{}", path.display());
    }
    stage.silence().await?;
    assert_eq!(dev.upload_file(&small).await?.size, 10);
    let million = local.file("million", &vec![7; 1_000_000])?;
    let kept = alice.upload_file(&million).await?;
    let refused = alice.upload_file(&million).await.expect_err("no room");
    assert_eq!(refused.code(), "limit_reached");
    assert!(alice.delete_file(&kept.id).await.success);
    assert!(alice.upload_file(&million).await.is_ok());

    // Whoever does not say how much comes is stopped at the limit of the channel.
    stage.heard().await?;
    let answer = chunked(
        stage.workspace(),
        "files?filename=a.csv&channel=dev",
        &[b"01234", b"56789", b"a"],
    )
    .await?;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("too_large"), "{answer}");
    stage.silence().await?;
    let admins = ChannelPermissions {
        upload_files: Some(vec![Grantee::Admin]),
        ..Default::default()
    };
    assert!(
        dev.set_permissions(admins).await.success,
        "on loopback everybody is one"
    );
    stage.end().await;
    Ok(())
}

/// Uploads pieces without a length, and returns the answer.
async fn chunked(workspace: &Workspace, path: &str, pieces: &[&[u8]]) -> anyhow::Result<String> {
    use tokio::io::AsyncReadExt;

    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", workspace.port())).await?;
    let head = format!(
        "POST /rest/v1/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-agent-id: alice\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    for piece in pieces {
        stream
            .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
            .await?;
        stream.write_all(piece).await?;
        stream.write_all(b"\r\n").await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    let mut answer = String::new();
    within(SOON, stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

#[tokio::test]
async fn members_share_where_they_may_and_delete_what_is_theirs() -> anyhow::Result<()> {
    let tokens = Tokens::serve().await?;
    let (alice, bob) = (
        tokens.join("alice", "member").await?,
        tokens.join("bob", "member").await?,
    );
    let (judge, reader) = (
        tokens.join("judge", "moderator").await?,
        tokens.join("reader", "observer").await?,
    );
    let local = Local::new()?;
    let path = local.file("a.txt", b"a")?;
    let dev = alice.workspace().create_channel("dev", "").await?;
    let shared = dev.upload_file(&path).await?;
    let refused = reader
        .workspace()
        .channel("dev")
        .upload_file(&path)
        .await
        .expect_err("observers read");
    assert_eq!(refused.code(), "forbidden");
    assert_eq!(reader.workspace().read_file(&shared.id).await?, b"a");
    let refused = bob
        .workspace()
        .delete_file(&shared.id)
        .await
        .error
        .expect("not his");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("forbidden", Some("file_id"))
    );
    let direct = alice.workspace().agent("bob").send_file(&path).await?;
    let unknown = judge
        .workspace()
        .get_file(&direct.id)
        .await
        .expect_err("not for moderators to read");
    assert_eq!(unknown.code(), "file_not_found");
    assert!(
        judge.workspace().delete_file(&direct.id).await.success,
        "but theirs to delete"
    );
    let admins = ChannelPermissions {
        upload_files: Some(vec![Grantee::Admin]),
        ..Default::default()
    };
    assert!(dev.set_permissions(admins).await.success);
    assert_eq!(
        bob.workspace()
            .channel("dev")
            .upload_file(&path)
            .await
            .expect_err("admins only")
            .code(),
        "forbidden"
    );
    assert!(judge.workspace().channel("dev").upload_file(&path).await.is_ok());
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn nowhere_to_share_is_told_before_anything_is_sent() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let local = Local::new()?;
    let path = local.file("a.txt", b"a")?;
    let alice = stage.agent("alice").workspace();
    alice.create_channel("dev", "").await?;
    alice.channel("dev").leave().await?;
    alice.create_channel("old", "").await?.archive(true).await;
    stage.heard().await?;
    for (upload, code) in [
        (alice.channel("nowhere").upload_file(&path), "channel_not_found"),
        (alice.channel("bad\nname").upload_file(&path), "invalid_name"),
        (alice.channel("dev").upload_file(&path), "not_a_member"),
        (alice.channel("old").upload_file(&path), "channel_archived"),
        (alice.agent("nobody").send_file(&path), "agent_not_found"),
    ] {
        assert_eq!(upload.await.expect_err(code).code(), code);
    }
    stage.silence().await?;
    assert_eq!(blobs(&stage.workspace().data())?, 0);
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn files_over_rest_in_whole_and_in_part() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let content = b"0123456789".to_vec();
    let upload = |checksum: &str| {
        workspace
            .request(
                "POST",
                "files?filename=n.txt&channel=general&tags=a,%20b&description=d",
                "alice",
            )
            .header("x-checksum-sha256", checksum)
            .body(content.clone())
    };
    let wrong = upload(&"0".repeat(64)).send().await?.refusal()?;
    assert_eq!(wrong, (400, ErrorCode::ChecksumMismatch, Some("checksum".into())));
    let shared = upload(&sha256(&content)).send().await?;
    assert_eq!(shared.status, 201);
    let shared = shared.ok()?;
    assert_eq!(
        (&shared["tags"], &shared["size"]),
        (&json!(["a", "b"]), &json!(10))
    );
    let path = format!("files/{}/content", shared["file_id"].as_str().context("an id")?);
    let whole = workspace.get(&path, "bob").await?;
    assert_eq!((whole.status, &whole.body), (200, &content));
    assert_eq!(whole.header("content-type"), Some("text/plain"));
    assert_eq!(whole.header("content-length"), Some("10"));
    assert_eq!(
        whole.header("etag"),
        Some(format!("\"{}\"", sha256(&content)).as_str())
    );
    let part = |range: &str| workspace.request("GET", &path, "bob").header("range", range);
    for (range, expected, told) in [
        ("bytes=2-4", &b"234"[..], "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ] {
        let reply = part(range).send().await?;
        assert_eq!((reply.status, reply.body.as_slice()), (206, expected), "{range}");
        assert_eq!(reply.header("content-range"), Some(told));
    }
    assert_eq!(part("bytes=10-").send().await?.status, 416);
    assert_eq!(part("lines=1-2").send().await?.body, content);
    let listed = workspace
        .get("files?channel=general&limit=1", "bob")
        .await?
        .ok()?;
    assert_eq!(
        (&listed["files"][0], &listed["has_more"]),
        (&shared, &json!(false))
    );
    for (query, field) in [
        ("files?channel=general", "filename"),
        ("files?filename=a&channel=general&agent_id=bob", "channel"),
        ("files?filename=a&mime_type=nonsense", "mime_type"),
    ] {
        let refused = workspace
            .request("POST", query, "alice")
            .body(b"x".to_vec())
            .send()
            .await?
            .refusal()?;
        assert_eq!(
            refused,
            (400, ErrorCode::InvalidField, Some(field.to_owned())),
            "{query}"
        );
    }
    let path = path.trim_end_matches("/content");
    assert_eq!(workspace.get(path, "bob").await?.ok()?, shared);
    workspace.request("DELETE", path, "alice").send().await?.ok()?;
    assert_eq!(workspace.get(path, "bob").await?.status, 404);
    let names: Vec<String> = stage.heard().await?["bob"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(
        names,
        ["workspace.file.uploaded", "workspace.file.deleted"],
        "its own downloads are no news"
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_meets_a_restart_leaves_nothing() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let data = workspace.data();
    let begin = async |workspace: &Workspace| {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", workspace.port())).await?;
        let head = "POST /rest/v1/files?filename=a&channel=general HTTP/1.1\r\nhost: 127.0.0.1\r\nx-agent-id: alice\r\n\
                    content-length: 9000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&vec![7; 3_000_000]).await?;
        anyhow::Ok(stream)
    };
    let reaches = async |count: usize| {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        within(SOON, async {
            while blobs(&data)? != count {
                ticks.tick().await;
            }
            anyhow::Ok(())
        })
        .await
    };
    let stream = begin(&workspace).await?;
    reaches(1).await?;
    drop(stream);
    reaches(0).await?;
    let stream = begin(&workspace).await?;
    reaches(1).await?;
    let workspace = workspace.restart().await?;
    drop(stream);
    assert_eq!(blobs(&data)?, 0);
    let alice = workspace.join("alice").await?;
    assert!(alice.workspace().list_files().await?.is_empty());
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_is_there_in_whole_after_a_kill() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let data = data.to_str().context("a plain name")?;
    let program = Path::new(env!("CARGO_BIN_EXE_peer"));
    let local = Local::new()?;
    let content: Vec<u8> = (0..2_000_000_u32).map(|number| (number % 251) as u8).collect();
    let path = local.file("data.bin", &content)?;
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4 {
        let (server, port) = within(SOON, Peer::start(program, &["serve", data, "fsync", "0"])).await?;
        let alice = AgentClient::new("alice");
        alice.connect_to_server("127.0.0.1", port.parse()?).await?;
        let general = alice.workspace().channel("general");
        for file_id in &acknowledged {
            assert_eq!(
                alice.workspace().read_file(file_id).await?,
                content,
                "of round {round}"
            );
        }
        // Every file that is told of is there in whole, acknowledged or not.
        let listed = alice.workspace().list_files().await?;
        for file in &listed {
            assert_eq!(alice.workspace().read_file(&file.id).await?.len(), content.len());
        }
        assert!(acknowledged.len() <= listed.len());
        acknowledged.push(general.upload_file(&path).await?.id);
        let mut more =
            futures_util::future::join_all((0..8).map(|_| general.upload_file(&path).into_future()));
        // Killed while these are on their way: in the middle of some, at the end of others.
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let before = listed.len() + 1;
        while blobs(Path::new(data))? < before + 1 + round {
            tokio::select! {
                _ = &mut more => break,
                _ = ticks.tick() => {}
            }
        }
        server.kill().await?;
        acknowledged.extend(more.await.into_iter().flatten().map(|file| file.id));
        alice.disconnect().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_large_file_goes_through_in_little_memory_on_both_sides() -> anyhow::Result<()> {
    const SIZE: u64 = 64 * 1024 * 1024;
    const LITTLE_KIB: u64 = 24 * 1024;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("large.bin");
    std::fs::File::create(&path)?.set_len(SIZE)?;
    let data = directory.path().join("data");
    let program = Path::new(env!("CARGO_BIN_EXE_peer"));
    let arguments = ["serve", data.to_str().context("a plain name")?, "os", "0"];
    let (server, port) = within(SOON, Peer::start(program, &arguments)).await?;
    let before = server.peak_memory_kib()?;
    let arguments = ["transfer", &port, path.to_str().context("a plain name")?];
    let (client, idle) = within(SOON, Peer::start(program, &arguments)).await?;
    let mut client = client;
    let done = within(Duration::from_mins(2), client.line())
        .await?
        .context("it tells when it is done")?;
    let (idle, done): (u64, u64) = (idle.parse()?, done.parse()?);
    let after = server.peak_memory_kib()?;
    assert!(
        after - before < LITTLE_KIB,
        "the server took {} KiB",
        after - before
    );
    assert!(done - idle < LITTLE_KIB, "the client took {} KiB", done - idle);
    assert!(
        within(SOON, client.ended()).await?.success(),
        "it came back as it was"
    );
    server.kill().await?;
    Ok(())
}

//! `openagents files`.

use std::fs;
use std::sync::{Arc, Mutex};

use openagents_client::AgentClient;
use serde_json::json;

use crate::harness::{finish, served};

#[tokio::test]
async fn a_file_is_sent_listed_fetched_and_deleted() {
    let (folder, served) = served().await;
    let here = folder.path();
    // More than one piece, and no text.
    let content: Vec<u8> = (0..700_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    fs::write(here.join("data.bin"), &content).unwrap();
    let upload = [
        "files",
        "upload",
        "data.bin",
        "--channel",
        "#general",
        "--description",
        "Numbers",
        "--tags",
        "a,b",
        "--name",
        "größe.bin",
        "--json",
    ];
    let shared = finish(served.command(&upload).current_dir(here)).await.json();
    let id = shared["file_id"].as_str().unwrap();
    assert_eq!(shared["size"], 700_000);
    assert_eq!(shared["tags"], json!(["a", "b"]));
    let listed = served.run(&["files", "--json"]).await.json();
    assert_eq!(listed["files"][0], shared);
    let shown = served.run(&["files", "list", "--channel", "general"]).await.ok();
    assert!(
        shown.contains("683.6 KiB") && shown.contains("#general"),
        "{shown}"
    );
    let about = served.run(&["files", "describe", id]).await.ok();
    assert!(
        about.contains("683.6 KiB (700000 bytes)") && about.contains("Numbers"),
        "{about}"
    );

    let elsewhere = here.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let download = |more: &[&str]| {
        let mut arguments = vec!["files", "download", id];
        arguments.extend(more);
        let mut command = served.command(&arguments);
        command.current_dir(&elsewhere);
        command
    };
    assert_eq!(
        finish(&mut download(&[])).await.ok(),
        "fetched größe.bin (683.6 KiB)\n"
    );
    assert_eq!(fs::read(elsewhere.join("größe.bin")).unwrap(), content);
    let there = finish(&mut download(&[])).await.failed();
    insta::assert_snapshot!(there, @"error: größe.bin is there already: give another path, or replace it with --force");
    finish(&mut download(&["--force"])).await.ok();
    let told = finish(&mut download(&["copy.bin", "--json"])).await.json();
    assert_eq!(told["path"], "copy.bin");
    assert_eq!(fs::read(elsewhere.join("copy.bin")).unwrap(), content);
    let piped = download(&["-"]).output().await.unwrap();
    assert!(piped.status.success() && piped.stdout == content);
    assert_eq!(
        fs::read_dir(&elsewhere).unwrap().count(),
        2,
        "nothing unfinished remains"
    );

    served.run(&["files", "delete", id]).await.ok();
    let gone = finish(&mut download(&["again.bin"])).await.failed();
    assert!(gone.contains("hint: `openagents files` lists"), "{gone}");
    assert!(!elsewhere.join("again.bin").exists());
    served.stop().await;
}

#[tokio::test]
async fn a_file_for_an_agent_is_for_nobody_else() {
    let (folder, served) = served().await;
    let path = folder.path().join("note.txt");
    fs::write(&path, "psst").unwrap();
    let path = path.to_str().unwrap();
    served
        .run(&["post", "general", "Here", "--agent", "bob"])
        .await
        .ok();
    let sent = served
        .run(&["files", "upload", path, "--to", "bob", "--agent", "ana"])
        .await
        .ok();
    assert!(sent.starts_with("shared note.txt (4 B) with bob as "), "{sent}");
    let id = sent.trim_end().rsplit_once(' ').unwrap().1;
    let read = |agent: &'static str| ["files", "download", id, "-", "--agent", agent];
    assert_eq!(served.run(&read("bob")).await.ok(), "psst");
    let stranger = served.run(&read("mallory")).await.failed();
    assert!(
        stranger.starts_with(&format!("error: there is no file {id} for this agent")),
        "{stranger}"
    );
    let with = ["files", "--agent-with", "ana", "--agent", "bob", "--json"];
    assert_eq!(
        served.run(&with).await.json()["files"].as_array().unwrap().len(),
        1
    );
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_sent_or_fetched_is_said_before_it_begins() {
    let (folder, served) = served().await;
    let path = folder.path().join("a.txt");
    fs::write(&path, "a").unwrap();
    let path = path.to_str().unwrap();
    let check = async |arguments: &[&str], expected: &str| {
        let mut all = vec!["files"];
        all.extend(arguments);
        let refused = served.run(&all).await.failed();
        assert!(refused.contains(expected), "{refused}");
    };
    check(
        &["upload", "no-such-file"],
        "cannot use no-such-file: No such file",
    )
    .await;
    check(
        &["upload", folder.path().to_str().unwrap()],
        "is no file: send files one by one",
    )
    .await;
    check(
        &["upload", path, "--to", "nobody"],
        "no agent nobody was ever here",
    )
    .await;
    check(
        &["upload", path, "--channel", "nowhere"],
        "there is no channel nowhere",
    )
    .await;
    check(&["upload", path, "--name", ""], "error: filename: ").await;
    check(&["--channel", "nowhere"], "there is no channel nowhere").await;
    check(&["--agent-with", "nobody"], "no agent nobody was ever here").await;
    check(&["--limit", "0"], "error: limit: 1 to 1000").await;
    check(&["describe", "no-such-id"], "there is no file no-such-id").await;

    let shared = served
        .run(&["files", "upload", path, "--name", "../evil", "--json"])
        .await
        .json();
    let id = shared["file_id"].as_str().unwrap();
    check(&["download", id], "\"../evil\" is no name for a file here").await;
    check(&["download", id, "nowhere/a.txt"], "cannot use nowhere/a.txt").await;
    served.stop().await;
}

#[tokio::test]
async fn a_transfer_tells_how_far_it_is_up_to_the_last_byte() {
    let (folder, served) = served().await;
    let path = folder.path().join("data.bin");
    fs::write(&path, vec![7; 300_000]).unwrap();
    let client = AgentClient::new("ana");
    client
        .connect_to_server(served.url.as_str(), served.port())
        .await
        .unwrap();
    let workspace = client.workspace();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = |told: &Arc<Mutex<Vec<(u64, u64)>>>| {
        let told = Arc::clone(told);
        move |done, all| told.lock().unwrap().push((done, all))
    };
    let upload = workspace.upload_file(&path).progress(tell(&told));
    let shared = upload.await.unwrap();
    let sent = std::mem::take(&mut *told.lock().unwrap());
    let copy = folder.path().join("copy.bin");
    let download = workspace
        .download_file(&shared.file_id, &copy)
        .progress(tell(&told));
    download.await.unwrap();
    let fetched = std::mem::take(&mut *told.lock().unwrap());
    for steps in [sent, fetched] {
        assert!(steps.is_sorted() && 2 <= steps.len(), "{steps:?}");
        assert_eq!(steps.last(), Some(&(300_000, 300_000)));
    }
    client.disconnect().await;
    served.stop().await;
}

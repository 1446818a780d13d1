//! `openagents serve`.

use std::fs;

use crate::harness::{Running, Served, finish, openagents, run, served, within};

#[tokio::test]
async fn a_stopped_server_keeps_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), &[]).await;
    assert!(served.url.starts_with("http://127.0.0.1:"), "{}", served.url);
    served.run(&["post", "general", "Remember this"]).await.ok();
    served.stop().await;

    let served = Served::start(folder.path(), &[]).await;
    let history = served.run(&["history", "general", "--json"]).await.json();
    assert_eq!(history["content"]["text"], "Remember this");
    served.stop().await;

    let rebuilt = finish(
        openagents()
            .args(["rebuild", "--json", "--data"])
            .arg(folder.path()),
    )
    .await;
    assert!(Some(2) <= rebuilt.json()["head"].as_u64());
}

#[tokio::test]
async fn ready_is_told_as_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = openagents();
    command
        .args(["serve", "--port", "0", "--json", "--name", "team", "--data"])
        .arg(folder.path());
    let mut running = Running::start(command.env("OPENAGENTS_DURABILITY", "os"));
    let line = within(running.stdout.next_line()).await.unwrap().unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["workspace"], "team");
    assert_eq!(ready["durability"], "os");
    assert_eq!(ready["data"], folder.path().to_str().unwrap());
    assert!(ready["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    running.signal("INT").await;
    let (status, _, log) = running.wait().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_server_that_others_reach_wants_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let open = run(["serve", "--host", "0.0.0.0", "--port", "0", "--data", data])
        .await
        .failed();
    let error = open.lines().find(|line| line.starts_with("error:")).unwrap();
    insta::assert_snapshot!(error, @"error: 0.0.0.0:0 can be reached by others and the workspace has no token: give one with --token or --token-file, make one with `openagents token create`, require the password of a group, or insist with --open");

    let token = run(["token", "create", "--agent", "alice", "--data", data])
        .await
        .ok();
    let token = token.trim_end();
    let served = Served::start(data.as_ref(), &["--host", "0.0.0.0"]).await;
    let url = format!("http://127.0.0.1:{}", served.port());
    let stranger = finish(openagents().args(["agents", "--url", &url]))
        .await
        .failed();
    assert!(stranger.contains("this workspace wants a token"), "{stranger}");
    assert!(stranger.contains("hint: show a token"), "{stranger}");
    let post = ["post", "general", "It is me", "--url", &url, "--json"];
    finish(openagents().args(post).env("OPENAGENTS_TOKEN", token))
        .await
        .ok();
    let history = ["history", "general", "--url", &url, "--json", "--token", token];
    assert_eq!(run(history).await.json()["sender_id"], "alice");
    let log = served.stop().await;
    assert!(log.contains("without encryption"), "{log}");
    assert!(!log.contains(token), "{log}");
}

#[tokio::test]
async fn a_weak_token_is_warned_about_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), &["--token", "hunter2"]).await;
    assert_eq!(
        served
            .run(&["agents", "--token", "hunter2", "--json"])
            .await
            .json()["agents"],
        serde_json::json!([])
    );
    let log = served.stop().await;
    assert!(log.contains("a token is short or easy to guess"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");

    let file = folder.path().join("tokens");
    fs::write(&file, "\n  f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n").unwrap();
    let served = Served::start(folder.path(), &["--token-file", file.to_str().unwrap()]).await;
    served
        .run(&["agents", "--token", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"])
        .await
        .ok();
    served.run(&["agents"]).await.failed();
    assert!(!served.stop().await.contains("easy to guess"));
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), &["--tls-self-signed=team.example"]).await;
    assert!(served.url.starts_with("https://"), "{}", served.url);
    let url = format!("https://localhost:{}", served.port());
    let certificate = folder.path().join("tls/certificate.pem");
    let trusting = [
        "agents",
        "--url",
        &url,
        "--ca-cert",
        certificate.to_str().unwrap(),
    ];
    run(trusting).await.ok();
    run(["agents", "--url", &url]).await.failed();
    served.stop().await;
}

#[tokio::test]
async fn what_is_in_use_is_named() {
    let (folder, served) = served().await;
    let elsewhere = folder.path().join("elsewhere");
    let port = served.port().to_string();
    let taken = run(["serve", "--port", &port, "--data", elsewhere.to_str().unwrap()])
        .await
        .failed();
    assert!(
        taken.contains("is another server running there? choose another with --port"),
        "{taken}"
    );
    let data = folder.path().join("data");
    let locked = run(["serve", "--port", "0", "--data", data.to_str().unwrap()])
        .await
        .failed();
    assert!(locked.contains("is in use; stop the other server"), "{locked}");
    served.stop().await;
}

#[tokio::test]
async fn a_server_stops_by_itself_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = openagents();
    command
        .args(["serve", "--port", "0", "--runtime", "50ms", "--data"])
        .arg(folder.path());
    let served = Served::of(&mut command).await;
    let (status, _, log) = served.running.wait().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("the time is over"), "{log}");
}

#[tokio::test]
async fn flags_set_what_the_workspace_and_the_server_allow() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--max-file-size", "1kB", "--allow-origin", "*", "--no-loop-guard"];
    let served = Served::start(folder.path(), &flags).await;
    let large = folder.path().join("large.txt");
    fs::write(&large, vec![b'a'; 1001]).unwrap();
    let refused = served
        .run(&["files", "upload", large.to_str().unwrap()])
        .await
        .failed();
    assert!(refused.contains("a file has at most 1000 bytes"), "{refused}");
    let log = served.stop().await;
    assert!(log.contains("pages of every site may use the workspace"), "{log}");
}

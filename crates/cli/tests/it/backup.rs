//! `openagents backup`, `openagents restore` and `openagents repair`.

use std::collections::HashMap;

use openagents_client::{AgentClient, Event};
use serde_json::{Value, json};

use crate::harness::{Served, run, served, within};

/// The messages of the channel `general`, oldest first.
async fn history(served: &Served) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    loop {
        let after = messages
            .last()
            .map_or(0, |message| message["sequence"].as_u64().unwrap());
        let after = after.to_string();
        let page = served
            .run(&[
                "history", "general", "--limit", "1000", "--after", &after, "--json",
            ])
            .await
            .ok();
        let page = page.lines().map(|line| serde_json::from_str(line).unwrap());
        let before = messages.len();
        messages.extend(page);
        if messages.len() == before {
            return messages;
        }
    }
}

#[tokio::test]
async fn a_backup_under_load_is_the_beginning_with_everything_acknowledged_before_it() {
    let (folder, served) = served().await;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let client = AgentClient::new("ana");
    within(client.connect_to_server("127.0.0.1", served.port()).into_future())
        .await
        .unwrap();
    let post = |number: u64| {
        let mut event = Event::new("channel.message.posted").to("channel:general");
        event.event_id = format!("post-{number}");
        event.payload = json!({"content": {"text": "x".repeat(300)}}).into();
        client.publish(event).unwrap()
    };
    let mut next = 0;
    let mut acknowledged = HashMap::new();
    let mut before = Vec::new();
    for round in 0..3 {
        // Some are acknowledged before the backup begins, others go on meanwhile.
        for pending in (next..next + 500).map(post).collect::<Vec<_>>() {
            let receipt = within(pending).await.data.unwrap();
            acknowledged.insert(receipt.event_id.to_string(), receipt.sequence.unwrap().get());
        }
        next += 500;
        before.push(acknowledged.clone());
        let (data, backup) = (path("data"), path(&format!("backup-{round}")));
        let load = async {
            loop {
                let pending: Vec<_> = (next..next + 50).map(post).collect();
                next += 50;
                for pending in pending {
                    assert!(within(pending).await.success);
                }
            }
        };
        let arguments = ["backup", &backup, "--data", &data, "--json"];
        let made = tokio::select! {
            () = load => unreachable!("it never ends"),
            made = run(arguments) => made.json(),
        };
        assert_eq!(made["event"], "backed_up");
        assert_eq!((&made["missing_files"], &made["files"]), (&json!([]), &json!(0)));
        assert!(
            acknowledged
                .values()
                .all(|sequence| *sequence <= made["head"].as_u64().unwrap())
        );
    }
    client.disconnect().await;
    let all = history(&served).await;
    served.stop().await;

    // The last backup is served as it is, the first one is restored.
    let restored = run(["restore", &path("backup-0"), "--data", &path("again"), "--json"])
        .await
        .json();
    assert_eq!(restored["event"], "restored");
    for (data, acknowledged) in [("backup-2", &before[2]), ("again", &before[0])] {
        let served = Served::start(path(data).as_ref(), &[]).await;
        let copied = history(&served).await;
        assert_eq!(copied[..], all[..copied.len()], "{data}");
        let places: HashMap<&str, u64> = copied
            .iter()
            .filter_map(|message| Some((message["message_id"].as_str()?, message["sequence"].as_u64()?)))
            .collect();
        assert!(500 <= acknowledged.len());
        for (id, sequence) in acknowledged {
            assert_eq!(places.get(id.as_str()), Some(sequence), "{id} in {data}");
        }
        served.stop().await;
    }
}

#[tokio::test]
async fn a_workspace_is_restored_up_to_a_sequence_and_not_over_another_one() {
    let (folder, served) = served().await;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut sequences = Vec::new();
    for text in ["first", "second", "third"] {
        let receipt = served.run(&["post", "general", text, "--json"]).await.json();
        sequences.push(receipt["data"]["sequence"].as_u64().unwrap().to_string());
    }
    let (data, backup) = (path("data"), path("backup"));
    let told = run(["backup", &backup, "--data", &data]).await.ok();
    assert!(
        told.contains(&format!("up to sequence {}, 0 files", sequences[2])),
        "{told}"
    );
    let again = run(["backup", &backup, "--data", &data]).await.failed();
    assert!(again.contains("a backup makes a new directory"), "{again}");

    let through = ["--through", &sequences[1]];
    let restore = ["restore", &backup, "--data", &data];
    let refused = run(restore).await.failed();
    assert!(refused.contains("--replace"), "{refused}");
    let used = run(restore.iter().chain(&["--replace"])).await.failed();
    assert!(used.contains("stop the other server"), "{used}");
    served.stop().await;
    let restored = run(restore.iter().chain(&through).chain(&["--replace"])).await;
    assert!(restored.stderr.contains("replaced-1"), "{}", restored.stderr);
    assert!(
        restored
            .ok()
            .contains(&format!("up to sequence {}", sequences[1]))
    );

    let served = Served::start(data.as_ref(), &[]).await;
    let texts: Vec<_> = history(&served)
        .await
        .iter()
        .map(|message| message["content"]["text"].clone())
        .collect();
    assert_eq!(texts, ["first", "second"]);
    served.stop().await;

    let beyond = run(["restore", &backup, "--data", &path("other"), "--through", "99999"])
        .await
        .failed();
    assert!(beyond.contains("and not 99999"), "{beyond}");
    let nothing = run(["backup", &path("none"), "--data", &path("nothing")])
        .await
        .failed();
    assert!(nothing.contains("it has no log.db"), "{nothing}");
    let nothing = run(["restore", &path("nothing"), "--data", &path("other")])
        .await
        .failed();
    assert!(nothing.contains("it has no log.db"), "{nothing}");
}

#[tokio::test]
async fn a_damaged_workspace_is_named_and_repaired() {
    let (folder, served) = served().await;
    let data = folder.path().join("data");
    let path = data.display().to_string();
    for number in 0..30 {
        let text = format!("post {number} {}", "x".repeat(500));
        served.run(&["post", "general", &text]).await.ok();
    }
    let used = run(["repair", "--data", &path]).await.failed();
    assert!(used.contains("stop the other server"), "{used}");
    let before = history(&served).await;
    served.stop().await;
    let sound = run(["repair", "--data", &path, "--dry-run"]).await.ok();
    assert!(sound.contains("is sound"), "{sound}");

    // The page with the newest posts.
    let log = data.join("log.db");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes
        .windows(8)
        .rposition(|window| window == b"post 29 ")
        .unwrap();
    bytes[at / 4096 * 4096..][..64].fill(0xff);
    std::fs::write(&log, bytes).unwrap();
    let start = run(["serve", "--port", "0", "--data", &path]).await.failed();
    assert!(
        start.contains("`openagents repair` saves what can be saved"),
        "{start}"
    );
    let looked = run(["repair", "--data", &path, "--dry-run", "--json"]).await;
    assert_eq!(looked.code, Some(1));
    let looked: Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(
        (&looked["event"], &looked["sound"]),
        (&json!("checked"), &json!(false))
    );

    let saved = run(["repair", "--data", &path]).await;
    assert!(
        saved.stderr.contains("the damaged log is in "),
        "{}",
        saved.stderr
    );
    let saved = saved.ok();
    let [first, last] = &looked["lost"][0].as_array().unwrap()[..] else {
        panic!("{looked}");
    };
    assert!(saved.contains(&format!("lost: {first} to {last}")), "{saved}");
    let again = run(["repair", "--data", &path, "--json"]).await.json();
    assert_eq!(
        (&again["sound"], &again["replaced"]),
        (&json!(true), &Value::Null)
    );

    let served = Served::start(&data, &[]).await;
    let after = history(&served).await;
    let sequence = |message: &Value| message["sequence"].as_u64();
    let left: Vec<_> = before
        .into_iter()
        .filter(|message| sequence(message) < first.as_u64() || last.as_u64() < sequence(message))
        .collect();
    assert!(10 < left.len() && left.len() < 30);
    assert_eq!(after, left);
    served.stop().await;
}

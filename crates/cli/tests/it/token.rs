//! `openagents token`.

use crate::harness::{Served, finish, openagents, run};

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_with_and_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let missing = run(["token", "list", "--data", data]).await.failed();
    assert!(
        missing.starts_with("error: there is no workspace in "),
        "{missing}"
    );

    let made = run([
        "token",
        "create",
        "--role",
        "admin",
        "--expires",
        "30d",
        "--data",
        data,
    ])
    .await;
    assert!(made.stderr.contains("it is not shown again"), "{}", made.stderr);
    let admin = made.ok();
    let admin = admin.trim_end();
    assert!(
        admin.starts_with("oa_") && !admin.contains(char::is_whitespace),
        "{admin}"
    );

    // The server has the directory now, so it is asked, which wants the admin token.
    let served = Served::start(data.as_ref(), &[]).await;
    let create = ["token", "create", "--agent", "bob", "--data", data, "--json"];
    let refused = served.run(&create).await.failed();
    assert!(refused.contains("this workspace wants a token"), "{refused}");
    let bob = finish(served.command(&create).env("OPENAGENTS_TOKEN", admin))
        .await
        .json();
    assert_eq!(
        (&bob["agent_id"], &bob["role"]),
        (&"bob".into(), &"member".into())
    );
    let bobs = bob["token"].as_str().unwrap();

    let list = served
        .run(&["token", "list", "--json", "--token", admin])
        .await
        .json();
    let list = list["tokens"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|token| token.get("token").is_none()), "{list:?}");
    let not_admin = served.run(&["token", "list", "--token", bobs]).await.failed();
    assert!(not_admin.contains("only an admin manages tokens"), "{not_admin}");

    served.run(&["agents", "--token", bobs]).await.ok();
    let id = bob["token_id"].as_str().unwrap();
    served.run(&["token", "revoke", id, "--token", admin]).await.ok();
    served.run(&["agents", "--token", bobs]).await.failed();
    served.stop().await;

    let again = run(["token", "revoke", id, "--data", data]).await.failed();
    assert!(
        again.contains("`openagents token list` lists the tokens"),
        "{again}"
    );
    let left = finish(openagents().args(["token", "list", "--data", data]))
        .await
        .ok();
    assert_eq!(left.lines().count(), 2, "{left}");
}

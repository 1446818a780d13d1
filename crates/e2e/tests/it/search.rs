//! Searching what was said, from a client and over HTTP.

use std::time::{Duration, SystemTime};

use openagents_client::{AgentClient, CallError, ErrorCode, FoundMessage};
use openagents_e2e::Workspace;
use serde_json::{Value, json};

fn texts(found: &[FoundMessage]) -> Vec<&str> {
    found.iter().filter_map(|found| found.message.text()).collect()
}

async fn found(client: &AgentClient, query: &str) -> anyhow::Result<Vec<String>> {
    let found = client.workspace().search(query).await?;
    Ok(texts(&found).into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn what_was_said_is_found_by_who_may_read_it_and_after_a_restart() -> anyhow::Result<()> {
    let served = Workspace::serve().await?;
    let (alice, bob) = (served.join("alice").await?, served.join("bob").await?);
    let carol = served.join("carol").await?;
    let general = alice.workspace().channel("general");
    let ops = alice.workspace().create_channel("ops", "").await?;
    general.post("Deployment of the blue cluster failed").await;
    ops.post("Crème de la crème: deployed again").await;
    alice.workspace().agent("bob").send("deployment key is 7").await;
    carol.workspace().channel("ops").leave().await?;
    let edited = ops.post("misspelt").await;
    let edited = edited.message_id().expect("accepted");
    ops.edit(edited, "deployment, spelt well").await;
    let deleted = general.post("deployment of nonsense").await;
    general
        .delete_message(deleted.message_id().expect("accepted"))
        .await;

    let everything = [
        "deployment, spelt well",
        "deployment key is 7",
        "Crème de la crème: deployed again",
        "Deployment of the blue cluster failed",
    ];
    let (for_bob, for_carol) = (&everything[..], &everything[3..]);
    served
        .server()
        .workspace()
        .searchable_through(served.server().workspace().head())
        .await;
    assert_eq!(found(&bob, "deploy*").await?, for_bob);
    assert_eq!(found(&carol, "deploy*").await?, for_carol);
    assert_eq!(found(&bob, "misspelt").await?, [""; 0]);
    assert_eq!(found(&bob, "\"de la creme\" AGAIN").await?, [everything[2]]);

    let search = bob.workspace().search("deploy*");
    assert_eq!(
        texts(&search.channel("#ops").sender("alice").await?),
        [everything[0], everything[2]]
    );
    let search = bob.workspace().search("deploy*").agent("alice");
    assert_eq!(texts(&search.await?), [everything[1]]);
    let now = SystemTime::now();
    let search = bob
        .workspace()
        .search("deploy*")
        .since(now - Duration::from_hours(1));
    assert_eq!(search.until(now + Duration::from_hours(1)).await?.len(), 4);
    assert!(
        bob.workspace()
            .search("deploy*")
            .until(now - Duration::from_hours(1))
            .await?
            .is_empty()
    );
    let page = bob.workspace().search("deploy*").limit(3).page().await?;
    assert_eq!(
        (texts(&page.results), page.has_more),
        (everything[..3].to_vec(), true)
    );
    let rest = bob
        .workspace()
        .search("deploy*")
        .before(page.before.expect("there are more"));
    assert_eq!(texts(&rest.await?), everything[3..]);
    let last = page.results[0].message.sequence;
    assert!(bob.workspace().search("deploy*").after(last).await?.is_empty());

    let refused = carol.workspace().search("deploy*").channel("ops").await;
    assert!(matches!(refused, Err(CallError::Refused(error)) if error.code == ErrorCode::NotAMember));
    let refused = bob.workspace().search("?!").await;
    assert!(matches!(refused, Err(CallError::Refused(error)) if error.field.as_deref() == Some("query")));

    let served = served.restart().await?;
    let bob = served.join("bob").await?;
    assert_eq!(found(&bob, "deploy*").await?, for_bob);
    let reply = served
        .get("search?query=%22blue%20cluster%22&limit=1", "carol")
        .await?;
    let told: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!((reply.status, &told["has_more"]), (200, &json!(false)));
    let expected = json!([
        {"text": "Deployment of the "},
        {"text": "blue cluster", "matched": true},
        {"text": " failed"},
    ]);
    assert_eq!(told["results"][0]["snippet"], expected);
    assert_eq!(told["results"][0]["message"]["channel"], "general");
    let refused = served.get("search?query=word&limit=101", "carol").await?;
    assert_eq!(refused.status, 400);
    served.stop().await;
    Ok(())
}

//! Agents of every kind in one channel: what one does all others see, each in its own words.
//!
//! There are two of each kind, so each test looks at every pair of a kind that acts and a kind that sees.

mod cast;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use self::cast::{Agent, CHANNEL, Cast, Kind};

/// What an agent saw is what another one did.
fn check(witness: &Agent, seen: &Value, expected: &[(&str, &str)]) -> Result<()> {
    for (pointer, value) in expected {
        let found = seen.pointer(pointer).and_then(Value::as_str);
        ensure!(
            found == Some(value),
            "{}: {pointer} is not {value}: {seen}",
            witness.id
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_of_any_agent_is_seen_by_all_others() -> Result<()> {
    let mut cast = Cast::gather().await?;
    for one in 0..cast.agents.len() {
        let author = cast.agents[one].id.clone();
        let text = format!("posted by {author}");
        let id = cast.agents[one].post(&text).await?;
        for witness in cast.others(one) {
            let seen = witness
                .sees(
                    "channel.message.posted",
                    "thread.channel_message.notification",
                    &text,
                )
                .await?;
            let expected = [
                ("/source", author.as_str()),
                ("/id", &id),
                ("/payload/message_id", &id),
                ("/payload/sender_id", &author),
                ("/payload/channel", CHANNEL),
                ("/payload/content/text", &text),
            ];
            check(witness, &seen, &expected)?;
        }
    }
    cast.part().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_of_any_agent_to_any_agent_is_seen_by_all_others() -> Result<()> {
    let mut cast = Cast::gather().await?;
    for one in 0..cast.agents.len() {
        let author = cast.agents[one].id.clone();
        let parent = cast.agents[one].post(&format!("asked by {author}")).await?;
        for other in (0..cast.agents.len()).filter(|other| *other != one) {
            let replier = cast.agents[other].id.clone();
            let text = format!("{replier} answers {author}");
            let id = cast.agents[other].reply(&parent, &text).await?;
            for witness in cast.others(other) {
                let seen = witness
                    .sees("channel.message.replied", "thread.reply.notification", &text)
                    .await?;
                let expected = [
                    ("/source", replier.as_str()),
                    ("/id", &id),
                    ("/payload/reply_to_id", &parent),
                    ("/payload/channel", CHANNEL),
                    ("/payload/content/text", &text),
                ];
                check(witness, &seen, &expected)?;
                let own: &[(&str, &str)] = match witness.kind {
                    Kind::Official(_) => &[("/payload/original_sender", &author)],
                    Kind::Rust | Kind::Python => &[("/payload/thread_id", &parent)],
                };
                check(witness, &seen, own)?;
            }
        }
    }
    cast.part().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_message_of_any_agent_to_any_agent_is_seen_by_that_one_only() -> Result<()> {
    let mut cast = Cast::gather().await?;
    let ids: Vec<String> = cast.agents.iter().map(|agent| agent.id.clone()).collect();
    for one in 0..ids.len() {
        for other in (0..ids.len()).filter(|other| *other != one) {
            let text = format!("{} to {}", ids[one], ids[other]);
            let id = cast.agents[one].send(&ids[other], &text).await?;
            let witness = &mut cast.agents[other];
            let seen = witness
                .sees(
                    "direct.message.received",
                    "thread.direct_message.notification",
                    &text,
                )
                .await?;
            let expected = [
                ("/source", ids[one].as_str()),
                ("/id", &id),
                ("/payload/message_id", &id),
                ("/payload/sender_id", &ids[one]),
                ("/payload/content/text", &text),
            ];
            check(witness, &seen, &expected)?;
        }
    }
    // Everything comes in order: whoever sees this last post was told of all messages before it.
    cast.agents[0].post("the end").await?;
    for witness in cast.others(0) {
        witness
            .sees(
                "channel.message.posted",
                "thread.channel_message.notification",
                "the end",
            )
            .await?;
        ensure!(
            witness.untold(" to ") == 0,
            "{} saw what is for others",
            witness.id
        );
    }
    cast.part().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_of_any_agent_are_seen_by_all_others() -> Result<()> {
    let mut cast = Cast::gather().await?;
    let message = cast.agents[0].post("react to this").await?;
    for one in 0..cast.agents.len() {
        let reactor = cast.agents[one].id.clone();
        let written = cast.agents[one].kind.word("👍", "+1");
        for action in ["add", "remove"] {
            cast.agents[one].react(&message, written, action).await?;
            let ours = match action {
                "add" => "workspace.reaction.added",
                _ => "workspace.reaction.removed",
            };
            for witness in cast.others(one) {
                let seen = witness
                    .sees(ours, "thread.reaction.notification", &reactor)
                    .await?;
                check(witness, &seen, &[("/source", reactor.as_str())])?;
                let told: &[(&str, &str)] = match witness.kind {
                    Kind::Official(_) => &[
                        ("/payload/target_message_id", &message),
                        ("/payload/reacting_agent", &reactor),
                        ("/payload/reaction_type", "+1"),
                        ("/payload/reaction/sender_id", &reactor),
                        ("/payload/reaction/reaction_type", "+1"),
                        ("/payload/reaction/action", action),
                    ],
                    Kind::Rust | Kind::Python => &[
                        ("/payload/message_id", &message),
                        ("/payload/agent_id", &reactor),
                        ("/payload/reaction", written),
                    ],
                };
                check(witness, &seen, told)?;
            }
        }
    }
    cast.part().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_any_agent_is_seen_and_read_by_all_others() -> Result<()> {
    let mut cast = Cast::gather().await?;
    for one in 0..cast.agents.len() {
        let uploader = cast.agents[one].id.clone();
        let (filename, content) = (format!("{uploader}.txt"), format!("written by {uploader}"));
        let id = cast.agents[one].upload(&filename, &content).await?;
        for witness in cast.others(one) {
            let seen = witness
                .sees(
                    "workspace.file.uploaded",
                    "thread.file.upload_response",
                    &filename,
                )
                .await?;
            check(
                witness,
                &seen,
                &[("/source", uploader.as_str()), ("/payload/file_id", &id)],
            )?;
            let encoded = STANDARD.encode(&content);
            let told: &[(&str, &str)] = match witness.kind {
                Kind::Official(_) => &[
                    ("/payload/file/filename", &filename),
                    ("/payload/file/file_content", &encoded),
                ],
                Kind::Rust | Kind::Python => &[
                    ("/payload/filename", &filename),
                    ("/payload/uploader", &uploader),
                    ("/payload/channel", CHANNEL),
                ],
            };
            check(witness, &seen, told)?;
            assert_eq!(witness.download(&id).await?, content, "{}", witness.id);
        }
    }
    cast.part().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_every_kind_are_seen_to_come_and_to_go() -> Result<()> {
    let mut cast = Cast::gather().await?;
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        let id = format!("guest-{number}");
        let guest = Agent::join(&cast.workspace, kind, &id).await?;
        let mut everybody = cast.ids();
        everybody.push(id.clone());
        everybody.sort_unstable();
        for witness in &mut cast.agents {
            let seen = witness
                .sees("agent.joined", "discovery.notification.agent_connected", &id)
                .await?;
            check(witness, &seen, &[("/payload/agent_id", id.as_str())])?;
            assert_eq!(witness.agents().await?, everybody, "{}", witness.id);
        }
        guest.leave().await?;
        let ids = cast.ids();
        for witness in &mut cast.agents {
            let seen = witness
                .sees("agent.left", "discovery.notification.agent_disconnected", &id)
                .await?;
            check(witness, &seen, &[("/payload/agent_id", id.as_str())])?;
            assert_eq!(witness.agents().await?, ids, "{}", witness.id);
        }
    }
    cast.part().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_agents_read_the_same_history() -> Result<()> {
    let mut cast = Cast::gather().await?;
    let mut said = Vec::new();
    let first = cast.agents[0].post("first").await?;
    said.push((cast.agents[0].id.clone(), "first".to_owned()));
    for agent in &mut cast.agents {
        for text in [format!("post of {}", agent.id), format!("reply of {}", agent.id)] {
            if text.starts_with("post") {
                agent.post(&text).await?;
            } else {
                agent.reply(&first, &text).await?;
            }
            said.push((agent.id.clone(), text));
        }
    }
    said.reverse();
    for reader in &mut cast.agents {
        assert_eq!(reader.history().await?, said, "{}", reader.id);
    }
    cast.part().await;
    Ok(())
}

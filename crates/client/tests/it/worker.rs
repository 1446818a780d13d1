use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use openagents_client::{
    ChannelMessageContext, EventContext, FileContext, HookResult, ReactionContext, ReplyMessageContext,
    RunningWorker, StartWorker, Worker, WorkerAgent, WorkerError, WorkerSettings,
};
use openagents_protocol::frame::{ClientFrame, MENTIONED};
use openagents_protocol::{ErrorBody, ErrorCode, Event};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::peer::{LIMIT, Line, Peer, direct, event, within};

/// Writes down which hook was called for which event, and does what the text of a message asks for.
struct Recorder {
    journal: mpsc::Sender<String>,
    settings: WorkerSettings,
    gate: Arc<Semaphore>,
}

impl Recorder {
    async fn write(&self, hook: &str, event_id: &str) {
        self.journal.send(format!("{hook} {event_id}")).await.unwrap();
    }

    async fn called(&self, hook: &str, context: &EventContext) -> HookResult {
        self.write(hook, context.message_id()).await;
        let asked: HashMap<&str, &str> = [(context.text(), hook)].into();
        match context.text() {
            "wait" => self.gate.acquire().await?.forget(),
            "fail" => return Err("it was asked to".into()),
            "panic" => assert!(asked.is_empty(), "it was asked to"),
            _ => {}
        }
        Ok(())
    }
}

impl WorkerAgent for Recorder {
    fn settings(&self) -> WorkerSettings {
        self.settings.clone()
    }

    async fn on_startup(&self, worker: &Worker) -> HookResult {
        self.write("on_startup", worker.agent_id()).await;
        Ok(())
    }

    async fn on_shutdown(&self, worker: &Worker) -> HookResult {
        self.write("on_shutdown", worker.agent_id()).await;
        worker.post_to_channel("general", "Goodbye.").await;
        Ok(())
    }

    async fn on_channel_post(&self, _: &Worker, context: ChannelMessageContext) -> HookResult {
        self.called("on_channel_post", &context).await
    }

    async fn on_channel_mention(&self, _: &Worker, context: ChannelMessageContext) -> HookResult {
        self.called("on_channel_mention", &context).await
    }

    async fn on_channel_reply(&self, _: &Worker, context: ReplyMessageContext) -> HookResult {
        self.called("on_channel_reply", &context).await
    }

    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        match context.text() {
            "stop" => worker.request_stop(),
            "answer" => drop(worker.send_direct(context.source_id(), "Here.").await),
            "later" => {
                let (again, sender) = (worker.clone(), context.source_id().to_owned());
                worker.schedule_task(Duration::from_millis(1), async move {
                    again.send_direct(&sender, "Later.").await;
                    Ok(())
                });
            }
            _ => {}
        }
        self.called("on_direct", &context).await
    }

    async fn on_reaction(&self, _: &Worker, context: ReactionContext) -> HookResult {
        let event_id = &context.incoming_event().event_id;
        self.write("on_reaction", event_id).await;
        Ok(())
    }

    async fn on_file_received(&self, _: &Worker, context: FileContext) -> HookResult {
        self.called("on_file_received", &context).await
    }

    async fn on_event(&self, _: &Worker, event: Event) -> HookResult {
        self.write("on_event", &event.event_id).await;
        Ok(())
    }

    async fn react(&self, _: &Worker, context: EventContext) -> HookResult {
        self.called("react", &context).await
    }
}

/// A recorder about to start, what it writes, and the gate at which it waits.
fn recorder(peer: &Peer, settings: WorkerSettings) -> (StartWorker<Recorder>, Journal, Arc<Semaphore>) {
    let (journal, written) = mpsc::channel(100);
    let gate = Arc::new(Semaphore::new(0));
    let agent = Recorder {
        journal,
        settings: settings.default_agent_id("me"),
        gate: Arc::clone(&gate),
    };
    (agent.start("127.0.0.1", peer.port), Journal(written), gate)
}

struct Journal(mpsc::Receiver<String>);

impl Journal {
    async fn check(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(within(LIMIT, self.0.recv()).await.unwrap(), *expected);
        }
    }
}

async fn started(peer: &Peer, start: StartWorker<Recorder>) -> (RunningWorker, Line) {
    let (running, line) = tokio::join!(start, peer.welcome());
    (running.unwrap(), line)
}

fn post(sequence: u64, text: &str) -> Event {
    let payload = json!({"channel": "general", "content": {"text": text}});
    event(sequence, "channel.message.posted", "bob")
        .to("channel:general")
        .payload(payload)
}

#[tokio::test]
async fn every_event_calls_react_then_its_hook_then_the_catch_all() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
    let (_running, mut line) = started(&peer, start).await;
    journal.check(&["on_startup me"]).await;
    let mut mention = post(2, "hi");
    mention.also.push(MENTIONED.to_owned());
    let mut reply = post(3, "hi");
    reply.event_name = "channel.message.replied".into();
    let mut mentioning = reply.clone();
    mentioning.sequence = post(4, "").sequence;
    mentioning.event_id = "e4".into();
    mentioning.also.push(MENTIONED.to_owned());
    let free = event(6, "agent.message", "bob").payload(json!({"text": "hi"}));
    for (event, hook) in [
        (post(1, "hi"), Some("on_channel_post")),
        (mention, Some("on_channel_mention")),
        (reply, Some("on_channel_reply")),
        (mentioning, Some("on_channel_mention")),
        (direct(5, "bob", "hi"), Some("on_direct")),
        (free, Some("on_direct")),
        (event(7, "workspace.reaction.added", "bob"), Some("on_reaction")),
        (event(8, "workspace.reaction.removed", "bob"), Some("on_reaction")),
        (
            event(9, "workspace.file.uploaded", "bob"),
            Some("on_file_received"),
        ),
        (event(10, "agent.joined", "bob"), None),
        (event(11, "poll.vote", "bob"), None),
    ] {
        let id = event.event_id.clone();
        line.event(event).await;
        let expected = [Some("react"), hook, Some("on_event")];
        for hook in expected.into_iter().flatten() {
            journal.check(&[&format!("{hook} {id}")]).await;
        }
    }
}

#[tokio::test]
async fn a_mention_is_an_ordinary_message_for_who_does_not_respond_to_mentions() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new().auto_mention_response(false));
    let (_running, mut line) = started(&peer, start).await;
    let mut mention = post(1, "hi");
    mention.also.push(MENTIONED.to_owned());
    line.event(mention).await;
    journal
        .check(&["on_startup me", "react e1", "on_channel_post e1", "on_event e1"])
        .await;
}

#[tokio::test]
async fn own_messages_are_passed_over_and_own_events_are_not() {
    let peer = Peer::bind().await;
    for ignore in [true, false] {
        let (start, mut journal, _) = recorder(&peer, WorkerSettings::new().ignore_own_messages(ignore));
        let (running, mut line) = started(&peer, start).await;
        line.event(direct(1, "me", "to myself")).await;
        line.event(event(2, "task.tick", "me")).await;
        journal.check(&["on_startup me"]).await;
        if !ignore {
            journal.check(&["react e1", "on_direct e1", "on_event e1"]).await;
        }
        journal.check(&["react e2", "on_event e2"]).await;
        drop(running);
        journal.check(&["on_shutdown me"]).await;
    }
}

#[tokio::test]
async fn a_hook_that_fails_or_panics_stops_nothing() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
    let start = start.on("direct.*", |agent, _, context| async move {
        agent.called("handler", &context).await
    });
    let (_running, mut line) = started(&peer, start).await;
    journal.check(&["on_startup me"]).await;
    for (sequence, text) in [(1, "fail"), (2, "panic"), (3, "fine")] {
        line.event(direct(sequence, "bob", text)).await;
        for hook in ["handler", "react", "on_direct", "on_event"] {
            journal.check(&[&format!("{hook} e{sequence}")]).await;
        }
        line.acknowledged(sequence).await;
    }
}

#[tokio::test]
async fn pattern_handlers_run_before_the_hooks_in_their_order_and_may_share_a_pattern() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
    let start = start
        .on("workspace.file.*", |agent, _, context| async move {
            agent.called("first", &context).await
        })
        .on(["direct.*", "*.received"], |agent, _, context| async move {
            agent.called("direct", &context).await
        })
        .on("workspace.file.*", |agent, _, context| async move {
            agent.called("second", &context).await
        });
    let (_running, mut line) = started(&peer, start).await;
    line.event(event(1, "workspace.file.uploaded", "bob")).await;
    let file = [
        "first e1",
        "second e1",
        "react e1",
        "on_file_received e1",
        "on_event e1",
    ];
    line.event(event(2, "workspace.file.deleted", "bob")).await;
    let deleted = ["first e2", "second e2", "react e2", "on_event e2"];
    line.event(direct(3, "bob", "hi")).await;
    let message = ["direct e3", "react e3", "on_direct e3", "on_event e3"];
    journal.check(&["on_startup me"]).await;
    journal.check(&file).await;
    journal.check(&deleted).await;
    journal.check(&message).await;
}

#[tokio::test]
async fn a_pattern_that_breaks_the_rules_is_told_before_anything_happens() {
    let peer = Peer::bind().await;
    let (start, _, _) = recorder(&peer, WorkerSettings::new());
    let start = start.on("", |_, _, _| async { Ok(()) });
    let error = within(LIMIT, start.into_future()).await.unwrap_err();
    assert!(matches!(error, WorkerError::InvalidPattern(_)), "{error}");
    assert_eq!(error.code(), "invalid_name");
}

#[tokio::test]
async fn events_of_the_workspace_itself_are_followed_for_a_handler_that_names_them() {
    let peer = Peer::bind().await;
    let (start, _, _) = recorder(&peer, WorkerSettings::new());
    let start = start.on("system.heartbeat", |_, _, _| async { Ok(()) });
    let (_running, mut line) = started(&peer, start).await;
    assert_eq!(line.respond(json!({})).await.0, "follow_system");
}

#[tokio::test]
async fn the_hello_and_the_joins_say_what_the_settings_say() {
    let peer = Peer::bind().await;
    let settings = WorkerSettings::new()
        .description("Writes everything down")
        .capabilities(["writing"])
        .metadata(json!({"role": "worker"}))
        .default_channels(["#notes", "new"]);
    let (start, _, _) = recorder(&peer, settings);
    let start = start
        .agent_id("you")
        .token("secret")
        .metadata(json!({"name": "You"}));
    let server = async {
        let mut line = peer.welcome().await;
        let channel = json!({"name": "notes", "description": "", "creator_id": "system", "created_at": 0.0,
            "joined": true, "members": 1, "events": 0});
        let (method, params) = line.respond(channel.clone()).await;
        assert_eq!(
            (method.as_str(), &params["channel"]),
            ("join_channel", &json!("notes"))
        );
        let missing = ErrorBody::new(ErrorCode::ChannelNotFound, "there is no channel new");
        let (method, params) = line.refuse(missing).await;
        assert_eq!(
            (method.as_str(), &params["channel"]),
            ("join_channel", &json!("new"))
        );
        let (method, params) = line.respond(channel).await;
        assert_eq!(
            (method.as_str(), &params["name"]),
            ("create_channel", &json!("new"))
        );
        line
    };
    let (running, line) = tokio::join!(start, server);
    let running = running.unwrap();
    assert_eq!(running.worker().agent_id(), "you");
    assert_eq!(running.worker().network_id(), "lab");
    assert_eq!(line.hello.agent_id.as_deref(), Some("you"));
    assert_eq!(line.hello.token.unwrap().expose(), "secret");
    let expected = json!({"description": "Writes everything down", "capabilities": ["writing"], "role": "worker",
        "name": "You"});
    assert_eq!(line.hello.metadata.unwrap().value(), &expected);
}

#[tokio::test]
async fn events_wait_until_on_startup_has_returned_also_where_it_waits_for_an_answer() {
    struct Asking(mpsc::Sender<String>);

    impl WorkerAgent for Asking {
        async fn on_startup(&self, worker: &Worker) -> HookResult {
            let answer = worker
                .workspace()
                .agent("bob")
                .send_and_wait("Ready?", LIMIT)
                .await;
            let answer = answer.ok_or("no answer")?;
            self.0
                .send(format!("on_startup {}", answer.text().unwrap_or_default()))
                .await?;
            Ok(())
        }

        async fn on_event(&self, _: &Worker, event: Event) -> HookResult {
            self.0.send(format!("on_event {}", event.event_id)).await?;
            Ok(())
        }
    }

    let peer = Peer::bind().await;
    let (journal, written) = mpsc::channel(10);
    let server = async {
        let mut line = peer.welcome().await;
        line.event(direct(1, "carol", "too early")).await;
        let question = line.publish().await;
        line.accepted(&question, 2).await;
        let answer = direct(3, "bob", "Ready.").in_response_to(question.event.event_id);
        line.event(answer).await;
        line
    };
    let start = Asking(journal).start("127.0.0.1", peer.port);
    let (running, mut line) = tokio::join!(start, server);
    assert_eq!(running.unwrap().worker().agent_id(), "asking");
    let mut journal = Journal(written);
    journal.check(&["on_startup Ready."]).await;
    let mut handled = [journal.0.recv().await.unwrap(), journal.0.recv().await.unwrap()];
    handled.sort();
    assert_eq!(handled, ["on_event e1", "on_event e3"]);
    line.acknowledged(3).await;
}

#[tokio::test]
async fn what_is_sent_from_a_hook_or_a_task_it_scheduled_is_linked_to_the_event() {
    let peer = Peer::bind().await;
    let (start, _journal, _) = recorder(&peer, WorkerSettings::new());
    let (_running, mut line) = started(&peer, start).await;
    for (sequence, asked, answered) in [(1, "answer", "Here."), (2, "later", "Later.")] {
        line.event(direct(sequence, "bob", asked)).await;
        let publish = line.publish().await;
        assert_eq!(publish.event.text(), Some(answered));
        assert_eq!(publish.event.response_to, Some(format!("e{sequence}")));
        assert_eq!(publish.event.caused_by, Some(format!("e{sequence}")));
        line.accepted(&publish, 10 + sequence).await;
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_running_hooks_lets_the_agent_speak_and_leaves_the_rest_for_later() {
    let peer = Peer::bind().await;
    let (start, mut journal, gate) = recorder(&peer, WorkerSettings::new());
    let (running, mut line) = started(&peer, start).await;
    line.event(post(1, "wait")).await;
    line.event(post(2, "too late")).await;
    journal.check(&["on_startup me", "react e1"]).await;
    let stopping = running.clone();
    let stopped = async move { stopping.stop().await.unwrap() };
    let server = async {
        line.quiet().await;
        assert!(
            journal.0.try_recv().is_err(),
            "on_shutdown does not run beside hooks"
        );
        gate.add_permits(2);
        journal
            .check(&["on_channel_post e1", "on_event e1", "on_shutdown me"])
            .await;
        let goodbye = loop {
            match line.next().await {
                Some(ClientFrame::Ack(ack)) => assert_eq!(ack.through.get(), 1, "only what was handled"),
                Some(ClientFrame::Publish(publish)) => break publish,
                other => panic!("no publish but {other:?}"),
            }
        };
        assert_eq!(goodbye.event.text(), Some("Goodbye."));
        line.accepted(&goodbye, 3).await;
        let last = loop {
            match line.next().await {
                Some(ClientFrame::Ack(ack)) => assert_eq!(ack.through.get(), 1, "only what was handled"),
                other => break other,
            }
        };
        assert!(matches!(last, Some(ClientFrame::Goodbye(_))), "{last:?}");
        drop(line);
    };
    assert!(running.is_running());
    within(LIMIT, async { tokio::join!(stopped, server) }).await;
    assert!(!running.is_running());
    assert!(
        journal.0.try_recv().is_err(),
        "the second post is handled in the next session"
    );
}

#[tokio::test]
async fn hooks_that_do_not_return_in_time_are_dropped_and_not_acknowledged() {
    let peer = Peer::bind().await;
    let (start, mut journal, _gate) = recorder(&peer, WorkerSettings::new().grace(Duration::from_millis(20)));
    let (running, mut line) = started(&peer, start).await;
    line.event(direct(1, "bob", "wait")).await;
    journal.check(&["on_startup me", "react e1"]).await;
    let server = async {
        let goodbye = line.publish().await;
        line.accepted(&goodbye, 2).await;
        assert!(
            matches!(line.next().await, Some(ClientFrame::Goodbye(_))),
            "no acknowledgement before it"
        );
        drop(line);
    };
    let (stopped, ()) = within(LIMIT, async { tokio::join!(running.stop(), server) }).await;
    stopped.unwrap();
    journal.check(&["on_shutdown me"]).await;
}

/// Writes down its end.
struct Ending(mpsc::Sender<String>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.try_send("the task ended".to_owned()).unwrap();
    }
}

#[tokio::test]
async fn scheduled_tasks_are_dropped_before_the_agent_has_its_last_word() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
    let (running, mut line) = started(&peer, start).await;
    journal.check(&["on_startup me"]).await;
    let (ending, endings) = mpsc::channel(1);
    let (mut ends, ending) = (Journal(endings), Ending(ending));
    let task = running.worker().schedule_task(Duration::ZERO, async move {
        let _ending = ending;
        std::future::pending().await
    });
    let server = async {
        let goodbye = line.publish().await;
        ends.check(&["the task ended"]).await;
        line.accepted(&goodbye, 1).await;
        drop(line);
    };
    let (stopped, ()) = within(LIMIT, async { tokio::join!(running.stop(), server) }).await;
    stopped.unwrap();
    within(LIMIT, task).await.unwrap();
}

#[tokio::test]
async fn a_hook_asks_to_stop_and_a_dropped_handle_does_too() {
    let peer = Peer::bind().await;
    for asked in [true, false] {
        let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
        let (running, mut line) = started(&peer, start).await;
        journal.check(&["on_startup me"]).await;
        if asked {
            line.event(direct(1, "bob", "stop")).await;
            journal.check(&["react e1", "on_direct e1", "on_event e1"]).await;
        } else {
            drop(running);
        }
        journal.check(&["on_shutdown me"]).await;
        let goodbye = line.publish().await;
        line.accepted(&goodbye, 2).await;
        line.left().await;
    }
}

#[tokio::test]
async fn a_break_does_not_start_the_agent_again() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
    let (_running, mut line) = started(&peer, start).await;
    line.event(direct(1, "bob", "before")).await;
    journal
        .check(&["on_startup me", "react e1", "on_direct e1", "on_event e1"])
        .await;
    line.acknowledged(1).await;
    drop(line);
    let mut line = peer.welcome().await;
    line.event(direct(2, "bob", "after")).await;
    journal.check(&["react e2", "on_direct e2", "on_event e2"]).await;
}

#[tokio::test]
async fn an_agent_that_is_dismissed_for_good_stops_with_the_reason() {
    let peer = Peer::bind().await;
    let (start, mut journal, _) = recorder(&peer, WorkerSettings::new());
    let (running, mut line) = started(&peer, start).await;
    journal.check(&["on_startup me"]).await;
    line.goodbye(ErrorCode::SessionReplaced).await;
    let error = within(LIMIT, running.wait_for_stop()).await.unwrap_err();
    assert_eq!(error.code(), "session_replaced");
    journal.check(&["on_shutdown me"]).await;
}

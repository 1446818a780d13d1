//! The hosts of the agents: what they do, and what they see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use openagents_client::{AgentClient, Backlog, CallError, Event, EventResponse, WeakAgentClient};
use openagents_e2e::Dice;
use openagents_protocol::{ErrorCode, EventId, Json};
use serde_json::json;

use crate::journal::{Answer, Fact};
use crate::network::{PORT, Way};
use crate::scene::Scene;

const ROOMS: [&str; 3] = ["general", "room0", "room1"];

/// What the answer to a question says.
pub(crate) fn answer_to(question: &str) -> String {
    format!("answer to {question}")
}

pub(crate) fn is_question(text: &str) -> bool {
    text.starts_with("question ")
}

pub(crate) fn is_answer(text: &str) -> bool {
    text.starts_with("answer to ")
}

/// One life of an agent's process.
struct Life {
    scene: Arc<Scene>,
    number: u32,
    host: usize,
    client: AgentClient,
    /// Names what this life sends.
    sent: AtomicU64,
    subscribed: AtomicBool,
}

/// Lives until it is killed.
pub(crate) async fn live(scene: Arc<Scene>, host: usize) -> turmoil::Result {
    let number = scene.begin(host);
    let life = Life {
        client: AgentClient::new(&scene.plan.agents[host].name),
        scene,
        number,
        host,
        sent: AtomicU64::new(0),
        subscribed: AtomicBool::new(false),
    };
    life.listen()?;
    life.connect().await;
    let hands = life.plan().hands;
    join_all((0..hands).map(|hand| Box::pin(life.work(hand)))).await;
    life.stay().await
}

impl Life {
    fn plan(&self) -> &crate::plan::Agent {
        &self.scene.plan.agents[self.host]
    }

    fn tell(&self, fact: Fact) {
        self.scene.tell(&self.plan().name, self.number, fact);
    }

    /// Takes everything, answers questions.
    fn listen(&self) -> turmoil::Result {
        let (scene, number, host) = (Arc::clone(&self.scene), self.number, self.host);
        let client = self.client.downgrade();
        let calls = Arc::new(AtomicU64::new(0));
        self.client.register_event_handler((), move |event: Event| {
            let (scene, client) = (Arc::clone(&scene), client.clone());
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move { handle(&scene, host, number, call, &client, event).await }
        })?;
        Ok(())
    }

    /// Connects, however long it takes.
    async fn connect(&self) {
        loop {
            let way = Way {
                scene: Arc::clone(&self.scene),
                agent: self.plan().name.clone(),
            };
            let connect = self
                .client
                .connect_to_server("server", PORT)
                .dial(way)
                .backlog(Backlog::All);
            match connect.timeout(Duration::from_secs(5)).await {
                Ok(()) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        }
        if let Some(welcome) = self.client.welcome() {
            let cursor = welcome.cursor.get();
            self.tell(Fact::Connected { cursor });
        }
        if self.plan().picky && !self.subscribed.swap(true, Ordering::Relaxed) && self.number == 1 {
            // Where it gets lost the agent takes everything, which is as good.
            drop(self.client.subscribe_events(["task.*"], None).await);
        }
    }

    /// Does one thing after the other until the faults are over.
    async fn work(&self, hand: u64) {
        let mut dice = self
            .scene
            .dice(1_000 * (hand + 1) + self.host as u64, self.number);
        while !self.scene.is_over() {
            self.act(&mut dice).await;
            tokio::time::sleep(dice.milliseconds(1, self.plan().rest_ms)).await;
        }
    }

    /// Waits for whatever still comes.
    async fn stay(&self) -> turmoil::Result {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            match self.client.list_mods().await {
                Ok(_) => self.scene.answered(self.host),
                Err(CallError::NotConnected(_)) => self.connect().await,
                Err(_) => {}
            }
        }
    }

    async fn act(&self, dice: &mut Dice) {
        let other = self.other(dice);
        match dice.roll(24) {
            0..=5 => self.send(self.direct(dice, &other)).await,
            6..=9 => self.send(self.post(dice, "")).await,
            10..=11 => self.send(self.post(dice, &format!(" @{other}"))).await,
            12..=14 => self.ask(dice, other).await,
            15 => {
                // Both are asked at once, so that their answers are on the way at once.
                let mut second = dice.clone();
                second.roll(2);
                tokio::join!(self.ask(dice, other.clone()), self.ask(&mut second, other));
            }
            16..=17 => self.burst(dice).await,
            18 => self.move_about(dice).await,
            19 => self.send(self.restricted(dice, &other)).await,
            20 => self.send(self.task(dice, "agent:broadcast")).await,
            21 => self.send(self.task(dice, &format!("agent:{other}"))).await,
            22 => self.look(dice).await,
            _ => {
                if dice.once_in(3) {
                    self.client.disconnect().await;
                    tokio::time::sleep(dice.milliseconds(1, 2_000)).await;
                    self.connect().await;
                }
            }
        }
    }

    fn other(&self, dice: &mut Dice) -> String {
        let others: Vec<&str> = self
            .scene
            .plan
            .agents
            .iter()
            .map(|agent| agent.name.as_str())
            .filter(|name| *name != self.plan().name)
            .collect();
        dice.pick(&others).to_owned()
    }

    /// A text that nobody else says.
    fn words(&self, kind: &str) -> String {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        format!("{kind} {}-{}-{number}", self.plan().name, self.number)
    }

    fn event(&self, dice: &mut Dice, name: &str, to: &str, content: serde_json::Value) -> Event {
        let mut event = Event::new(name).to(to).payload(content);
        // Ids with a time in them and ids without one are found again in different ways.
        event.event_id = if dice.once_in(2) {
            EventId::new().into()
        } else {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            format!("{}-{}-{number}", self.plan().name, self.number)
        };
        event
    }

    fn direct(&self, dice: &mut Dice, to: &str) -> Event {
        let content = json!({"content": {"text": self.words("message")}});
        self.event(dice, "direct.message.received", &format!("agent:{to}"), content)
    }

    fn post(&self, dice: &mut Dice, mention: &str) -> Event {
        let content = json!({"content": {"text": format!("{}{mention}", self.words("post"))}});
        let room = dice.pick(&ROOMS);
        self.event(
            dice,
            "channel.message.posted",
            &format!("channel:{room}"),
            content,
        )
    }

    fn task(&self, dice: &mut Dice, to: &str) -> Event {
        self.event(dice, "task.step", to, json!({"text": self.words("task")}))
    }

    fn restricted(&self, dice: &mut Dice, to: &str) -> Event {
        let mut event = self.event(
            dice,
            "task.secret",
            "channel:general",
            json!({"text": self.words("secret")}),
        );
        event.visibility = openagents_protocol::Visibility::Restricted;
        event.allowed_agents = Some(vec![to.to_owned()]);
        event
    }

    async fn send(&self, event: Event) {
        let id = event.event_id.clone();
        self.tell(Fact::Sent {
            destination: event.destination_id.clone().unwrap_or_default(),
            text: event.text().unwrap_or_default().to_owned(),
            id: id.clone(),
        });
        let response = self
            .client
            .send_event(event)
            .timeout(Duration::from_secs(20))
            .await;
        self.tell(outcome(id, response));
    }

    async fn ask(&self, dice: &mut Dice, whom: String) {
        let question = self.words("question");
        self.tell(Fact::Asked {
            text: question.clone(),
            whom: whom.clone(),
        });
        let timeout = dice.milliseconds(500, 20_000);
        let agent = self.client.workspace().agent(&whom);
        let fact = match agent.ask(question.as_str(), timeout).await {
            Ok(event) => Fact::Answered {
                question,
                answer: Answer {
                    sequence: event.sequence.unwrap_or_default().get(),
                    source: event.source_id.clone(),
                    linked: event.response_to.is_some() || event.reply_to_id.is_some(),
                    text: event.text().unwrap_or_default().to_owned(),
                    id: event.event_id,
                },
            },
            Err(error) => Fact::Unanswered {
                question,
                why: error.to_string(),
            },
        };
        self.tell(fact);
    }

    /// Many at once, none of which waits for another.
    async fn burst(&self, dice: &mut Dice) {
        let mut pending = Vec::new();
        for _ in 0..5 + dice.roll(60) {
            let other = self.other(dice);
            let event = if dice.once_in(2) {
                self.direct(dice, &other)
            } else {
                self.post(dice, "")
            };
            let id = event.event_id.clone();
            let sent = Fact::Sent {
                destination: event.destination_id.clone().unwrap_or_default(),
                text: event.text().unwrap_or_default().to_owned(),
                id: id.clone(),
            };
            if let Ok(publish) = self.client.publish(event) {
                self.tell(sent);
                pending.push(async { self.tell(outcome(id, publish.await)) });
            }
        }
        join_all(pending).await;
    }

    async fn move_about(&self, dice: &mut Dice) {
        let room = self.client.workspace().channel(dice.pick(&ROOMS[1..]));
        // Whether it worked is in the log.
        drop(if dice.once_in(2) {
            room.join().await
        } else {
            room.leave().await
        });
    }

    /// Asks the workspace for this and that, which must not disturb anything.
    async fn look(&self, dice: &mut Dice) {
        let workspace = self.client.workspace();
        drop(workspace.channel(dice.pick(&ROOMS)).get_messages(20).await);
        drop(workspace.list_agents().await);
        drop(workspace.conversations(10).await);
    }
}

fn outcome(id: String, response: EventResponse) -> Fact {
    match (response.data, response.error) {
        (Some(receipt), _) => Fact::Accepted {
            id,
            sequence: receipt.sequence.unwrap_or_default().get(),
        },
        (None, error) => {
            let code = error.map_or(ErrorCode::Unknown, |error| error.code);
            // What became of an event when the session or the store ended is not known.
            let ended = [
                ErrorCode::HelloExpected,
                ErrorCode::SessionReplaced,
                ErrorCode::AgentIdInUse,
                ErrorCode::Internal,
                ErrorCode::Unknown,
            ];
            Fact::Refused {
                id,
                nothing_happened: !code.is_retryable() && !ended.contains(&code),
                code: code.as_str().to_owned(),
            }
        }
    }
}

/// What the workspace says is removed.
fn told(payload: &Json) -> Fact {
    let places = payload.get("places").and_then(|places| places.as_array());
    let place =
        |place: &serde_json::Value| Some((place["place"].as_str()?.to_owned(), place["through"].as_u64()?));
    Fact::Told {
        after: payload
            .get("after")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(u64::MAX),
        places: places.into_iter().flatten().filter_map(place).collect(),
    }
}

async fn handle(
    scene: &Arc<Scene>,
    host: usize,
    life: u32,
    call: u64,
    client: &WeakAgentClient,
    event: Event,
) -> Result<(), String> {
    let agent = &scene.plan.agents[host];
    let Some(sequence) = event.sequence else {
        if event.event_name == "system.history.removed" {
            scene.tell(&agent.name, life, told(&event.payload));
        }
        return Ok(());
    };
    let id = event.event_id.clone();
    scene.tell(
        &agent.name,
        life,
        Fact::Handling {
            id: id.clone(),
            sequence: sequence.get(),
            source: event.source_id.clone(),
        },
    );
    let mut dice = scene.dice(sequence.get() + 10_000, life);
    let (usually, sometimes) = agent.pace;
    let pause = if dice.once_in(20) { sometimes } else { usually };
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    if let Some(question) = event.text().filter(|text| is_question(text))
        && let Some(client) = client.upgrade()
    {
        let answer = answer_to(question);
        let asker = client.workspace().agent(&event.source_id);
        asker.send(answer.as_str()).timeout(Duration::from_secs(20)).await;
    }
    scene.tell(&agent.name, life, Fact::Handled { id });
    // A handler that fails is done with its event all the same.
    if call % 50 == 49 {
        Err("as it happens".to_owned())
    } else {
        Ok(())
    }
}

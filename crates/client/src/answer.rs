//! Open questions and what answers them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use openagents_protocol::{Event, Sequence};
use tokio::sync::oneshot;

/// The most events kept for one question whose own position is not known yet.
const MAX_KEPT: usize = 64;

/// Who waits for the answer to what.
///
/// An answer is a stored event of the one who was asked that names the question in `response_to` or `reply_to_id`. Peers that never do
/// that answer an agent with an unlinked direct message after the question; it goes to the oldest question to
/// that agent only.
#[derive(Default)]
pub(crate) struct Answers {
    questions: BTreeMap<u64, Question>,
    by_request: HashMap<String, u64>,
    by_agent: HashMap<String, BTreeSet<u64>>,
    next_id: u64,
}

/// Where a question went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To this agent.
    Agent(String),
    /// To everybody at this destination, such as `channel:general`.
    Channel(String),
}

struct Question {
    request: String,
    asked: Asked,
    /// Position of the question in the log; not known before it is acknowledged.
    sequence: Option<Sequence>,
    /// Unlinked messages that may be the answer, once the position is known.
    kept: Vec<Arc<Event>>,
    sender: oneshot::Sender<Arc<Event>>,
}

impl Answers {
    /// Opens a question, before it is sent under this event id.
    pub(crate) fn ask(&mut self, request: &str, asked: Asked) -> (u64, oneshot::Receiver<Arc<Event>>) {
        let (sender, receiver) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.by_request.insert(request.to_owned(), id);
        if let Asked::Agent(agent) = &asked {
            self.by_agent.entry(agent.clone()).or_default().insert(id);
        }
        let question = Question {
            request: request.to_owned(),
            asked,
            sequence: None,
            kept: Vec::new(),
            sender,
        };
        self.questions.insert(id, question);
        (id, receiver)
    }

    /// Closes a question that nobody waits for any more.
    pub(crate) fn close(&mut self, id: u64) {
        if let Some(question) = self.remove(id) {
            self.pass_on(question.kept);
        }
    }

    /// Closes all of them.
    pub(crate) fn close_all(&mut self) {
        *self = Self {
            next_id: self.next_id,
            ..Self::default()
        };
    }

    /// Offers an event that arrived; true if it answered a question.
    pub(crate) fn offer(&mut self, event: &Arc<Event>) -> bool {
        if self.questions.is_empty() || event.sequence.is_none() {
            return false;
        }
        for named in [&event.response_to, &event.reply_to_id].into_iter().flatten() {
            if let Some(id) = self.by_request.get(named).copied()
                && self
                    .questions
                    .get(&id)
                    .is_some_and(|question| question.asked.reaches(event))
            {
                self.resolve(id, event);
                return true;
            }
        }
        self.offer_unlinked(event)
    }

    /// The question with this event id stands at this position.
    pub(crate) fn published(&mut self, request: &str, sequence: Option<Sequence>) {
        let Some(question) = self
            .by_request
            .get(request)
            .and_then(|id| self.questions.get_mut(id))
        else {
            return;
        };
        question.sequence = sequence;
        let kept = std::mem::take(&mut question.kept);
        self.pass_on(kept);
    }

    fn offer_unlinked(&mut self, event: &Arc<Event>) -> bool {
        let direct = ["direct.message.received", "agent.message"].contains(&event.event_name.as_str());
        if !direct || event.response_to.is_some() || event.reply_to_id.is_some() {
            return false;
        }
        let Some(open) = self.by_agent.get(&event.source_id) else {
            return false;
        };
        for id in open {
            let Some(question) = self.questions.get_mut(id) else {
                continue;
            };
            match question.sequence {
                Some(asked_at) if event.sequence <= Some(asked_at) => {}
                Some(_) => {
                    let id = *id;
                    self.resolve(id, event);
                    return true;
                }
                None => {
                    if question.kept.len() < MAX_KEPT {
                        question.kept.push(Arc::clone(event));
                    }
                    return false;
                }
            }
        }
        false
    }

    fn pass_on(&mut self, kept: Vec<Arc<Event>>) {
        for event in kept {
            self.offer_unlinked(&event);
        }
    }

    fn resolve(&mut self, id: u64, event: &Arc<Event>) {
        if let Some(question) = self.remove(id) {
            // Whoever asked may be gone by now.
            question.sender.send(Arc::clone(event)).ok();
            self.pass_on(question.kept);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Question> {
        let question = self.questions.remove(&id)?;
        self.by_request.remove(&question.request);
        if let Asked::Agent(agent) = &question.asked
            && let Some(open) = self.by_agent.get_mut(agent)
        {
            open.remove(&id);
            if open.is_empty() {
                self.by_agent.remove(agent);
            }
        }
        Some(question)
    }
}

impl Asked {
    fn reaches(&self, event: &Event) -> bool {
        match self {
            Self::Agent(agent) => event.source_id == *agent,
            Self::Channel(channel) => event.destination_id.as_ref() == Some(channel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64) -> Event {
        let mut event = Event::new("direct.message.received").to("agent:me");
        event.source_id = "bob".into();
        event.event_id = format!("m{sequence}");
        event.sequence = Some(Sequence::new(sequence));
        event
    }

    fn bob() -> Asked {
        Asked::Agent("bob".into())
    }

    fn answered(receiver: &mut oneshot::Receiver<Arc<Event>>) -> Option<u64> {
        receiver.try_recv().ok()?.sequence.map(Sequence::get)
    }

    #[test]
    fn a_linked_answer_goes_to_its_question_whatever_the_order() {
        let mut answers = Answers::default();
        let (_, mut first) = answers.ask("q1", bob());
        let (_, mut second) = answers.ask("q2", bob());
        assert!(answers.offer(&Arc::new(message(9).in_response_to("q2"))));
        assert!(!answers.offer(&Arc::new(message(10).in_response_to("other"))));
        let mut reply = message(11);
        reply.reply_to_id = Some("q1".into());
        assert!(answers.offer(&Arc::new(reply)));
        assert_eq!((answered(&mut first), answered(&mut second)), (Some(11), Some(9)));
    }

    #[test]
    fn what_somebody_else_links_to_a_question_is_no_answer() {
        let mut answers = Answers::default();
        let (_, mut question) = answers.ask("q1", bob());
        let mut foreign = message(2).in_response_to("q1");
        foreign.source_id = "mallory".into();
        assert!(!answers.offer(&Arc::new(foreign)));
        assert!(answers.offer(&Arc::new(message(3).in_response_to("q1"))));
        assert_eq!(answered(&mut question), Some(3));
    }

    #[test]
    fn an_unlinked_message_after_the_question_goes_to_the_oldest_only() {
        let mut answers = Answers::default();
        let (_, mut first) = answers.ask("q1", bob());
        let (_, mut second) = answers.ask("q2", bob());
        answers.published("q1", Some(Sequence::new(5)));
        answers.published("q2", Some(Sequence::new(6)));
        assert!(
            !answers.offer(&Arc::new(message(4))),
            "it stands before both questions"
        );
        assert!(answers.offer(&Arc::new(message(7))));
        assert_eq!((answered(&mut first), answered(&mut second)), (Some(7), None));
    }

    #[test]
    fn an_unlinked_message_is_judged_when_the_position_of_the_question_is_known() {
        let mut answers = Answers::default();
        let (_, mut question) = answers.ask("q1", bob());
        assert!(!answers.offer(&Arc::new(message(4))));
        assert!(!answers.offer(&Arc::new(message(6))));
        answers.published("q1", Some(Sequence::new(5)));
        assert_eq!(answered(&mut question), Some(6));
    }

    #[test]
    fn what_a_closed_question_kept_goes_to_the_next_one() {
        let mut answers = Answers::default();
        let (id, _first) = answers.ask("q1", bob());
        let (_, mut second) = answers.ask("q2", bob());
        answers.published("q2", Some(Sequence::new(2)));
        assert!(!answers.offer(&Arc::new(message(4))));
        answers.close(id);
        assert_eq!(answered(&mut second), Some(4));
        assert!(answers.questions.is_empty() && answers.by_agent.is_empty() && answers.by_request.is_empty());
    }

    #[test]
    fn ephemeral_events_and_other_channels_answer_nothing() {
        let mut answers = Answers::default();
        let (_, mut question) = answers.ask("q1", Asked::Channel("channel:general".into()));
        let mut typing = message(1).in_response_to("q1").to("channel:general");
        typing.sequence = None;
        assert!(!answers.offer(&Arc::new(typing)));
        assert!(!answers.offer(&Arc::new(message(2).in_response_to("q1").to("channel:random"))));
        assert!(answers.offer(&Arc::new(message(3).in_response_to("q1").to("channel:general"))));
        assert_eq!(answered(&mut question), Some(3));
    }
}

//! What waits to be sent and what waits for its answer, in the order of sending.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_protocol::frame::{ClientFrame, Publish, Request};
use openagents_protocol::{ErrorBody, ErrorCode, Event, EventResponse, Json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::error::CallError;

/// The most publishes and calls that wait for their answer; a matter of memory, and enough to keep a wire busy.
pub(crate) const MAX_PENDING: usize = 1024;

/// Frames taken for one write; bounds what is held twice.
const BATCH: usize = 256;

/// Publishes and calls of one session, across its connections.
///
/// Publishes that were not answered are sent again over the next connection, in order and with the same event
/// ids. Calls too, unless doing them twice differs from doing them once.
pub(crate) struct Outbox {
    /// Guards the queue; held for a few lines only.
    state: Mutex<State>,
    space: Arc<Semaphore>,
    wake: Arc<Notify>,
}

struct State {
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
    /// Everything from this id on was not written over the current connection.
    unwritten: u64,
    /// Why nothing is taken any more.
    ended: Option<ErrorBody>,
}

struct Pending {
    frame: Utf8Bytes,
    answer: Answer,
    _space: OwnedSemaphorePermit,
}

enum Answer {
    Publish(oneshot::Sender<EventResponse>),
    /// A publish that nobody waits for any more: it is not sent again.
    GivenUp,
    Repeatable(oneshot::Sender<Result<Json, CallError>>),
    Once(oneshot::Sender<Result<Json, CallError>>),
}

/// Whether a call may be sent again when its answer got lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Allowed,
    Never,
}

/// Room for one publish or call.
pub(crate) struct Space(OwnedSemaphorePermit);

impl Outbox {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        let state = State {
            pending: BTreeMap::new(),
            next_id: 1,
            unwritten: 1,
            ended: None,
        };
        Self {
            state: Mutex::new(state),
            space: Arc::new(Semaphore::new(MAX_PENDING)),
            wake,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("poisoned")
    }

    /// Waits for room.
    pub(crate) async fn space(&self) -> Result<Space, ErrorBody> {
        match Arc::clone(&self.space).acquire_owned().await {
            Ok(permit) => Ok(Space(permit)),
            Err(_) => Err(self.end_reason().unwrap_or_else(crate::error::not_connected)),
        }
    }

    /// Takes room if there is some now.
    pub(crate) fn try_space(&self) -> Option<Space> {
        Arc::clone(&self.space).try_acquire_owned().ok().map(Space)
    }

    /// Why nothing is taken any more, if that is so.
    pub(crate) fn end_reason(&self) -> Option<ErrorBody> {
        self.state().ended.clone()
    }

    /// Queues an event.
    pub(crate) fn publish(
        &self,
        space: Space,
        event: Event,
    ) -> Result<(u64, oneshot::Receiver<EventResponse>), ErrorBody> {
        let (sender, receiver) = oneshot::channel();
        let frame = |id| ClientFrame::Publish(Box::new(Publish { id, event }));
        Ok((self.push(space, Answer::Publish(sender), frame)?, receiver))
    }

    /// Queues a call.
    pub(crate) fn request(
        &self,
        space: Space,
        method: &str,
        params: Json,
        repeat: Repeat,
    ) -> Result<(u64, oneshot::Receiver<Result<Json, CallError>>), ErrorBody> {
        let (sender, receiver) = oneshot::channel();
        let answer = match repeat {
            Repeat::Allowed => Answer::Repeatable(sender),
            Repeat::Never => Answer::Once(sender),
        };
        let frame = |id| {
            ClientFrame::Request(Request {
                id,
                method: method.to_owned(),
                params,
            })
        };
        Ok((self.push(space, answer, frame)?, receiver))
    }

    fn push(
        &self,
        space: Space,
        answer: Answer,
        frame: impl FnOnce(u64) -> ClientFrame,
    ) -> Result<u64, ErrorBody> {
        let mut state = self.state();
        if let Some(reason) = &state.ended {
            return Err(reason.clone());
        }
        let id = state.next_id;
        state.next_id += 1;
        let frame = frame(id).encode().into();
        state.pending.insert(
            id,
            Pending {
                frame,
                answer,
                _space: space.0,
            },
        );
        drop(state);
        self.wake.notify_one();
        Ok(id)
    }

    /// Nobody waits for this one any more: what was not written is taken back, what was is not sent again.
    pub(crate) fn give_up(&self, id: u64) {
        let mut state = self.state();
        if state.unwritten <= id {
            state.pending.remove(&id);
        } else if let Some(pending) = state.pending.get_mut(&id) {
            pending.answer = Answer::GivenUp;
        }
    }

    /// The next frames to write; none when everything is written. Frames over the limit of the server are
    /// refused here, since sending them would end the connection again and again.
    pub(crate) fn take_unwritten(&self, max_frame_bytes: u64) -> Vec<Utf8Bytes> {
        let mut state = self.state();
        let (mut frames, mut too_large) = (Vec::new(), Vec::new());
        let first = state.unwritten;
        let mut unwritten = first;
        for (id, pending) in state.pending.range(first..).take(BATCH) {
            unwritten = id + 1;
            if u64::try_from(pending.frame.len()).is_ok_and(|length| length <= max_frame_bytes) {
                frames.push(pending.frame.clone());
            } else {
                too_large.push(*id);
            }
        }
        state.unwritten = unwritten;
        let refused: Vec<_> = too_large
            .iter()
            .filter_map(|id| state.pending.remove(id))
            .collect();
        drop(state);
        for pending in refused {
            let message = format!(
                "it takes {} bytes, the workspace accepts {max_frame_bytes}",
                pending.frame.len()
            );
            pending.answer.fail(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        if frames.is_empty() && !too_large.is_empty() {
            self.take_unwritten(max_frame_bytes)
        } else {
            frames
        }
    }

    /// The connection broke: what was written and not answered is to be written again.
    pub(crate) fn rewind(&self) {
        let mut state = self.state();
        let unwritten = state.unwritten;
        let mut lost = Vec::new();
        state.pending.retain(|id, pending| match &pending.answer {
            Answer::GivenUp => false,
            Answer::Once(_) if *id < unwritten => {
                if let Answer::Once(sender) = std::mem::replace(&mut pending.answer, Answer::GivenUp) {
                    lost.push(sender);
                }
                false
            }
            _ => true,
        });
        state.unwritten = state.pending.keys().next().copied().unwrap_or(state.next_id);
        drop(state);
        for sender in lost {
            // Whoever asked may be gone by now.
            sender.send(Err(CallError::ConnectionLost)).ok();
        }
    }

    /// The answer to a publish; returns it with the one who waits for it.
    pub(crate) fn published(&self, id: u64) -> Option<oneshot::Sender<EventResponse>> {
        match self.state().pending.remove(&id)?.answer {
            Answer::Publish(sender) => Some(sender),
            Answer::GivenUp | Answer::Repeatable(_) | Answer::Once(_) => None,
        }
    }

    /// The answer to a call.
    pub(crate) fn responded(&self, id: u64, result: Result<Json, CallError>) {
        let pending = self.state().pending.remove(&id);
        if let Some(Answer::Repeatable(sender) | Answer::Once(sender)) = pending.map(|pending| pending.answer)
        {
            // Whoever asked may be gone by now.
            sender.send(result).ok();
        }
    }

    /// Ends it for good: everything that waits fails with this reason, and so does what comes later.
    pub(crate) fn end(&self, reason: &ErrorBody) {
        let mut state = self.state();
        state.ended = Some(reason.clone());
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        self.space.close();
        for pending in pending.into_values() {
            pending.answer.fail(reason.clone());
        }
    }
}

impl Answer {
    fn fail(self, error: ErrorBody) {
        // Whoever asked may be gone by now.
        match self {
            Self::Publish(sender) => {
                sender.send(EventResponse::from(Err(error))).ok();
            }
            Self::GivenUp => {}
            Self::Repeatable(sender) | Self::Once(sender) => {
                let failure = match error.code {
                    ErrorCode::TooLarge => CallError::Refused(error),
                    _ => CallError::NotConnected(error),
                };
                sender.send(Err(failure)).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(Arc::new(Notify::new()))
    }

    fn publish(outbox: &Outbox, event_id: &str) -> (u64, oneshot::Receiver<EventResponse>) {
        let mut event = Event::new("test.event").to("agent:bob");
        event.event_id = event_id.to_owned();
        outbox.publish(outbox.try_space().unwrap(), event).unwrap()
    }

    fn written(outbox: &Outbox) -> Vec<String> {
        let read = |frame: Utf8Bytes| match ClientFrame::decode(&frame).unwrap() {
            ClientFrame::Publish(publish) => publish.event.event_id,
            ClientFrame::Request(request) => request.method,
            other => panic!("{other:?}"),
        };
        outbox.take_unwritten(1 << 20).into_iter().map(read).collect()
    }

    #[test]
    fn what_was_not_answered_is_written_again_in_order_with_the_same_ids() {
        let outbox = outbox();
        let waiting: Vec<_> = ["a", "b", "c"].map(|id| publish(&outbox, id)).into();
        assert_eq!(written(&outbox), ["a", "b", "c"]);
        assert!(outbox.published(waiting[1].0).is_some());
        outbox.rewind();
        let _late = publish(&outbox, "d");
        assert_eq!(written(&outbox), ["a", "c", "d"]);
        assert!(written(&outbox).is_empty());
    }

    #[test]
    fn what_was_given_up_is_taken_back_or_not_repeated() {
        let outbox = outbox();
        let (early, _waiting) = publish(&outbox, "written");
        assert_eq!(written(&outbox), ["written"]);
        let (late, _waiting) = publish(&outbox, "unwritten");
        outbox.give_up(early);
        outbox.give_up(late);
        assert!(written(&outbox).is_empty());
        outbox.rewind();
        assert!(written(&outbox).is_empty());
        assert_eq!(outbox.space.available_permits(), MAX_PENDING);
    }

    #[test]
    fn a_call_that_must_not_happen_twice_fails_with_the_connection() {
        let outbox = outbox();
        let request = |method, repeat| {
            outbox
                .request(outbox.try_space().unwrap(), method, Json::empty_object(), repeat)
                .unwrap()
                .1
        };
        let mut once = request("create_token", Repeat::Never);
        let mut again = request("list_agents", Repeat::Allowed);
        assert_eq!(written(&outbox), ["create_token", "list_agents"]);
        let mut later = request("create_channel", Repeat::Never);
        outbox.rewind();
        assert!(matches!(once.try_recv(), Ok(Err(CallError::ConnectionLost))));
        assert_eq!(written(&outbox), ["list_agents", "create_channel"]);
        assert!(again.try_recv().is_err() && later.try_recv().is_err());
    }

    #[test]
    fn a_frame_over_the_limit_of_the_server_is_refused_here() {
        let outbox = outbox();
        let (_, mut large) = publish(&outbox, &"x".repeat(500));
        let (_, _small) = publish(&outbox, "y");
        assert_eq!(outbox.take_unwritten(300).len(), 1);
        assert_eq!(large.try_recv().unwrap().error.unwrap().code, ErrorCode::TooLarge);
    }

    #[test]
    fn after_the_end_everything_fails_with_its_reason() {
        let outbox = outbox();
        let space = outbox.try_space().unwrap();
        let (_, mut waiting) = publish(&outbox, "a");
        outbox.end(&ErrorBody::new(ErrorCode::SessionReplaced, "replaced"));
        assert_eq!(
            waiting.try_recv().unwrap().error.unwrap().code,
            ErrorCode::SessionReplaced
        );
        assert_eq!(
            outbox.publish(space, Event::new("test.event")).unwrap_err().code,
            ErrorCode::SessionReplaced
        );
        assert!(outbox.try_space().is_none());
    }
}

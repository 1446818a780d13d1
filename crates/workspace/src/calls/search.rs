//! The call that searches messages.
//!
//! The index says which messages may be meant; who may read them, and what they say now, is decided by the messages
//! themselves. What the index lacks is looked through in memory, so that what was acknowledged is found at once.

use std::sync::Arc;

use openagents_protocol::call::{
    FoundMessage, FoundMessages, ListMessages, Message, SearchMessages, SnippetPart,
};
use openagents_protocol::record::Record;
use openagents_protocol::{ErrorBody, ErrorCode, Sequence, Source, text_of};
use openagents_store::Error as StoreError;
use openagents_store::search::{Piece, Place, Query, Search, Within};
use openagents_store::view::{Bounds, Direction, Stream};

use super::history::Told;
use super::page::{PAGE_BYTES, Room, bytes_of};
use super::{agent_id, unreadable};
use crate::entitlement::{may_read_history, may_read_message};
use crate::indexer::place;
use crate::recent::Kept;
use crate::rights::permission::READ_CHANNELS;
use crate::workspace::{Caller, Workspace};

/// Records looked through in memory. If the index lags by more, it answers alone.
const NEWER: usize = 4_096;

/// Records of which so many are looked through before others get their turn.
const TURN: usize = 128;

/// Messages read from the log for one call, those included that turn out not to be for the caller.
const MOST_READ: usize = 1_000;

/// What is found up to now.
struct Page {
    results: Vec<FoundMessage>,
    limit: usize,
    room: Room,
}

impl Workspace {
    /// Searches the messages that the caller may read, newest first. A page of large messages ends early.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `invalid_name`, `channel_not_found`, `not_a_member`, `agent_not_found`, `forbidden`.
    pub async fn search_messages(
        &self,
        caller: &Caller,
        params: SearchMessages,
    ) -> Result<FoundMessages, ErrorBody> {
        let mut search = self.wanted(caller, &params).await?;
        let mut page = Page {
            limit: search.limit,
            results: Vec::new(),
            room: Room::default(),
        };
        let (newer, searchable) = self.not_indexed_yet();
        let indexed = newer.last().map_or(searchable, |kept| kept.commit.sequence());
        let newer = self.look_through(caller, &search, newer).await;
        if let Some(before) = self.add(&search.query, newer, &mut page).await? {
            return Ok(page.told(Some(before), indexed));
        }
        search.bounds.before = search.bounds.before.min(searchable.next());
        let next = self.look_up(caller, search, &mut page).await?;
        Ok(page.told(next, indexed))
    }

    /// What is searched for, and where.
    async fn wanted(&self, caller: &Caller, params: &SearchMessages) -> Result<Search, ErrorBody> {
        let query = Query::parse(&params.query)
            .map_err(|error| ErrorBody::field(ErrorCode::InvalidField, "query", error.to_string()))?;
        let limit = match params.limit.unwrap_or(SearchMessages::DEFAULT_LIMIT) {
            limit @ 1..=SearchMessages::MAX_LIMIT => limit as usize,
            _ => return Err(invalid("limit", format!("1 to {}", SearchMessages::MAX_LIMIT))),
        };
        let sender = params
            .sender
            .as_deref()
            .map(|sender| agent_id("sender", sender))
            .transpose()?;
        let sequence = |number: u64| Sequence::new(number.min(Sequence::MAX.get()));
        let moment =
            |field, seconds: Option<f64>| seconds.map(|seconds| milliseconds(field, seconds)).transpose();
        let since = moment("since", params.since)?.unwrap_or(0);
        let until = moment("until", params.until)?.unwrap_or(u64::MAX);
        Ok(Search {
            query: Arc::new(query),
            within: self.within(caller, params).await?,
            sender: sender.map(Source::Agent),
            bounds: Bounds {
                after: params.after.map_or(Sequence::ZERO, sequence),
                before: params.before.map_or(Sequence::MAX, sequence),
            },
            times: since..until,
            limit,
        })
    }

    /// Where the caller may search: as it may read histories.
    async fn within(&self, caller: &Caller, params: &SearchMessages) -> Result<Within, ErrorBody> {
        if params.channel.is_some() && params.agent_id.is_some() {
            return Err(invalid("channel", "either a channel or an agent_id, not both"));
        }
        if params.channel.is_some() || params.agent_id.is_some() {
            let history = ListMessages {
                channel: params.channel.clone(),
                agent_id: params.agent_id.clone(),
                ..ListMessages::default()
            };
            let history = self.history_of(caller, &history).await?;
            return match history.stream {
                Stream::Channel(channel) => Ok(Within::One(Place::Channel(channel), history.since)),
                Stream::Conversation(one, other) => {
                    Ok(Within::One(Place::Conversation(one, other), history.since))
                }
                _ => Err(ErrorBody::new(ErrorCode::Internal, "a history without a place")),
            };
        }
        let (snapshot, asker) = (self.snapshot(), caller.agent_id.clone());
        let reads_channels = caller.rights().require(READ_CHANNELS).is_ok();
        Ok(Within::Those(Arc::new(move |place| match place {
            Place::Channel(name) => {
                let channel = snapshot.state.channels.get(name)?;
                let readable = reads_channels && may_read_history(&snapshot.state, &asker, name);
                readable.then_some(channel.created_at)
            }
            Place::Conversation(one, other) => (*one == asker || *other == asker).then_some(Sequence::ZERO),
        })))
    }

    /// The newest records, which the index lacks, and how far the index goes. None where it lacks too many.
    fn not_indexed_yet(&self) -> (Vec<Kept>, Sequence) {
        let inner = self.inner();
        let searchable = *inner.searchable.borrow();
        let newer = inner.recent.after(searchable, NEWER);
        let newer = newer.filter(|newer| newer.len() < NEWER);
        (newer.unwrap_or_default(), searchable)
    }

    /// Those of the newest records that are looked for, newest first, and one more than the limit at the most.
    async fn look_through(&self, caller: &Caller, search: &Search, newer: Vec<Kept>) -> Vec<Record> {
        let snapshot = self.snapshot();
        let mut found = Vec::new();
        for (index, kept) in newer.iter().rev().enumerate() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let record = &kept.commit.record;
            if is_wanted(search, record)
                && may_read_message(&snapshot.state, caller, record)
                && record.text().is_some_and(|text| search.query.matches(&text))
            {
                found.push(record.clone());
                if search.limit < found.len() {
                    break;
                }
            }
        }
        found
    }

    /// Looks the rest up in the index, and tells where to go on.
    async fn look_up(
        &self,
        caller: &Caller,
        mut search: Search,
        page: &mut Page,
    ) -> Result<Option<Sequence>, ErrorBody> {
        let inner = self.inner();
        let mut read = 0;
        loop {
            // One more than there is room for tells whether there are more.
            search.limit = page.limit - page.results.len() + 1;
            let found = inner.search.find(search.clone()).await;
            let hits = found.map_err(|error| unsearchable(&error))?;
            let whole = hits.sequences.len() == search.limit;
            read += hits.sequences.len();
            let records = inner
                .read_some(hits.sequences, Direction::Backward, PAGE_BYTES)
                .await;
            let (mut records, stopped) = records.map_err(|error| unreadable(&error))?;
            let snapshot = self.snapshot();
            records.retain(|record| may_read_message(&snapshot.state, caller, record));
            if let Some(before) = self.add(&search.query, records, page).await? {
                return Ok(Some(before));
            }
            match stopped.or(hits.next) {
                Some(next) if (whole || stopped.is_some()) && read < MOST_READ => search.bounds.before = next,
                next => return Ok(next),
            }
        }
    }

    /// Adds what messages say now to a page; where the page is full and there are more, tells where to go on.
    async fn add(
        &self,
        query: &Query,
        records: Vec<Record>,
        page: &mut Page,
    ) -> Result<Option<Sequence>, ErrorBody> {
        let (messages, told) = self.tell_messages(records).await?;
        let last = messages.last().map(|message| message.sequence);
        for message in messages {
            // One that was edited meanwhile may not say it any more.
            let excerpt = text_of(&message.content).and_then(|text| query.excerpt(&text));
            let Some(excerpt) = excerpt else { continue };
            if page.results.len() == page.limit || !page.room.take(bytes_of(&message)) {
                return Ok(page.last());
            }
            page.results.push(found(message, excerpt));
        }
        Ok(last.filter(|_| told == Told::Some))
    }
}

impl Page {
    fn last(&self) -> Option<Sequence> {
        self.results.last().map(|found| found.message.sequence)
    }

    fn told(self, before: Option<Sequence>, indexed: Sequence) -> FoundMessages {
        FoundMessages {
            results: self.results,
            has_more: before.is_some(),
            before,
            indexed,
        }
    }
}

/// Whether a record is where, when and by whom a search looks.
fn is_wanted(search: &Search, record: &Record) -> bool {
    let header = &record.header;
    let reach = |place: Place| match &search.within {
        Within::One(wanted, after) => place.is(wanted).then_some(*after),
        Within::Those(tell) => tell(&place),
    };
    record.is_message()
        && search.bounds.after < record.sequence
        && record.sequence < search.bounds.before
        && search.times.contains(&header.time_ms)
        && search
            .sender
            .as_ref()
            .is_none_or(|sender| *sender == header.source)
        && place(header)
            .and_then(reach)
            .is_some_and(|after| after < record.sequence)
}

fn found(message: Message, excerpt: Vec<Piece>) -> FoundMessage {
    let part = |piece: Piece| SnippetPart {
        text: piece.text,
        matched: piece.matched,
    };
    FoundMessage {
        message,
        snippet: excerpt.into_iter().map(part).collect(),
    }
}

/// A moment in seconds since 1970, as messages have it.
fn milliseconds(field: &str, seconds: f64) -> Result<u64, ErrorBody> {
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(invalid(field, "seconds since 1970"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and what is too large becomes the end of time"
    )]
    Ok((seconds * 1000.0).round() as u64)
}

fn unsearchable(error: &StoreError) -> ErrorBody {
    tracing::error!(%error, "reading the search index failed");
    ErrorBody::new(
        ErrorCode::StorageUnavailable,
        "the search index could not be read; everything else works",
    )
}

fn invalid(field: &str, rule: impl Into<String>) -> ErrorBody {
    ErrorBody::field(ErrorCode::InvalidField, field, rule)
}

//! `workspace`: what this server knows beyond the documented keys.

use anyhow::Context;
use openagents_protocol::frame::Backlog as Wanted;
use openagents_protocol::{AgentId, ChannelName};
use openagents_server::{self as server, Config};

use super::keys::{Backlog, DefaultMembership, FirstPost, Keep, LoopGuard, Retention, Unread, Workspace};
use super::values::OrOff;

pub(super) fn take(written: Workspace, config: &mut Config) -> anyhow::Result<()> {
    let settings = &mut config.workspace;
    settings.durability = written.durability.unwrap_or(settings.durability);
    settings.first_post = written.first_post.map_or(settings.first_post, |what| match what {
        FirstPost::CreatesChannel => server::FirstPost::CreatesChannel,
        FirstPost::IsRefused => server::FirstPost::IsRefused,
    });
    settings.default_membership = written
        .default_membership
        .map_or(settings.default_membership, |who| match who {
            DefaultMembership::Everyone => server::DefaultMembership::Everyone,
            DefaultMembership::Nobody => server::DefaultMembership::Nobody,
        });
    for (index, observer) in written.observers.iter().flatten().enumerate() {
        let observer = AgentId::from_written(observer);
        let observer = observer.with_context(|| format!("workspace.observers[{index}]"))?;
        settings.observers.push(observer);
    }
    if let Some(backlog) = written.backlog {
        settings.backlog = wanted(&backlog);
    }
    if let Some(guard) = written.loop_guard {
        settings.loop_guard = match guard {
            OrOff::Off => None,
            OrOff::At(limits) => Some(loop_guard(&limits)),
        };
    }
    if let Some(retention) = written.retention {
        take_retention(retention, &mut settings.retention)?;
    }
    settings.max_channels = written.max_channels.unwrap_or(settings.max_channels);
    settings.max_agents = written.max_agents.unwrap_or(settings.max_agents);
    settings.max_subscriptions = written.max_subscriptions.unwrap_or(settings.max_subscriptions);
    settings.max_stored_bytes = written
        .max_stored_size
        .map_or(settings.max_stored_bytes, |most| most.0);
    settings.max_uploads = written.max_uploads.unwrap_or(settings.max_uploads);
    settings.presence_events_per_second = written
        .presence_events_per_second
        .unwrap_or(settings.presence_events_per_second);
    settings.takeover_wait = written
        .takeover_wait
        .map_or(settings.takeover_wait, |wait| wait.0);
    config.limits.write_timeout = written
        .write_timeout
        .map_or(config.limits.write_timeout, |wait| wait.0);
    Ok(())
}

fn wanted(written: &Backlog) -> Wanted {
    match Wanted::default() {
        Wanted::Limited {
            max_events,
            max_age_seconds,
        } => Wanted::Limited {
            max_events: written.max_events.unwrap_or(max_events),
            max_age_seconds: written.max_age.map_or(max_age_seconds, |age| age.0.as_secs()),
        },
        other => other,
    }
}

fn loop_guard(written: &LoopGuard) -> server::LoopGuard {
    let mut guard = server::LoopGuard::default();
    let limits = [
        (&mut guard.max_hops, written.max_hops),
        (&mut guard.max_turns, written.max_turns),
        (&mut guard.max_in_thread, written.max_in_thread),
        (&mut guard.max_in_chain, written.max_in_chain),
    ];
    for (limit, written) in limits {
        *limit = written.map_or(*limit, OrOff::or_never);
    }
    guard.forget_after = written.forget_after.map_or(guard.forget_after, |after| after.0);
    guard
}

/// Comes before what the messaging mod says of the same.
fn take_retention(written: Retention, retention: &mut server::Retention) -> anyhow::Result<()> {
    let all = Keep {
        max_age: written.max_age,
        max_events: written.max_events,
        max_size: written.max_size,
    };
    let all = keep(&all);
    retention.workspace = server::Keep {
        max_age: all.max_age.or(retention.workspace.max_age),
        ..all
    };
    for (name, kept) in written.channels.into_iter().flatten() {
        let channel = ChannelName::from_written(&name);
        let channel = channel.with_context(|| format!("workspace.retention.channels.{name}"))?;
        let kept = match kept {
            OrOff::Off => server::Keep::default(),
            OrOff::At(kept) => keep(&kept),
        };
        retention.channels.insert(channel, kept);
    }
    retention.unread = written.unread.map_or(retention.unread, |unread| match unread {
        Unread::Kept => server::Unread::Kept,
        Unread::Removed => server::Unread::Removed,
    });
    retention.away = written.away.map_or(retention.away, |away| away.0);
    retention.at_least = written.at_least.map_or(retention.at_least, |time| time.0);
    retention.every = written.every.map_or(retention.every, |time| time.0);
    Ok(())
}

fn keep(written: &Keep) -> server::Keep {
    server::Keep {
        max_age: written.max_age.map(|age| age.0),
        max_events: written.max_events,
        max_bytes: written.max_size.map(|size| size.0),
    }
}

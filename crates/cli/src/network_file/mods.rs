//! `network.mods`: the messaging mod, which is what this server does, and those that are there for the official client.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use openagents_protocol::ChannelName;
use openagents_protocol::call::ChannelSettings;
use openagents_server::{Config, ConfiguredChannel, Mods, Settings};

use super::keys::{DefaultChannel, Mod, ModConfig};
use super::values::rate;
use super::{Effect, LeftOut};

const MESSAGING: &str = "workspace.messaging";
const DISCOVERY: &str = "discovery.agent_discovery";

/// Documented for where limits are switched on and not written.
const MESSAGES_PER_MINUTE: u32 = 60;
const FILES_PER_HOUR: u32 = 10;

/// Takes what the messaging mod is told, and whether those for the official client are wanted; the others are left out.
pub(super) fn take(mods: Vec<Mod>, config: &mut Config, effect: &mut Effect) -> anyhow::Result<()> {
    let mut channels = None;
    for (index, one) in mods.into_iter().enumerate() {
        let path = format!("network.mods[{index}]");
        let short = one.name.strip_prefix("openagents.mods.").unwrap_or(&one.name);
        if let Some(switch) = switch_of(short, &mut config.legacy.mods) {
            *switch = one.enabled;
            let written = one.config.unwrap_or_default();
            let mut elsewhere = written.of_messaging();
            if short == DISCOVERY {
                take_discovery(&written, &mut config.legacy.mods);
            } else {
                elsewhere.extend(written.of_discovery());
            }
            effect.left_out.extend(misplaced(&path, short, &elsewhere));
            continue;
        }
        if short != MESSAGING {
            if one.enabled {
                effect.left_out.push(LeftOut::new(path, one.name));
            }
            continue;
        }
        if !one.enabled {
            let what = "messaging cannot be switched off";
            effect
                .left_out
                .push(LeftOut::new(format!("{path}.enabled"), what));
        }
        let Some(mut written) = one.config else { continue };
        let elsewhere = written.of_discovery();
        effect.left_out.extend(misplaced(&path, short, &elsewhere));
        for (at, channel) in written.default_channels.take().into_iter().flatten().enumerate() {
            let name = ChannelName::from_written(&channel.name)
                .with_context(|| format!("{path}.config.default_channels[{at}]"))?;
            channels
                .get_or_insert_with(Vec::new)
                .push(configured(name, channel));
        }
        take_config(written, &mut config.workspace);
    }
    if let Some(channels) = channels {
        config.workspace.channels = channels;
    }
    Ok(())
}

/// Whether a mod is there that only the official client knows of.
fn switch_of<'a>(name: &str, mods: &'a mut Mods) -> Option<&'a mut bool> {
    match name {
        DISCOVERY => Some(&mut mods.discovery),
        "communication.simple_messaging" => Some(&mut mods.simple_messaging),
        "core.shared_cache" => Some(&mut mods.shared_cache),
        _ => None,
    }
}

fn take_discovery(written: &ModConfig, mods: &mut Mods) {
    mods.broadcast_connection = written.broadcast_connection.unwrap_or(mods.broadcast_connection);
    mods.broadcast_disconnection = written
        .broadcast_disconnection
        .unwrap_or(mods.broadcast_disconnection);
}

/// Keys of a mod that another one has.
fn misplaced(path: &str, name: &str, keys: &[&str]) -> Vec<LeftOut> {
    let told = |key: &&str| LeftOut::new(format!("{path}.config.{key}"), format!("{name} has no such key"));
    keys.iter().map(told).collect()
}

fn configured(name: ChannelName, written: DefaultChannel) -> ConfiguredChannel {
    ConfiguredChannel {
        name,
        description: written.description.unwrap_or_default(),
        settings: ChannelSettings {
            max_members: written.max_members,
            moderated: written.moderated,
            read_only: written.read_only,
            ..ChannelSettings::default()
        },
    }
}

fn take_config(written: ModConfig, settings: &mut Settings) {
    if let Some(most) = written.max_file_size {
        settings.max_file_bytes = most.0;
    }
    if let Some(types) = written.allowed_file_types {
        let extension = |written: String| written.trim_start_matches('.').to_ascii_lowercase();
        settings.allowed_file_types = types.into_iter().map(extension).collect();
    }
    settings.reactions = written.enable_reactions.unwrap_or(settings.reactions);
    settings.mentions = written.enable_mentions.unwrap_or(settings.mentions);
    let days = |days: NonZeroU32| Duration::from_hours(24 * u64::from(days.get()));
    let retention = &mut settings.retention;
    retention.workspace.max_age = written.message_retention_days.map(days);
    retention.each_channel.max_events = written.message_history_limit;
    retention.files = written.file_retention_days.map(days);
    let enabled = written.rate_limit_enabled;
    settings.max_messages_per_minute = rate(enabled, written.max_messages_per_minute, MESSAGES_PER_MINUTE);
    settings.max_files_per_hour = rate(enabled, written.max_files_per_hour, FILES_PER_HOUR);
}

//! Which group somebody joins, by the password it shows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use openagents_protocol::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::rights::Group;
use crate::settings::Settings;
use crate::token::password_hash;

/// Passwords whose group is remembered, so that a slow hash is worked out once and not for every request.
const REMEMBERED: usize = 1024;

/// The groups of a workspace, and how their passwords are checked.
#[derive(Debug)]
pub struct Groups {
    all: Vec<Arc<Group>>,
    default: Arc<Group>,
    requires_password: bool,
    /// Guards the passwords that were shown before: BLAKE3 of each, and the group it leads to.
    remembered: Mutex<HashMap<[u8; 32], Option<Arc<Group>>>>,
    /// One slow hash at a time: whoever guesses passwords waits in line and leaves the other processors alone.
    hashing: Semaphore,
}

impl Groups {
    /// The groups of the settings; none where there are no groups.
    pub fn of(settings: &Settings) -> Option<Self> {
        if settings.groups.is_empty() && !settings.requires_password {
            return None;
        }
        let all: Vec<Arc<Group>> = settings.groups.iter().cloned().map(Arc::new).collect();
        let default = all.iter().find(|group| group.name == settings.default_group);
        let default = default
            .cloned()
            .unwrap_or_else(|| Arc::new(Group::open(&settings.default_group)));
        Some(Self {
            all,
            default,
            requires_password: settings.requires_password,
            remembered: Mutex::default(),
            hashing: Semaphore::new(1),
        })
    }

    /// The group of those that show no password, if they are admitted at all.
    pub fn without_password(&self) -> Option<Arc<Group>> {
        (!self.requires_password).then(|| Arc::clone(&self.default))
    }

    /// The group whose password this is: the password itself, or its hex SHA-256 where that is what is stored.
    pub async fn by_password(&self, shown: &Secret) -> Option<Arc<Group>> {
        let key = *blake3::hash(shown.expose().as_bytes()).as_bytes();
        let before = self.remembered.lock().expect("poisoned").get(&key).cloned();
        if let Some(group) = before {
            return group;
        }
        let group = self.check(shown).await;
        let mut remembered = self.remembered.lock().expect("poisoned");
        if REMEMBERED <= remembered.len() {
            remembered.clear();
        }
        remembered.insert(key, group.clone());
        group
    }

    async fn check(&self, shown: &Secret) -> Option<Arc<Group>> {
        let given = shown.expose().to_owned();
        let hashed = password_hash(&given);
        let mut slow = Vec::new();
        for group in &self.all {
            match group.password_hash.as_deref() {
                Some(stored) if stored.starts_with("$2") => slow.push((Arc::clone(group), stored.to_owned())),
                Some(stored) => {
                    let stored = stored.to_ascii_lowercase();
                    let equal = |text: &str| bool::from(text.as_bytes().ct_eq(stored.as_bytes()));
                    if equal(&hashed) || equal(&given.to_ascii_lowercase()) {
                        return Some(Arc::clone(group));
                    }
                }
                None => {}
            }
        }
        if slow.is_empty() {
            return None;
        }
        let _turn = self.hashing.acquire().await.ok()?;
        let find = move || {
            slow.into_iter()
                .find(|(_, stored)| bcrypt::verify(&given, stored).unwrap_or(false))
                .map(|(group, _)| group)
        };
        tokio::task::spawn_blocking(find).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(stored: &str) -> Groups {
        let group = Group {
            password_hash: Some(stored.to_owned()),
            ..Group::open("users")
        };
        let settings = Settings {
            groups: vec![group],
            ..Settings::default()
        };
        Groups::of(&settings).unwrap()
    }

    async fn name(groups: &Groups, shown: &str) -> Option<String> {
        let group = groups.by_password(&Secret::new(shown)).await?;
        Some(group.name.clone())
    }

    #[tokio::test]
    async fn a_sha_256_is_met_by_the_password_and_by_itself() {
        let stored = password_hash("user123");
        let groups = groups(&stored.to_ascii_uppercase());
        assert_eq!(name(&groups, "user123").await.as_deref(), Some("users"));
        assert_eq!(name(&groups, &stored).await.as_deref(), Some("users"));
        assert_eq!(name(&groups, "user124").await, None);
    }

    #[tokio::test]
    async fn a_bcrypt_hash_is_met_by_the_password_only() {
        let stored = bcrypt::hash("user123", 4).unwrap();
        let groups = groups(&stored);
        for _ in 0..2 {
            assert_eq!(name(&groups, "user123").await.as_deref(), Some("users"));
            assert_eq!(name(&groups, &stored).await, None);
            assert_eq!(name(&groups, &password_hash("user123")).await, None);
        }
    }
}

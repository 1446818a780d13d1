//! Every record that the log of a round ever had, also those that are removed by now.

use std::collections::BTreeMap;
use std::fs;
use std::future::pending;
use std::sync::{Arc, Mutex};

use openagents_protocol::Sequence;
use openagents_protocol::record::{Act, Record};
use openagents_server::Workspace;
use openagents_store::LogCopy;

use crate::journal::Fact;
use crate::scene::Scene;

/// The records by sequence.
#[derive(Debug, Default)]
pub(crate) struct Archive(Mutex<BTreeMap<Sequence, Record>>);

/// What became of a record that is put into the archive.
enum Filed {
    New,
    Known,
    /// Another one was there before.
    Changed,
}

impl Archive {
    fn file(&self, record: &Record) -> Filed {
        let mut records = self.0.lock().expect("poisoned");
        match records.get(&record.sequence) {
            None => {
                records.insert(record.sequence, record.clone());
                Filed::New
            }
            Some(known) if known == record => Filed::Known,
            Some(_) => Filed::Changed,
        }
    }

    /// What is in the archive and what is in the log now, as one log.
    pub(crate) fn beside(&self, left: &[Record]) -> Vec<Record> {
        let mut all = self.0.lock().expect("poisoned").clone();
        for record in left {
            all.entry(record.sequence).or_insert_with(|| record.clone());
        }
        all.into_values().collect()
    }
}

/// Reads the log beside the server that writes it, as a backup does.
pub(crate) struct Archivist {
    scene: Arc<Scene>,
    life: u32,
    copy: LogCopy,
}

impl Archivist {
    /// Reads the log from its beginning; the server made it before.
    pub(crate) fn begin(scene: &Arc<Scene>, life: u32) -> anyhow::Result<Self> {
        let aside = scene.data.with_added_extension("archive");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::create_dir_all(&aside)?;
        let mut archivist = Self {
            copy: LogCopy::begin(&scene.data, &aside)?,
            scene: Arc::clone(scene),
            life,
        };
        archivist.look()?;
        Ok(archivist)
    }

    fn look(&mut self) -> anyhow::Result<()> {
        loop {
            let records = self.copy.step(Sequence::MAX)?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                let fact = match (self.scene.archive.file(&record), &record.header.act) {
                    (Filed::New, Act::HistoryRemoved { .. }) => Fact::Removed {
                        sequence: record.sequence.get(),
                    },
                    (Filed::Changed, _) => Fact::Broken(format!("{} is another record now", record.sequence)),
                    _ => continue,
                };
                self.scene.tell("server", self.life, fact);
            }
        }
    }

    /// Reads every record in the moment in which it is stored.
    pub(crate) async fn follow(&mut self, workspace: &Workspace) -> anyhow::Result<()> {
        while workspace.is_ready() {
            let head = workspace.head();
            self.look()?;
            workspace.beyond(head).await;
        }
        pending().await
    }
}

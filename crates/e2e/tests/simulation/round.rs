//! One round: a workspace, its agents and everything that goes wrong, played from a seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use openagents_e2e::Dice;
use openagents_protocol::Sequence;
use openagents_protocol::record::{Act, Record};
use openagents_server::{Durability, Repair, Retention, Workspace};
use openagents_store::{EventLog, Execution, Options, Store};
use serde::{Deserialize, Serialize};
use turmoil::{Builder, Sim};

use crate::disk::{Ending, Left, synced_beside};
use crate::journal::{Entry, Fact, trace};
use crate::plan::{Flaw, Plan};
use crate::removals::Removals;
use crate::scene::Scene;
use crate::{agent, answers, checker, server};

const TICK: Duration = Duration::from_millis(1);

/// A round in which nobody does anything for this long, while everybody is connected, is over: longer than any handler
/// takes.
const QUIET: Duration = Duration::from_secs(8);

/// A round that is not quiet by then, after the faults are over, never will be.
const LONGEST: Duration = Duration::from_mins(10);

/// What came of a round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) seed: u64,
    /// The same for every run of the seed.
    pub(crate) trace: u64,
    /// Seconds of simulated time.
    pub(crate) seconds: u64,
    pub(crate) records: usize,
    pub(crate) acknowledged: usize,
    pub(crate) handled: usize,
    pub(crate) answered: usize,
    pub(crate) held: usize,
    /// How many records are removed; none where everything is kept.
    pub(crate) removed: Option<usize>,
    /// How often each fault was made.
    pub(crate) faults: BTreeMap<String, usize>,
    pub(crate) broken: Vec<String>,
}

impl Verdict {
    /// The line of a table, with what was broken below it.
    pub(crate) fn row(&self) -> String {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, times)| format!("{fault} {times}"))
            .collect();
        let mut row = format!(
            "seed {:>6}  {:>4} s  {:>6} records  {:>6} acknowledged  {:>6} handled  {:>4} answered  {:>4} held{}  {}  {}",
            self.seed,
            self.seconds,
            self.records,
            self.acknowledged,
            self.handled,
            self.answered,
            self.held,
            self.removed
                .map_or_else(String::new, |removed| format!("  {removed:>5} removed")),
            if self.broken.is_empty() { "holds" } else { "BROKEN" },
            faults.join(", "),
        );
        for broken in self.broken.iter().take(20) {
            row.push_str("\n    ");
            row.push_str(broken);
        }
        row
    }
}

/// Panics since the process began; a task that panics ends quietly otherwise.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Plays the round of a seed in this thread.
pub(crate) fn play(plan: Plan, data: &Path) -> anyhow::Result<Verdict> {
    std::fs::create_dir_all(synced_beside(data))?;
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let scene = Scene::new(plan, data);
    let elapsed = Stage::new(&scene).play();
    if let Some(path) = std::env::var_os("SIMULATION_JOURNAL") {
        let lines: Vec<String> = scene.journal.entries().iter().map(Entry::to_string).collect();
        std::fs::write(path, lines.join("\n"))?;
    }
    conclude(&scene, elapsed?)
}

/// What can go wrong. Everything but the clock and the orderly restart ends by itself after a while.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Crash(Ending),
    Restart,
    AgentCrash,
    Partition,
    OneWay,
    Hold,
    ClockJump,
    SlowLink,
    /// An agent is away for days, which pass at once.
    Absence,
}

/// Something that is mended later.
struct Mending {
    at: Duration,
    what: Mend,
}

enum Mend {
    Server,
    Agent(usize),
    Link(usize),
    Release(usize),
    Speed(usize),
    Days(i64),
}

struct Stage<'a> {
    scene: Arc<Scene>,
    sim: Sim<'a>,
    dice: Dice,
    mendings: Vec<Mending>,
    server_down: bool,
    down: Vec<bool>,
}

impl Stage<'_> {
    fn new(scene: &Arc<Scene>) -> Self {
        let plan = &scene.plan;
        let mut sim = Builder::new()
            .rng_seed(plan.seed)
            .tick_duration(TICK)
            .min_message_latency(TICK)
            .max_message_latency(plan.latency)
            .simulation_duration(Duration::from_hours(24))
            .enable_random_order()
            .tcp_capacity(256)
            .build();
        let served = Arc::clone(scene);
        sim.host("server", move || server::live(Arc::clone(&served)));
        for (host, agent) in plan.agents.iter().enumerate() {
            let scene = Arc::clone(scene);
            sim.host(agent.name.as_str(), move || agent::live(Arc::clone(&scene), host));
        }
        Self {
            dice: Dice::new(plan.seed ^ 0xfa_017),
            down: vec![false; plan.agents.len()],
            scene: Arc::clone(scene),
            sim,
            mendings: Vec::new(),
            server_down: false,
        }
    }

    /// Plays until everything is over and quiet; returns how long that took.
    fn play(mut self) -> anyhow::Result<Duration> {
        let mut next = self.dice.milliseconds(500, 500 + self.scene.plan.calm_ms);
        while self.sim.elapsed() < self.scene.plan.active {
            self.step()?;
            if next <= self.sim.elapsed() {
                let fault = self.choose();
                self.make(fault)?;
                next = self.sim.elapsed() + self.dice.milliseconds(1, self.scene.plan.calm_ms);
            }
        }
        self.scene.over.store(true, Ordering::Relaxed);
        for mending in std::mem::take(&mut self.mendings) {
            self.mend(&mending.what);
        }
        self.settle()?;
        if self.is_power_cut_safe() {
            self.scene.tell("stage", 0, Fact::Settled);
            self.crash(Ending::PowerCut)?;
            self.mend(&Mend::Server);
            self.settle()?;
        }
        self.scene.stop.cancel();
        let deadline = self.sim.elapsed() + LONGEST;
        while !self.scene.stopped.load(Ordering::Relaxed) {
            self.step()?;
            self.give_up_after(deadline, "the server does not stop")?;
        }
        Ok(self.sim.elapsed())
    }

    /// Waits until everybody is connected, and through with everything.
    fn settle(&mut self) -> anyhow::Result<()> {
        let deadline = self.sim.elapsed() + LONGEST;
        let (mut seen, mut since) = (0, self.sim.elapsed());
        while self.sim.elapsed() < since + QUIET {
            self.step()?;
            if self.scene.journal.len() != seen || !self.scene.is_everybody_there() {
                (seen, since) = (self.scene.journal.len(), self.sim.elapsed());
            }
            self.give_up_after(deadline, "the round does not end")?;
        }
        Ok(())
    }

    fn give_up_after(&self, deadline: Duration, why: &str) -> anyhow::Result<()> {
        let in_time = self.sim.elapsed() < deadline;
        ensure!(in_time, "seed {}: {why}", self.scene.plan.seed);
        Ok(())
    }

    /// Whether the server promises to lose nothing by a power cut, and the disk is simulated.
    fn is_power_cut_safe(&self) -> bool {
        self.scene.is_simulated() && self.scene.plan.durability == Durability::Fsync
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let outcome = self.sim.step();
        outcome.map_err(|error| anyhow::anyhow!("seed {}: {error}", self.scene.plan.seed))?;
        self.scene.pass(self.sim.elapsed());
        let now = self.sim.elapsed();
        let due = self.mendings.extract_if(.., |mending| mending.at <= now);
        for mending in due.collect::<Vec<_>>() {
            self.mend(&mending.what);
        }
        Ok(())
    }

    fn choose(&mut self) -> Fault {
        let synced = self.is_power_cut_safe();
        if self.scene.plan.retention.is_some() && self.dice.once_in(3) {
            return Fault::Absence;
        }
        match (self.scene.plan.flaw, self.dice.roll(20)) {
            (Some(Flaw::AcknowledgesTooEarly), _) if synced => Fault::Crash(Ending::PowerCut),
            (Some(Flaw::ForgetsCursors | Flaw::LosesRecords), _) | (_, 0..=2) => Fault::Crash(Ending::Kill),
            (_, 3..=4) if synced => Fault::Crash(Ending::PowerCut),
            (_, 5) => Fault::Restart,
            (_, 6..=9) => Fault::AgentCrash,
            (_, 10..=11) => Fault::Partition,
            (_, 12) => Fault::OneWay,
            (_, 13..=15) => Fault::Hold,
            (_, 16..=17) => Fault::ClockJump,
            _ => Fault::SlowLink,
        }
    }

    fn make(&mut self, fault: Fault) -> anyhow::Result<()> {
        let agents = self.scene.plan.agents.len() as u64;
        let host = usize::try_from(self.dice.roll(agents)).context("a small number")?;
        let name = self.scene.plan.agents[host].name.clone();
        let for_a_while = self.dice.milliseconds(50, 6_000);
        let for_long = if self.dice.once_in(4) {
            Duration::from_secs(40)
        } else {
            for_a_while
        };
        let (what, mending) = match fault {
            Fault::Crash(_) | Fault::Restart if self.server_down => return Ok(()),
            Fault::AgentCrash | Fault::Absence if self.down[host] => return Ok(()),
            Fault::Crash(ending) => {
                self.crash(ending)?;
                (format!("{ending:?}"), Some((for_a_while, Mend::Server)))
            }
            Fault::Restart => {
                self.scene.restart.notify_one();
                ("Restart".to_owned(), None)
            }
            Fault::AgentCrash => {
                self.sim.crash(name);
                self.down[host] = true;
                ("AgentCrash".to_owned(), Some((for_a_while, Mend::Agent(host))))
            }
            Fault::Partition => {
                self.sim.partition(name, "server");
                ("Partition".to_owned(), Some((for_long, Mend::Link(host))))
            }
            Fault::OneWay => {
                if self.dice.once_in(2) {
                    self.sim.partition_oneway(name, "server");
                } else {
                    self.sim.partition_oneway("server", name);
                }
                ("OneWay".to_owned(), Some((for_long, Mend::Link(host))))
            }
            Fault::Hold => {
                self.sim.hold(name, "server");
                ("Hold".to_owned(), Some((for_long, Mend::Release(host))))
            }
            Fault::ClockJump => {
                let by_ms = self.dice.pick(&[50, 2_000, 3_600_000, 48 * 3_600_000]);
                let by_ms = if self.dice.once_in(2) { by_ms } else { -by_ms };
                self.scene.jump(by_ms);
                ("ClockJump".to_owned(), None)
            }
            Fault::SlowLink => {
                let latency = self.dice.milliseconds(100, 1_500);
                self.sim.set_link_max_message_latency(name, "server", latency);
                ("SlowLink".to_owned(), Some((for_a_while, Mend::Speed(host))))
            }
            Fault::Absence => {
                self.sim.crash(name);
                self.down[host] = true;
                // Most are taken for gone by then.
                let gone = self.dice.milliseconds(500, 3_000);
                let days = self.dice.pick(&[3, 20, 29, 31, 45]);
                let at = self.sim.elapsed() + gone;
                self.mendings.push(Mending {
                    at,
                    what: Mend::Days(days),
                });
                (
                    "Absence".to_owned(),
                    Some((gone + for_a_while, Mend::Agent(host))),
                )
            }
        };
        self.scene.tell("stage", 0, Fact::Fault(what));
        if let Some((after, what)) = mending {
            let at = self.sim.elapsed() + after;
            self.mendings.push(Mending { at, what });
        }
        Ok(())
    }

    fn crash(&mut self, ending: Ending) -> anyhow::Result<()> {
        let left = Left::by(ending, &self.scene.data)?;
        self.sim.crash("server");
        left.put_back()?;
        self.server_down = true;
        if ending == Ending::PowerCut {
            self.scene.tell("stage", 0, Fact::PowerCut);
        }
        if self.scene.plan.flaw == Some(Flaw::LosesRecords) {
            lose_a_message(&self.scene.data)?;
        }
        let knew = |entry: &Entry| matches!(&entry.fact, Fact::Cursors(cursors) if !cursors.is_empty());
        if self.scene.plan.flaw == Some(Flaw::ForgetsCursors) && self.scene.journal.entries().iter().any(knew)
        {
            for file in ["view.db", "view.db-wal", "view.db-shm"] {
                std::fs::remove_file(self.scene.data.join(file)).ok();
            }
        }
        Ok(())
    }

    fn mend(&mut self, what: &Mend) {
        let name = |host: usize| self.scene.plan.agents[host].name.clone();
        match *what {
            Mend::Server => {
                self.sim.bounce("server");
                self.server_down = false;
            }
            Mend::Agent(host) => {
                self.sim.bounce(name(host));
                self.down[host] = false;
            }
            Mend::Link(host) => self.sim.repair(name(host), "server"),
            Mend::Release(host) => self.sim.release(name(host), "server"),
            Mend::Speed(host) => {
                let latency = self.scene.plan.latency;
                self.sim
                    .set_link_max_message_latency(name(host), "server", latency);
            }
            Mend::Days(days) => self.scene.jump(days * 24 * 3_600_000),
        }
    }
}

/// The log forgets the last message.
fn lose_a_message(data: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let (store, log) = read_log(data).await?;
        let message = |record: &&Record| matches!(record.header.act, Act::Message { .. });
        let last = log.iter().rfind(message).map(|record| record.sequence);
        store.log.remove(last.into_iter().collect()).await?;
        Ok(store.log.close().await?)
    })
}

/// Holds what everybody saw against the log, and the view against one that is built anew.
fn conclude(scene: &Arc<Scene>, elapsed: Duration) -> anyhow::Result<Verdict> {
    let entries = scene.journal.entries();
    let mut broken = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let (store, left) = runtime.block_on(read_log(&scene.data))?;
    drop(store);
    let log = scene.archive.beside(&left);
    let removals = scene
        .plan
        .retention
        .clone()
        .map(|retention| Removals::of(&log, &left, &entries, retention));
    broken.extend(checker::check(&log, removals.as_ref(), &entries));
    let mut settings = server::config(scene).workspace;
    if removals.is_some() {
        let looked = runtime.block_on(Workspace::repair(
            &scene.data,
            Repair::Look,
            settings.clone(),
            |_| (),
        ))?;
        if !looked.is_log_sound() {
            broken.push(format!(
                "a repair finds damage: {:?}, lost: {:?}",
                looked.damage, looked.lost
            ));
        }
    }
    // Nothing more is removed, and nobody goes, while it is asked.
    (settings.retention, settings.lease) = (Retention::default(), Duration::from_mins(1));
    let (before, after) = runtime.block_on(answers::before_and_after(&scene.data, settings))?;
    broken.extend(answers::compare(&before, &after));
    let panics = PANICS.load(Ordering::Relaxed);
    if panics != 0 {
        broken.push(format!("there were {panics} panics"));
    }
    let count = |wanted: fn(&Fact) -> bool| entries.iter().filter(|entry| wanted(&entry.fact)).count();
    let mut faults = BTreeMap::new();
    for entry in &entries {
        if let Fact::Fault(what) = &entry.fact {
            *faults.entry(what.clone()).or_default() += 1;
        }
    }
    Ok(Verdict {
        seed: scene.plan.seed,
        trace: trace(&entries),
        seconds: elapsed.as_secs(),
        records: left.len(),
        acknowledged: count(|fact| matches!(fact, Fact::Accepted { .. })),
        handled: count(|fact| matches!(fact, Fact::Handled { .. })),
        answered: count(|fact| matches!(fact, Fact::Answered { .. })),
        held: log
            .iter()
            .filter(|record| matches!(record.header.act, Act::Held { .. }))
            .count(),
        removed: removals.map(|removals| removals.count()),
        faults,
        broken,
    })
}

async fn read_log(data: &Path) -> anyhow::Result<(Store, Vec<Record>)> {
    let options = Options {
        execution: Execution::Inline,
        ..Options::default()
    };
    let (store, _) = Store::open(data, options)?;
    let mut log = Vec::new();
    let mut after = Sequence::ZERO;
    loop {
        let records = store.log.read(after, 10_000).await?;
        let Some(last) = records.last() else {
            return Ok((store, log));
        };
        after = last.sequence;
        log.extend(records);
    }
}

//! Beginning, ending, and beginning again.

use std::path::Path;
use std::sync::Arc;

use openagents_client::{EventContext, HookResult, RunningWorker, Worker, WorkerAgent, WorkerError};
use openagents_e2e::{Peer, SOON, Workspace, within};
use tokio::sync::{Semaphore, mpsc};

/// Greets, says goodbye, and writes down what it is told when the gate opens.
struct Clerk {
    begun: mpsc::Sender<String>,
    gate: Arc<Semaphore>,
}

impl WorkerAgent for Clerk {
    async fn on_startup(&self, worker: &Worker) -> HookResult {
        worker.post_to_channel("general", "The clerk is in.").await;
        Ok(())
    }

    async fn on_shutdown(&self, worker: &Worker) -> HookResult {
        worker.post_to_channel("general", "The clerk is out.").await;
        Ok(())
    }

    async fn on_direct(&self, _: &Worker, context: EventContext) -> HookResult {
        self.begun.send(context.text().to_owned()).await?;
        self.gate.acquire().await?.forget();
        Ok(())
    }
}

struct Office {
    running: RunningWorker,
    begun: mpsc::Receiver<String>,
    gate: Arc<Semaphore>,
}

impl Office {
    async fn open(workspace: &Workspace) -> Result<Self, WorkerError> {
        let (begun, begins) = mpsc::channel(10);
        let gate = Arc::new(Semaphore::new(0));
        let clerk = Clerk {
            begun,
            gate: Arc::clone(&gate),
        };
        Ok(Self {
            running: clerk.start("127.0.0.1", workspace.port()).await?,
            begun: begins,
            gate,
        })
    }

    async fn begins(&mut self, expected: &str) {
        assert_eq!(within(SOON, self.begun.recv()).await.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn an_agent_greets_says_goodbye_and_is_gone() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = workspace.join("ana").await?;
    let general = ana.workspace().channel("general");
    let office = Office::open(&workspace).await?;
    let greeting = general.wait_for_post(Some("clerk"), SOON).await;
    assert_eq!(greeting.expect("a post").text(), Some("The clerk is in."));
    let gone = ana.wait_event(|event| event.event_name == "agent.left", SOON);
    let (left, stopped) = tokio::join!(gone, office.running.stop());
    stopped?;
    assert_eq!(left.expect("an event").source_id, "clerk");
    let last = general.get_messages(1).await?;
    assert_eq!(last[0].text(), Some("The clerk is out."));
    assert_eq!(ana.workspace().agents().await?, ["ana"]);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_a_stopping_agent_has_handled_is_done_and_the_rest_waits_for_its_return() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = workspace.join("ana").await?;
    let clerk = ana.workspace().agent("clerk");
    let mut office = Office::open(&workspace).await?;
    for text in ["first", "second", "third"] {
        assert!(clerk.send(text).await.success);
    }
    office.begins("first").await;
    office.gate.add_permits(1);
    office.begins("second").await;
    let stopping = office.running.clone();
    let gate = Arc::clone(&office.gate);
    let (stopped, ()) = tokio::join!(stopping.stop(), async { gate.add_permits(1) });
    stopped?;
    assert!(office.begun.try_recv().is_err());

    let mut office = Office::open(&workspace).await?;
    office.begins("third").await;
    office.gate.add_permits(1);
    office.running.stop().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_agent_works_until_its_process_is_asked_to_end() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = workspace.join("ana").await?;
    let general = ana.workspace().channel("general");
    let program = Path::new(env!("CARGO_BIN_EXE_peer"));
    let port = workspace.port().to_string();
    for signal in ["TERM", "INT"] {
        let (peer, line) = within(SOON, Peer::start(program, &["work", &port])).await?;
        assert_eq!(line, "working");
        peer.signal(signal).await?;
        let goodbye = general.wait_for_post(Some("laborer"), SOON).await;
        assert_eq!(
            goodbye.expect("a post").text(),
            Some("That is all."),
            "SIG{signal}"
        );
        assert!(within(SOON, peer.ended()).await?.success());
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_asked_twice_does_not_wait_for_the_shutdown() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = workspace.join("ana").await?;
    let program = Path::new(env!("CARGO_BIN_EXE_peer"));
    let port = workspace.port().to_string();
    let (peer, _) = within(SOON, Peer::start(program, &["work", &port, "stubborn"])).await?;
    peer.signal("INT").await?;
    let general = ana.workspace().channel("general");
    let goodbye = general.wait_for_post(Some("laborer"), SOON).await;
    assert!(goodbye.is_some());
    peer.signal("INT").await?;
    assert!(within(SOON, peer.ended()).await?.success());
    workspace.stop().await;
    Ok(())
}

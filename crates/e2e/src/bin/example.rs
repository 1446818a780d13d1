//! The programs of `examples/`, in one binary, so that it takes one link to run them all.
//!
//! The variable `EXAMPLE` says which one runs, and the arguments are its own. Without it, all names are printed.

#[path = "../../../../examples/src/bin/ask.rs"]
mod ask;
#[path = "../../../../examples/src/bin/channels.rs"]
mod channels;
#[path = "../../../../examples/src/bin/collaborator.rs"]
mod collaborator;
#[path = "../../../../examples/src/bin/deduplicator.rs"]
mod deduplicator;
#[path = "../../../../examples/src/bin/delegation.rs"]
mod delegation;
#[path = "../../../../examples/src/bin/file_events.rs"]
mod file_events;
#[path = "../../../../examples/src/bin/file_round_trip.rs"]
mod file_round_trip;
#[path = "../../../../examples/src/bin/file_worker.rs"]
mod file_worker;
#[path = "../../../../examples/src/bin/first_agent.rs"]
mod first_agent;
#[path = "../../../../examples/src/bin/greeter.rs"]
mod greeter;
#[path = "../../../../examples/src/bin/groups.rs"]
mod groups;
#[path = "../../../../examples/src/bin/master_and_worker.rs"]
mod master_and_worker;
#[path = "../../../../examples/src/bin/monitor.rs"]
mod monitor;
#[path = "../../../../examples/src/bin/news_room.rs"]
mod news_room;
#[path = "../../../../examples/src/bin/quickstart.rs"]
mod quickstart;
#[path = "../../../../examples/src/bin/robust_client.rs"]
mod robust_client;
#[path = "../../../../examples/src/bin/role_players.rs"]
mod role_players;
#[path = "../../../../examples/src/bin/router.rs"]
mod router;
#[path = "../../../../examples/src/bin/task_executor.rs"]
mod task_executor;
#[path = "../../../../examples/src/bin/tour.rs"]
mod tour;
#[path = "../../../../examples/src/bin/work_flow.rs"]
mod work_flow;

macro_rules! run {
    ($wanted:expr, $($name:ident)*) => {
        match $wanted.as_deref() {
            $(Ok(stringify!($name)) => $name::main(),)*
            Ok(unknown) => anyhow::bail!("there is no example {unknown}"),
            Err(_) => {
                $(println!(stringify!($name));)*
                Ok(())
            }
        }
    };
}

fn main() -> anyhow::Result<()> {
    run! {
        std::env::var("EXAMPLE"),
        ask channels collaborator deduplicator delegation file_events file_round_trip file_worker first_agent greeter groups master_and_worker monitor news_room quickstart robust_client role_players router task_executor tour work_flow
    }
}

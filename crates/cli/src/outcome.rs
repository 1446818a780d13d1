//! What the workspace says to a change.

use std::fmt::Display;

use openagents_client::{AgentClient, CallError, EventResponse, Receipt};
use openagents_protocol::call::Call;

use crate::connect::Connection;
use crate::output::{self, Output};

/// Makes a call that changes something, and prints what came of it: `done` for people, the whole answer for programs, a
/// refusal included.
pub(crate) async fn change<C: Call<Reply = Receipt>>(
    connection: &Connection,
    call: C,
    output: Output,
    done: impl Display,
) -> anyhow::Result<()> {
    let client = connection.watch().await?;
    let outcome = client.call(call).await;
    client.disconnect().await;
    let receipt = match outcome {
        Ok(receipt) => receipt,
        Err(CallError::Refused(error)) => {
            if output == Output::Json {
                output::json(&EventResponse::from(Err(error.clone())))?;
            }
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    match output {
        Output::Json => output::json(&EventResponse::from(Ok(receipt)))?,
        Output::Human if receipt.sequence.is_none() => output::line("nothing to change: it is so already")?,
        Output::Human => output::line(done)?,
    }
    Ok(())
}

/// Makes a call and leaves. A refusal is told as it is.
pub(crate) async fn ask<C: Call>(client: AgentClient, call: C) -> anyhow::Result<C::Reply> {
    let outcome = client.call(call).await;
    client.disconnect().await;
    outcome.map_err(|error| match error {
        CallError::Refused(error) => error.into(),
        error => error.into(),
    })
}

/// The receipt of something that was published, or why it was refused.
pub(crate) fn receipt(response: EventResponse) -> anyhow::Result<Receipt> {
    match (response.data, response.error) {
        (Some(receipt), None) => Ok(receipt),
        (_, Some(error)) => Err(error.into()),
        (None, None) => anyhow::bail!("the workspace gave no reason"),
    }
}

/// Tells who sent something that it is stored and not delivered yet.
pub(crate) fn note_if_held(receipt: &Receipt) {
    if receipt.held {
        output::note(
            "it is held until a moderator delivers it: `openagents held` lists, `openagents unblock` delivers",
        );
    }
}

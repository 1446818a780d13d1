//! What is said on the command line.

use std::io::Read;

use anyhow::{Context, bail};
use openagents_client::Json;

/// A text as it was given; `-` stands for what comes on stdin, without the line end.
pub(crate) fn given(written: String) -> anyhow::Result<String> {
    if written != "-" {
        return Ok(written);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read the text from stdin")?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// A JSON object as it was given.
pub(crate) fn object(written: &str) -> anyhow::Result<Json> {
    let json: Json = written
        .parse()
        .with_context(|| format!("{written:?} is no JSON"))?;
    if !json.is_object() {
        bail!("{written:?} is no JSON object, such as {{\"key\": \"value\"}}");
    }
    Ok(json)
}

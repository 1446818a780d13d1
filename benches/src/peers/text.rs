//! What is said: words as people use them, since our server makes them searchable.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use openagents_client::Json;
use openagents_e2e::Prose;
use serde_json::json;

/// Bytes of a payload, for every system.
const PAYLOAD: usize = 256;

static PAYLOADS: LazyLock<Vec<Json>> = LazyLock::new(|| {
    let mut prose = Prose::new(1);
    let around = json!({"content": {"text": ""}}).to_string().len();
    let payload = |_| {
        let mut text = prose.text(PAYLOAD);
        text.truncate(PAYLOAD - around);
        Json::from(json!({"content": {"text": text}}))
    };
    (0..1000).map(payload).collect()
});

static BYTES: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let bytes = |payload: &Json| Bytes::copy_from_slice(payload.as_str().as_bytes());
    PAYLOADS.iter().map(bytes).collect()
});

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The next payload, as our client takes it.
pub(crate) fn json_payload() -> Json {
    PAYLOADS[NEXT.fetch_add(1, Ordering::Relaxed) % PAYLOADS.len()].clone()
}

/// The next payload, as bytes.
pub(crate) fn payload() -> Bytes {
    BYTES[NEXT.fetch_add(1, Ordering::Relaxed) % BYTES.len()].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_has_the_same_size() {
        assert!(PAYLOADS.iter().all(|payload| payload.as_str().len() == PAYLOAD));
        assert!(BYTES.iter().all(|payload| payload.len() == PAYLOAD));
    }
}

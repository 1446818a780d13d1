//! What the documents say of the protocol is what the code knows.

use std::collections::BTreeSet;
use std::path::Path;

use openagents_protocol::ErrorCode;
use openagents_protocol::call::METHODS;
use serde_norway::Value;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn asyncapi() -> Value {
    serde_norway::from_str(&page("asyncapi.yaml")).unwrap()
}

/// The words that a schema lists.
fn listed(document: &Value, schema: &str) -> Vec<String> {
    let words = document["components"]["schemas"][schema]["enum"]
        .as_sequence()
        .unwrap();
    words
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn asyncapi_lists_every_method_and_every_code() {
    let document = asyncapi();
    assert_eq!(listed(&document, "Method"), METHODS);
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed(&document, "ErrorCode"), codes);
}

#[test]
fn every_reference_in_asyncapi_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    if key.as_str() == Some("$ref") {
                        found.insert(value.as_str().unwrap().to_owned());
                    }
                    references(value, found);
                }
            }
            Value::Sequence(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    let document = asyncapi();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(20 < found.len());
    for reference in found {
        let path = reference.strip_prefix("#/").unwrap();
        let end = path.split('/').try_fold(&document, |value, key| value.get(key));
        assert!(end.is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn the_page_of_the_protocol_has_a_row_for_every_method_and_every_code() {
    let page = page("protocol.md");
    let codes = ErrorCode::ALL.iter().map(|code| code.as_str());
    for word in METHODS.iter().copied().chain(codes) {
        assert!(
            page.contains(&format!("\n| `{word}` | ")),
            "there is no row for {word}"
        );
    }
}

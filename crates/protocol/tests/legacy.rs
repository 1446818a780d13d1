//! The generated messages of the 0.9 interface say what its description says.

use std::fs;
use std::path::Path;

/// Set to write the generated file anew.
const UPDATE: &str = "OPENAGENTS_UPDATE_GENERATED";

#[test]
fn the_generated_messages_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let description = protox::compile([folder.join("proto/agent_service.proto")], [folder.join("proto")])
        .expect("the description is valid");
    let out = tempfile::tempdir().expect("a folder");
    prost_build::Config::new()
        .out_dir(out.path())
        .btree_map(["."])
        .skip_debug([
            "Event",
            "RegisterAgentRequest",
            "RegisterAgentResponse",
            "UnregisterAgentRequest",
        ])
        .compile_fds(description)
        .expect("it can be generated from");
    let generated = fs::read_to_string(out.path().join("openagents.rs")).expect("it was generated");
    let committed = folder.join("src/legacy/messages.rs");
    let heading = "//! Generated from `proto/agent_service.proto`; not to be edited.\n\n";
    let wanted = format!("{heading}{generated}");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&committed, &wanted).expect("it can be written");
    }
    let found = fs::read_to_string(&committed).expect("it is there");
    assert!(
        found == wanted,
        "src/legacy/messages.rs is not what the description says: run this test with {UPDATE}=1"
    );
}

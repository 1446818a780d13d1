//! Whatever arrives as a text message is decoded or refused; it never ends the program.
//!
//! What a decoder accepts must survive its own encoder: written and read again, it is accepted again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openagents_protocol::Draft;
use openagents_protocol::frame::{ClientFrame, ServerFrame};

fuzz_target!(|text: &str| {
    if let Ok(frame) = ClientFrame::decode(text) {
        ClientFrame::decode(&frame.encode()).expect("a frame that was read can be written and read again");
        if let ClientFrame::Publish(publish) = frame {
            let _ = Draft::parse(publish.event);
        }
    }
    if let Ok(frame) = ServerFrame::decode(text) {
        ServerFrame::decode(&frame.encode()).expect("a frame that was read can be written and read again");
    }
});

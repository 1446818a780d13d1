//! Names, patterns and addresses are parsed or refused; what is accepted reads the same after it was written.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use openagents_protocol::{Address, AgentId, ChannelName, EventId, EventName, ModName, Pattern};

fuzz_target!(|text: &str| {
    check::<AgentId>(text);
    check::<ChannelName>(text);
    check::<EventId>(text);
    check::<EventName>(text);
    check::<ModName>(text);
    check::<Address>(text);
    check::<Pattern>(text);
    let _ = AgentId::from_written(text);
    let _ = ChannelName::from_written(text);
    if let Ok(everything) = "*".parse::<Pattern>() {
        assert!(everything.matches(text));
    }
    if let (Ok(pattern), Ok(name)) = (text.parse::<Pattern>(), text.parse::<EventName>()) {
        assert!(
            pattern.matches(name.as_str()),
            "a pattern without a star matches the name it spells"
        );
    }
});

fn check<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(parsed) = text.parse::<T>() {
        assert_eq!(parsed.to_string().parse().ok(), Some(parsed));
    }
}

//! What an acknowledgement waits for.

use std::fmt;
use std::str::FromStr;

use openagents_protocol::InvalidName;

/// What an append waits for before it is acknowledged.
///
/// | | survives | may lose what was acknowledged in |
/// |---|---|---|
/// | `fsync` | a crash of the machine | |
/// | `os` | a crash of the process | the last seconds before a power cut |
/// | `memory` | an orderly stop | the last moments before any crash |
///
/// Whatever is lost is the end of the log, never something in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The disk has it.
    #[default]
    Fsync,
    /// The operating system has it.
    Os,
    /// This process has it, in a bounded queue in front of the disk.
    Memory,
}

impl FromStr for Durability {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        match input {
            "fsync" => Ok(Self::Fsync),
            "os" => Ok(Self::Os),
            "memory" => Ok(Self::Memory),
            _ => Err(InvalidName {
                kind: "durability",
                input: input.chars().take(64).collect(),
                reason: "it is none of fsync, os, memory",
            }),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::Memory => "memory",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_reads_as_it_is_written() {
        for durability in [Durability::Fsync, Durability::Os, Durability::Memory] {
            assert_eq!(durability.to_string().parse(), Ok(durability));
        }
        assert!("none".parse::<Durability>().is_err());
    }
}

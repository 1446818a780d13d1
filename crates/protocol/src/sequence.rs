//! Positions in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Position of a record in the log of its workspace.
///
/// Sequences start at 1, increase, and may have gaps. [`Sequence::ZERO`] stands before the first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sequence(u64);

impl Sequence {
    /// The position before the first record.
    pub const ZERO: Self = Self(0);
    /// A position after every record: the largest that fits a signed 64-bit integer.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The position with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this position.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position right before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

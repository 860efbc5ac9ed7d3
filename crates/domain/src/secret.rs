//! A string that must never be printed.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// What every rendering of a secret shows instead of it.
pub const MASK: &str = "********";

/// A password, key or token. `Debug` and `Display` show [`MASK`]; only [`Secret::expose`] gives the value.
/// The memory is wiped when the last owner drops it. It deliberately has no `Serialize`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Call it at the last moment, at the door that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

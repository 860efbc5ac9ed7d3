//! Why a record could not be read or written.

/// See each case.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("there is no {kind} {id}")]
    NotFound { kind: String, id: String },
    /// The id or the unique key is in use.
    #[error("a {kind} '{key}' exists already")]
    Taken { kind: String, key: String },
    /// Somebody else changed it since it was read.
    #[error("the {kind} {id} was changed meanwhile")]
    Changed { kind: String, id: String },
    /// The same call may succeed later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}

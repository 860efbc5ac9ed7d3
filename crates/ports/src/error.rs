//! What a connector says when it cannot: a letter to a tired person, and a verdict for the machine.

use std::fmt;

/// Why it failed, as a closed list; stable words for error codes and for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nobody answers there: name resolution, refused, no route.
    Unreachable,
    TimedOut,
    /// The other side knows us no more: wrong user, password, key or token.
    Authentication,
    /// The server's identity is unknown or has changed. The reason holds the fingerprint.
    HostKey,
    /// We are known, but not allowed to.
    Permission,
    NotFound,
    AlreadyExists,
    /// Disk full, quota reached.
    NoSpace,
    /// The name cannot exist on that system.
    Name,
    /// It changed or vanished while it was read.
    Changed,
    /// What arrived is not what was sent.
    Corrupt,
    /// That system cannot do this.
    Unsupported,
    /// The other side asks us to slow down.
    Throttled,
    /// The connection broke in the middle.
    Interrupted,
    /// The other side answered something outside its protocol.
    Protocol,
    /// What we asked for makes no sense there.
    Invalid,
    /// Our own stop signal (cancel, pause, lost lease). Neither a failure nor a success.
    Stopped,
    /// A defect of ours.
    Internal,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Throttled | Self::Interrupted | Self::Changed | Self::Stopped)
    }
}

/// `operation` on `subject` failed because of `reason`; `advice` says what to do. No secret may enter any of them.
#[derive(Debug)]
pub struct ConnectorError {
    pub kind: ErrorKind,
    /// Usually `kind.is_temporary()`; a connector that knows better says so.
    pub temporary: bool,
    /// What we tried: `"write part 3"`.
    pub operation: String,
    /// On what: `"s3://bucket/key"`.
    pub subject: String,
    /// Why it failed, in words a person can use.
    pub reason: String,
    /// What to do next. May be empty when `reason` says it all.
    pub advice: String,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectorError {
    pub fn new(kind: ErrorKind, operation: impl Into<String>, subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            kind,
            temporary: kind.is_temporary(),
            operation: operation.into(),
            subject: subject.into(),
            reason: reason.into(),
            advice: String::new(),
            source: None,
        }
    }

    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.temporary = false;
        self
    }

    /// Our own stop signal was seen.
    pub fn stopped(operation: impl Into<String>, subject: impl Into<String>) -> Self {
        Self::new(ErrorKind::Stopped, operation, subject, "the migration was asked to stop")
    }
}

impl fmt::Display for ConnectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}: {}", self.operation, self.subject, self.reason)?;
        if !self.advice.is_empty() {
            write!(f, ". {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

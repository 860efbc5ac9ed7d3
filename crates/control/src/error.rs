//! What a use case answers when it cannot: a kind, a stable code, public words, details, and private words for the log.

use domain::decode::{Problem, Problems};
use engine::EngineError;
use ports::records::RecordsError;
use serde_json::{Value, json};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $kind:ident;)*) => {
        /// Stable words for programs. Each is explained in `docs/errors.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name),* }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The family that errors with this code belong to.
            pub fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind),* }
            }
        }
    };
}

codes! {
    /// A migration's configuration has bad, missing or unknown fields: all are in `details.validation_errors`.
    InvalidConfiguration = "INVALID_CONFIGURATION", Invalid;
    /// The body of another request has bad fields.
    InvalidRequest = "INVALID_REQUEST", Invalid;
    /// Query parameters are unknown or bad.
    InvalidParameters = "INVALID_PARAMETERS", Invalid;
    /// The checks before a migration ran, and some failed: `details.failed_checks`.
    ValidationFailed = "VALIDATION_FAILED", Unprocessable;
    /// A step would have to be done first, or the state forbids it.
    InvalidState = "INVALID_STATE", Conflict;
    /// What is asked for needs a node that has no running server: `details.node` names it.
    NodeUnavailable = "NODE_UNAVAILABLE", Conflict;
    /// Start of a migration that runs already.
    AlreadyRunning = "MIGRATION_ALREADY_RUNNING", Conflict;
    MigrationNotFound = "MIGRATION_NOT_FOUND", NotFound;
    BackupNotFound = "BACKUP_NOT_FOUND", NotFound;
    /// A backup that belongs to another migration, is not verified, or is needed by a migration in progress.
    BackupUnusable = "BACKUP_UNUSABLE", Conflict;
    /// People wrote into the tables that a rollback would take back: `details.tables`.
    LaterChanges = "LATER_CHANGES", Conflict;
    /// There is no report before a migration has ended.
    ReportNotReady = "REPORT_NOT_READY", Conflict;
    /// Nobody has proved who asks, or the proof is not good (any more).
    Unauthenticated = "AUTHENTICATION_REQUIRED", Unauthenticated;
    Denied = "INSUFFICIENT_PERMISSIONS", Denied;
    /// A user name, password, refresh token, code or setup token that is not good.
    InvalidCredentials = "INVALID_CREDENTIALS", Unauthenticated;
    /// An OAuth client that is not known, or did not prove itself.
    InvalidClient = "INVALID_CLIENT", Unauthenticated;
    /// The request with this `Idempotency-Key` is still at work.
    IdempotencyInFlight = "IDEMPOTENCY_IN_FLIGHT", Conflict;
    /// The server of the request with this `Idempotency-Key` died at work: `details.written` is there, its answer is not.
    IdempotencyInterrupted = "IDEMPOTENCY_INTERRUPTED", Conflict;
    /// Another request had this `Idempotency-Key`.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", Unprocessable;
    /// More requests than the server or the tenant's quota allows: `details.retry_after` says how many seconds to wait.
    RateLimited = "RATE_LIMITED", TooMany;
    /// The tenant uses all that it may: `details.quota` says of what.
    QuotaExceeded = "QUOTA_EXCEEDED", TooMany;
    /// Failed log-ins: `details.retry_after` says how many seconds to wait.
    TooManyAttempts = "TOO_MANY_ATTEMPTS", TooMany;
    /// Tokens and keys make no sense where nobody has to log in.
    AuthenticationDisabled = "AUTHENTICATION_DISABLED", Conflict;
    /// Nobody could look after the installation any more.
    LastAdministrator = "LAST_ADMINISTRATOR", Conflict;
    /// A tenant that has users, migrations or other things.
    TenantNotEmpty = "TENANT_NOT_EMPTY", Conflict;
    /// The caller does not belong to that tenant, or there is none.
    TenantNotFound = "TENANT_NOT_FOUND", NotFound;
    /// Another thing (preset, template, webhook, …) with this id: see `details`.
    NotFound = "NOT_FOUND", NotFound;
    /// A name or id that is in use.
    Taken = "ALREADY_EXISTS", Conflict;
    /// Something else refers to it: `details.used_by`.
    InUse = "IN_USE", Conflict;
    /// A built-in preset cannot be changed or deleted.
    PresetReadOnly = "PRESET_READ_ONLY", Conflict;
    /// It was changed by somebody else since it was read: `If-Match` does not match, or two wrote at once.
    Changed = "CHANGED_MEANWHILE", PreconditionFailed;
    /// An operation on a virtual machine was tried and failed: `details.task_id` names it.
    VmOperationFailed = "VM_OPERATION_FAILED", Unavailable;
    /// A system of the migration, or our own journal, does not answer now.
    Unavailable = "SERVICE_UNAVAILABLE", Unavailable;
    Internal = "INTERNAL_ERROR", Internal;
}

/// The family of an error; a transport turns it into its own status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    Conflict,
    Invalid,
    /// Log in first.
    Unauthenticated,
    /// Read it again, then decide again.
    PreconditionFailed,
    /// Too many requests or things: later, or ask for more.
    TooMany,
    /// Understood, well formed, but checks that really ran said no.
    Unprocessable,
    Denied,
    Unavailable,
    Internal,
}

impl From<RecordsError> for Error {
    fn from(error: RecordsError) -> Self {
        Self::of_records(error)
    }
}

/// `message` and `details` are for the caller; `private` is for our log only and may name inner workings, never a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    pub kind: Kind,
    pub code: Code,
    pub message: String,
    pub details: Value,
    pub private: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, code: Code, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), details: json!({}), private: None }
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Something of ours went wrong. The caller sees nothing of `private`.
    pub fn internal(private: impl Into<String>) -> Self {
        Self { private: Some(private.into()), ..Self::new(Kind::Internal, Code::Internal, "An unexpected error occurred") }
    }

    /// All that is known, for our own log.
    pub(crate) fn for_log(&self) -> String {
        self.private.as_ref().map_or_else(|| self.message.clone(), |private| format!("{}: {private}", self.message))
    }

    pub fn migration_not_found(id: &str) -> Self {
        Self::new(Kind::NotFound, Code::MigrationNotFound, "Migration session not found").details(json!({"session_id": id}))
    }

    /// `what` is the noun (`preset`, `webhook`), `id` what was asked for.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(Kind::NotFound, Code::NotFound, format!("There is no {what} '{id}'")).details(json!({format!("{what}_id"): id}))
    }

    pub fn tenant_not_found(id: &str) -> Self {
        Self::new(Kind::NotFound, Code::TenantNotFound, "Tenant not found").details(json!({"tenant_id": id}))
    }

    /// What the store of records said.
    pub fn of_records(error: RecordsError) -> Self {
        match error {
            RecordsError::NotFound { kind, id } => Self::not_found(&kind, &id),
            RecordsError::Taken { kind, key } => {
                Self::new(Kind::Conflict, Code::Taken, format!("A {kind} '{key}' exists already; choose another name, or change that one"))
                    .details(json!({"kind": kind, "key": key}))
            }
            RecordsError::Changed { kind, id } => {
                Self::new(Kind::PreconditionFailed, Code::Changed, format!("The {kind} '{id}' was changed by somebody else; read it again, then decide again"))
                    .details(json!({"kind": kind, "id": id}))
            }
            RecordsError::Unavailable(text) => Self {
                private: Some(text),
                ..Self::new(Kind::Unavailable, Code::Unavailable, "The database of this service does not answer now; the same request may succeed in a moment")
            },
            RecordsError::Internal(text) => Self::internal(text),
        }
    }

    pub fn backup_not_found(id: &str) -> Self {
        Self::new(Kind::NotFound, Code::BackupNotFound, "Backup not found").details(json!({"backup_id": id}))
    }

    /// A bad migration configuration, with every bad field.
    pub fn configuration(problems: Problems) -> Self {
        Self::bad_fields(Code::InvalidConfiguration, "Invalid migration configuration", problems.0)
    }

    /// A bad body of another request.
    pub fn request(problems: Problems) -> Self {
        Self::bad_fields(Code::InvalidRequest, "Invalid request body", problems.0)
    }

    /// Bad query parameters.
    pub fn parameters(problems: Problems) -> Self {
        Self::bad_fields(Code::InvalidParameters, "Invalid query parameters", problems.0)
    }

    fn bad_fields(code: Code, message: &str, problems: Vec<Problem>) -> Self {
        Self::new(Kind::Invalid, code, message).details(json!({"validation_errors": problems}))
    }

    /// What the engine said about run `id`, for the caller of `doing` ("start", "pause", …).
    pub fn of_engine(error: EngineError, id: &str, doing: &str) -> Self {
        match error {
            EngineError::NotFound(_) => Self::migration_not_found(id),
            EngineError::Conflict { state, message, .. } => Self::new(
                Kind::Conflict,
                Code::InvalidState,
                format!("Cannot {doing} this migration: it is {}. {}", state.word().replace('_', " "), sentence(&message)).trim_end().to_owned(),
            )
            .details(json!({"session_id": id, "current_status": state.word()})),
            EngineError::Invalid(text) => Self::new(Kind::Invalid, Code::InvalidRequest, text),
            EngineError::Full { limit, used, .. } => crate::limits::over_running(used, limit),
            EngineError::Unavailable(text) => Self {
                private: Some(text),
                ..Self::new(Kind::Unavailable, Code::Unavailable, "The journal of migrations does not answer now; the same request may succeed in a moment")
            },
            EngineError::Fenced(text) => Self::internal(format!("fenced while asking to {doing}: {text}")),
            EngineError::Internal(text) => Self::internal(text),
        }
    }
}

/// First letter large, full stop at the end; empty stays empty.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let words: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[test]
    fn private_words_never_reach_the_public_ones() {
        let error = Error::of_engine(EngineError::Internal("SELECT broke at /var/lib/x".into()), "m1", "start");
        assert!(!error.to_string().contains("SELECT") && !error.details.to_string().contains("SELECT"));
        assert_eq!(error.private.as_deref(), Some("SELECT broke at /var/lib/x"));
    }
}

//! Who asks: the one value that every use case behind the door gets to know about its caller.

use crate::error::{Code, Kind};
use crate::identity::{api_keys, refused};
use crate::{Control, DEFAULT_TENANT, Error};
use ports::records::AuditEntry;
use serde_json::json;
use std::collections::BTreeSet;

/// The scope that includes all others.
pub const ADMIN: &str = "admin";

/// How a caller proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nobody has to log in here.
    None,
    Token,
    ApiKey,
    /// The product itself: a schedule, a batch.
    System,
}

impl Proof {
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::ApiKey => "api_key",
            Self::System => "system",
        }
    }
}

/// A caller, with the tenant that it chose among its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    pub tenant: String,
    /// The user's id; `None` where nobody has to log in.
    pub user: Option<String>,
    /// What people call it: user name, name of the API key, `anonymous`, `system`.
    pub name: String,
    pub proof: Proof,
    /// Such as `migrations:read`.
    pub scopes: BTreeSet<String>,
}

tokio::task_local! {
    /// Whoever's request is being answered.
    static ACTING: Caller;
}

impl Caller {
    /// Everybody, where nobody has to log in: may do everything in the one tenant.
    pub fn anonymous() -> Self {
        Self { tenant: DEFAULT_TENANT.to_owned(), user: None, name: "anonymous".to_owned(), proof: Proof::None, scopes: BTreeSet::from([ADMIN.to_owned()]) }
    }

    /// The product itself, at work for a tenant.
    pub fn system(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), user: None, name: "system".to_owned(), proof: Proof::System, scopes: BTreeSet::from([ADMIN.to_owned()]) }
    }

    pub fn may(&self, scope: &str) -> bool {
        self.scopes.contains(scope) || self.scopes.contains(ADMIN)
    }

    /// Whether it looks after the whole installation: an administrator of the tenant `default`.
    pub fn is_operator(&self) -> bool {
        self.tenant == DEFAULT_TENANT && self.may(ADMIN)
    }

    /// Refuses everybody else.
    pub fn require_operator(&self) -> Result<(), Error> {
        if self.is_operator() {
            return Ok(());
        }
        Err(Error::new(Kind::Denied, Code::Denied, "Only an administrator of the tenant 'default' may do this")
            .details(json!({"required_scope": ADMIN, "current_scopes": self.scopes})))
    }

    /// Does the work on behalf of this caller, for what [`Self::require_acting`] asks on the way.
    pub async fn acting<F: Future>(self, work: F) -> F::Output {
        ACTING.scope(self, work).await
    }

    /// Whoever's request is being answered; `None`: nobody's.
    pub(crate) fn current() -> Option<Self> {
        ACTING.try_with(Self::clone).ok()
    }

    /// As [`Self::require`], of whoever's request is being answered. Where nobody is known nothing is allowed: work that is done later is done on behalf
    /// of its author ([`crate::author`]).
    pub(crate) fn require_acting(scope: &str) -> Result<(), Error> {
        ACTING.try_with(|caller| caller.require(scope)).unwrap_or_else(|_| Err(denied(scope, &BTreeSet::new())))
    }

    /// Refuses a caller without `scope`, naming what it lacks and what it has.
    pub fn require(&self, scope: &str) -> Result<(), Error> {
        if self.may(scope) {
            return Ok(());
        }
        Err(denied(scope, &self.scopes))
    }
}

fn denied(scope: &str, has: &BTreeSet<String>) -> Error {
    Error::new(Kind::Denied, Code::Denied, "Insufficient permissions for this operation").details(json!({"required_scope": scope, "current_scopes": has}))
}

/// What a request carries to prove who asks. Holds secrets: never log it.
#[derive(Clone, Default)]
pub struct Credentials {
    pub api_key: Option<String>,
    pub bearer: Option<String>,
    /// The tenant that the caller wants to work in.
    pub tenant: Option<String>,
}

impl Control {
    /// Who asks. Where nobody has to log in: everybody, in the one tenant.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Caller, Error> {
        let tenant = credentials.tenant.as_deref();
        if !self.has_identity() {
            return match tenant {
                None | Some(DEFAULT_TENANT) => Ok(Caller::anonymous()),
                Some(other) => Err(Error::tenant_not_found(other)),
            };
        }
        self.proved(credentials, "Authentication credentials required").await
    }

    /// Who asks for resources of its own (`/api/v1`): a log-in is needed there whatever the server asks for elsewhere.
    pub async fn authenticate_owner(&self, credentials: &Credentials) -> Result<Caller, Error> {
        self.offer_identity().await?;
        self.proved(credentials, "Register at /api/v1/auth/, get a token at /api/v1/token/, and send it as 'Authorization: Bearer <access>'").await
    }

    /// `otherwise`: what whoever proves nothing is told.
    async fn proved(&self, credentials: &Credentials, otherwise: &str) -> Result<Caller, Error> {
        let tenant = credentials.tenant.as_deref();
        match (credentials.bearer.as_deref(), credentials.api_key.as_deref()) {
            // Clients that know one header only send a key as a token.
            (Some(key), _) if api_keys::is_one(key) => self.caller_by_key(key, tenant).await,
            (Some(token), _) => self.caller_by_token(token, tenant).await,
            (None, Some(key)) => self.caller_by_key(key, tenant).await,
            (None, None) => Err(refused(otherwise)),
        }
    }

    /// Writes an attempt down that changed nothing: refused, failed, or only looked. A log that cannot be written is told to ours.
    pub async fn note_attempt(&self, entry: AuditEntry) {
        if let Err(error) = self.records().note(entry).await {
            tracing::error!(%error, "the audit log could not be written");
        }
    }
}

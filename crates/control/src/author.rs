//! Who asked for work that is done later: a schedule's start, a batch's. It is stored with the work, and what it may do is asked again when the work is
//! done. Rights that were lost meanwhile count; rights that came later do not.

use crate::caller::{Caller, Proof};
use crate::error::{Code, Kind};
use crate::identity::scopes::{Scopes, narrowed};
use crate::{Control, Error};
use engine::{RunView, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The option of a run whose start was asked for before its time.
pub(crate) const OPTION: &str = "author";

/// What it takes to start a migration.
const NEEDED: &str = "migrations:write";

/// The caller of a request, as it is stored with what the request leaves for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Author {
    /// `None` where nobody had to log in.
    user: Option<String>,
    name: String,
    /// What it might do when it asked.
    scopes: Scopes,
}

impl Author {
    /// Whoever's request is being answered. Where nobody is known it is one that may do nothing.
    pub fn current() -> Self {
        let nobody = || Self { user: None, name: "nobody".to_owned(), scopes: Scopes::new() };
        Caller::current().map_or_else(nobody, |caller| Self { user: caller.user, name: caller.name, scopes: caller.scopes })
    }
}

impl Control {
    /// The author as a caller of this moment, with what is left of its rights. Refused when it may not work in the tenant any more.
    ///
    /// What was stored before authors were stored gets what it took to store it, and no more.
    pub(crate) async fn author_now(&self, author: Option<&Author>, tenant: &str) -> Result<Caller, Error> {
        let caller = |user: Option<String>, name: &str, scopes| {
            let (tenant, name) = (tenant.to_owned(), name.to_owned());
            Caller { tenant, user, name, proof: Proof::System, scopes }
        };
        let Some(author) = author else {
            return Ok(caller(None, "system", Scopes::from(["migrations:read", NEEDED].map(str::to_owned))));
        };
        let Some(id) = &author.user else {
            if self.has_identity() {
                return Err(gone(&author.name, "was asked for when nobody had to log in; ask for it again"));
            }
            return Ok(caller(None, &author.name, author.scopes.clone()));
        };
        let rights = self.rights_of(id).await?.ok_or_else(|| gone(&author.name, "is no user any more, or may not log in"))?;
        let has = rights.get(tenant).ok_or_else(|| gone(&author.name, "does not belong to the tenant any more"))?;
        Ok(caller(Some(id.clone()), &author.name, narrowed(has, &author.scopes)))
    }

    /// As [`Control::author_now`], of an author that may start migrations.
    pub(crate) async fn author_of_start(&self, author: Option<&Author>, tenant: &str) -> Result<Caller, Error> {
        let caller = self.author_now(author, tenant).await?;
        caller.require(NEEDED)?;
        Ok(caller)
    }

    /// Whether the author of a run's start may start it now.
    async fn admitted(&self, view: &RunView, author: &Value) -> Result<(), Error> {
        let author: Author = serde_json::from_value(author.clone()).map_err(|e| Error::internal(format!("an author cannot be read: {e}")))?;
        let caller = self.author_of_start(Some(&author), &view.tenant).await?;
        if crate::migrations::moves_machine(view) { caller.require(crate::migrations::VMS) } else { Ok(()) }
    }
}

fn gone(name: &str, why: &str) -> Error {
    let message = format!("Whoever asked for this ('{}') {why}", name.escape_default());
    Error::new(Kind::Denied, Code::Denied, message).details(json!({"required_scope": NEEDED, "current_scopes": []}))
}

#[async_trait::async_trait]
impl engine::Admission for Control {
    async fn admit(&self, view: &RunView, options: &Value) -> Result<(), StepError> {
        let Some(author) = options.get(OPTION).filter(|author| !author.is_null()) else { return Ok(()) };
        self.admitted(view, author).await.map_err(|error| match error.kind {
            Kind::Unavailable | Kind::Internal => StepError::temporary("unavailable", error.to_string()),
            _ => StepError::permanent("permission", format!("the start was refused: {}", error.message)).details(error.details),
        })
    }
}

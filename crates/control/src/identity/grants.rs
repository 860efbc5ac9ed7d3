//! `POST /auth/token`: a password, a refresh token or a code for tokens; as JSON in our own way, or as OAuth2 defines it (RFC 6749).

use super::clients::Client;
use super::scopes::{self, Scopes};
use super::sessions::{RecordsOrOurs, Session, Tokens};
use super::users::User;
use super::{SESSION, USER};
use crate::audit::{AuditEntry, attempt};
use crate::error::{Code, Kind};
use crate::{Control, DEFAULT_TENANT, Error};
use domain::decode::{Fields, Problems};
use ports::records::{RecordsError, SYSTEM};
use serde_json::Value;
use zeroize::Zeroizing;

/// Where a request came from, for the audit log and the limits.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub address: String,
    pub request_id: String,
}

/// What is offered for a token. Holds secrets: never log it.
#[derive(Default)]
pub struct Grant {
    kind: Option<String>,
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    tenant: Option<String>,
    scope: Option<String>,
    refresh_token: Option<Zeroizing<String>>,
    pub(super) code: Option<Zeroizing<String>>,
    pub(super) redirect_uri: Option<String>,
    pub(super) code_verifier: Option<Zeroizing<String>>,
    client: Option<(String, Option<Zeroizing<String>>)>,
}

/// A refusal in both forms: OAuth's word, and our own error.
#[derive(Debug)]
pub struct Refusal {
    /// Such as `invalid_grant`.
    pub oauth: &'static str,
    pub error: Error,
}

impl Refusal {
    pub(super) fn grant(message: &str) -> Self {
        Self { oauth: "invalid_grant", error: Error::new(Kind::Unauthenticated, Code::InvalidCredentials, message) }
    }

    fn client() -> Self {
        Self { oauth: "invalid_client", error: Error::new(Kind::Unauthenticated, Code::InvalidClient, "The client is not known here, or its secret is wrong") }
    }

    pub(super) fn scope() -> Self {
        let message = "The scope has unknown words, or more than was granted";
        Self { oauth: "invalid_scope", error: Error::new(Kind::Invalid, Code::InvalidRequest, message) }
    }

    fn request(error: Error) -> Self {
        Self { oauth: "invalid_request", error }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let oauth = match error.kind {
            Kind::Unauthenticated | Kind::NotFound | Kind::Denied => "invalid_grant",
            Kind::TooMany | Kind::Unavailable => "temporarily_unavailable",
            Kind::Internal => "server_error",
            _ => "invalid_request",
        };
        Self { oauth, error }
    }
}

impl From<RecordsError> for Refusal {
    fn from(error: RecordsError) -> Self {
        Error::from(error).into()
    }
}

impl From<RecordsOrOurs> for Refusal {
    fn from(error: RecordsOrOurs) -> Self {
        Error::from(error).into()
    }
}

impl Grant {
    /// From a JSON object, in which unknown fields are errors, or from a form, in which OAuth wants them to be ignored. `basic` is the
    /// client's proof in the Authorization header.
    pub fn decode(given: &Value, is_form: bool, basic: Option<(String, String)>) -> Result<Self, Refusal> {
        let mut problems = Problems::default();
        let mut secret = |fields: &mut Fields, name| fields.text(name, &mut problems).filter(|t| !t.is_empty());
        let mut none = Problems::default();
        let Some(mut fields) = Fields::of("", given, &mut none) else { return Err(Refusal::request(Error::request(none))) };
        let client_id = secret(&mut fields, "client_id");
        let client_secret = secret(&mut fields, "client_secret").map(Zeroizing::new);
        let grant = Self {
            kind: secret(&mut fields, "grant_type"),
            username: secret(&mut fields, "username"),
            password: secret(&mut fields, "password").map(Zeroizing::new),
            tenant: secret(&mut fields, "tenant_id"),
            scope: secret(&mut fields, "scope"),
            refresh_token: secret(&mut fields, "refresh_token").map(Zeroizing::new),
            code: secret(&mut fields, "code").map(Zeroizing::new),
            redirect_uri: secret(&mut fields, "redirect_uri"),
            code_verifier: secret(&mut fields, "code_verifier").map(Zeroizing::new),
            client: match (basic, client_id) {
                (Some((id, _)), Some(other)) if id != other => return Err(Refusal::client()),
                (Some((id, secret)), _) => Some((id, Some(Zeroizing::new(secret)))),
                (None, id) => id.map(|id| (id, client_secret)),
            },
        };
        if !is_form {
            fields.done(&mut problems);
        }
        if problems.is_empty() { Ok(grant) } else { Err(Refusal::request(Error::request(problems))) }
    }

    /// Without a word for it, what is there decides.
    fn kind(&self) -> &str {
        match &self.kind {
            Some(kind) => kind,
            None if self.refresh_token.is_some() => "refresh_token",
            None if self.code.is_some() => "authorization_code",
            None => "password",
        }
    }
}

impl Control {
    /// Tokens for what is offered. Every attempt is in the audit log, under the name that was given.
    pub async fn token(&self, grant: Grant, origin: &Origin) -> Result<Tokens, Refusal> {
        self.required_identity()?;
        self.token_for(grant, origin).await
    }

    /// As [`Control::token`], also where nobody has to log in.
    pub(super) async fn token_for(&self, grant: Grant, origin: &Origin) -> Result<Tokens, Refusal> {
        let client = self.proved_client(&grant).await?;
        match grant.kind() {
            "password" => self.password_grant(&grant, client.as_ref(), origin).await,
            "refresh_token" => {
                let given = grant.refresh_token.as_deref().ok_or_else(|| missing(&["refresh_token"]))?;
                if grant.scope.as_deref().is_some_and(|s| scopes::parse(s).is_none()) {
                    return Err(Refusal::scope());
                }
                self.refresh(given, client.as_ref().map(|c| c.id.as_str()), origin).await
            }
            "authorization_code" => {
                let client = client.ok_or_else(Refusal::client)?;
                let entry = entry(&client.tenant, &client.body.name, "redeem_code", origin);
                self.attempted(entry, self.redeem(&grant, &client)).await
            }
            other => {
                let message = format!("'{}' is not one of: password, refresh_token, authorization_code", other.escape_default());
                let mut problems = Problems::default();
                problems.note("grant_type", message);
                Err(Refusal { oauth: "unsupported_grant_type", error: Error::request(problems) })
            }
        }
    }

    async fn password_grant(&self, grant: &Grant, client: Option<&Client>, origin: &Origin) -> Result<Tokens, Refusal> {
        let (Some(username), Some(password)) = (grant.username.as_deref(), grant.password.clone()) else {
            let absent: Vec<&str> =
                [("username", grant.username.is_none()), ("password", grant.password.is_none())].into_iter().filter(|(_, a)| *a).map(|(n, _)| n).collect();
            return Err(missing(&absent));
        };
        let limit = grant.scope.as_deref().map(|text| scopes::parse(text).ok_or_else(Refusal::scope)).transpose()?;
        let work = async {
            let user = self.log_in(username, password, origin).await?;
            let tenant = session_tenant(&user, grant.tenant.as_deref(), client)?;
            let session = Session { user: user.id.clone(), client: client.map(|c| c.id.clone()), tenant, limit: limit_for(client, limit) };
            Ok(self.open_session(&user, session, None, Vec::new()).await?)
        };
        let place = self.log_of(username).await?;
        self.attempted(entry(&place, username, "log_in", origin), work).await
    }

    /// The tenant whose administrators see what happens under that name.
    pub(super) async fn log_of(&self, username: &str) -> Result<String, Error> {
        let user = self.user_named(username).await?;
        Ok(user.and_then(|u| u.body.tenants.keys().next().cloned()).unwrap_or_else(|| DEFAULT_TENANT.to_owned()))
    }

    /// The user with that name and password. Whoever fails often has to wait.
    pub(super) async fn log_in(&self, username: &str, password: Zeroizing<String>, origin: &Origin) -> Result<User, Error> {
        let identity = self.identity();
        let user = self.user_named(username).await?;
        let stored = match &user {
            Some(user) => self.records().secret(SYSTEM, USER, &user.id).await?.and_then(|v| v.as_str().map(str::to_owned)),
            None => None,
        };
        let turn = identity.passwords.turn().await?;
        // Asked when it is our turn: what others have tried meanwhile counts.
        self.may_try(username, &origin.address).await?;
        let fits = turn.check(password, stored).await?;
        match user.filter(|user| fits && !user.body.disabled) {
            Some(user) => {
                self.has_succeeded(username, &origin.address).await?;
                Ok(user)
            }
            None => {
                self.has_failed(username, &origin.address).await?;
                Err(Refusal::grant("The user name or the password is wrong").error)
            }
        }
    }

    /// The client that the request names, once it has proved itself.
    async fn proved_client(&self, grant: &Grant) -> Result<Option<Client>, Refusal> {
        let Some((id, secret)) = &grant.client else { return Ok(None) };
        let client = self.client_record(id).await?.filter(|c| c.is_proved_by(secret.as_ref().map(|s| s.as_str())));
        client.map(Some).ok_or_else(Refusal::client)
    }

    /// Runs a log-in as an attempt of whoever it says it is.
    pub(super) async fn attempted<T>(&self, entry: AuditEntry, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let (result, written) = attempt(entry.clone(), work).await;
        if !written {
            let word = result.as_ref().map_or_else(|refusal| refusal.error.code.word(), |_| "done");
            self.note_attempt(AuditEntry { result: word.to_owned(), ..entry }).await;
        }
        result
    }
}

/// The tenant that a new session works in.
pub(super) fn session_tenant(user: &User, asked: Option<&str>, client: Option<&Client>) -> Result<Option<String>, Error> {
    let wanted = client.map(|c| c.tenant.as_str()).or(asked);
    match wanted {
        Some(tenant) if user.body.tenants.contains_key(tenant) => Ok(Some(tenant.to_owned())),
        Some(tenant) => Err(Error::tenant_not_found(tenant)),
        None if user.body.tenants.contains_key(DEFAULT_TENANT) => Ok(Some(DEFAULT_TENANT.to_owned())),
        None => Ok(user.body.tenants.keys().next().cloned()),
    }
}

/// An application that asks for nothing in particular gets nothing out of the ordinary; a person gets what it may.
pub(super) fn limit_for(client: Option<&Client>, asked: Option<Scopes>) -> Option<Scopes> {
    asked.or_else(|| client.map(|_| scopes::ordinary()))
}

pub(super) fn entry(tenant: &str, actor: &str, action: &str, origin: &Origin) -> AuditEntry {
    // A name that nobody has may be anything; the log must stay readable.
    let actor: String = actor.chars().filter(|c| !c.is_control()).take(128).collect();
    AuditEntry {
        tenant: tenant.to_owned(),
        actor,
        proof: "password".to_owned(),
        action: action.to_owned(),
        target: SESSION.to_owned(),
        source: origin.address.clone(),
        request_id: origin.request_id.clone(),
        ..AuditEntry::default()
    }
}

pub(super) fn missing(names: &[&str]) -> Refusal {
    let mut problems = Problems::default();
    for name in names {
        problems.note(*name, "is required");
    }
    Refusal::request(Error::request(problems))
}

//! Sessions: an access token that holds for minutes, and a refresh token that is exchanged for the next one. A refresh token that is used
//! a second time was stolen from somebody, and ends its session for both.

use super::grants::{Origin, Refusal, entry};
use super::scopes::{self, Scopes};
use super::signing::ISSUER;
use super::users::User;
use super::{REFRESH, SESSION, body, digest, new_id, random, stored};
use crate::audit::attempt;
use crate::{Control, DEFAULT_TENANT, Error};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, Record, RecordsError, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The `typ` of an access token.
pub(super) const ACCESS: &str = "at+jwt";
/// A session that is not refreshed for so long ends.
const IDLE: SignedDuration = SignedDuration::from_hours(30 * 24);
const ACTIVE: &str = "active";
const REVOKED: &str = "revoked";
const CURRENT: &str = "current";
const USED: &str = "used";
/// How every refresh token begins.
const PREFIX: &str = "mr_";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    iss: String,
    aud: String,
    pub sub: String,
    /// The session.
    pub sid: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub user: String,
    /// The OAuth client that it was opened for.
    pub client: Option<String>,
    pub tenant: Option<String>,
    /// What was granted; `None`: whatever the user may.
    pub limit: Option<Scopes>,
}

/// Answer of `POST /auth/token`.
#[derive(Clone, Serialize, ToSchema)]
pub struct Tokens {
    pub access_token: String,
    #[schema(example = "bearer")]
    pub token_type: &'static str,
    /// Seconds for which the access token holds.
    #[schema(example = 1800)]
    pub expires_in: u64,
    /// Good for one exchange.
    pub refresh_token: String,
    /// What the token allows in its tenant, between blanks.
    #[schema(example = "migrations:read migrations:write")]
    pub scope: String,
}

impl Control {
    /// A new session, with an id that is known before where one is given; `writes` go first into its transaction.
    pub(super) async fn open_session(&self, user: &User, session: Session, id: Option<String>, mut writes: Vec<Write>) -> Result<Tokens, RecordsOrOurs> {
        let (id, refresh) = (id.unwrap_or_else(new_id), format!("{PREFIX}{}", random(32)));
        let due = Some(Timestamp::now() + IDLE);
        let fields = Fields::body(body(&session)?).parent(&session.user).state(ACTIVE).due(due);
        writes.push(Write::insert(SYSTEM, SESSION, &id, fields));
        writes.push(new_refresh(&id, &refresh, due));
        self.records().apply(writes).await?;
        Ok(self.tokens(user, &session, &id, refresh)?)
    }

    /// Exchanges a refresh token.
    pub(super) async fn refresh(&self, token: &str, client: Option<&str>, origin: &Origin) -> Result<Tokens, Refusal> {
        let refused = || Refusal::grant("The refresh token is not good (any more); log in again");
        let found = if token.starts_with(PREFIX) { self.records().find(SYSTEM, REFRESH, &digest(token)).await? } else { None };
        let record = found.ok_or_else(refused)?;
        let family = record.parent.clone().unwrap_or_default();
        let (session, session_record) = self.live_session(&family).await?.ok_or_else(refused)?;
        if session.client.as_deref() != client {
            return Err(refused());
        }
        let user = self.user_record(&session.user).await?.filter(|u| !u.body.disabled).ok_or_else(refused)?;
        if record.state.as_deref() != Some(CURRENT) {
            self.end_stolen(&family, &session, &user, origin).await?;
            return Err(refused());
        }
        let next = format!("{PREFIX}{}", random(32));
        let due = Some(Timestamp::now() + IDLE);
        let writes = vec![
            Write::update(&record, Fields::default().state(USED)),
            new_refresh(&family, &next, due),
            Write::update(&session_record, Fields::default().due(due)),
        ];
        match self.records().apply(writes).await {
            Ok(_) => Ok(self.tokens(&user, &session, &family, next)?),
            // Somebody else was faster with the same token, or has just ended the session.
            Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => {
                self.end_stolen(&family, &session, &user, origin).await?;
                Err(refused())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A refresh token came twice: one of the two that have it is a thief. The audit log says so.
    async fn end_stolen(&self, id: &str, session: &Session, user: &User, origin: &Origin) -> Result<(), Error> {
        let tenant = session.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
        tracing::warn!(user = %user.body.username, "a refresh token was used twice; its session was ended");
        attempt(entry(tenant, &user.body.username, "end_session_of_reused_token", origin), self.revoke_session(id)).await.0
    }

    /// Ends the session that a refresh or access token belongs to. An unknown token is no error: it is ended already.
    pub async fn revoke(&self, token: &str) -> Result<(), Error> {
        let session = if token.starts_with(PREFIX) {
            self.records().find(SYSTEM, REFRESH, &digest(token)).await?.and_then(|r| r.parent)
        } else {
            self.required_identity()?.keys.verify::<AccessClaims>(ACCESS, ISSUER, token).map(|claims| claims.sid)
        };
        match session {
            Some(id) => self.revoke_session(&id).await,
            None => Ok(()),
        }
    }

    pub(super) async fn revoke_session(&self, id: &str) -> Result<(), Error> {
        let update = Write::Update { tenant: SYSTEM.into(), kind: SESSION.into(), id: id.into(), version: None, fields: Fields::default().state(REVOKED) };
        match self.records().apply(vec![update]).await {
            Ok(_) | Err(RecordsError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.identity().standings.forget();
        Ok(())
    }

    /// The writes that end every session of a user.
    pub(super) async fn session_ends(&self, user: &str) -> Result<Vec<Write>, Error> {
        let sessions = self.identity_children(SESSION, user).await?;
        let active = sessions.into_iter().filter(|s| s.state.as_deref() == Some(ACTIVE));
        Ok(active.map(|s| Write::Update { tenant: s.tenant, kind: s.kind, id: s.id, version: None, fields: Fields::default().state(REVOKED) }).collect())
    }

    /// A session that was neither ended nor left alone for too long.
    pub(super) async fn live_session(&self, id: &str) -> Result<Option<(Session, Record)>, Error> {
        let record = self.records().get(SYSTEM, SESSION, id).await?;
        let live = record.filter(|r| r.state.as_deref() == Some(ACTIVE) && r.due_at.is_some_and(|due| due > Timestamp::now()));
        live.map(|r| Ok((stored(&r)?, r))).transpose()
    }

    fn tokens(&self, user: &User, session: &Session, id: &str, refresh_token: String) -> Result<Tokens, Error> {
        let open = self.open_identity()?;
        let now = Timestamp::now().as_second();
        let expires_in = open.token_life.as_secs();
        let claims = AccessClaims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: user.id.clone(),
            sid: id.to_owned(),
            jti: new_id(),
            iat: now,
            nbf: now,
            exp: now + expires_in as i64,
        };
        let has = session.tenant.as_ref().and_then(|t| user.body.tenants.get(t)).or_else(|| user.body.tenants.values().next()).cloned().unwrap_or_default();
        let scope = scopes::text(&session.limit.as_ref().map_or(has.clone(), |limit| scopes::narrowed(&has, limit)));
        Ok(Tokens { access_token: open.keys.sign(ACCESS, &claims)?, token_type: "bearer", expires_in, refresh_token, scope })
    }
}

fn new_refresh(session: &str, token: &str, due: Option<Timestamp>) -> Write {
    let fields = Fields::body(serde_json::json!({})).key(digest(token)).parent(session).state(CURRENT).due(due);
    Write::insert(SYSTEM, REFRESH, &new_id(), fields)
}

/// Why a session could not be opened: what the store said stays readable, for whoever gave writes of its own.
#[derive(Debug)]
pub(super) enum RecordsOrOurs {
    Records(RecordsError),
    Ours(Error),
}

impl From<RecordsError> for RecordsOrOurs {
    fn from(error: RecordsError) -> Self {
        Self::Records(error)
    }
}

impl From<Error> for RecordsOrOurs {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<RecordsOrOurs> for Error {
    fn from(error: RecordsOrOurs) -> Self {
        match error {
            RecordsOrOurs::Records(error) => error.into(),
            RecordsOrOurs::Ours(error) => error,
        }
    }
}

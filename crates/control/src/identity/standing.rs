//! What a token or key is worth now: looked up in the store at most every few seconds, so that a request costs microseconds and a changed
//! or deleted user is noticed within seconds.

use super::scopes::{Scopes, narrowed};
use super::sessions::{ACCESS, AccessClaims};
use super::{api_keys, digest, signing, stored, users};
use crate::caller::{Caller, Proof};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use ports::records::SYSTEM;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a look-up counts.
const FRESH: Duration = Duration::from_secs(3);
/// Look-ups that are kept.
const MOST: usize = 10_000;

/// A known caller before it has chosen a tenant.
pub(super) struct Standing {
    pub user: String,
    pub name: String,
    pub proof: Proof,
    /// Its tenants, with what it may do there.
    pub tenants: BTreeMap<String, Scopes>,
    /// The tenant that it works in unless it says otherwise.
    pub tenant: Option<String>,
}

/// The look-ups of the last seconds.
#[derive(Default)]
pub(super) struct Standings {
    known: Mutex<HashMap<String, (Instant, Arc<Standing>)>>,
}

impl Standings {
    fn get(&self, place: &str) -> Option<Arc<Standing>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(place).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, standing)| standing.clone())
    }

    fn keep(&self, place: String, standing: &Arc<Standing>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        if known.len() < MOST {
            known.insert(place, (Instant::now(), standing.clone()));
        }
    }

    /// Something was changed here: the next request looks again.
    pub fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Control {
    /// Whose access token this is.
    pub(crate) async fn caller_by_token(&self, token: &str, tenant: Option<&str>) -> Result<Caller, Error> {
        let claims = self
            .open_identity()?
            .keys
            .verify::<AccessClaims>(ACCESS, signing::ISSUER, token)
            .ok_or_else(|| refused("The access token is not good (any more); get a new one"))?;
        let standings = &self.identity().standings;
        if let Some(standing) = standings.get(&claims.sid).filter(|s| s.user == claims.sub) {
            return standing.caller(tenant);
        }
        let standing = Arc::new(self.standing_of_session(&claims).await?.ok_or_else(|| refused("The session of this access token has ended; log in again"))?);
        standings.keep(claims.sid, &standing);
        standing.caller(tenant)
    }

    /// Whose API key this is.
    pub(crate) async fn caller_by_key(&self, key: &str, tenant: Option<&str>) -> Result<Caller, Error> {
        let place = digest(key);
        let standings = &self.identity().standings;
        if let Some(standing) = standings.get(&place) {
            return standing.caller(tenant);
        }
        let known = if api_keys::is_one(key) { self.standing_of_key(&place).await? } else { None };
        let standing = Arc::new(known.ok_or_else(|| refused("The API key is not known, has expired or was deleted"))?);
        standings.keep(place, &standing);
        standing.caller(tenant)
    }

    async fn standing_of_session(&self, claims: &AccessClaims) -> Result<Option<Standing>, Error> {
        let Some((session, _)) = self.live_session(&claims.sid).await? else { return Ok(None) };
        let Some(user) = self.live_user(&session.user).await?.filter(|_| session.user == claims.sub) else { return Ok(None) };
        let mut tenants = user.body.tenants;
        if session.client.is_some() {
            tenants.retain(|tenant, _| Some(tenant) == session.tenant.as_ref());
        }
        if let Some(limit) = &session.limit {
            for has in tenants.values_mut() {
                *has = narrowed(has, limit);
            }
        }
        Ok(Some(Standing { user: session.user, name: user.body.username, proof: Proof::Token, tenants, tenant: session.tenant }))
    }

    async fn standing_of_key(&self, digest: &str) -> Result<Option<Standing>, Error> {
        let Some(record) = self.records().find(SYSTEM, super::API_KEY, digest).await? else { return Ok(None) };
        let key: api_keys::Body = stored(&record)?;
        if key.expires_at.is_some_and(|at| at <= jiff::Timestamp::now()) {
            return Ok(None);
        }
        let Some(user) = self.live_user(&key.user).await? else { return Ok(None) };
        let Some(has) = user.body.tenants.get(&key.tenant) else { return Ok(None) };
        let tenants = BTreeMap::from([(key.tenant.clone(), narrowed(has, &key.scopes))]);
        let standing = Standing { user: key.user.clone(), name: key.name.clone(), proof: Proof::ApiKey, tenants, tenant: Some(key.tenant.clone()) };
        self.note_use(&record, key);
        Ok(Some(standing))
    }

    /// What a user may do in each of its tenants, as of now; `None` when it does not exist or may not log in.
    pub(crate) async fn rights_of(&self, user: &str) -> Result<Option<BTreeMap<String, Scopes>>, Error> {
        Ok(self.live_user(user).await?.map(|user| user.body.tenants))
    }

    /// A user that exists and may log in.
    async fn live_user(&self, id: &str) -> Result<Option<users::User>, Error> {
        let Some(record) = self.records().get(SYSTEM, super::USER, id).await? else { return Ok(None) };
        Ok(Some(users::User::of(record)?).filter(|user| !user.body.disabled))
    }
}

impl Standing {
    /// The caller in the tenant that it asks for, or else in its own.
    fn caller(&self, asked: Option<&str>) -> Result<Caller, Error> {
        let own = self.tenant.as_deref().filter(|own| self.tenants.contains_key(*own));
        let tenant = asked.or(own).or_else(|| self.tenants.keys().next().map(String::as_str));
        let none = || {
            Error::new(Kind::Denied, Code::Denied, "You belong to no tenant; ask an administrator")
                .details(json!({"required_scope": null, "current_scopes": []}))
        };
        let tenant = tenant.ok_or_else(none)?;
        let scopes = self.tenants.get(tenant).ok_or_else(|| Error::tenant_not_found(tenant))?;
        Ok(Caller { tenant: tenant.to_owned(), user: Some(self.user.clone()), name: self.name.clone(), proof: self.proof, scopes: scopes.clone() })
    }
}

/// Document 3's answer to somebody unknown.
pub(crate) fn refused(message: &str) -> Error {
    Error::new(Kind::Unauthenticated, Code::Unauthenticated, message).details(json!({"supported_methods": ["Bearer", "API-Key"], "auth_url": "/auth/token"}))
}

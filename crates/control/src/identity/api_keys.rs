//! API keys: for programs. A key belongs to a user and a tenant and never allows more than its user may there at that moment.

use super::scopes::{self, Scopes};
use super::{API_KEY, body, digest, new_id, random, stored};
use crate::caller::{ADMIN, Caller};
use crate::error::{Code, Kind};
use crate::{Control, Error, Filter, time};
use domain::decode::{Fields, Problems};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Record, RecordFilter, RecordsError, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// How every key begins.
const PREFIX: &str = "ma_";
/// Letters of a key that are shown for recognising it.
const SHOWN: usize = PREFIX.len() + 8;
/// `ma_`, 8 digits, `_`, 32 bytes in base64.
const LENGTH: usize = SHOWN + 1 + 43;
/// The last use is written down at most this often.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// As stored; the record's key is the hash of the API key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub name: String,
    pub tenant: String,
    pub user: String,
    username: String,
    prefix: String,
    pub scopes: Scopes,
    pub expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

/// A key, without the key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeyView {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "backup job")]
    pub name: String,
    /// How the key begins.
    #[schema(example = "ma_1a2b3c4d")]
    pub prefix: String,
    pub tenant_id: String,
    /// Whose it is.
    #[schema(example = "ann")]
    pub username: String,
    pub scopes: Scopes,
    pub created_at: String,
    pub expires_at: Option<String>,
    /// Not exact: written at most once a minute.
    pub last_used_at: Option<String>,
}

/// Answer of the creation: the only time that the key is shown.
#[derive(Clone, Serialize, ToSchema)]
pub struct NewKey {
    #[serde(flatten)]
    pub key: KeyView,
    /// Keep it: it is not shown again.
    #[schema(example = "ma_1a2b3c4d_…")]
    pub api_key: String,
}

/// Whether a text has the form of a key; anything else is not worth a look into the store.
pub fn is_one(text: &str) -> bool {
    text.len() == LENGTH && text.starts_with(PREFIX)
}

impl Control {
    /// Body: `name`, `scopes` (none beyond the caller's), `expires_at`.
    pub async fn create_api_key(&self, caller: &Caller, given: &Value) -> Result<NewKey, Error> {
        let user = caller.user.clone().ok_or_else(|| {
            Error::new(
                Kind::Conflict,
                Code::AuthenticationDisabled,
                "Nobody has to log in here, and so there is nobody whose key this could be; start the server with --auth-enabled",
            )
        })?;
        let (name, scopes, expires_at) = decode(given)?;
        if !scopes::covers(&caller.scopes, &scopes) {
            let missing = scopes.difference(&caller.scopes).next();
            return Err(Error::new(Kind::Denied, Code::Denied, "A key cannot allow more than you may")
                .details(json!({"required_scope": missing, "current_scopes": caller.scopes})));
        }
        let username = self.user_record(&user).await?.map(|u| u.body.username).unwrap_or_default();
        let mut mark = [0_u8; 4];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut mark);
        let api_key = format!("{PREFIX}{}_{}", hex::encode(mark), random(32));
        let new = Body {
            name,
            tenant: caller.tenant.clone(),
            user: user.clone(),
            username,
            prefix: api_key[..SHOWN].to_owned(),
            scopes,
            expires_at,
            last_used_at: None,
        };
        let fields = ports::records::Fields::body(body(&new)?).key(digest(&api_key)).parent(user).state(&caller.tenant);
        let made = self.records().apply(vec![Write::insert(SYSTEM, API_KEY, &new_id(), fields)]).await?;
        let record = made.first().ok_or_else(|| Error::internal("the new key was not answered"))?;
        Ok(NewKey { key: view(record)?, api_key })
    }

    /// The caller's keys; for an administrator all keys of the tenant. Newest first.
    pub async fn api_keys(&self, caller: &Caller, mut query: Filter) -> Result<Vec<KeyView>, Error> {
        let page = query.page();
        query.done()?;
        let parent = if caller.may(ADMIN) { None } else { caller.user.clone() };
        let filter = RecordFilter { parent, states: vec![caller.tenant.clone()], ..page.filter() };
        self.records().list(SYSTEM, API_KEY, &filter).await?.iter().map(view).collect()
    }

    pub async fn api_key(&self, caller: &Caller, id: &str) -> Result<KeyView, Error> {
        view(&self.known_key(caller, id).await?)
    }

    pub async fn delete_api_key(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let key = self.known_key(caller, id).await?;
        self.records().apply(vec![Write::Delete { tenant: key.tenant, kind: key.kind, id: key.id, version: None }]).await?;
        self.identity().standings.forget();
        Ok(())
    }

    async fn known_key(&self, caller: &Caller, id: &str) -> Result<Record, Error> {
        let found = self.records().get(SYSTEM, API_KEY, id).await?.filter(|r| r.state.as_deref() == Some(&caller.tenant));
        let theirs = found.filter(|r| caller.may(ADMIN) || (r.parent.is_some() && r.parent == caller.user));
        theirs.ok_or_else(|| Error::not_found("api_key", id))
    }

    /// Writes down that a key was used, beside the request. A note that is lost is written with the next use.
    pub(super) fn note_use(&self, record: &Record, mut key: Body) {
        let now = Timestamp::now();
        if key.last_used_at.is_some_and(|at| now.duration_since(at) < NOTE_EVERY) {
            return;
        }
        key.last_used_at = Some(now);
        let Ok(body) = body(&key) else { return };
        let fields = ports::records::Fields::body(body);
        let write = Write::Update { tenant: SYSTEM.into(), kind: API_KEY.into(), id: record.id.clone(), version: None, fields };
        let records = self.records().clone();
        tokio::spawn(async move {
            match records.apply(vec![write]).await {
                Ok(_) | Err(RecordsError::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, "the last use of an API key could not be written down"),
            }
        });
    }
}

fn decode(given: &Value) -> Result<(String, Scopes, Option<Timestamp>), Error> {
    let mut problems = Problems::default();
    let decoded = Fields::of("", given, &mut problems).map(|mut fields| {
        let name = fields.required_text("name", &mut problems);
        if name.chars().count() > 200 {
            problems.note("name", "may have up to 200 characters");
        }
        let words = fields.texts("scopes", &mut problems);
        if words.is_empty() && !fields.has("scopes") {
            problems.note("scopes", "is required");
        }
        let scopes = scopes::judge("scopes", words, &mut problems);
        let expires = fields.text("expires_at", &mut problems);
        let expires_at = expires.and_then(|text| {
            let at = time::parse(&text).filter(|at| *at > Timestamp::now());
            if at.is_none() {
                problems.note("expires_at", "must be an ISO 8601 time in the future, such as 2030-01-31T12:00:00Z");
            }
            at
        });
        fields.done(&mut problems);
        (name, scopes, expires_at)
    });
    decoded.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
}

fn view(record: &Record) -> Result<KeyView, Error> {
    let key: Body = stored(record)?;
    Ok(KeyView {
        id: record.id.clone(),
        name: key.name,
        prefix: key.prefix,
        tenant_id: key.tenant,
        username: key.username,
        scopes: key.scopes,
        created_at: time::text(record.created_at),
        expires_at: time::maybe(key.expires_at),
        last_used_at: time::maybe(key.last_used_at),
    })
}

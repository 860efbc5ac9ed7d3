//! Users: a name, a password, and for each of their tenants what they may do there.
//!
//! An administrator of a tenant looks after its users; the administrators of the tenant `default` look after those of all tenants.

use super::openid::LINK;
use super::scopes::{self, Scopes};
use super::{API_KEY, SESSION, USER, body, new_id, passwords, stored};
use crate::caller::{ADMIN, Caller};
use crate::error::{Code, Kind};
use crate::{Control, DEFAULT_TENANT, Error, Filter, time};
use domain::decode::{Fields, Problems};
use ports::records::{Record, RecordFilter, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// As stored; the password's hash is the record's sealed secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub username: String,
    #[serde(default)]
    pub disabled: bool,
    pub tenants: BTreeMap<String, Scopes>,
}

pub(super) struct User {
    pub id: String,
    pub body: Body,
    record: Record,
}

/// A tenant of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Membership {
    #[schema(example = "default")]
    pub tenant_id: String,
    #[schema(example = json!(["migrations:read", "migrations:write"]))]
    pub scopes: Scopes,
}

/// A user, without anything secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "ann")]
    pub username: String,
    /// The caller's tenant, or the user's first one.
    pub tenant_id: Option<String>,
    /// What the user may do there.
    pub scopes: Scopes,
    /// Every tenant of the user that the caller looks after.
    pub tenants: Vec<Membership>,
    pub disabled: bool,
    pub created_at: String,
    pub updated_at: String,
}

/// Answer of `GET /auth/me`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Me {
    /// `null` where nobody has to log in.
    pub user_id: Option<String>,
    /// User name, or name of the API key.
    #[schema(example = "ann")]
    pub name: String,
    /// `none`, `token` or `api_key`.
    #[schema(example = "token")]
    pub proof: &'static str,
    #[schema(example = "default")]
    pub tenant_id: String,
    pub scopes: Scopes,
}

impl User {
    pub fn of(record: Record) -> Result<Self, Error> {
        Ok(Self { id: record.id.clone(), body: stored(&record)?, record })
    }

    fn view(&self, caller: &Caller) -> UserView {
        let shown = self.body.tenants.iter().filter(|(tenant, _)| caller.is_operator() || **tenant == caller.tenant);
        let tenants: Vec<Membership> = shown.map(|(tenant, scopes)| Membership { tenant_id: tenant.clone(), scopes: scopes.clone() }).collect();
        let here = tenants.iter().find(|m| m.tenant_id == caller.tenant).or_else(|| tenants.first()).cloned();
        UserView {
            id: self.id.clone(),
            username: self.body.username.clone(),
            tenant_id: here.as_ref().map(|m| m.tenant_id.clone()),
            scopes: here.map(|m| m.scopes).unwrap_or_default(),
            tenants,
            disabled: self.body.disabled,
            created_at: time::text(self.record.created_at),
            updated_at: time::text(self.record.updated_at),
        }
    }

    /// Whether the caller looks after this user at all.
    fn is_known_to(&self, caller: &Caller) -> bool {
        caller.is_operator() || self.body.tenants.contains_key(&caller.tenant)
    }

    /// Refuses to change for all tenants what only one of their administrators asks for.
    fn require_all_tenants(&self, caller: &Caller) -> Result<(), Error> {
        if caller.is_operator() || self.body.tenants.keys().all(|t| *t == caller.tenant) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Denied,
            Code::Denied,
            "This user belongs to other tenants too; an administrator of the tenant 'default' can do this, you can take the user out of your tenant",
        )
        .details(json!({"required_scope": ADMIN, "current_scopes": caller.scopes})))
    }

    fn administers(&self) -> bool {
        !self.body.disabled && self.body.tenants.get(DEFAULT_TENANT).is_some_and(|s| s.contains(ADMIN))
    }

    pub(super) fn update(&self) -> Result<ports::records::Fields, Error> {
        Ok(ports::records::Fields::body(body(&self.body)?))
    }

    pub(super) fn write(&self, fields: ports::records::Fields) -> Write {
        Write::update(&self.record, fields)
    }
}

impl Control {
    /// Who the caller is.
    pub fn me(&self, caller: &Caller) -> Me {
        Me {
            user_id: caller.user.clone(),
            name: caller.name.clone(),
            proof: caller.proof.word(),
            tenant_id: caller.tenant.clone(),
            scopes: caller.scopes.clone(),
        }
    }

    /// Users that the caller looks after, in the order in which they were made.
    pub async fn users(&self, caller: &Caller, mut query: Filter) -> Result<Vec<UserView>, Error> {
        let page = query.page();
        query.done()?;
        let all = self.all_users().await?;
        let known = all.iter().filter(|u| u.is_known_to(caller)).map(|u| u.view(caller));
        Ok(page.cut(known, |u| &u.id))
    }

    pub async fn user(&self, caller: &Caller, id: &str) -> Result<UserView, Error> {
        Ok(self.known_user(caller, id).await?.view(caller))
    }

    /// Body: `username`, `password`, `tenant_id` (the caller's without it), `scopes`.
    pub async fn create_user(&self, caller: &Caller, given: &Value) -> Result<UserView, Error> {
        let mut problems = Problems::default();
        let new = New::decode(given, &mut problems);
        let Some(new) = new.filter(|_| problems.is_empty()) else { return Err(Error::request(problems)) };
        let tenant = self.tenant_in_reach(caller, new.tenant.as_deref()).await?;
        let body = Body { username: new.username, disabled: false, tenants: BTreeMap::from([(tenant, new.scopes)]) };
        Ok(self.add_user(body, Some(new.password), Vec::new()).await?.view(caller))
    }

    /// Body: any of `password`, `disabled`, and `scopes` in `tenant_id` (the caller's without it; an empty list ends the membership).
    pub async fn change_user(&self, caller: &Caller, id: &str, given: &Value) -> Result<UserView, Error> {
        let mut user = self.known_user(caller, id).await?;
        let mut problems = Problems::default();
        let change = Change::decode(given, &user.body.username, &mut problems);
        let Some(change) = change.filter(|_| problems.is_empty()) else { return Err(Error::request(problems)) };
        if change.password.is_some() || change.disabled.is_some() {
            user.require_all_tenants(caller)?;
        }
        let administered = user.administers();
        if let Some(scopes) = change.scopes {
            let tenant = self.tenant_in_reach(caller, change.tenant.as_deref()).await?;
            user.body.tenants.remove(&tenant);
            if !scopes.is_empty() {
                user.body.tenants.insert(tenant, scopes);
            }
        }
        user.body.disabled = change.disabled.unwrap_or(user.body.disabled);
        self.keep_an_administrator(administered && !user.administers(), &user.id).await?;
        let mut fields = user.update()?;
        let mut writes = Vec::new();
        if let Some(password) = change.password {
            fields = fields.secret(Some(json!(self.identity().passwords.hash(password).await?)));
            writes = self.session_ends(&user.id).await?;
        }
        writes.insert(0, user.write(fields));
        let written = self.records().apply(writes).await?;
        self.identity().standings.forget();
        let record = written.into_iter().next().ok_or_else(|| Error::internal("the changed user was not answered"))?;
        Ok(User::of(record)?.view(caller))
    }

    /// The user goes, with all keys and sessions.
    pub async fn delete_user(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let user = self.known_user(caller, id).await?;
        user.require_all_tenants(caller)?;
        self.keep_an_administrator(user.administers(), &user.id).await?;
        let mut writes = vec![Write::delete(&user.record)];
        for kind in [API_KEY, SESSION, LINK] {
            let theirs = self.identity_children(kind, id).await?;
            writes.extend(theirs.into_iter().map(|r| Write::Delete { tenant: r.tenant, kind: r.kind, id: r.id, version: None }));
        }
        self.records().apply(writes).await?;
        self.identity().standings.forget();
        Ok(())
    }

    /// Stores a new user in one transaction with `writes`. Without a password it can only come through an OpenID provider.
    pub(super) async fn add_user(&self, new: Body, password: Option<Zeroizing<String>>, writes: Vec<Write>) -> Result<User, Error> {
        self.add_user_as(&new_id(), new, password, writes).await
    }

    /// The same, under an id chosen before.
    pub(super) async fn add_user_as(&self, id: &str, new: Body, password: Option<Zeroizing<String>>, mut writes: Vec<Write>) -> Result<User, Error> {
        let mut fields = ports::records::Fields::body(body(&new)?).key(new.username.to_lowercase());
        if let Some(password) = password {
            fields = fields.secret(Some(json!(self.identity().passwords.hash(password).await?)));
        }
        writes.insert(0, Write::insert(SYSTEM, USER, id, fields));
        let made = self.records().apply(writes).await?;
        User::of(made.into_iter().next().ok_or_else(|| Error::internal("the new user was not answered"))?)
    }

    pub(super) async fn user_record(&self, id: &str) -> Result<Option<User>, Error> {
        self.records().get(SYSTEM, USER, id).await?.map(User::of).transpose()
    }

    pub(super) async fn user_named(&self, username: &str) -> Result<Option<User>, Error> {
        self.records().find(SYSTEM, USER, &username.to_lowercase()).await?.map(User::of).transpose()
    }

    pub(super) async fn all_users(&self) -> Result<Vec<User>, Error> {
        self.records().list(SYSTEM, USER, &RecordFilter::default()).await?.into_iter().map(User::of).collect()
    }

    /// Whether somebody belongs to the tenant.
    pub(crate) async fn has_users(&self, tenant: &str) -> Result<bool, Error> {
        Ok(self.all_users().await?.iter().any(|u| u.body.tenants.contains_key(tenant)))
    }

    async fn known_user(&self, caller: &Caller, id: &str) -> Result<User, Error> {
        self.user_record(id).await?.filter(|u| u.is_known_to(caller)).ok_or_else(|| Error::not_found(USER, id))
    }

    /// The last administrator of the installation cannot be removed: nobody could undo it.
    async fn keep_an_administrator(&self, is_going: bool, id: &str) -> Result<(), Error> {
        if !is_going || self.all_users().await?.iter().any(|u| u.id != id && u.administers()) {
            return Ok(());
        }
        Err(Error::new(Kind::Conflict, Code::LastAdministrator, "This is the last administrator of the tenant 'default'; make another one first")
            .details(json!({"user_id": id})))
    }
}

struct New {
    username: String,
    password: Zeroizing<String>,
    tenant: Option<String>,
    scopes: Scopes,
}

impl New {
    fn decode(given: &Value, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of("", given, problems)?;
        let username = fields.required_text("username", problems);
        judge_name("username", &username, problems);
        let password = Zeroizing::new(fields.required_text("password", problems));
        if !password.is_empty() {
            passwords::judge("password", &password, &username, problems);
        }
        let tenant = fields.text("tenant_id", problems);
        let scopes = scopes::judge("scopes", fields.texts("scopes", problems), problems);
        fields.done(problems);
        Some(Self { username, password, tenant, scopes })
    }
}

struct Change {
    password: Option<Zeroizing<String>>,
    disabled: Option<bool>,
    tenant: Option<String>,
    scopes: Option<Scopes>,
}

impl Change {
    fn decode(given: &Value, username: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of("", given, problems)?;
        let password = fields.text("password", problems).map(Zeroizing::new);
        if let Some(password) = &password {
            passwords::judge("password", password, username, problems);
        }
        let disabled = fields.maybe_flag("disabled", problems);
        let tenant = fields.text("tenant_id", problems);
        let given = fields.has("scopes");
        let words = fields.texts("scopes", problems);
        let scopes = given.then(|| scopes::judge("scopes", words, problems));
        if tenant.is_some() && scopes.is_none() {
            problems.note("scopes", "is required beside tenant_id");
        }
        fields.done(problems);
        Some(Self { password, disabled, tenant, scopes })
    }
}

/// Names are plain, so that they can stand in logs and addresses.
pub(super) fn judge_name(field: &str, name: &str, problems: &mut Problems) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    if !name.is_empty() && (name.len() > 128 || !name.chars().all(plain)) {
        problems.note(field, "may have up to 128 letters, digits and . _ @ + -");
    }
}

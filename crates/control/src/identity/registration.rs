//! Registration (document 1): whoever comes makes a user of its own, with a tenant of its own, and gets tokens for it.

use super::grants::{Grant, Origin, Refusal};
use super::scopes::Scopes;
use super::users::{Body, judge_name};
use super::{Tokens, passwords};
use crate::audit::attempt;
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::decode::{Fields, Problems};
use ports::records::{AuditEntry, SYSTEM, Write};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// What somebody who registered may do: its own workloads and their migrations, and nothing on this server's own disks.
const SCOPES: [&str; 3] = ["workloads:read", "workloads:write", "migrations:read"];

/// Answer of `POST /api/v1/auth/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Registered {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "testuser")]
    pub username: String,
}

/// Answer of `POST /api/v1/token/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenPair {
    /// To be sent as `Authorization: Bearer …`.
    pub access: String,
    /// Good once, for the next pair.
    pub refresh: String,
}

impl From<Tokens> for TokenPair {
    fn from(tokens: Tokens) -> Self {
        Self { access: tokens.access_token, refresh: tokens.refresh_token }
    }
}

impl Control {
    /// A new user with a tenant of its own. Body: `username`, `password`. A name that is taken is a bad field.
    pub async fn register(&self, given: &Value, origin: &Origin) -> Result<Registered, Error> {
        if !self.options().registration {
            return Err(Error::new(Kind::Denied, Code::Denied, "Nobody can register here; an administrator of this service makes users"));
        }
        let (username, password) = read(given)?;
        self.offer_identity().await?;
        let tenant = format!("user-{}", super::new_id());
        let fields = ports::records::Fields::body(json!({"name": username}));
        let home = Write::insert(SYSTEM, crate::tenants::TENANT, &tenant, fields);
        let scopes: Scopes = SCOPES.map(str::to_owned).into();
        let body = Body { username: username.clone(), disabled: false, tenants: BTreeMap::from([(tenant.clone(), scopes)]) };
        let entry = AuditEntry {
            tenant,
            actor: username.clone(),
            proof: "none".to_owned(),
            action: "register".to_owned(),
            target: format!("user/{username}"),
            source: origin.address.clone(),
            request_id: origin.request_id.clone(),
            ..AuditEntry::default()
        };
        let made = attempt(entry, self.add_user(body, Some(password), vec![home])).await.0.map_err(|e| taken(e, &username))?;
        Ok(Registered { id: made.id, username })
    }

    /// Tokens for a user. Body: `username` and `password`.
    pub async fn token_pair(&self, given: &Value, origin: &Origin) -> Result<TokenPair, Error> {
        let (username, password) = named(given, ["username", "password"])?;
        self.pair_for(&json!({"grant_type": "password", "username": username, "password": password}), origin).await
    }

    /// The next pair. Body: `refresh`.
    pub async fn next_token_pair(&self, given: &Value, origin: &Origin) -> Result<TokenPair, Error> {
        let (refresh, _) = named(given, ["refresh", ""])?;
        self.pair_for(&json!({"grant_type": "refresh_token", "refresh_token": refresh}), origin).await
    }

    async fn pair_for(&self, grant: &Value, origin: &Origin) -> Result<TokenPair, Error> {
        self.offer_identity().await?;
        let refusal = |refusal: Refusal| refusal.error;
        let grant = Grant::decode(grant, false, None).map_err(refusal)?;
        Ok(self.token_for(grant, origin).await.map_err(refusal)?.into())
    }
}

fn read(given: &Value) -> Result<(String, Zeroizing<String>), Error> {
    let mut p = Problems::default();
    let mut out = (String::new(), Zeroizing::new(String::new()));
    if let Some(mut f) = Fields::of("", given, &mut p) {
        out = (f.required_text("username", &mut p), Zeroizing::new(f.required_text("password", &mut p)));
        judge_name("username", &out.0, &mut p);
        if !out.1.is_empty() {
            passwords::judge("password", &out.1, &out.0, &mut p);
        }
        f.done(&mut p);
    }
    if p.is_empty() { Ok(out) } else { Err(Error::request(p)) }
}

/// Two required texts; an empty name stands for none.
fn named(given: &Value, names: [&'static str; 2]) -> Result<(String, String), Error> {
    let mut p = Problems::default();
    let mut out = (String::new(), String::new());
    if let Some(mut f) = Fields::of("", given, &mut p) {
        out.0 = f.required_text(names[0], &mut p);
        if !names[1].is_empty() {
            out.1 = f.required_text(names[1], &mut p);
        }
        f.done(&mut p);
    }
    if p.is_empty() { Ok(out) } else { Err(Error::request(p)) }
}

fn taken(error: Error, username: &str) -> Error {
    if error.code != Code::Taken {
        return error;
    }
    let mut p = Problems::default();
    p.note("username", format!("'{username}' is taken; choose another name"));
    Error::request(p)
}

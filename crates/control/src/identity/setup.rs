//! The first administrator: with a password from the environment, or with a token that is printed once and redeemed once.

use super::users::{Body, judge_name};
use super::{SETUP, USER, digest, passwords, random};
use crate::caller::ADMIN;
use crate::error::{Code, Kind};
use crate::{Control, DEFAULT_TENANT, Error};
use domain::decode::{Fields, Problems};
use ports::records::{RecordFilter, SYSTEM, Write};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// The name of the first administrator unless it chooses another.
const FIRST: &str = "admin";
/// How every setup token begins.
const PREFIX: &str = "setup_";

/// Answer of `POST /auth/setup`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SetUp {
    #[schema(example = "admin")]
    pub username: String,
    #[schema(example = "default")]
    pub tenant_id: String,
    #[schema(example = "The first administrator was created; log in at /auth/token")]
    pub message: &'static str,
}

impl Control {
    /// Sees to it that somebody can log in. With a password: user `admin` is made when there is no user yet. Without one: gives a setup
    /// token to show to whoever started the server; earlier ones no longer work. `None` when there are users.
    pub async fn first_administrator(&self, password: Option<Zeroizing<String>>) -> Result<Option<String>, Error> {
        if self.records().count(SYSTEM, USER, &RecordFilter::default()).await? > 0 {
            return Ok(None);
        }
        let old = self.records().get(SYSTEM, SETUP, FIRST).await?;
        let mut writes: Vec<Write> = old.iter().map(Write::delete).collect();
        if let Some(password) = password {
            let mut problems = Problems::default();
            passwords::judge("MIGRATION_ASSISTANT_ADMIN_PASSWORD", &password, FIRST, &mut problems);
            if !problems.is_empty() {
                return Err(Error::request(problems));
            }
            return match self.add_user(administrator(FIRST), Some(password), writes).await {
                // A sibling server that starts at the same time was faster.
                Ok(_) => Ok(None),
                Err(error) if matches!(error.code, Code::Taken | Code::Changed) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let token = format!("{PREFIX}{}", random(24));
        writes.push(Write::insert(SYSTEM, SETUP, FIRST, ports::records::Fields::body(json!({})).key(digest(&token))));
        self.records().apply(writes).await?;
        Ok(Some(token))
    }

    /// Redeems the setup token. Body: `token`, `password`, `username` (`admin` without it).
    pub async fn set_up(&self, given: &Value) -> Result<SetUp, Error> {
        let mut problems = Problems::default();
        let decoded = Fields::of("", given, &mut problems).map(|mut fields| {
            let token = Zeroizing::new(fields.required_text("token", &mut problems));
            let username = fields.text("username", &mut problems).unwrap_or_else(|| FIRST.to_owned());
            judge_name("username", &username, &mut problems);
            if username.is_empty() {
                problems.note("username", "must not be empty");
            }
            let password = Zeroizing::new(fields.required_text("password", &mut problems));
            if !password.is_empty() {
                passwords::judge("password", &password, &username, &mut problems);
            }
            fields.done(&mut problems);
            (token, username, password)
        });
        let Some((token, username, password)) = decoded.filter(|_| problems.is_empty()) else { return Err(Error::request(problems)) };
        let refused = || {
            Error::new(
                Kind::Unauthenticated,
                Code::InvalidCredentials,
                "The setup token is not good (any more); restart the server to get a new one, as long as there is no user",
            )
        };
        let record = self.records().find(SYSTEM, SETUP, &digest(&token)).await?.ok_or_else(refused)?;
        match self.add_user(administrator(&username), Some(password), vec![Write::delete(&record)]).await {
            Ok(user) => Ok(SetUp {
                username: user.body.username,
                tenant_id: DEFAULT_TENANT.to_owned(),
                message: "The first administrator was created; log in at /auth/token",
            }),
            // Redeemed by somebody else in this moment.
            Err(error) if matches!(error.code, Code::Changed | Code::NotFound) => Err(refused()),
            Err(error) => Err(error),
        }
    }
}

fn administrator(username: &str) -> Body {
    let scopes = BTreeSet::from([ADMIN.to_owned()]);
    Body { username: username.to_owned(), disabled: false, tenants: BTreeMap::from([(DEFAULT_TENANT.to_owned(), scopes)]) }
}

//! Who people and programs are: users with passwords, API keys, sessions with tokens, OAuth clients, log-in through an OpenID provider.
//!
//! ```text
//! password, code, refresh token ──► grants ──► sessions ──► access token (signed) + refresh token (stored as a hash)
//! every request: access token or API key ──► standing (cached for seconds) ──► Caller
//! ```
//! Everything is a record of the tenant [`SYSTEM`], because a user may belong to several tenants. Nothing here is asked where nobody has
//! to log in: [`Control::begin_identity`] switches it on.

pub mod api_keys;
mod attempts;
pub mod authorize;
pub mod clients;
pub mod grants;
pub mod openid;
mod own_password;
mod passwords;
mod registration;
pub mod scopes;
mod sessions;
pub mod setup;
mod signing;
mod standing;
mod users;

pub use grants::{Grant, Origin, Refusal};
pub use registration::{Registered, TokenPair};
pub use sessions::Tokens;
pub use signing::GOOD_LENGTH;
pub(crate) use standing::refused;
pub use users::{Me, Membership, UserView};

use crate::error::{Code, Kind};
use crate::{Control, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ports::records::{Fields, RecordFilter, SYSTEM, Write};
use rand::RngCore;
use serde_json::json;
use sha2::{Digest, Sha256};
use signing::Keys;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// How the server lets people in.
pub struct Settings {
    /// Secrets that sign tokens, the newest last. Empty: one is made and kept, sealed, in the store, where sibling servers find it.
    pub secrets: Vec<Zeroizing<String>>,
    /// How long an access token holds.
    pub token_life: Duration,
    /// A provider that people may log in through.
    pub openid: Option<openid::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secrets: Vec::new(), token_life: Duration::from_mins(30), openid: None }
    }
}

struct Open {
    keys: Keys,
    token_life: Duration,
    openid: Option<openid::Provider>,
}

/// The state of this room.
#[derive(Default)]
pub(crate) struct Identity {
    open: OnceLock<Open>,
    /// Whether everybody has to log in, and not only the users of `/api/v1`.
    required: AtomicBool,
    passwords: passwords::Passwords,
    standings: standing::Standings,
}

/// Kinds of records.
const USER: &str = "user";
const API_KEY: &str = "api_key";
const SESSION: &str = "session";
const REFRESH: &str = "refresh_token";
const CODE: &str = "authorization_code";
const CLIENT: &str = "oauth_client";
const SIGNING: &str = "signing_secret";
const SETUP: &str = "setup_token";

impl Control {
    /// From now on everybody has to log in. To be called once, before the first request.
    pub async fn begin_identity(&self, settings: Settings) -> Result<(), Error> {
        let secrets = if settings.secrets.is_empty() { vec![self.own_secret().await?] } else { settings.secrets };
        let unusable = || Error::new(Kind::Invalid, Code::InvalidRequest, "The secret that signs tokens is empty; give one, or none to have one made");
        let keys = Keys::new(&secrets).ok_or_else(unusable)?;
        let open = Open { keys, token_life: settings.token_life, openid: settings.openid.map(openid::Provider::new) };
        self.inner.identity.open.set(open).map_err(|_| Error::internal("identity was begun twice"))?;
        self.inner.identity.required.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes tokens possible for those who log in by themselves, where nobody has to.
    pub(crate) async fn offer_identity(&self) -> Result<(), Error> {
        if self.inner.identity.open.get().is_some() {
            return Ok(());
        }
        let keys = Keys::new(&[self.own_secret().await?]).ok_or_else(|| Error::internal("the stored signing secret is empty"))?;
        let open = Open { keys, token_life: Settings::default().token_life, openid: None };
        // Another request was faster, with the same secret.
        let _first_or_not = self.inner.identity.open.set(open);
        Ok(())
    }

    /// Whether callers have to log in.
    pub fn has_identity(&self) -> bool {
        self.inner.identity.required.load(Ordering::Acquire)
    }

    fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    fn open_identity(&self) -> Result<&Open, Error> {
        self.inner.identity.open.get().ok_or_else(disabled)
    }

    /// The same where everybody has to log in.
    fn required_identity(&self) -> Result<&Open, Error> {
        if self.has_identity() { self.open_identity() } else { Err(disabled()) }
    }

    /// The secret that this installation made for itself; two servers that start together end with one.
    async fn own_secret(&self) -> Result<Zeroizing<String>, Error> {
        let fields = Fields::body(json!({})).secret(Some(json!(random(32))));
        match self.records().apply(vec![Write::insert(SYSTEM, SIGNING, "own", fields)]).await {
            Ok(_) | Err(ports::records::RecordsError::Taken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let stored = self.records().secret(SYSTEM, SIGNING, "own").await?;
        let text = stored.as_ref().and_then(|v| v.as_str()).ok_or_else(|| Error::internal("the stored signing secret is gone"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Removes sessions, refresh tokens, codes and failed log-ins that have expired. Gives how many.
    pub async fn tidy_identity(&self) -> Result<usize, Error> {
        let mut removed = 0;
        for kind in [SESSION, REFRESH, CODE, openid::LOGIN, attempts::KIND] {
            loop {
                let due = self.records().take_due(kind, 200, Duration::from_mins(5), None).await?;
                if due.is_empty() {
                    break;
                }
                removed += due.len();
                self.records().apply(due.iter().map(Write::delete).collect()).await?;
            }
        }
        Ok(removed)
    }

    /// All records of a kind that belong to `parent`.
    async fn identity_children(&self, kind: &str, parent: &str) -> Result<Vec<ports::records::Record>, Error> {
        let filter = RecordFilter { parent: Some(parent.to_owned()), ..RecordFilter::default() };
        Ok(self.records().list(SYSTEM, kind, &filter).await?)
    }
}

/// So many random bytes as text that may stand in an address.
fn disabled() -> Error {
    Error::new(
        Kind::Conflict,
        Code::AuthenticationDisabled,
        "Nobody has to log in here, and so there are no tokens; the server was started without --auth-enabled",
    )
}

fn random(bytes: usize) -> String {
    let mut buffer = Zeroizing::new(vec![0_u8; bytes]);
    rand::rng().fill_bytes(&mut buffer);
    URL_SAFE_NO_PAD.encode(&*buffer)
}

/// What is stored of a random secret. Nothing can be learned from it, because the secret cannot be guessed.
fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// What a body that we wrote ourselves holds.
fn stored<T: serde::de::DeserializeOwned>(record: &ports::records::Record) -> Result<T, Error> {
    serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("the {} {} cannot be read: {e}", record.kind, record.id)))
}

fn body<T: serde::Serialize>(value: &T) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value).map_err(|e| Error::internal(format!("a record cannot be written: {e}")))
}

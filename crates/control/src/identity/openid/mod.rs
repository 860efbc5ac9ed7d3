//! Logging in through an external OpenID provider (Authorization Code with PKCE, OpenID Connect Core).
//!
//! The provider says who somebody is; what that user may do is ours. The first log-in of somebody unknown makes a user when the
//! administrator of this installation has said in which tenant and with which scopes; afterwards issuer and subject are the link.

use super::grants::{Origin, Refusal, entry, session_tenant};
use super::scopes::Scopes;
use super::sessions::{Session, Tokens};
use super::users::{Body, User};
use super::{digest, new_id, random, signing};
use crate::error::{Code, Kind};
use crate::{Control, DEFAULT_TENANT, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ports::records::{Fields, RecordsError, SYSTEM, Write};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

/// A log-in on its way to the provider and back.
pub(super) const LOGIN: &str = "openid_login";
/// Issuer and subject of a user.
pub(super) const LINK: &str = "openid_link";
const LOGIN_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Keys and addresses of the provider are asked again after this time, and keys when an unknown one has signed, but not more often than this.
const KEEP: Duration = Duration::from_hours(1);
const NOT_SOONER: Duration = Duration::from_secs(10);

/// How the provider is reached. The binary has it; here is no HTTP.
#[async_trait::async_trait]
pub trait Web: Send + Sync {
    /// The JSON at an address; the text of the error is for our log.
    async fn get(&self, url: &str) -> Result<Value, String>;

    /// Posts a form, with the client's id and secret as HTTP Basic.
    async fn post(&self, url: &str, form: &[(&str, &str)], client: (&str, &str)) -> Result<Value, String>;
}

/// One provider.
pub struct Settings {
    /// As the provider writes it: `https://login.example.com`.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Zeroizing<String>,
    /// Our address as the provider knows it: `https://…/auth/oidc/callback`.
    pub redirect_uri: String,
    /// Where unknown people become users, and with what; `None`: nobody does.
    pub newcomers: Option<(String, Scopes)>,
    pub web: Arc<dyn Web>,
}

/// The provider, and what we know of it by now.
pub(super) struct Provider {
    settings: Settings,
    known: Mutex<Option<Known>>,
}

struct Known {
    addresses: Addresses,
    keys: JwkSet,
    asked: Instant,
}

#[derive(Clone, Deserialize)]
struct Addresses {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

/// Where the browser goes, and the cookie that it brings back.
pub struct Departure {
    pub address: String,
    pub binding: String,
}

/// What the provider sends the browser back with.
#[derive(Default)]
pub struct Return {
    pub code: Option<String>,
    pub state: Option<String>,
    pub error: Option<String>,
    pub issuer: Option<String>,
    /// The cookie.
    pub binding: Option<String>,
}

#[derive(Deserialize)]
struct IdClaims {
    sub: String,
    nonce: Option<String>,
    azp: Option<String>,
    aud: Value,
    preferred_username: Option<String>,
}

impl Provider {
    pub fn new(settings: Settings) -> Self {
        Self { settings, known: Mutex::new(None) }
    }

    async fn addresses(&self) -> Result<Addresses, Error> {
        self.look(|_| true).await.map(|(addresses, _)| addresses)
    }

    /// Addresses and keys, asked again when they are old or `fits` finds what it needs missing.
    async fn look(&self, fits: impl Fn(&JwkSet) -> bool) -> Result<(Addresses, JwkSet), Error> {
        let mut known = self.known.lock().await;
        if let Some(k) = known.as_ref()
            && k.asked.elapsed() < KEEP
            && (fits(&k.keys) || k.asked.elapsed() < NOT_SOONER)
        {
            return Ok((k.addresses.clone(), k.keys.clone()));
        }
        let fresh = self.discover().await.map_err(unreachable)?;
        let answer = (fresh.addresses.clone(), fresh.keys.clone());
        *known = Some(fresh);
        Ok(answer)
    }

    async fn discover(&self) -> Result<Known, String> {
        let issuer = &self.settings.issuer;
        let found = self.settings.web.get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
        let addresses: Addresses = serde_json::from_value(found).map_err(|e| format!("its configuration: {e}"))?;
        if addresses.issuer != *issuer {
            return Err(format!("it calls itself '{}', not '{issuer}'", addresses.issuer));
        }
        let keys = self.settings.web.get(&addresses.jwks_uri).await?;
        let keys: JwkSet = serde_json::from_value(keys).map_err(|e| format!("its keys: {e}"))?;
        Ok(Known { addresses, keys, asked: Instant::now() })
    }

    /// What a token of the provider says, when it is one, for us, of now, and for this log-in.
    async fn verified(&self, token: &str, nonce: &str) -> Result<IdClaims, String> {
        signing::install();
        let header = jsonwebtoken::decode_header(token).map_err(|e| format!("the ID token has no header: {e}"))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) || header.crit.is_some() {
            return Err(format!("the ID token is signed with {:?}", header.alg));
        }
        let kid = header.kid.clone();
        let usable = |keys: &JwkSet| pick(keys, kid.as_deref(), header.alg);
        let (_, keys) = self.look(|keys| usable(keys).is_some()).await.map_err(|e| e.private.unwrap_or(e.message))?;
        let key = usable(&keys).ok_or("the ID token is signed with a key that the provider does not publish")?;
        let mut rules = Validation::new(header.alg);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.settings.issuer]);
        rules.set_audience(&[&self.settings.client_id]);
        rules.validate_nbf = true;
        let claims = jsonwebtoken::decode::<IdClaims>(token, &key, &rules).map_err(|e| format!("the ID token is not good: {e}"))?.claims;
        if claims.nonce.as_deref() != Some(nonce) {
            return Err("the ID token is for another log-in (nonce)".to_owned());
        }
        let several = claims.aud.as_array().is_some_and(|all| all.len() > 1);
        if claims.azp.as_ref().map_or(several, |party| *party != self.settings.client_id) {
            return Err("the ID token was made for another application (azp)".to_owned());
        }
        if claims.sub.is_empty() || claims.sub.len() > 255 {
            return Err("the ID token names nobody (sub)".to_owned());
        }
        Ok(claims)
    }
}

/// The published key that must have signed.
fn pick(keys: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let fits = keys.keys.iter().filter(|key| {
        let named = kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
        let signs = key.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
        let same = key.common.key_algorithm.is_none_or(|a| Algorithm::try_from(a).is_ok_and(|a| a == algorithm));
        named && signs && same
    });
    let mut keys = fits.filter_map(|key| DecodingKey::from_jwk(key).ok()).filter(|key| key.family() == algorithm.family());
    let first = keys.next()?;
    // Without a name there must be no choice.
    (kid.is_some() || keys.next().is_none()).then_some(first)
}

impl Control {
    /// Whether there is a provider to log in through.
    pub fn has_openid(&self) -> bool {
        self.open_identity().is_ok_and(|open| open.openid.is_some())
    }

    fn openid(&self) -> Result<&Provider, Error> {
        let none = || Error::new(Kind::NotFound, Code::NotFound, "There is no OpenID provider here; the server was started without --oidc-issuer");
        self.open_identity()?.openid.as_ref().ok_or_else(none)
    }

    /// Sends a browser to the provider.
    pub async fn begin_openid(&self) -> Result<Departure, Error> {
        let provider = self.openid()?;
        let addresses = provider.addresses().await?;
        let (state, nonce, verifier, binding) = (random(24), random(24), random(32), random(24));
        let secret = json!({"nonce": nonce, "verifier": verifier});
        let fields = Fields::body(json!({"binding": digest(&binding)})).key(digest(&state)).due(Some(Timestamp::now() + LOGIN_LIFE)).secret(Some(secret));
        self.records().apply(vec![Write::insert(SYSTEM, LOGIN, &new_id(), fields)]).await?;
        let mut address = Url::parse(&addresses.authorization_endpoint).map_err(|e| unreachable(format!("its authorization address: {e}")))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        address.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &provider.settings.client_id),
            ("redirect_uri", &provider.settings.redirect_uri),
            ("scope", "openid profile"),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        Ok(Departure { address: address.into(), binding })
    }

    /// The browser is back: our tokens for whoever the provider says it is.
    pub async fn end_openid(&self, back: Return, origin: &Origin) -> Result<Tokens, Error> {
        let provider = self.openid()?;
        let stale = || Refusal::grant("This log-in is too old, was used before, or was begun in another browser; begin again at /auth/oidc/login").error;
        let (Some(state), Some(binding)) = (&back.state, &back.binding) else { return Err(stale()) };
        let record = self.records().find(SYSTEM, LOGIN, &digest(state)).await?.ok_or_else(stale)?;
        let fresh = record.due_at.is_some_and(|due| due > Timestamp::now());
        if !fresh || record.body["binding"] != json!(digest(binding)) {
            return Err(stale());
        }
        let secret = self.records().secret(SYSTEM, LOGIN, &record.id).await?.unwrap_or_default();
        match self.records().apply(vec![Write::delete(&record)]).await {
            Ok(_) => {}
            Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => return Err(stale()),
            Err(error) => return Err(error.into()),
        }
        let refused = |private: String| Error {
            private: Some(private),
            ..Refusal::grant("The OpenID provider did not confirm who you are; begin again at /auth/oidc/login").error
        };
        if let Some(word) = back.error {
            return Err(refused(format!("the provider answered {}", word.escape_default())));
        }
        if back.issuer.is_some_and(|issuer| issuer != provider.settings.issuer) {
            return Err(refused("the answer came from another provider (iss)".to_owned()));
        }
        let code = back.code.ok_or_else(|| refused("the provider gave no code".to_owned()))?;
        let text = |name: &str| secret[name].as_str().unwrap_or_default().to_owned();
        let form =
            [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", &*provider.settings.redirect_uri), ("code_verifier", &*text("verifier"))];
        let client = (provider.settings.client_id.as_str(), provider.settings.client_secret.as_str());
        let answer = provider.settings.web.post(&provider.addresses().await?.token_endpoint, &form, client).await.map_err(refused)?;
        let token = answer["id_token"].as_str().ok_or_else(|| refused("the provider gave no ID token".to_owned()))?;
        let claims = provider.verified(token, &text("nonce")).await.map_err(refused)?;
        let log = entry(DEFAULT_TENANT, claims.preferred_username.as_deref().unwrap_or(&claims.sub), "log_in_openid", origin);
        self.attempted(log, self.enter(provider, claims)).await.map_err(|refusal| refusal.error)
    }

    async fn enter(&self, provider: &Provider, claims: IdClaims) -> Result<Tokens, Refusal> {
        let link = digest(&format!("{}\n{}", provider.settings.issuer, claims.sub));
        let user = match self.records().find(SYSTEM, LINK, &link).await? {
            Some(found) => self.user_record(found.parent.as_deref().unwrap_or_default()).await?,
            None => Some(self.newcomer(provider, &claims, &link).await?),
        };
        let user = user.filter(|u| !u.body.disabled).ok_or_else(|| Refusal::grant("Your user here was disabled or deleted; ask an administrator"))?;
        let tenant = session_tenant(&user, None, None)?;
        let session = Session { user: user.id.clone(), client: None, tenant, limit: None };
        Ok(self.open_session(&user, session, None, Vec::new()).await?)
    }

    async fn newcomer(&self, provider: &Provider, claims: &IdClaims, link: &str) -> Result<User, Error> {
        let none = || {
            Error::new(Kind::Denied, Code::Denied, "The OpenID provider knows you, but you are no user here; ask an administrator")
                .details(json!({"required_scope": null, "current_scopes": []}))
        };
        let (tenant, scopes) = provider.settings.newcomers.clone().ok_or_else(none)?;
        // Names are for people; a name that is taken here is somebody else's, whatever the provider says.
        let wanted = claims.preferred_username.as_deref().unwrap_or(&claims.sub);
        let plain: String = wanted.chars().filter(|c| c.is_ascii_alphanumeric() || "._@+-".contains(*c)).take(64).collect();
        let is_free = !plain.is_empty() && self.user_named(&plain).await?.is_none();
        let username = if is_free { plain } else { format!("{plain}-{}", &link[..12]) };
        let body = Body { username, disabled: false, tenants: BTreeMap::from([(tenant, scopes)]) };
        let id = new_id();
        let fields = Fields::body(json!({"issuer": provider.settings.issuer})).key(link).parent(&id);
        self.add_user_as(&id, body, None, vec![Write::insert(SYSTEM, LINK, link, fields)]).await
    }
}

fn unreachable(private: String) -> Error {
    let private = Some(format!("the OpenID provider: {private}"));
    Error {
        private,
        ..Error::new(Kind::Unavailable, Code::Unavailable, "The OpenID provider does not answer as it should; try again later, or log in with a password")
    }
}

#[cfg(test)]
mod tests;

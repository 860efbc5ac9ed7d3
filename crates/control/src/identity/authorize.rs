//! OAuth2 authorization code with PKCE: an application sends a browser here, the user logs in and agrees, the browser goes back with a
//! code that is good once, for a minute, for that application.
//!
//! Between the page and its answer nothing is stored: the request travels in the page as a signed ticket, bound to the browser by a cookie.

use super::clients::Client;
use super::grants::{Grant, Origin, Refusal, entry, limit_for, missing, session_tenant};
use super::scopes::{self, Scopes};
use super::sessions::{RecordsOrOurs, Session, Tokens};
use super::signing::ISSUER;
use super::{CODE, body, digest, new_id, random, stored};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, RecordsError, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::Url;
use zeroize::Zeroizing;

/// The `typ` and audience of a ticket.
const TICKET: &str = "authorize+jwt";
const TICKET_LIFE: SignedDuration = SignedDuration::from_mins(10);
const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);
/// A used code is remembered for so long, to notice when it comes again.
const CODE_MEMORY: SignedDuration = SignedDuration::from_hours(24);
const PREFIX: &str = "mc_";
const OPEN: &str = "open";
const USED: &str = "used";

/// The parameters of `GET /auth/authorize`.
#[derive(Debug, Default)]
pub struct Asked {
    pub response_type: Option<String>,
    pub client_id: Option<String>,
    pub redirect_uri: Option<String>,
    pub scope: Option<String>,
    pub state: Option<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
}

/// What the page shows and holds.
pub struct Page {
    pub client: String,
    pub tenant: String,
    /// What the application may do when the user agrees, for people.
    pub allows: Vec<&'static str>,
    /// Where the browser goes afterwards: scheme, host and port.
    pub destination: String,
    /// Comes back with the answer.
    pub ticket: String,
    /// For the cookie; comes back with the answer too.
    pub binding: String,
    /// What was wrong with the answer before.
    pub problem: Option<String>,
}

/// Where the browser goes next.
pub enum Next {
    Page(Box<Page>),
    /// Back to the application.
    Back(String),
}

/// What came from the page.
pub struct Answer {
    pub ticket: String,
    /// The cookie.
    pub binding: Option<String>,
    pub is_allowed: bool,
    pub username: String,
    pub password: Zeroizing<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Ticket {
    iss: String,
    aud: String,
    nbf: i64,
    exp: i64,
    client: String,
    redirect: String,
    /// Whether the application named the address; then it has to name it again.
    named: bool,
    scope: Option<Scopes>,
    state: Option<String>,
    challenge: Option<String>,
    binding: String,
}

#[derive(Serialize, Deserialize)]
struct StoredCode {
    client: String,
    user: String,
    redirect: String,
    named: bool,
    scope: Option<Scopes>,
    challenge: Option<String>,
    expires_at: Timestamp,
    /// The session that it was exchanged for.
    session: Option<String>,
}

impl Control {
    /// The page for a request. An error here is shown to the user: without a known client and address there is no way back.
    pub async fn authorization(&self, asked: Asked) -> Result<Next, Error> {
        self.required_identity()?;
        let (client, redirect) = self.client_and_address(&asked).await?;
        let named = asked.redirect_uri.is_some();
        let ticket = match checked(&asked, &client) {
            Ok((scope, challenge)) => new_ticket(client.id.clone(), redirect, named, scope, asked.state, challenge),
            Err(word) => return Ok(Next::Back(back(&redirect, &[("error", word.0), ("error_description", word.1)], asked.state.as_deref())?)),
        };
        Ok(Next::Page(Box::new(self.authorization_page(&client, ticket, None)?)))
    }

    /// What the user decided. A wrong password shows the page again.
    pub async fn answer_authorization(&self, answer: Answer, origin: &Origin) -> Result<Next, Error> {
        let open = self.required_identity()?;
        let stale = || {
            Error::new(
                Kind::Invalid,
                Code::InvalidRequest,
                "This page is too old, or was not opened in this browser; go back to the application and start again",
            )
        };
        let ticket: Ticket = open.keys.verify(TICKET, TICKET, &answer.ticket).ok_or_else(stale)?;
        let bound = answer.binding.is_some_and(|given| digest(&given).as_bytes().ct_eq(ticket.binding.as_bytes()).into());
        let client = self.client_record(&ticket.client).await?.filter(|c| bound && c.body.redirect_uris.contains(&ticket.redirect)).ok_or_else(stale)?;
        if !answer.is_allowed {
            return Ok(Next::Back(back(
                &ticket.redirect,
                &[("error", "access_denied"), ("error_description", "The user did not agree")],
                ticket.state.as_deref(),
            )?));
        }
        let log = entry(&client.tenant, &answer.username, "authorize", origin);
        let given = self.attempted(log, self.authorization_code(&answer.username, answer.password, &client, &ticket, origin)).await;
        match given {
            Ok(code) => Ok(Next::Back(back(&ticket.redirect, &[("code", &code)], ticket.state.as_deref())?)),
            Err(refusal) if matches!(refusal.error.kind, Kind::Unauthenticated | Kind::NotFound | Kind::TooMany) => {
                let again = new_ticket(ticket.client, ticket.redirect, ticket.named, ticket.scope, ticket.state, ticket.challenge);
                Ok(Next::Page(Box::new(self.authorization_page(&client, again, Some(refusal.error.message))?)))
            }
            Err(refusal) => Err(refusal.error),
        }
    }

    async fn authorization_code(
        &self,
        username: &str,
        password: Zeroizing<String>,
        client: &Client,
        ticket: &Ticket,
        origin: &Origin,
    ) -> Result<String, Refusal> {
        let user = self.log_in(username, password, origin).await?;
        session_tenant(&user, None, Some(client))?;
        let code = format!("{PREFIX}{}", random(32));
        let now = Timestamp::now();
        let new = StoredCode {
            client: client.id.clone(),
            user: user.id,
            redirect: ticket.redirect.clone(),
            named: ticket.named,
            scope: ticket.scope.clone(),
            challenge: ticket.challenge.clone(),
            expires_at: now + CODE_LIFE,
            session: None,
        };
        let fields = Fields::body(body(&new)?).key(digest(&code)).state(OPEN).due(Some(now + CODE_MEMORY));
        self.records().apply(vec![Write::insert(SYSTEM, CODE, &new_id(), fields)]).await?;
        Ok(code)
    }

    /// Exchanges a code. One that comes a second time ends what the first exchange gave.
    pub(super) async fn redeem(&self, grant: &Grant, client: &Client) -> Result<Tokens, Refusal> {
        let given = grant.code.as_deref().ok_or_else(|| missing(&["code"]))?;
        let refused = || Refusal::grant("The code is not good (any more), or not for this client, address or verifier");
        let record = self.records().find(SYSTEM, CODE, &digest(given)).await?.ok_or_else(refused)?;
        let mut code: StoredCode = stored(&record)?;
        if record.state.as_deref() != Some(OPEN) {
            if let Some(session) = &code.session {
                self.revoke_session(session).await?;
            }
            return Err(refused());
        }
        let address = match &grant.redirect_uri {
            Some(given) => *given == code.redirect,
            None => !code.named,
        };
        let proved = proves(code.challenge.as_deref(), grant.code_verifier.as_ref().map(|v| v.as_str()));
        if code.client != client.id || !address || !proved || code.expires_at <= Timestamp::now() {
            return Err(refused());
        }
        let user = self.user_record(&code.user).await?.filter(|u| !u.body.disabled).ok_or_else(refused)?;
        let tenant = session_tenant(&user, None, Some(client))?;
        let session = Session { user: user.id.clone(), client: Some(client.id.clone()), tenant, limit: limit_for(Some(client), code.scope.clone()) };
        let id = new_id();
        code.session = Some(id.clone());
        let used = Write::update(&record, Fields::body(body(&code)?).state(USED));
        match self.open_session(&user, session, Some(id), vec![used]).await {
            Ok(tokens) => Ok(tokens),
            // Two came at once with the same code.
            Err(RecordsOrOurs::Records(RecordsError::Changed { .. })) => Err(refused()),
            Err(error) => Err(error.into()),
        }
    }

    async fn client_and_address(&self, asked: &Asked) -> Result<(Client, String), Error> {
        let bad = |message: &str| Error::new(Kind::Invalid, Code::InvalidRequest, message);
        let id = asked.client_id.as_deref().ok_or_else(|| bad("The application did not say who it is (client_id)"))?;
        let client = self.client_record(id).await?.ok_or_else(|| bad("The application (client_id) is not known here"))?;
        let redirect = match (&asked.redirect_uri, client.body.redirect_uris.as_slice()) {
            (Some(given), known) if known.contains(given) => given.clone(),
            (Some(_), _) => return Err(bad("The address that the application wants you to go back to (redirect_uri) is not one that it registered")),
            (None, [only]) => only.clone(),
            (None, _) => return Err(bad("The application has several addresses and did not say where you should go back to (redirect_uri)")),
        };
        Ok((client, redirect))
    }

    fn authorization_page(&self, client: &Client, mut ticket: Ticket, problem: Option<String>) -> Result<Page, Error> {
        let binding = random(24);
        ticket.binding = digest(&binding);
        let granted = ticket.scope.clone().unwrap_or_else(scopes::ordinary);
        let allows = scopes::ALL.iter().filter(|(word, _)| granted.contains(*word)).map(|(_, text)| *text).collect();
        let url = Url::parse(&ticket.redirect).map_err(|e| Error::internal(format!("a stored address cannot be read: {e}")))?;
        let destination = match url.host_str() {
            Some(_) => url[..url::Position::BeforePath].to_owned(),
            None => format!("{}:", url.scheme()),
        };
        let signed = self.open_identity()?.keys.sign(TICKET, &ticket)?;
        Ok(Page { client: client.body.name.clone(), tenant: client.tenant.clone(), allows, destination, ticket: signed, binding, problem })
    }
}

fn new_ticket(client: String, redirect: String, named: bool, scope: Option<Scopes>, state: Option<String>, challenge: Option<String>) -> Ticket {
    let now = Timestamp::now();
    Ticket {
        iss: ISSUER.to_owned(),
        aud: TICKET.to_owned(),
        nbf: now.as_second(),
        exp: (now + TICKET_LIFE).as_second(),
        client,
        redirect,
        named,
        scope,
        state,
        challenge,
        binding: String::new(),
    }
}

/// What was asked for, once it is in order: scope and challenge.
type Checked = (Option<Scopes>, Option<String>);

/// Scope and challenge, or OAuth's word for what is wrong.
fn checked(asked: &Asked, client: &Client) -> Result<Checked, (&'static str, &'static str)> {
    if asked.response_type.as_deref() != Some("code") {
        return Err(("unsupported_response_type", "response_type must be code"));
    }
    let scope = asked
        .scope
        .as_deref()
        .filter(|s| !s.trim().is_empty())
        .map(|text| scopes::parse(text).ok_or(("invalid_scope", "scope has unknown words")))
        .transpose()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let challenge = match (&asked.code_challenge, asked.code_challenge_method.as_deref()) {
        (None, None) if client.is_confidential() => None,
        (None, _) => return Err(("invalid_request", "code_challenge is required (PKCE, S256)")),
        (Some(challenge), Some("S256")) if challenge.len() == 43 && challenge.chars().all(plain) => Some(challenge.clone()),
        (Some(_), Some("S256")) => return Err(("invalid_request", "code_challenge is no SHA-256 hash in base64url")),
        (Some(_), _) => return Err(("invalid_request", "code_challenge_method must be S256")),
    };
    Ok((scope, challenge))
}

/// PKCE: whoever redeems the code is whoever asked for it.
fn proves(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
            (43..=128).contains(&verifier.len()) && verifier.chars().all(plain) && bool::from(hash.as_bytes().ct_eq(challenge.as_bytes()))
        }
        _ => false,
    }
}

/// The address with more parameters.
fn back(redirect: &str, parameters: &[(&str, &str)], state: Option<&str>) -> Result<String, Error> {
    let mut url = Url::parse(redirect).map_err(|e| Error::internal(format!("a stored address cannot be read: {e}")))?;
    let mut query = url.query_pairs_mut();
    query.extend_pairs(parameters);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    drop(query);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_rfc_7636_proves_its_challenge() {
        let (verifier, challenge) = ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(proves(Some(challenge), Some(verifier)) && proves(None, None));
        assert!(!proves(Some(challenge), None) && !proves(None, Some(verifier)));
        assert!(!proves(Some(challenge), Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXj")) && !proves(Some(challenge), Some(challenge)));
    }

    #[test]
    fn parameters_are_added_to_those_of_the_address() {
        let address = back("https://a.example/cb?x=1", &[("code", "c")], Some("a b&c")).unwrap();
        assert_eq!(address, "https://a.example/cb?x=1&code=c&state=a+b%26c");
    }
}

//! Tokens, and who one is.

use super::{Access, Body, Call, Endpoint, Reply};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::Error;
use control::error::Code;
use control::identity::{Grant, Refusal};
use domain::decode::{Fields, Problems};
use serde_json::json;

pub(super) const TAG: &str = "Identity";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![token(), revoke(), setup(), me(), own_password()]
}

fn token() -> Endpoint {
    Endpoint::post("/auth/token", "get_token", |call| Box::pin(get_token(call)))
        .tag(TAG)
        .access(Access::Public)
        .own_audit()
        .says(
            "Get tokens",
            "For a user name and password, for a refresh token, or (OAuth2) for an authorization code. As JSON, or as a form as RFC 6749 has it: then the client may \
             prove itself in the body or with HTTP Basic, and errors have that document's form. A refresh token is good once: the answer has the next one. One that \
             comes twice ends its session.",
        )
        .takes(Body::Form, "TokenRequest", json!({"username": "user", "password": "pass"}))
        .answers(StatusCode::OK, "Tokens", "The tokens")
        .fails(Code::InvalidRequest, "Something is missing or bad")
        .fails(Code::InvalidCredentials, "The user name, password, refresh token or code is not good")
        .fails(Code::InvalidClient, "The OAuth client is not known, or its secret is wrong")
        .fails(Code::TenantNotFound, "The user does not belong to that tenant")
        .fails(Code::AuthenticationDisabled, "Nobody has to log in here")
        .fails(Code::TooManyAttempts, "Too many failed log-ins: `Retry-After` says how long to wait")
}

fn revoke() -> Endpoint {
    Endpoint::post("/auth/revoke", "revoke_token", |call| Box::pin(revoke_token(call)))
        .tag(TAG)
        .access(Access::Public)
        .says("Log out", "Ends the session that an access or refresh token belongs to (RFC 7009). A token that is not good is ended already: that is no error.")
        .takes(Body::Form, "RevokeRequest", json!({"token": "mr_…"}))
        .answers(StatusCode::OK, "Revoked", "Ended")
        .fails(Code::InvalidRequest, "`token` is missing")
        .fails(Code::AuthenticationDisabled, "Nobody has to log in here")
}

fn setup() -> Endpoint {
    Endpoint::post("/auth/setup", "set_up", |call| Box::pin(set_up(call)))
        .tag(TAG)
        .access(Access::Public)
        .says("Create the first administrator", "With the setup token that `serve` prints as long as there is no user. It works once.")
        .takes(Body::Required, "SetUpRequest", json!({"token": "setup_…", "username": "admin", "password": "a long password"}))
        .answers(StatusCode::CREATED, "SetUp", "Created")
        .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named")
        .fails(Code::InvalidCredentials, "The setup token is not good (any more)")
        .fails(Code::Taken, "There is a user with that name")
}

fn me() -> Endpoint {
    Endpoint::get("/auth/me", "who_am_i", |call| Box::pin(who_am_i(call)))
        .tag(TAG)
        .access(Access::LoggedIn)
        .says("Who am I", "The caller, its tenant and what it may do there.")
        .answers(StatusCode::OK, "Me", "The caller")
}

fn own_password() -> Endpoint {
    Endpoint::put("/auth/me/password", "change_own_password", |call| Box::pin(change_own_password(call)))
        .tag(TAG)
        .access(Access::LoggedIn)
        .says("Change my password", "Ends all other sessions of the user. API keys stay as they are. A wrong old password counts as a failed log-in.")
        .takes(Body::Required, "PasswordChange", json!({"old_password": "a long password", "new_password": "another long password"}))
        .answers_with(StatusCode::NO_CONTENT, "Changed", vec![])
        .fails(Code::InvalidRequest, "Bad, missing or unknown fields, or the old password is wrong")
        .fails(Code::Denied, "It was asked with an API key")
        .fails(Code::AuthenticationDisabled, "Nobody has to log in here")
        .fails(Code::TooManyAttempts, "Too many failed log-ins: `Retry-After` says how long to wait")
        .fails(Code::Changed, "Somebody else has changed the user at the same time")
}

async fn change_own_password(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let bearer = super::credentials(&call.headers).bearer;
    call.control.change_own_password(&call.caller, bearer.as_deref(), call.body(), &call.origin).await?;
    Ok(Reply::gone())
}

async fn get_token(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let basic = basic(&call.headers);
    let by_header = basic.is_some();
    let asked = Grant::decode(call.body(), call.is_form, basic);
    let result = match asked {
        Ok(grant) => call.control.token(grant, &call.origin).await,
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok(tokens) => Ok(Reply::Ready(Box::new(unstored((StatusCode::OK, axum::Json(tokens)).into_response())))),
        Err(refusal) if call.is_form => Ok(Reply::Ready(Box::new(oauth_error(&refusal, by_header)))),
        Err(refusal) => Err(refusal.error),
    }
}

/// Neither browsers nor proxies may keep what is secret.
pub(super) fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// RFC 6749, section 5.2.
fn oauth_error(refusal: &Refusal, by_header: bool) -> Response {
    let error = &refusal.error;
    let status = match refusal.oauth {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        "temporarily_unavailable" | "server_error" => crate::http::status_of(error.kind),
        _ => StatusCode::BAD_REQUEST,
    };
    if let Some(private) = &error.private {
        tracing::error!(cause = %private, "a token could not be given");
    }
    let fields = error.details["validation_errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| Some(format!("; {}: {}", p["field"].as_str()?, p["message"].as_str()?)));
    // The RFC allows no other letters in the description.
    let plain = |c: &char| c.is_ascii() && !c.is_control() && !['"', '\\'].contains(c);
    let description: String = format!("{}{}", error.message, fields.collect::<String>()).chars().filter(plain).collect();
    let mut response = unstored((status, axum::Json(json!({"error": refusal.oauth, "error_description": description}))).into_response());
    if status == StatusCode::UNAUTHORIZED && by_header {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"migration-assistant\""));
    }
    if let Some(seconds) = error.details["retry_after"].as_u64() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The client's id and secret in the Authorization header.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

/// The RFC has both parts form-encoded; our own ids and secrets look the same in both forms.
fn decoded(part: &str) -> String {
    form_urlencoded::parse(format!("x={part}").as_bytes()).next().map_or_else(|| part.to_owned(), |(_, value)| value.into_owned())
}

async fn revoke_token(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.revoke(&to_end(&call)?).await?;
    Reply::ok(json!({"revoked": true}))
}

fn to_end(call: &Call) -> Result<String, Error> {
    let mut problems = Problems::default();
    let token = Fields::of("", call.body(), &mut problems).map(|mut fields| {
        let token = fields.required_text("token", &mut problems);
        // Either kind of token is found without it.
        fields.text("token_type_hint", &mut problems);
        if !call.is_form {
            fields.done(&mut problems);
        }
        token
    });
    token.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
}

async fn set_up(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::with(StatusCode::CREATED, call.control.set_up(call.body()).await?)
}

async fn who_am_i(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.me(&call.caller))
}

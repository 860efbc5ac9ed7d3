//! Registering, and getting tokens.

use super::super::auth::unstored;
use super::super::{Access, Body, Call, Endpoint, Reply};
use super::TAG;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use control::Error;
use control::error::Code;
use control::identity::TokenPair;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let all = vec![
        Endpoint::post("/api/v1/auth", "register", |call| Box::pin(register(call)))
            .says("Register", "Makes a user with a tenant of its own, unless the service was started with `--no-registration`.")
            .takes(Body::Required, "Registration", json!({"username": "testuser", "password": "a long password"}))
            .answers(StatusCode::CREATED, "Registered", "Registered; get a token next")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, or a name that is taken")
            .fails(Code::Denied, "Nobody can register here"),
        Endpoint::post("/api/v1/token", "get_token_pair", |call| Box::pin(token(call)))
            .says("Get tokens", "For a user name and a password. Send `access` as `Authorization: Bearer …`.")
            .takes(Body::Required, "LogIn", json!({"username": "testuser", "password": "a long password"}))
            .answers(StatusCode::OK, "TokenPair", "The tokens")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields")
            .fails(Code::InvalidCredentials, "The user name or the password is wrong")
            .fails(Code::TooManyAttempts, "Too many failed log-ins: `Retry-After` says how long to wait"),
        Endpoint::post("/api/v1/token/refresh", "refresh_token_pair", |call| Box::pin(refresh(call)))
            .says("Get the next tokens", "For a refresh token, which is good once.")
            .takes(Body::Required, "NextToken", json!({"refresh": "mr_…"}))
            .answers(StatusCode::OK, "TokenPair", "The tokens")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields")
            .fails(Code::InvalidCredentials, "The refresh token is not good (any more)"),
    ];
    all.into_iter().map(|endpoint| endpoint.tag(TAG).access(Access::Public).own_audit()).collect()
}

async fn register(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.register(call.body(), &call.origin).await?;
    Reply::with(StatusCode::CREATED, made)
}

async fn token(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Ok(secret(call.control.token_pair(call.body(), &call.origin).await?))
}

async fn refresh(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Ok(secret(call.control.next_token_pair(call.body(), &call.origin).await?))
}

fn secret(pair: TokenPair) -> Reply {
    Reply::Ready(Box::new(unstored((StatusCode::OK, axum::Json(pair)).into_response())))
}

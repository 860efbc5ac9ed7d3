//! Logging in through an OpenID provider: there and back.

use super::auth::{TAG, unstored};
use super::{Access, Call, Endpoint, Reply};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use control::error::Code;
use control::identity::openid::Return;
use serde_json::json;

/// Binds the way back to the browser that was sent.
const COOKIE: &str = "ma_openid";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let text = || json!({"type": "string"});
    vec![
        Endpoint::get("/auth/oidc/login", "log_in_openid", |call| Box::pin(leave(call)))
            .tag(TAG)
            .access(Access::Public)
            .says("Log in through the OpenID provider", "For browsers: sends them to the provider that the server was started with.")
            .answers_with(StatusCode::SEE_OTHER, "To the provider", vec![])
            .fails(Code::NotFound, "There is no provider")
            .fails(Code::AuthenticationDisabled, "Nobody has to log in here"),
        Endpoint::get("/auth/oidc/callback", "come_back_openid", |call| Box::pin(come_back(call)))
            .tag(TAG)
            .access(Access::Public)
            .own_audit()
            .says(
                "Back from the OpenID provider",
                "The provider sends browsers here. Whoever is known, or may become a user by itself, gets tokens. Parameters that are not listed are ignored.",
            )
            .query("code", text(), "From the provider")
            .query("state", text(), "As it was given to the provider")
            .query("error", text(), "Why the provider refused")
            .query("iss", text(), "Who the provider is")
            .answers(StatusCode::OK, "Tokens", "The tokens")
            .fails(Code::NotFound, "There is no provider")
            .fails(Code::InvalidCredentials, "Too old, used before, begun in another browser, or not confirmed by the provider")
            .fails(Code::Denied, "Nobody here, and people do not become users by themselves")
            .fails(Code::AuthenticationDisabled, "Nobody has to log in here"),
    ]
}

async fn leave(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let departure = call.control.begin_openid().await?;
    // Lax: the way back begins at the provider's site.
    let cookie = format!("{COOKIE}={}; Path=/auth/oidc; Max-Age=600; HttpOnly; SameSite=Lax", departure.binding);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, departure.address)]).into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(Reply::Ready(Box::new(unstored(response))))
}

async fn come_back(mut call: Call) -> Result<Reply, Error> {
    let mut text = |name| call.query.text(name);
    let back = Return { code: text("code"), state: text("state"), error: text("error"), issuer: text("iss"), binding: cookie(&call.headers) };
    let tokens = call.control.end_openid(back, &call.origin).await?;
    Ok(Reply::Ready(Box::new(unstored((StatusCode::OK, axum::Json(tokens)).into_response()))))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    all.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned))
}

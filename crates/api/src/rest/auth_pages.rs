//! The page where a user lets an application in. Plain HTML without scripts; nothing is loaded from anywhere.

use super::auth::{TAG, unstored};
use super::{Access, Body, Call, Endpoint, Reply};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::Error;
use control::error::{Code, Kind};
use control::identity::authorize::{Answer, Asked, Next, Page};
use domain::decode::{Fields, Problems};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;
use zeroize::Zeroizing;

const STYLE: &str = include_str!("../../assets/auth/page.css");
/// Binds the page to the browser that opened it.
const COOKIE: &str = "ma_authorize";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let html = || vec![("text/html", json!({"type": "string"}))];
    let text = || json!({"type": "string"});
    vec![
        Endpoint::get("/auth/authorize", "authorize", |call| Box::pin(show(call)))
            .tag(TAG)
            .access(Access::Public)
            .says(
                "Let an application in (OAuth2)",
                "For browsers: shows who asks for what; the user logs in and agrees or not, and the browser goes back to the application with a code or an error. Parameters \
                 that are not listed are ignored, as RFC 6749 wants it. `redirect_uri` may be left out when the application has registered one address only. PKCE (S256) is \
                 required for applications without a secret.",
            )
            .query("response_type", text(), "`code`")
            .required_query("client_id", json!({"type": "string", "minLength": 1}), "The application")
            .query("redirect_uri", text(), "One of its registered addresses, exactly")
            .query("scope", text(), "What it asks for, between blanks; everything but `admin` without it")
            .query("state", text(), "Comes back unchanged")
            .query("code_challenge", text(), "PKCE: SHA-256 of the verifier, in base64url")
            .query("code_challenge_method", text(), "`S256`")
            .answers_with(StatusCode::OK, "The page", html())
            .answers_with(StatusCode::SEE_OTHER, "Back to the application with an error", vec![])
            .answers_with(StatusCode::BAD_REQUEST, "The application or its address is not known: a page for people", html())
            .fails(Code::AuthenticationDisabled, "Nobody has to log in here"),
        Endpoint::post("/auth/authorize", "decide", |call| Box::pin(decide(call)))
            .tag(TAG)
            .access(Access::Public)
            .own_audit()
            .says("The answer from the page", "Sent by the page itself: it needs the page's ticket and cookie.")
            .takes(Body::Form, "AuthorizeAnswer", json!({"ticket": "…", "decision": "allow", "username": "ann", "password": "…"}))
            .answers_with(StatusCode::SEE_OTHER, "Back to the application, with a code or an error", vec![])
            .answers_with(StatusCode::OK, "The page again: the user name or password is wrong", html())
            .answers_with(StatusCode::BAD_REQUEST, "The page is too old or belongs to another browser: a page for people", html())
            .fails(Code::InvalidRequest, "Bad or unknown fields, all named")
            .fails(Code::AuthenticationDisabled, "Nobody has to log in here"),
    ]
}

async fn show(mut call: Call) -> Result<Reply, Error> {
    let mut text = |name| call.query.text(name);
    let asked = Asked {
        response_type: text("response_type"),
        client_id: text("client_id"),
        redirect_uri: text("redirect_uri"),
        scope: text("scope"),
        state: text("state"),
        code_challenge: text("code_challenge"),
        code_challenge_method: text("code_challenge_method"),
    };
    answer(call.control.authorization(asked).await, &call.headers)
}

async fn decide(call: Call) -> Result<Reply, Error> {
    let given = given(&call)?;
    if !same_origin(&call.headers) {
        return answer(Err(Error::new(Kind::Invalid, Code::InvalidRequest, "This answer was sent by another page")), &call.headers);
    }
    answer(call.control.answer_authorization(given, &call.origin).await, &call.headers)
}

fn given(call: &Call) -> Result<Answer, Error> {
    let mut problems = Problems::default();
    let answer = Fields::of("", call.body(), &mut problems).map(|mut fields| {
        let is_allowed = fields.choice("decision", &[("allow", true), ("deny", false)], &mut problems).unwrap_or(false);
        let mut text = |name| fields.text(name, &mut problems).unwrap_or_default();
        let (ticket, username, password) = (text("ticket"), text("username"), Zeroizing::new(text("password")));
        if !call.is_form {
            fields.done(&mut problems);
        }
        Answer { ticket, binding: cookie(&call.headers), is_allowed, username, password }
    });
    answer.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
}

fn answer(next: Result<Next, Error>, headers: &HeaderMap) -> Result<Reply, Error> {
    let response = match next {
        Ok(Next::Back(to)) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        Ok(Next::Page(page)) => form(&page, headers),
        Err(error) if error.kind == Kind::Invalid => {
            page(StatusCode::BAD_REQUEST, "This does not work", &format!("<p class=\"problem\">{}</p>", escaped(&error.message)), "'none'")
        }
        Err(error) => return Err(error),
    };
    Ok(Reply::Ready(Box::new(unstored(response))))
}

fn form(asked: &Page, headers: &HeaderMap) -> Response {
    let problem = asked.problem.as_ref().map(|text| format!("<p class=\"problem\" role=\"alert\">{}</p>", escaped(text))).unwrap_or_default();
    let allows = asked.allows.iter().map(|text| format!("<li>{}</li>", escaped(text))).collect::<Vec<_>>().concat();
    let body = format!(
        "<p>It could then do this in your name, in the tenant <b>{}</b>:</p><ul>{allows}</ul>{problem}\
         <form method=\"post\" action=\"/auth/authorize\"><input type=\"hidden\" name=\"ticket\" value=\"{}\">\
         <label for=\"username\">User name</label><input id=\"username\" name=\"username\" autocomplete=\"username\" autocapitalize=\"none\" autofocus>\
         <label for=\"password\">Password</label><input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\">\
         <div class=\"actions\"><button name=\"decision\" value=\"allow\">Log in and allow</button><button name=\"decision\" value=\"deny\">Refuse</button></div></form>\
         <p class=\"small\">Afterwards you go back to {}</p>",
        escaped(&asked.tenant),
        escaped(&asked.ticket),
        escaped(&asked.destination),
    );
    // Browsers hold the way back after a form against `form-action` too.
    let mut response = page(StatusCode::OK, &format!("{} asks to be let in", escaped(&asked.client)), &body, &format!("'self' {}", asked.destination));
    let secure = if headers.get("x-forwarded-proto").is_some_and(|v| v == "https") { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={}; Path=/auth/authorize; Max-Age=600; HttpOnly; SameSite=Strict{secure}", asked.binding);
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn page(status: StatusCode, title: &str, body: &str, form_action: &str) -> Response {
    static STYLE_HASH: OnceLock<String> = OnceLock::new();
    let hash = STYLE_HASH.get_or_init(|| STANDARD.encode(Sha256::digest(STYLE.as_bytes())));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'");
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "DENY".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (status, headers, html).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    all.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned))
}

/// A browser that says where a form comes from must say: from here. `null` is what a page without referrer sends.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let origin = match (text("origin"), text("host")) {
        (Some("null") | None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, name)| name == host),
        (Some(_), None) => false,
    };
    origin && text("sec-fetch-site").is_none_or(|site| site == "same-origin")
}

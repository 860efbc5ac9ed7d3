//! How callers prove who they are, in OpenAPI's words.

use crate::rest::Access;
use control::identity::scopes;
use serde_json::{Map, Value, json};

pub(super) fn schemes() -> Value {
    let words: Map<String, Value> = scopes::ALL.iter().map(|(word, text)| ((*word).to_owned(), json!(text))).collect();
    json!({
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key from `/auth/api-keys/`"},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token from `/auth/token`"},
        "oauth2": {
            "type": "oauth2",
            "description": "Tokens for people and applications",
            "flows": {
                "password": {"tokenUrl": "/auth/token", "refreshUrl": "/auth/token", "scopes": words},
                "authorizationCode": {"authorizationUrl": "/auth/authorize", "tokenUrl": "/auth/token", "refreshUrl": "/auth/token", "scopes": words},
            },
        },
    })
}

/// Any one of these will do; none is needed for what is public.
pub(super) fn of(access: &Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::LoggedIn => json!([{"bearer": []}, {"api_key": []}, {"oauth2": []}]),
        Access::Scope(scope) => json!([{"bearer": []}, {"api_key": []}, {"oauth2": [scope]}]),
    }
}

//! The documentation pages, built in: Swagger UI at `/docs` and `/swagger`, ReDoc at `/redoc`, the document at `/openapi.json`.
//! Nothing is loaded from anywhere else.

use crate::rest::page;
use crate::{http::Failure, openapi};
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use control::Control;

/// Swagger UI and ReDoc style themselves inline and show pictures as data; scripts come from this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
    worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type and content of what the pages load.
const ASSETS: [(&str, &str, &[u8]); 6] = [
    ("swagger-ui.css", "text/css; charset=utf-8", include_bytes!("../assets/swagger-ui/swagger-ui.css")),
    ("swagger-ui-bundle.js", SCRIPT, include_bytes!("../assets/swagger-ui/swagger-ui-bundle.js")),
    ("favicon.png", "image/png", include_bytes!("../assets/swagger-ui/favicon-32x32.png")),
    ("redoc.standalone.js", SCRIPT, include_bytes!("../assets/redoc/redoc.standalone.js")),
    ("swagger.js", SCRIPT, include_bytes!("../assets/docs/swagger.js")),
    ("redoc.js", SCRIPT, include_bytes!("../assets/docs/redoc.js")),
];

pub(crate) fn routes() -> Router<Control> {
    let mut router = Router::new();
    for path in ["/docs", "/docs/", "/swagger", "/swagger/"] {
        router = router.route(path, get(swagger));
    }
    for path in ["/redoc", "/redoc/"] {
        router = router.route(path, get(redoc));
    }
    for path in ["/openapi.json", "/openapi.json/"] {
        router = router.route(path, get(document));
    }
    router.route("/docs/assets/{name}", get(asset))
}

async fn swagger() -> Response {
    page("text/html; charset=utf-8", POLICY, include_bytes!("../assets/docs/swagger.html"))
}

async fn redoc() -> Response {
    page("text/html; charset=utf-8", POLICY, include_bytes!("../assets/docs/redoc.html"))
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document()).into_response()
}

async fn asset(Path(name): Path<String>) -> Response {
    let Some((_, kind, body)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such asset").into_response();
    };
    let mut response = page(kind, POLICY, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

//! The built-in console page: migrations, live, over this same interface. One page, one style sheet, one script, nothing from
//! anywhere else.

use crate::rest::page;
use axum::Router;
use axum::routing::get;
use control::Control;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Control> {
    let html = || async { page("text/html; charset=utf-8", POLICY, include_bytes!("../assets/console/index.html")) };
    let style = || async { page("text/css; charset=utf-8", POLICY, include_bytes!("../assets/console/console.css")) };
    let script = || async { page("text/javascript; charset=utf-8", POLICY, include_bytes!("../assets/console/console.js")) };
    Router::new().route("/console", get(html)).route("/console/", get(html)).route("/console/console.css", get(style)).route("/console/console.js", get(script))
}

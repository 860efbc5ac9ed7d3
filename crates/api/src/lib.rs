//! The product over the network: decode → `control` → encode, nothing else.
//!
//! ```text
//! request ─► http (request id, panics, envelope) ─► rest::table (one table: path, method, handler, documentation)
//!                                               └─► ws (live status)      docs, console (built-in pages)
//! ```
//! The routes and the OpenAPI document come from the one table in [`rest`], so that they cannot differ.

mod console;
mod docs;
mod http;
mod openapi;
mod rest;
mod ws;

/// Only the probes and the metrics of the service, for an address of their own: nobody has to log in there.
pub fn operations_router(control: control::Control) -> axum::Router {
    let others = control.traffic().route("*", "other");
    http::finish(rest::probes().with_state(control), others)
}

/// The whole HTTP interface as one service: REST, WebSocket, documentation and console. Every path answers with and without its
/// trailing slash. It keeps no task of its own and may be served (`axum::serve`) or called in process
/// (`tower::ServiceExt::oneshot(http::Request<axum::body::Body>)`), as the command line's embedded mode does; then no socket is
/// opened. Every answer but a page or a redirect is JSON; errors have document 3's envelope.
pub fn router(control: control::Control) -> axum::Router {
    let others = control.traffic().route("*", "other");
    let routes = rest::routes(control.traffic());
    http::finish(routes.merge(ws::routes()).merge(docs::routes()).merge(console::routes()).with_state(control), others)
}

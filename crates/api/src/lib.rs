//! The product over the network: decode → `control` → encode, nothing else.
//!
//! ```text
//! request ─► http (request id, trace, panics, envelope) ─► rest::table (one table: path, method, handler, documentation)
//!                                               └─► ws (live status)      docs, console (built-in pages)
//! ```
//! The routes and the OpenAPI document come from the one table in [`rest`], so that they cannot differ.

mod console;
mod docs;
mod http;
mod openapi;
mod rest;
mod spans;
mod ws;

/// Only the probes and the metrics of the service, for an address of their own: nobody has to log in there.
pub fn operations_router(control: control::Control) -> axum::Router {
    let around = http::Around::new(control.traffic(), control.sampling());
    http::finish(rest::probes().with_state(control), around)
}

/// The whole HTTP interface as one service: REST, WebSocket, documentation and console. Every path answers with and without its
/// trailing slash. It keeps no task of its own and may be served (`axum::serve`) or called in process
/// (`tower::ServiceExt::oneshot(http::Request<axum::body::Body>)`), as the command line's embedded mode does; then no socket is
/// opened. Every answer but a page or a redirect is JSON; errors have document 3's envelope.
pub fn router(control: control::Control) -> axum::Router {
    let around = http::Around::new(control.traffic(), control.sampling());
    let routes = rest::routes(control.traffic());
    http::finish(routes.merge(ws::routes()).merge(docs::routes()).merge(console::routes()).with_state(control), around)
}

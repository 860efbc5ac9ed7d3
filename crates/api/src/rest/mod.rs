//! The REST interface as one table: each [`Endpoint`] has its path, its handler and its documentation, and both the router and
//! the OpenAPI document are made from it.

mod analytics;
mod audit;
mod auth;
mod auth_clients;
mod auth_keys;
mod auth_openid;
mod auth_pages;
mod auth_users;
mod backups;
mod batches;
mod call;
mod endpoint;
mod etag;
mod gate;
mod idempotency;
mod limits;
mod migrations;
mod operations;
mod paging;
mod presets;
mod progress;
mod recall;
mod resources;
mod schedules;
mod system;
mod templates;
mod tenants;
mod vms;
mod vms_tasks;
mod webhooks;
mod workloads;

pub(crate) use call::{Call, Reply};
pub(crate) use endpoint::{Access, Body, Endpoint, Param, reference};
pub(crate) use gate::credentials;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use control::Control;
use control::operations::Traffic;
use std::sync::Arc;

/// Every endpoint of the interface, in the order of the documentation.
pub(crate) fn table() -> Vec<Endpoint> {
    let mut all = system::endpoints();
    all.extend(operations::endpoints());
    all.extend(migrations::endpoints());
    all.extend(progress::endpoints());
    all.extend(backups::endpoints());
    all.extend(batches::endpoints());
    all.extend(schedules::endpoints());
    all.extend(auth::endpoints());
    all.extend(auth_pages::endpoints());
    all.extend(auth_openid::endpoints());
    all.extend(auth_users::endpoints());
    all.extend(auth_keys::endpoints());
    all.extend(auth_clients::endpoints());
    all.extend(tenants::endpoints());
    all.extend(limits::endpoints());
    all.extend(presets::endpoints());
    all.extend(templates::endpoints());
    all.extend(webhooks::endpoints());
    all.extend(vms::endpoints());
    all.extend(workloads::endpoints());
    all.extend(resources::endpoints());
    all.extend(analytics::endpoints());
    all.extend(audit::endpoints());
    all
}

/// A router that answers every path of the table, with and without a trailing slash.
pub(crate) fn routes(traffic: &Traffic) -> Router<Control> {
    let mut router = Router::new();
    for endpoint in table() {
        let paths = if endpoint.path == "/" { vec![endpoint.path.to_owned()] } else { vec![endpoint.path.to_owned(), format!("{}/", endpoint.path)] };
        let filter = filter(&endpoint.method);
        let meter = traffic.route(endpoint.method.as_str(), endpoint.path);
        let endpoint = Arc::new(endpoint);
        for path in paths {
            let (endpoint, meter) = (endpoint.clone(), meter.clone());
            let handler = move |State(control): State<Control>, params: RawPathParams, request: Request| async move {
                let mut response = gate::pass(&endpoint, control, &params, request).await;
                response.extensions_mut().insert(meter);
                response
            };
            router = router.route(&path, on(filter, handler));
        }
    }
    router
}

/// `/livez`, `/readyz` and `/metrics` alone, for everybody.
pub(crate) fn probes() -> Router<Control> {
    operations::probes()
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

/// A page of the built-in documentation or console, or its part.
pub(crate) fn page(content_type: &'static str, policy: &'static str, body: &'static [u8]) -> Response {
    call::page(content_type, policy, body)
}

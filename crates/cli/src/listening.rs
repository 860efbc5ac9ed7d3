//! Connections to the server: how many at once, how slow a client may be, and how they end.
//!
//! A client that is slow with its headers, or idle, loses its connection; slow bodies are the API's affair. Beyond the limit nobody is refused: new
//! connections wait in the system's queue until one ends.

use crate::proxies::Proxies;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Headers of one request.
const MOST_HEADERS: usize = 100;
/// Room for the headers of one request, in bytes.
const HEADER_ROOM: usize = 64 * 1024;
/// When the system has no room for another connection, it is asked again after a while.
const NO_ROOM: Duration = Duration::from_millis(200);

/// What clients may take of the server.
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// How long a client may take for the headers of a request, and how long a connection may be idle.
    pub headers: Duration,
    /// Who may say for whom a request comes.
    pub proxies: Proxies,
}

/// Answers connections until `stop`, then lets open requests end.
pub async fn answer(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let proxies = Arc::new(limits.proxies);
    let (open, builder) = (TaskTracker::new(), patience(limits.headers));
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Answers are small; a delay for the sake of fuller packets only costs.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "a connection stays with delays");
                }
                let proxies = proxies.clone();
                let known = move |mut request: Request<Incoming>| {
                    let client = proxies.client(peer, request.headers());
                    request.extensions_mut().insert(ConnectInfo(client));
                    request.map(Body::new)
                };
                let service = TowerToHyperService::new(router.clone().map_request(known));
                let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
                let ended = until_its_end(connection, stop.clone());
                open.spawn(async move {
                    if let Err(error) = ended.await {
                        tracing::debug!(%peer, %error, "a connection ended badly");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken; the next one is tried in a moment");
                tokio::time::sleep(NO_ROOM).await;
            }
        }
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// After `stop` only the request that is open is answered.
async fn until_its_end<S>(connection: UpgradeableConnection<TokioIo<TcpStream>, S>, stop: CancellationToken) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// HTTP/1, as browsers and scripts speak it without TLS. The one builder that counts the time from the first moment on: one that also looks
/// for HTTP/2 waits for ever for a client that says nothing.
fn patience(headers: Duration) -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(headers).max_headers(MOST_HEADERS).max_buf_size(HEADER_ROOM);
    builder
}

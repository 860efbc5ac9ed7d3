//! `serve`: the control plane on a port, until SIGTERM, SIGHUP or Ctrl-C.
//!
//! Stopping: no new connection is taken, the migrations stand down and give their leases back (they go on at the next start),
//! requests in flight get a moment to end. A second signal leaves at once; nothing is lost then either, only up to 15 seconds.

use crate::args::{Args, Serve};
use crate::failure::{Exit, Failure};
use crate::listening::Limits;
use crate::output::Output;
use crate::plane::{self, Plane, Setup};
use crate::signals::Signals;
use control::operations::Sampling;
use serde_json::json;
use std::future::IntoFuture;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long open requests (long polls, live progress) may go on after the workers have stopped.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub async fn run(args: &Args, serve: &Serve, output: &Output, sampling: Sampling) -> Result<Exit, Failure> {
    if args.server.is_some() {
        return Err(Failure::usage("serve is the server itself; it takes no --server"));
    }
    let mut signals = Signals::listen()?;
    let listener = listen(serve).await?;
    let address = listener.local_addr().map_err(|e| no_port(serve, &e))?;
    let data_dir = plane::data_dir(args.data_dir.as_deref())?;
    let setup = Setup {
        vms: serve.machines.setup(&data_dir, serve.telling.fetcher()?)?,
        data_dir,
        database_url: serve.database_url.clone(),
        backup_store: backup_store(serve)?,
        local_roots: Some(local_roots(serve)?),
        known_hosts: serve.known_hosts.clone(),
        registration: !serve.no_registration,
        telling: serve.telling.clone(),
        request_rate: Some(serve.rate_limit),
        body_time: serve.body_timeout,
        sampling,
    };
    let shown = setup.data_dir.clone();
    let mut plane = Plane::open(setup).await?;
    let setup_token = serve.auth.begin(plane.control(), address, output).await?;
    plane.stand_down_abandoned().await;
    plane.work(usize::from(serve.workers));
    plane.look_at_fitness();
    plane.enforce_retention();
    if let Some(days) = serve.keep_migrations {
        plane.forget_finished(days);
    }
    plane.drive_batches();
    plane.keep_schedules();
    plane.keep_vms();
    plane.tidy_identity();
    plane.tell_others();
    plane.thin_progress();
    let watched = watched(serve, &plane).await?;
    greet(output, serve, address, &shown, setup_token.as_deref());

    let stop = CancellationToken::new();
    let limits = Limits { connections: serve.max_connections, headers: serve.header_timeout, proxies: serve.trusted_proxies.clone() };
    let server = tokio::spawn(crate::listening::answer(listener, plane.router.clone(), limits, stop.clone()));
    signals.next().await;
    output.note("Stopping: migrations in progress will go on with the next start. Press Ctrl-C again to leave at once.");
    plane.control().stand_down();
    let tidy = async {
        // Whoever distributes requests sees /readyz meanwhile.
        tokio::time::sleep(Duration::from_secs(serve.drain)).await;
        stop.cancel();
        plane.close().await;
        // Long polls and live connections have no natural end.
        tokio::time::timeout(LAST_WORDS, server).await
    };
    let left = tokio::select! {
        ended = tidy => {
            if let Ok(Err(error)) = ended {
                return Err(Failure::new(Exit::Failed, "SERVER", format!("The server ended badly: {error}")));
            }
            Ok(Exit::Ok)
        }
        () = signals.next() => Ok(Exit::Interrupted),
    };
    if let Some(watched) = watched {
        watched.abort();
    }
    left
}

/// Probes and metrics on an address of their own, until the very end.
async fn watched(serve: &Serve, plane: &Plane) -> Result<Option<tokio::task::JoinHandle<std::io::Result<()>>>, Failure> {
    let Some(address) = serve.metrics else { return Ok(None) };
    let cannot = |e: &std::io::Error| Failure::new(Exit::Failed, "LISTEN", format!("The address {address} of --metrics cannot be listened on: {e}"));
    let listener = TcpListener::bind(address).await.map_err(|e| cannot(&e))?;
    let router = api::operations_router(plane.control().clone());
    Ok(Some(tokio::spawn(axum::serve(listener, router).into_future())))
}

async fn listen(serve: &Serve) -> Result<TcpListener, Failure> {
    let found = tokio::net::lookup_host((serve.host.as_str(), serve.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(|e| Failure::usage(format!("--host {}: no such address on this machine: {e}", serve.host)))?.collect();
    let open = addresses.iter().find(|a| !is_loopback(a.ip()));
    if let Some(open) = open.filter(|_| !serve.insecure_no_auth && !serve.auth.auth_enabled) {
        return Err(Failure::usage(format!(
            "Others can reach {}, and nobody would have to log in: whoever connects could read and change whatever migrations can reach",
            open.ip()
        ))
        .advice("Make everybody log in with --auth-enabled, listen on 127.0.0.1, or accept the risk with --insecure-no-auth."));
    }
    TcpListener::bind(&addresses[..]).await.map_err(|e| no_port(serve, &e))
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn no_port(serve: &Serve, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Exit::Failed, "LISTEN", format!("The address {}:{} cannot be listened on: {error}", serve.host, serve.port));
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            failure.advice("Another program has that port, maybe another control plane: choose one with --port, or 0 for any free one.")
        }
        _ => failure,
    }
}

/// The directory must exist: a file system that is not mounted yet would otherwise be taken for an empty one.
fn backup_store(serve: &Serve) -> Result<Option<PathBuf>, Failure> {
    let resolved = |dir: &PathBuf| match dir.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(Failure::usage(format!("--backup-store {}: is no directory", dir.display()))),
        Err(e) => Err(Failure::usage(format!("--backup-store {}: {e}", dir.display()))),
    };
    serve.backup_store.as_ref().map(resolved).transpose()
}

/// The directories must exist: a typing slip would otherwise show only when the first migration is refused.
fn local_roots(serve: &Serve) -> Result<Vec<PathBuf>, Failure> {
    let resolved = |root: &PathBuf| match root.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(_) => Err(Failure::usage(format!("--local-root {}: is no directory", root.display()))),
        Err(e) => Err(Failure::usage(format!("--local-root {}: {e}", root.display()))),
    };
    serve.local_root.iter().map(resolved).collect()
}

fn greet(output: &Output, serve: &Serve, address: SocketAddr, data_dir: &std::path::Path, setup_token: Option<&str>) {
    let base = format!("http://{address}");
    output.say(&format!("Migration Assistant {} is ready at {base}", env!("CARGO_PKG_VERSION")));
    output.say(&format!("  console {base}/console   documentation {base}/docs   data {}", data_dir.display()));
    if !is_loopback(address.ip()) && !serve.auth.auth_enabled {
        output.note("warning: nobody has to log in, and others can reach this address");
    }
    if let Some(token) = setup_token {
        output.say("Nobody can log in yet. Create the first administrator with this setup token (it works once, until the next start):");
        output.say(&format!("  curl -X POST {base}/auth/setup -H 'Content-Type: application/json' -d '{{\"token\": \"{token}\", \"password\": \"…\"}}'"));
    }
    output.result(Exit::Ok, json!({"address": base, "port": address.port(), "data_dir": data_dir, "setup_token": setup_token}));
}

//! The control plane in this process: what the user may read and write is the only limit. No port is opened; other commands of the same user reach
//! it through a socket in the data directory as long as it is open.

use super::socket::Listening;
use super::{Door, Needs, Reply};
use crate::failure::{Exit, Failure};
use crate::plane::{Plane, Setup};
use crate::telling::Telling;
use axum::body::Body;
use control::operations::Sampling;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tower::ServiceExt;

/// Migrations that an embedded control plane drives side by side: its own, and one that an earlier process left.
const SIDE_BY_SIDE: usize = 2;

pub struct Embedded {
    plane: Plane,
    /// Migrations are driven here, so somebody may have to be told of them.
    works: bool,
    listening: Option<Listening>,
}

impl Embedded {
    pub async fn open(data_dir: PathBuf, needs: Needs) -> Result<Self, Failure> {
        let mut plane = Plane::open(Setup {
            data_dir: data_dir.clone(),
            database_url: None,
            backup_store: None,
            local_roots: None,
            known_hosts: None,
            registration: false,
            telling: Telling::from_environment()?,
            request_rate: None,
            vms: control::vms::Setup::default(),
            // Nobody is slow in here.
            body_time: Duration::from_mins(1),
            sampling: Sampling::OFF,
        })
        .await?;
        plane.stand_down_abandoned().await;
        let works = needs != Needs::Reading;
        if works {
            plane.work(SIDE_BY_SIDE);
            plane.tell_others();
        }
        let listening = Listening::begin(&data_dir, plane.router.clone());
        Ok(Self { plane, works, listening })
    }
}

#[async_trait::async_trait]
impl Door for Embedded {
    async fn call(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let defect = |why: String| Failure::new(Exit::Failed, "INTERNAL_ERROR", format!("The control plane in this process failed: {why}"));
        let request = http::Request::builder().method(method).uri(path).header("host", "localhost").header("accept", "application/json");
        let request = match body {
            Some(value) => request.header("content-type", "application/json").body(Body::from(value.to_string())),
            None => request.body(Body::empty()),
        };
        let request = request.map_err(|e| defect(e.to_string()))?;
        let Ok(response) = self.plane.router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| defect(e.to_string()))?.to_bytes();
        let reply = Reply { status, body: body.to_vec() };
        Ok(if self.works { reply } else { interrupted(reply) })
    }

    fn address(&self) -> Option<&str> {
        None
    }

    fn drives(&self) -> bool {
        self.works
    }

    async fn close(self: Box<Self>) {
        if let Some(listening) = self.listening {
            listening.end().await;
        }
        if self.works {
            self.plane.tell_the_last().await;
        }
        self.plane.close().await;
    }
}

/// Nobody else is at work in this data directory, and this process does not drive: what the journal calls running is interrupted.
fn interrupted(reply: Reply) -> Reply {
    let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else { return reply };
    let mark = |migration: &mut Value| {
        let active = matches!(migration["status"].as_str(), Some("running" | "rolling_back")) && migration["session_id"].is_string();
        if active {
            migration["interrupted_state"] = migration["status"].take();
            migration["status"] = json!("interrupted");
        }
        active
    };
    let changed = match &mut body {
        Value::Array(migrations) => migrations.iter_mut().filter_map(|migration| mark(migration).then_some(())).count() > 0,
        other => mark(other),
    };
    if changed { Reply { body: body.to_string().into_bytes(), ..reply } } else { reply }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_migrations_nobody_drives_are_interrupted() {
        let word = |body: Value| {
            let reply = interrupted(Reply { status: 200, body: body.to_string().into_bytes() });
            serde_json::from_slice::<Value>(&reply.body).unwrap()
        };
        let of = |status: &str| json!({"session_id": "m1", "status": status});
        let was = |state: &str| json!({"session_id": "m1", "status": "interrupted", "interrupted_state": state});
        assert_eq!(word(json!([of("running"), of("paused"), of("rolling_back")])), json!([was("running"), of("paused"), was("rolling_back")]));
        assert_eq!(word(of("running"))["status"], "interrupted");
        assert_eq!(word(json!({"status": "running"}))["status"], "running", "that is no migration");
    }
}

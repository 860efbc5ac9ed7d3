//! The control plane in this process: no port is opened, and what the user may read and write is the only limit.

use super::{Door, Needs, Reply};
use crate::failure::{Exit, Failure};
use crate::plane::{Plane, Setup};
use crate::telling::Telling;
use axum::body::Body;
use control::operations::Sampling;
use http_body_util::BodyExt;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tower::ServiceExt;

/// Migrations that an embedded control plane drives side by side: its own, and one that an earlier process left.
const SIDE_BY_SIDE: usize = 2;

pub struct Embedded {
    plane: Plane,
    /// Migrations are driven here, so somebody may have to be told of them.
    works: bool,
}

impl Embedded {
    pub async fn open(data_dir: PathBuf, needs: Needs) -> Result<Self, Failure> {
        let mut plane = Plane::open(Setup {
            data_dir,
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
        let works = needs == Needs::Working;
        if works {
            plane.work(SIDE_BY_SIDE);
            plane.tell_others();
        }
        Ok(Self { plane, works })
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
        Ok(Reply { status, body: body.to_vec() })
    }

    fn address(&self) -> Option<&str> {
        None
    }

    async fn close(self: Box<Self>) {
        if self.works {
            self.plane.tell_the_last().await;
        }
        self.plane.close().await;
    }
}

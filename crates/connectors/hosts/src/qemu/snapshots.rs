//! Snapshots inside the machine's own disk: by QEMU when it runs, by its tool when it does not.

use super::place::Place;
use super::process::Process;
use super::qmp::Talk;
use super::{Qemu, disk};
use crate::program::{IMG, run};
use ports::vms::VmSnapshots;
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::{Value, json};

/// A conversation with a machine that runs.
struct Live {
    talk: Talk,
    subject: String,
}

impl Live {
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { talk: Talk::open(place).await?, subject: format!("virtual machine {}", place.id) })
    }

    /// Names, and sizes of their memories.
    async fn list(&mut self) -> Result<Vec<(String, u64)>> {
        let nodes = self.talk.execute("query-named-block-nodes", json!({"flat": true})).await?;
        let ours = nodes.as_array().into_iter().flatten().find(|n| n["node-name"] == "disk");
        Ok(ours.map(|n| disk::named(&n["image"]["snapshots"])).unwrap_or_default())
    }

    /// Runs a job about the disk to its end.
    async fn job(&mut self, command: &str, mut arguments: Value) -> Result<()> {
        let id = format!("job-{}", uuid::Uuid::now_v7().simple());
        arguments["job-id"] = json!(id);
        arguments["devices"] = json!(["disk"]);
        self.talk.execute(command, arguments).await?;
        self.talk.event(|e| e["event"] == "JOB_STATUS_CHANGE" && e["data"]["id"] == json!(id) && e["data"]["status"] == "concluded").await?;
        let jobs = self.talk.execute("query-jobs", json!({})).await?;
        let error = jobs.as_array().into_iter().flatten().find(|j| j["id"] == json!(id)).and_then(|j| j["error"].as_str().map(str::to_owned));
        self.talk.execute("job-dismiss", json!({"id": id})).await?;
        error.map_or(Ok(()), |why| Err(ConnectorError::new(ErrorKind::Invalid, format!("do '{command}' with"), &self.subject, why)))
    }

    async fn save(&mut self, name: &str) -> Result<bool> {
        self.forget(name).await?;
        self.job("snapshot-save", json!({"tag": name, "vmstate": "disk"})).await?;
        Ok(true)
    }

    async fn restore(&mut self, name: &str) -> Result<()> {
        match self.list().await?.iter().find(|(n, _)| n == name) {
            None => Err(missing(&self.subject, name)),
            Some((_, 0)) => {
                let reason = format!("the snapshot '{name}' has no memory, and the machine runs");
                Err(ConnectorError::new(ErrorKind::Invalid, "restore", &self.subject, reason).advice("Stop the machine first: then its disk can go back"))
            }
            Some(_) => {
                self.job("snapshot-load", json!({"tag": name, "vmstate": "disk"})).await?;
                self.talk.execute("cont", json!({})).await.map(drop)
            }
        }
    }

    async fn forget(&mut self, name: &str) -> Result<()> {
        if self.list().await?.iter().any(|(n, _)| n == name) {
            self.job("snapshot-delete", json!({"tag": name})).await?;
        }
        Ok(())
    }
}

fn missing(subject: &str, name: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::NotFound, "restore", subject, format!("it has no snapshot '{name}'"))
}

/// The same for a disk that no process has open.
struct Resting<'a>(&'a Place);

impl Resting<'_> {
    async fn tool(&self, flag: &str, name: &str) -> Result<()> {
        let file = self.0.file("disk.qcow2").display().to_string();
        run(IMG, ["snapshot", flag, name, &file]).await.map(drop)
    }

    async fn has(&self, name: &str) -> Result<bool> {
        if !self.0.file("disk.qcow2").exists() {
            return Err(ConnectorError::new(ErrorKind::NotFound, "open the disk of", format!("virtual machine {}", self.0.id), "it has none yet"));
        }
        Ok(disk::snapshots(self.0).await?.iter().any(|(n, _)| n == name))
    }
}

#[async_trait::async_trait]
impl VmSnapshots for Qemu {
    async fn save(&self, id: &str, name: &str) -> Result<bool> {
        let place = self.place(id)?;
        let turn = self.turn(id);
        let _mine = turn.talk.lock().await;
        if Process::of(&place)?.is_some() {
            return Live::open(&place).await?.save(name).await;
        }
        let resting = Resting(&place);
        if resting.has(name).await? {
            resting.tool("-d", name).await?;
        }
        resting.tool("-c", name).await?;
        Ok(false)
    }

    async fn restore(&self, id: &str, name: &str) -> Result<()> {
        let place = self.place(id)?;
        let turn = self.turn(id);
        let _mine = turn.talk.lock().await;
        if Process::of(&place)?.is_some() {
            return Live::open(&place).await?.restore(name).await;
        }
        let resting = Resting(&place);
        if !resting.has(name).await? {
            return Err(missing(&format!("virtual machine {id}"), name));
        }
        resting.tool("-a", name).await
    }

    async fn forget(&self, id: &str, name: &str) -> Result<()> {
        let place = self.place(id)?;
        let turn = self.turn(id);
        let _mine = turn.talk.lock().await;
        if Process::of(&place)?.is_some() {
            return Live::open(&place).await?.forget(name).await;
        }
        let resting = Resting(&place);
        if resting.has(name).await? { resting.tool("-d", name).await } else { Ok(()) }
    }
}

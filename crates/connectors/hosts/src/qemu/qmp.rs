//! QMP: one JSON object a line, over the machine's socket.

use super::place::Place;
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::{Value, json};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest line that is read.
const LONGEST: u64 = 4 << 20;

/// A conversation. QEMU holds one at a time; others wait for its end.
pub(super) struct Talk {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    subject: String,
}

impl Talk {
    /// Connects and waits for the greeting.
    pub async fn open(place: &Place) -> Result<Self> {
        let subject = format!("virtual machine {}", place.id);
        let opening = Self::greeted(place, subject.clone());
        tokio::time::timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err(silent(&subject)))
    }

    async fn greeted(place: &Place, subject: String) -> Result<Self> {
        let unreachable = |e: std::io::Error| ConnectorError::new(ErrorKind::Unreachable, "speak to", &subject, e.to_string());
        // A socket's path may have 108 bytes only, a data directory's more: the way through the open directory is short.
        let dir = std::fs::File::open(&place.dir).map_err(unreachable)?;
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/qmp.sock", dir.as_raw_fd())).await.map_err(unreachable)?;
        let (read, write) = stream.into_split();
        let mut talk = Self { read: BufReader::new(read), write, subject };
        let greeting = talk.line().await?;
        if greeting.get("QMP").is_none() {
            return Err(ConnectorError::new(ErrorKind::Protocol, "speak to", &talk.subject, "what answers there is not QEMU"));
        }
        talk.ask("qmp_capabilities", json!({})).await?;
        Ok(talk)
    }

    /// One command and its answer; events in between are passed over.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let subject = self.subject.clone();
        tokio::time::timeout(PATIENCE, self.ask(command, arguments)).await.unwrap_or_else(|_| Err(silent(&subject)))
    }

    /// Waits for an event that fits, as long as it takes.
    pub async fn event(&mut self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let line = self.line().await?;
            if line.get("event").is_some() && fits(&line) {
                return Ok(line);
            }
        }
    }

    async fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        self.write.write_all(line.as_bytes()).await.map_err(|e| self.broken(&e.to_string()))?;
        loop {
            let mut line = self.line().await?;
            if let Some(answer) = line.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = line.get("error") {
                let why = error["desc"].as_str().unwrap_or("it refused without a reason").to_owned();
                return Err(ConnectorError::new(ErrorKind::Invalid, format!("do '{command}' with"), &self.subject, why));
            }
        }
    }

    async fn line(&mut self) -> Result<Value> {
        let mut text = Vec::new();
        let read = (&mut self.read).take(LONGEST).read_until(b'\n', &mut text).await.map_err(|e| self.broken(&e.to_string()))?;
        if read == 0 {
            return Err(self.broken("QEMU ended"));
        }
        serde_json::from_slice(&text).map_err(|e| ConnectorError::new(ErrorKind::Protocol, "understand", &self.subject, e.to_string()))
    }

    fn broken(&self, why: &str) -> ConnectorError {
        ConnectorError::new(ErrorKind::Interrupted, "speak to", &self.subject, why)
    }
}

fn silent(subject: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::TimedOut, "speak to", subject, format!("QEMU did not answer within {} s", PATIENCE.as_secs()))
        .advice("The node may be overloaded; stop the machine by force if it stays like that")
}

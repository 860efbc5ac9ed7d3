//! How a command reaches the control plane: the REST paths, called over the network or in this process.

mod embedded;
mod reconnect;
mod remote;
mod socket;

pub use embedded::Embedded;
pub use reconnect::Reconnect;
pub use remote::Remote;

use socket::Attached;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::plane;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Code of a failure to reach a control plane at all.
pub const UNREACHABLE: &str = "UNREACHABLE";
/// How long a data directory is waited for that another command holds for a moment, and how often it is tried.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const BUSY_INTERVAL: Duration = Duration::from_millis(50);

/// What came back: a status, and a body whose form the path decides.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The JSON of a success; everything else as a letter.
    pub fn json(self) -> Result<Value, Failure> {
        let success = (200..300).contains(&self.status);
        match serde_json::from_slice(&self.body) {
            Ok(value) if success => Ok(value),
            Ok(value) => Err(Failure::of_answer(self.status, &value)),
            Err(_) if success && self.body.is_empty() => Ok(Value::Null),
            Err(_) => Err(Failure::new(
                Exit::of_status(self.status),
                "PROTOCOL",
                format!("The server answered with status {} and no JSON: it may be another program", self.status),
            )),
        }
    }
}

/// The control plane, wherever it is.
#[async_trait::async_trait]
pub trait Door: Send + Sync {
    /// One request. `path` begins with `/` and may hold a query.
    async fn call(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure>;

    /// Where a browser finds it; `None` for the embedded one.
    fn address(&self) -> Option<&str>;

    /// Whether somebody goes on with migrations there.
    fn drives(&self) -> bool {
        true
    }

    /// Gives back what it holds, so that interrupted work can be taken up by others at once.
    async fn close(self: Box<Self>);
}

impl dyn Door + '_ {
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(http::Method::GET, path, None).await?.json()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(http::Method::POST, path, Some(body)).await?.json()
    }
}

/// Whether the command needs somebody to do the work, when it is done in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Reading,
    /// Another process that is at work will do it: it only has to be told.
    Telling,
    Working,
}

/// Opens the door that the arguments name.
pub async fn open(args: &Args, needs: Needs) -> Result<Box<dyn Door>, Failure> {
    if let Some(url) = &args.server {
        return Ok(Box::new(Remote::new(url, args.api_key.as_deref(), args.token.as_deref())?));
    }
    let data_dir = plane::data_dir(args.data_dir.as_deref())?;
    if needs != Needs::Working
        && let Some(attached) = Attached::find(&data_dir, needs).await
    {
        return Ok(Box::new(attached));
    }
    Ok(Box::new(open_when_free(data_dir, needs).await?))
}

/// Opens the data directory; another command may hold it for a moment.
async fn open_when_free(data_dir: PathBuf, needs: Needs) -> Result<Embedded, Failure> {
    let begun = Instant::now();
    loop {
        match Embedded::open(data_dir.clone(), needs).await {
            Err(failure) if &*failure.code == plane::IN_USE && begun.elapsed() < BUSY_TIMEOUT => tokio::time::sleep(BUSY_INTERVAL).await,
            opened => return opened,
        }
    }
}

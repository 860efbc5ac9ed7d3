//! How a command reaches the control plane: the REST paths, called over the network or in this process.

mod embedded;
mod remote;

pub use embedded::Embedded;
pub use remote::Remote;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::plane;
use serde_json::Value;

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
    Working,
}

/// Opens the door that the arguments name.
pub async fn open(args: &Args, needs: Needs) -> Result<Box<dyn Door>, Failure> {
    match &args.server {
        Some(url) => Ok(Box::new(Remote::new(url, args.api_key.as_deref(), args.token.as_deref())?)),
        None => Ok(Box::new(Embedded::open(plane::data_dir(args.data_dir.as_deref())?, needs).await?)),
    }
}

//! What a machine wrote on its serial console.

use crate::error::{Code, Kind};
use crate::{Control, Error, Filter};
use ports::vms::{ConsoleText, Part, VmHost};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Bytes of an answer unless the caller says otherwise, and at most.
const USUAL: u64 = 65_536;
const MOST: u64 = 1 << 20;
/// How often a console is looked at for which somebody waits.
const LOOK: Duration = Duration::from_millis(100);

/// A part of a machine's console log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Console {
    pub vm_id: String,
    /// Where `text` begins, in bytes since the machine's first start. Later than asked for when the beginning is not kept any more.
    #[schema(example = 0)]
    pub offset: u64,
    /// Where to go on reading.
    #[schema(example = 4096)]
    pub next_offset: u64,
    /// Where the log ends now.
    #[schema(example = 4096)]
    pub end: u64,
    pub text: String,
}

impl Control {
    /// Parameters: `tail` (the last bytes) or `offset` (from there on), `limit` (1 to 1048576, default 65536), and `wait`: seconds (up to 60) to wait
    /// for something behind `offset` when there is nothing yet.
    pub async fn vm_console(&self, tenant: &str, id: &str, mut query: Filter) -> Result<Console, Error> {
        let limit = query.number("limit", 1..=MOST, USUAL);
        if query.has("tail") && query.has("offset") {
            query.refuse("tail", "cannot stand beside offset");
        }
        let tail = query.has("tail");
        let (last, from) = (query.number("tail", 0..=MOST, USUAL), query.number("offset", 0..=u64::MAX, 0));
        let wait = Duration::from_secs(query.number("wait", 0..=60, 0));
        query.done()?;
        let host = self.vm_host_of(tenant, id).await?;
        let part = if tail { Part::Tail(last) } else { Part::From(from) };
        let deadline = Instant::now() + wait;
        loop {
            let text = host.console(id, part, limit).await.map_err(|e| unreadable(&e.to_string(), id))?;
            if !text.bytes.is_empty() || Instant::now() >= deadline {
                return Ok(shown(id, text));
            }
            tokio::time::sleep_until((Instant::now() + LOOK).min(deadline)).await;
        }
    }

    /// The host that keeps this machine, if it is this process's own.
    async fn vm_host_of(&self, tenant: &str, id: &str) -> Result<Arc<dyn VmHost>, Error> {
        let vm = self.find_vm(tenant, id).await?;
        match self.options().vms.host.clone() {
            Some(host) if vm.body.node == self.own_node() => Ok(host),
            _ => Err(unreadable(&format!("its console is kept on the node '{}'; ask the server there", vm.body.node), id)),
        }
    }
}

/// Whole characters only, unless the guest wrote something else.
fn shown(id: &str, part: ConsoleText) -> Console {
    let mut bytes = part.bytes;
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        bytes.truncate(error.valid_up_to());
    }
    let next_offset = part.offset + bytes.len() as u64;
    Console { vm_id: id.to_owned(), offset: part.offset, next_offset, end: part.end, text: String::from_utf8_lossy(&bytes).into_owned() }
}

fn unreadable(why: &str, id: &str) -> Error {
    Error::new(Kind::Unavailable, Code::VmOperationFailed, format!("The console cannot be read: {why}")).details(json!({"vm_id": id}))
}

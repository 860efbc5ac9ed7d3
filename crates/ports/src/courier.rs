//! The door for what leaves the product to tell others: HTTP calls to addresses that callers gave, and e-mail.
//!
//! Whoever implements it decides which addresses may be spoken to, at the moment of connecting: a name may lead elsewhere tomorrow.

use domain::Secret;
use std::time::Duration;

/// One HTTP POST of a JSON body.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub url: String,
    /// Ours; sent wherever redirects lead.
    pub headers: Vec<(String, String)>,
    /// The receiver's own, such as an `Authorization`; not sent to another host.
    pub private_headers: Vec<(String, Secret)>,
    pub body: String,
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    pub status: u16,
    pub latency: Duration,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body, printable.
    pub excerpt: String,
}

/// An e-mail, in both forms.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The same for every try, so that a mailbox can tell a repetition.
    pub id: String,
    pub to: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Why something did not arrive. The words are for the person who configured the receiver; they hold no secret.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Undelivered {
    pub reason: String,
    /// The same may succeed later.
    pub temporary: bool,
}

impl Undelivered {
    pub fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), temporary: false }
    }

    pub fn for_now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), temporary: true }
    }
}

/// The door. Every call ends within seconds, whatever the other side does.
#[async_trait::async_trait]
pub trait Courier: Send + Sync {
    /// Whether such an address may be given at all, looking no name up: scheme, form, literal IP addresses. `Err` says why not.
    fn admits(&self, url: &str) -> Result<(), String>;

    /// Sends once. Any answer of the receiver is a receipt, whatever its status.
    async fn post(&self, parcel: &Parcel) -> Result<Receipt, Undelivered>;

    /// Whether an e-mail server is configured.
    fn mails(&self) -> bool;

    /// Hands the letter to the e-mail server, once.
    async fn mail(&self, letter: &Letter) -> Result<(), Undelivered>;
}

/// Sends nothing: for processes that only look.
pub struct NoCourier;

#[async_trait::async_trait]
impl Courier for NoCourier {
    fn admits(&self, _url: &str) -> Result<(), String> {
        Ok(())
    }

    async fn post(&self, _parcel: &Parcel) -> Result<Receipt, Undelivered> {
        Err(Undelivered::for_now("this process sends nothing to the outside; `serve` does"))
    }

    fn mails(&self) -> bool {
        false
    }

    async fn mail(&self, _letter: &Letter) -> Result<(), Undelivered> {
        Err(Undelivered::for_now("this process sends no e-mail; `serve --smtp-url … --mail-from …` does"))
    }
}

//! What leaves the product to tell others: webhooks, chat messages and e-mail, behind the door [`ports::courier`].
//!
//! ```text
//! post ──► addresses (the form of the URL, literal IPs) ──► names (every looked-up IP) ──► the very address that was checked
//! mail ──────────────────────────────────────────────────────────┘
//! ```
//! Nothing here retries: whoever keeps the deliveries does.

mod addresses;
mod exchange;
mod fetch;
mod mail;
mod names;
mod post;

pub use addresses::{Policy, Verdict, judge};
pub use exchange::Exchanger;
pub use fetch::Fetcher;
pub use mail::Mailer;
pub use names::{Lookup, SystemNames};

use ports::courier::{Courier, Letter, Parcel, Receipt, Undelivered};
use std::sync::Arc;

/// Sends over HTTP, and over SMTP when a mail server is configured.
pub struct Couriers {
    posts: post::Posts,
    mailer: Option<Mailer>,
    policy: Policy,
    names: Arc<dyn Lookup>,
}

impl Couriers {
    /// Sends to whatever the system's names lead to, as far as `policy` allows.
    ///
    /// # Errors
    /// The reason, when TLS cannot be prepared on this machine.
    pub fn new(policy: Policy, mailer: Option<Mailer>) -> Result<Self, String> {
        Self::with_names(policy, mailer, Arc::new(SystemNames))
    }

    /// The same, with other answers to names.
    ///
    /// # Errors
    /// As [`Couriers::new`].
    pub fn with_names(policy: Policy, mailer: Option<Mailer>, names: Arc<dyn Lookup>) -> Result<Self, String> {
        Ok(Self { posts: post::Posts::new(policy, names.clone())?, mailer, policy, names })
    }
}

#[async_trait::async_trait]
impl Courier for Couriers {
    fn admits(&self, url: &str) -> Result<(), String> {
        self.policy.read(url).map(drop)
    }

    async fn post(&self, parcel: &Parcel) -> Result<Receipt, Undelivered> {
        self.posts.send(parcel).await
    }

    fn mails(&self) -> bool {
        self.mailer.is_some()
    }

    async fn mail(&self, letter: &Letter) -> Result<(), Undelivered> {
        let missing = || Undelivered::for_now("no e-mail server is configured: start the service with --smtp-url and --mail-from");
        let mailer = self.mailer.as_ref().ok_or_else(missing)?;
        mailer.send(letter, self.policy, self.names.as_ref()).await
    }
}

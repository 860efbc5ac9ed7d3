//! Options for what is told to others: webhooks and e-mail. `serve` takes them as flags; every command reads them from the environment.

use crate::failure::Failure;
use clap::builder::BoolishValueParser;
use clap::{Args, Command, FromArgMatches};
use couriers::{Couriers, Mailer, Policy};
use domain::Secret;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to reach the outside.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Webhooks and e-mail")]
pub struct Telling {
    /// Speak to webhooks, e-mail servers and clouds at private and loopback addresses too
    #[arg(long, env = "MIGRATION_ASSISTANT_ALLOW_PRIVATE_WEBHOOKS", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub allow_private_webhooks: bool,
    /// E-mail server: smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465; better in the environment or a file
    #[arg(long, value_name = "URL", env = "MIGRATION_ASSISTANT_SMTP_URL", hide_env_values = true, requires = "mail_from")]
    smtp_url: Option<Word>,
    /// File that holds that address
    #[arg(long, value_name = "FILE", env = "MIGRATION_ASSISTANT_SMTP_URL_FILE", hide_env_values = true, requires = "mail_from", conflicts_with = "smtp_url")]
    smtp_url_file: Option<PathBuf>,
    /// Sender of e-mails: Migrations <migrations@example.com>
    #[arg(long, value_name = "ADDRESS", env = "MIGRATION_ASSISTANT_MAIL_FROM", hide_env_values = true)]
    mail_from: Option<String>,
    /// Certificates (PEM) that the e-mail server is trusted by, instead of the system's authorities
    #[arg(long, value_name = "FILE", env = "MIGRATION_ASSISTANT_SMTP_CA", hide_env_values = true)]
    smtp_ca: Option<PathBuf>,
}

/// A secret from the command line or the environment.
#[derive(Debug, Clone)]
struct Word(Secret);

impl std::str::FromStr for Word {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Secret::new(text)))
    }
}

impl Telling {
    /// As the environment says, for commands without these flags.
    pub fn from_environment() -> Result<Self, Failure> {
        let matches = Self::augment_args(Command::new("environment")).try_get_matches_from(["environment"]);
        matches.and_then(|m| Self::from_arg_matches(&m)).map_err(|e| Failure::usage(first_line(&e)))
    }

    /// Which addresses outside may be spoken to on a caller's word.
    pub fn policy(&self) -> Policy {
        Policy { allow_private: self.allow_private_webhooks }
    }

    /// Who carries what is told.
    pub fn courier(&self) -> Result<Arc<dyn ports::Courier>, Failure> {
        let couriers = Couriers::new(self.policy(), self.mailer()?).map_err(|why| Failure::usage(format!("Nothing can be sent to the outside: {why}")))?;
        Ok(Arc::new(couriers))
    }

    /// Who fetches images of virtual machines: from addresses that webhooks may lead to.
    pub fn fetcher(&self) -> Result<Arc<dyn ports::vms::Fetch>, Failure> {
        let fetcher = couriers::Fetcher::new(self.policy()).map_err(|why| Failure::usage(format!("Nothing can be fetched from the outside: {why}")))?;
        Ok(Arc::new(fetcher))
    }

    fn mailer(&self) -> Result<Option<Mailer>, Failure> {
        let url = match (&self.smtp_url, &self.smtp_url_file) {
            (Some(Word(url)), _) => url.clone(),
            (None, Some(file)) => Secret::new(read(file, "--smtp-url-file")?.trim()),
            (None, None) => return Ok(None),
        };
        let ca = self.smtp_ca.as_deref().map(|file| read(file, "--smtp-ca")).transpose()?.map(String::into_bytes);
        let mailer = Mailer::new(&url, self.mail_from.as_deref().unwrap_or_default(), ca);
        mailer.map(Some).map_err(|why| Failure::usage(format!("E-mail cannot be sent: {why}")))
    }
}

fn read(file: &Path, option: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("{option} {}: {e}", file.display())))
}

fn first_line(error: &clap::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

//! `serve --auth-enabled`: where the signing secrets come from, and how the first administrator gets in.

use crate::failure::{Exit, Failure};
use crate::oidc::Oidc;
use crate::output::Output;
use clap::Args as ClapArgs;
use control::identity::{GOOD_LENGTH, Settings};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Password of the first administrator; without it a setup token is printed.
const ADMIN_PASSWORD: &str = "MIGRATION_ASSISTANT_ADMIN_PASSWORD";

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Who may do what")]
#[expect(clippy::struct_field_names, reason = "a field is the name of its option")]
pub struct Auth {
    /// Everybody has to log in: tokens, API keys, OAuth2
    #[arg(long)]
    pub auth_enabled: bool,
    /// Secret that signs tokens (repeatable: the last one signs, all are good). Other users of this machine can see it here:
    /// better use the file or the environment, or none at all: then one is made and kept with the data
    #[arg(long, value_name = "SECRET", env = "MIGRATION_ASSISTANT_JWT_SECRET", hide_env_values = true, requires = "auth_enabled")]
    jwt_secret: Vec<String>,
    /// File with such secrets, one a line, the newest last
    #[arg(long, value_name = "FILE", requires = "auth_enabled", conflicts_with = "jwt_secret")]
    jwt_secret_file: Option<PathBuf>,
    /// Minutes for which an access token holds
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1440))]
    token_minutes: u16,
    #[command(flatten)]
    oidc: Oidc,
}

impl Auth {
    /// Switches logging in on, when asked for. Gives the setup token when there is nobody yet who could log in.
    pub async fn begin(&self, control: &control::Control, address: SocketAddr, output: &Output) -> Result<Option<String>, Failure> {
        if !self.auth_enabled {
            return Ok(None);
        }
        let secrets = self.secrets(output)?;
        let token_life = std::time::Duration::from_mins(self.token_minutes.into());
        let settings = Settings { secrets, token_life, openid: self.oidc.settings(address)? };
        control.begin_identity(settings).await.map_err(refused)?;
        let password = std::env::var(ADMIN_PASSWORD).ok().filter(|p| !p.is_empty()).map(Zeroizing::new);
        control.first_administrator(password).await.map_err(refused)
    }

    fn secrets(&self, output: &Output) -> Result<Vec<Zeroizing<String>>, Failure> {
        let secrets: Vec<Zeroizing<String>> = match &self.jwt_secret_file {
            Some(file) => read(file)?,
            None => self.jwt_secret.iter().cloned().map(Zeroizing::new).collect(),
        };
        if secrets.iter().any(|s| s.len() < GOOD_LENGTH) {
            output.note(&format!("warning: a signing secret has less than {GOOD_LENGTH} characters; whoever gets a token could find it out by trying"));
        }
        Ok(secrets)
    }
}

fn read(file: &Path) -> Result<Vec<Zeroizing<String>>, Failure> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|e| Failure::usage(format!("--jwt-secret-file {}: {e}", file.display())))?;
    let lines: Vec<Zeroizing<String>> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| Zeroizing::new(l.to_owned())).collect();
    if lines.is_empty() { Err(Failure::usage(format!("--jwt-secret-file {}: there is no secret in it", file.display()))) } else { Ok(lines) }
}

fn refused(error: control::Error) -> Failure {
    let fields = error.details["validation_errors"].as_array().into_iter().flatten();
    let lines: Vec<String> = fields.map(|f| format!("{}: {}", f["field"].as_str().unwrap_or_default(), f["message"].as_str().unwrap_or_default())).collect();
    let exit = if lines.is_empty() && error.kind != control::error::Kind::Invalid { Exit::Failed } else { Exit::Usage };
    Failure::new(exit, error.code.word(), format!("Logging in could not be switched on: {}", error.message)).lines(lines)
}

//! Where the access key comes from: the migration, else the environment, else the shared credentials file. Never the
//! instance metadata service, whose absence costs seconds.

use aws_credential_types::Credentials;
use domain::spec::S3At;
use ports::{ConnectorError, ErrorKind, Result};
use std::path::PathBuf;

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, then the profile `AWS_PROFILE` (or `default`) of
/// `AWS_SHARED_CREDENTIALS_FILE` (or `~/.aws/credentials`).
pub(super) fn load(at: &S3At, location: &str) -> Result<Credentials> {
    if let (Some(id), Some(secret)) = (&at.access_key_id, &at.secret_access_key) {
        let token = at.session_token.as_ref().map(|t| t.expose().to_owned());
        return Ok(Credentials::new(id, secret.expose(), token, None, "migration"));
    }
    if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        return Ok(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment"));
    }
    let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let text = credentials_file().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    from_profile(&text, &profile).ok_or_else(|| {
        ConnectorError::new(
            ErrorKind::Authentication,
            "find credentials for",
            location,
            "no access key is given, in the environment, or in the credentials file",
        )
        .advice("Give access_key_id and secret_access_key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where the worker runs")
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

fn credentials_file() -> Option<PathBuf> {
    let named = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".aws/credentials")))
}

fn from_profile(text: &str, profile: &str) -> Option<Credentials> {
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Credentials::new(id?, secret?, token, None, "profile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_profile_is_read() {
        let text = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key = B\n\n[other]\naws_access_key_id=C\naws_secret_access_key=D\naws_session_token=E\n";
        assert_eq!(from_profile(text, "default").unwrap().access_key_id(), "A");
        let other = from_profile(text, "other").unwrap();
        assert_eq!((other.access_key_id(), other.session_token()), ("C", Some("E")));
        assert!(from_profile(text, "third").is_none());
    }
}

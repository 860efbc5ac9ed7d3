//! Whether the server is the one that was meant. An unknown key is never accepted silently.

use domain::spec::{HostKeyPin, SshAt};
use ports::{ConnectorError, ErrorKind, Result};
use russh::client;
use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate, parse_public_key_base64};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What vouches for the server, read and ready.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    Keys(Vec<PublicKey>),
    Fingerprint(String),
    Nothing,
}

impl Trust {
    /// Reads the pin of `at`.
    pub(super) fn read(at: &SshAt) -> Result<Self> {
        let subject = format!("{}:{}", at.host, at.port);
        match &at.host_key {
            HostKeyPin::Unknown => Ok(Self::Nothing),
            HostKeyPin::Pinned(text) => read_pin(text).ok_or_else(|| {
                ConnectorError::new(
                    ErrorKind::HostKey,
                    "read the pinned key of",
                    subject,
                    "it is no known_hosts line, no 'ssh-ed25519 AAAA…' and no 'SHA256:…' fingerprint",
                )
                .advice("Take it from `ssh-keyscan`, compared over a trusted way")
            }),
            HostKeyPin::KnownHosts(file) => read_known_hosts(at, file, subject),
        }
    }

    /// Key types to ask for, so that a server with several keys shows the one that is trusted.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let all = [
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ];
        let Self::Keys(keys) = self else { return all.to_vec() };
        let same = |a: &Algorithm, key: &PublicKey| *a == key.algorithm() || (matches!(a, Algorithm::Rsa { .. }) && key.algorithm().is_rsa());
        let (mut first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|a| keys.iter().any(|k| same(a, k)));
        first.extend(rest);
        first
    }

    fn verdict(&self, shown: &PublicKey, subject: &str) -> Result<()> {
        let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
        let known = match self {
            Self::Keys(keys) => keys.iter().any(|k| k.key_data() == shown.key_data()),
            Self::Fingerprint(wanted) => *wanted == fingerprint,
            Self::Nothing => {
                let reason = format!("its identity is unknown; it shows the {} key {fingerprint}", shown.algorithm());
                return Err(ConnectorError::new(ErrorKind::HostKey, "trust the server", subject, reason)
                    .advice(format!("Compare the fingerprint over a trusted way, then confirm it with host_key: \"{fingerprint}\"")));
            }
        };
        if known {
            return Ok(());
        }
        let reason = format!(
            "THE SERVER'S KEY IS NOT THE ONE THAT IS TRUSTED: it shows the {} key {fingerprint}. Somebody may be listening in between, or the server was set up anew",
            shown.algorithm()
        );
        Err(ConnectorError::new(ErrorKind::HostKey, "trust the server", subject, reason)
            .advice("Nothing was sent. Ask the server's owner; only if the change is expected, replace host_key (or the known_hosts line) by the new key"))
    }
}

fn read_pin(text: &str) -> Option<Trust> {
    let text = text.trim();
    if let Some(hash) = text.strip_prefix("SHA256:") {
        return Some(Trust::Fingerprint(format!("SHA256:{}", hash.trim_end_matches('='))));
    }
    let keys: Vec<PublicKey> = text.lines().filter_map(key_of_line).collect();
    (!keys.is_empty()).then_some(Trust::Keys(keys))
}

/// The key of `[hosts] type base64 [comment]`.
fn key_of_line(line: &str) -> Option<PublicKey> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| w.starts_with("ssh-") || w.starts_with("ecdsa-sha2-") || w.starts_with("sk-"))?;
    parse_public_key_base64(words.get(at + 1)?).ok()
}

fn read_known_hosts(at: &SshAt, file: &str, subject: String) -> Result<Trust> {
    let path = expand_home(file);
    let failed = |reason: String| {
        ConnectorError::new(ErrorKind::HostKey, "read the known_hosts file for", subject, reason).advice("Correct known_hosts, or give host_key")
    };
    if !path.is_file() {
        return Err(failed(format!("{} does not exist on the worker's machine", path.display())));
    }
    match known_host_keys_path(&at.host, at.port, &path) {
        Ok(keys) if keys.is_empty() => Ok(Trust::Nothing),
        Ok(keys) => Ok(Trust::Keys(keys.into_iter().map(|(_, key)| key).collect())),
        Err(e) => Err(failed(format!("{} cannot be read: {e}", path.display()))),
    }
}

/// `~/x` → the home directory of the worker's user.
pub(super) fn expand_home(file: &str) -> PathBuf {
    match (file.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(file),
    }
}

/// russh asks it for its verdict; the letter stays here for whoever connects.
#[derive(Clone)]
pub(super) struct Gate {
    trust: Trust,
    subject: String,
    refusal: Arc<Mutex<Option<ConnectorError>>>,
}

impl Gate {
    pub(super) fn new(trust: Trust, subject: String) -> Self {
        Self { trust, subject, refusal: Arc::default() }
    }

    /// Why the key was refused, if it was.
    pub(super) fn refusal(&self) -> Option<ConnectorError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl client::Handler for Gate {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let verdict = self.trust.verdict(&shown.public_key(), &self.subject);
        let accepted = verdict.is_ok();
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = verdict.err();
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIIY0TApyLg7cXmLcbBzbQQEZeZRZvBbfZ5qPIB7gGQFd";

    fn key(text: &str) -> PublicKey {
        parse_public_key_base64(text).unwrap()
    }

    #[test]
    fn every_form_of_pin_is_read() {
        let shown = key(KEY);
        let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
        for pin in [format!("ssh-ed25519 {KEY}"), format!("[h]:22,1.2.3.4 ssh-ed25519 {KEY} me@there"), fingerprint.clone(), format!("{fingerprint}=")] {
            assert!(read_pin(&pin).unwrap().verdict(&shown, "h:22").is_ok(), "{pin}");
            let error = read_pin(&pin).unwrap().verdict(&key(OTHER), "h:22").unwrap_err();
            assert!(error.kind == ErrorKind::HostKey && error.reason.contains("NOT THE ONE"), "{error}");
        }
        assert!(read_pin("hello").is_none());
    }

    #[test]
    fn an_unknown_key_is_shown_to_be_confirmed() {
        let error = Trust::Nothing.verdict(&key(KEY), "h:22").unwrap_err();
        let fingerprint = key(KEY).fingerprint(HashAlg::Sha256).to_string();
        assert!(error.reason.contains(&fingerprint) && error.advice.contains(&fingerprint));
        assert!(!error.temporary);
    }
}

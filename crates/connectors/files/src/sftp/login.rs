//! Proving who we are: a private key, a password, or a password asked for interactively.

use super::connect::broken;
use super::hostkey::{Gate, expand_home};
use domain::Secret;
use domain::spec::SshLogin;
use ports::{ConnectorError, ErrorKind, Result};
use russh::client::{Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{self, PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};
use std::sync::Arc;

/// The user's name; empty means the name of whoever runs the worker, as OpenSSH does.
pub(super) fn user(login: &SshLogin) -> String {
    if login.username.is_empty() {
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned())
    } else {
        login.username.clone()
    }
}

pub(super) async fn authenticate(handle: &mut Handle<Gate>, login: &SshLogin, subject: &str) -> Result<()> {
    let user = user(login);
    let told = |e| broken("log in to", subject, e);
    let mut tried = Vec::new();
    if let Some(text) = &login.private_key {
        let key = Arc::new(read_key(text, login.passphrase.as_ref(), subject)?);
        let hash = if key.algorithm().is_rsa() { handle.best_supported_rsa_hash().await.map_err(told)?.flatten() } else { None };
        if handle.authenticate_publickey(&user, PrivateKeyWithHashAlg::new(key, hash)).await.map_err(told)?.success() {
            return Ok(());
        }
        tried.push("the private key");
    }
    if let Some(password) = &login.password {
        if handle.authenticate_password(&user, password.expose()).await.map_err(told)?.success()
            || interactively(handle, &user, password).await.map_err(told)?
        {
            return Ok(());
        }
        tried.push("the password");
    }
    let (reason, advice) = match tried.as_slice() {
        [] => ("neither a password nor a private key is given".to_owned(), "Give password or private_key"),
        what => (
            format!("the server refused {} of user '{user}'", what.join(" and ")),
            "Check username, password and private_key, and that the server allows this way of logging in",
        ),
    };
    Err(ConnectorError::new(ErrorKind::Authentication, "log in to", subject, reason).advice(advice))
}

/// Servers that ask for the password in a dialogue (PAM).
async fn interactively(handle: &mut Handle<Gate>, user: &str, password: &Secret) -> Result<bool, russh::Error> {
    let mut state = handle.authenticate_keyboard_interactive_start(user, None::<String>).await?;
    for _ in 0..4 {
        match state {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.expose().to_owned()).collect();
                state = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Ok(false)
}

/// The text of a key, or the file that holds it.
fn read_key(text: &Secret, passphrase: Option<&Secret>, subject: &str) -> Result<PrivateKey> {
    let failed = |reason: String, advice: &str| ConnectorError::new(ErrorKind::Authentication, "read the private key for", subject, reason).advice(advice);
    let inline = text.expose().contains("-----BEGIN ") || text.expose().starts_with("PuTTY-User-Key-File-");
    let content = if inline {
        text.clone()
    } else {
        let path = expand_home(text.expose().trim());
        // The path is not shown: a mistyped key would be in it.
        Secret::new(std::fs::read_to_string(path).map_err(|e| {
            failed(format!("it is neither the text of a key nor a readable file ({})", e.kind()), "Give the text of the key or the path of its file")
        })?)
    };
    decode_secret_key(content.expose(), passphrase.map(Secret::expose)).map_err(|e| match (e, passphrase) {
        (keys::Error::KeyIsEncrypted, None) => failed("it is protected by a passphrase".to_owned(), "Give passphrase"),
        (_, Some(_)) => failed("it cannot be opened with this passphrase".to_owned(), "Check passphrase and private_key"),
        (_, None) => failed("it is damaged or in an unknown format".to_owned(), "OpenSSH, PEM and PuTTY formats can be used"),
    })
}

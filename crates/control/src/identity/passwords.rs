//! Passwords: Argon2id, some tens of milliseconds of a core and 19 MiB each, and never more than two at once.

use crate::Error;
use crate::error::{Code, Kind};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use domain::decode::Problems;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

/// Memory in KiB and passes: about 50 ms on one core of today.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 3;
/// Hashes computed side by side; whoever comes while many wait is asked to come again.
const AT_ONCE: usize = 2;
const WAIT: Duration = Duration::from_secs(10);

/// Shortest and longest password, in bytes.
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;

/// Hashes and checks passwords, off the threads that answer requests.
pub struct Passwords {
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE) }
    }
}

impl Passwords {
    /// The hash to store, with its salt and parameters.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, Error> {
        let turn = self.turn().await?;
        turn.work(move || {
            let made: Result<PasswordHash, _> = hasher().hash_password(password.as_bytes());
            made.map(|hash| hash.to_string()).map_err(|e| format!("a password cannot be hashed: {e}"))
        })
        .await
    }

    /// Waits until a password may be worked on.
    pub async fn turn(&self) -> Result<Turn<'_>, Error> {
        match tokio::time::timeout(WAIT, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            _ => Err(Error::new(Kind::Unavailable, Code::Unavailable, "Many people log in just now; the same request may succeed in a moment")),
        }
    }
}

/// The right to keep a core busy for a moment.
pub struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// Whether the password belongs to the hash. Without a hash (no such user) the same work is done, and the answer is no.
    pub async fn check(self, password: Zeroizing<String>, stored: Option<String>) -> Result<bool, Error> {
        self.work(move || {
            let known = stored.as_deref().and_then(|text| PasswordHash::new(text).ok());
            match known {
                Some(hash) => Ok(hasher().verify_password(password.as_bytes(), &hash).is_ok()),
                None => {
                    // The result is of no use; the time it takes must not tell whether there is such a user.
                    let wasted: Result<PasswordHash, _> = hasher().hash_password(password.as_bytes());
                    drop(wasted);
                    Ok(false)
                }
            }
        })
        .await
    }

    async fn work<T: Send + 'static>(self, work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Error> {
        tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("hashing a password: {e}")))?.map_err(Error::internal)
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Notes what is wrong with a new password.
pub fn judge(field: &str, password: &str, username: &str, problems: &mut Problems) {
    if !LENGTH.contains(&password.chars().count()) {
        problems.note(field, format!("must have {} to {} characters", LENGTH.start(), LENGTH.end()));
    } else if password.eq_ignore_ascii_case(username) {
        problems.note(field, "must not be the user's name");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let passwords = Passwords::default();
        let secret = |s: &str| Zeroizing::new(s.to_owned());
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash(secret("correct horse")).await.unwrap());
        assert!(passwords.turn().await.unwrap().check(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.turn().await.unwrap().check(secret("correct horsf"), Some(hash)).await.unwrap());
        assert!(!passwords.turn().await.unwrap().check(secret("x"), None).await.unwrap());
        assert!(!passwords.turn().await.unwrap().check(secret("x"), Some("not a hash".to_owned())).await.unwrap());
    }
}

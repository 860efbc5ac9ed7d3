//! Secrets at rest: AES-256-GCM-SIV, bound to the tenant and the run they belong to.
//!
//! Keys live in `seal.keys` in the data directory (mode 0600, made at the first start), one a line: id and key. The last line seals, all
//! lines unseal, so a new key is put below and old values stay readable.

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::EngineError;
use rand::RngCore;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FILE: &str = "seal.keys";
/// First byte of every sealed value: the version of this form.
const FORM: u8 = 1;
const ID: usize = 8;
const NONCE: usize = 12;

/// The keys of one installation.
pub struct Keyring {
    keys: Vec<(String, Aes256GcmSiv)>,
    path: PathBuf,
}

impl Keyring {
    /// Reads the key file, or makes it with a first key.
    pub fn open(data_dir: &Path) -> Result<Self, EngineError> {
        let path = data_dir.join(FILE);
        let bad = |reason: String| EngineError::Invalid(format!("the key file {} cannot be used: {reason}", path.display()));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path).map_err(|e| bad(e.to_string()))?,
            Err(error) => return Err(bad(error.to_string())),
        };
        let mode = std::fs::metadata(&path).map_err(|e| bad(e.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(bad(format!("others may read it (mode {:o}); run: chmod 600 {}", mode & 0o777, path.display())));
        }
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let key = line.split_once(' ').and_then(|(id, key)| {
                let key = Zeroizing::new(STANDARD.decode(key.trim()).ok()?);
                (id.len() == ID).then_some(())?;
                Some((id.to_owned(), Aes256GcmSiv::new_from_slice(&key).ok()?))
            });
            keys.push(key.ok_or_else(|| bad(format!("line {} is not an id of {ID} letters and a key of 32 bytes", number + 1)))?);
        }
        if keys.is_empty() {
            return Err(bad("it is empty; restore it from a backup: without it stored secrets cannot be read".to_owned()));
        }
        Ok(Self { keys, path })
    }

    /// Seals for that tenant and run; the same value looks different each time.
    pub fn seal(&self, tenant: &str, run: &str, value: &[u8]) -> Result<Vec<u8>, EngineError> {
        let (id, key) = self.keys.last().ok_or_else(|| EngineError::Internal("there is no key to seal with".to_owned()))?;
        let mut nonce = [0; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let aad = format!("{tenant}/{run}");
        let sealed = key
            .encrypt(Nonce::from_slice(&nonce), Payload { msg: value, aad: aad.as_bytes() })
            .map_err(|_| EngineError::Internal("a value is too large to be sealed".to_owned()))?;
        Ok([&[FORM], id.as_bytes(), &nonce, sealed.as_slice()].concat())
    }

    /// Refuses a value that was sealed for another tenant or run, with an unknown key, or that was changed.
    pub fn unseal(&self, tenant: &str, run: &str, sealed: &[u8]) -> Result<Vec<u8>, EngineError> {
        if sealed.len() < 1 + ID + NONCE || sealed[0] != FORM {
            return Err(EngineError::Internal(format!("a sealed value of run {run} has an unknown form")));
        }
        let (head, rest) = sealed[1..].split_at(ID);
        let (nonce, body) = rest.split_at(NONCE);
        let id = String::from_utf8_lossy(head);
        let (_, key) = self.keys.iter().rev().find(|(known, _)| *known == id).ok_or_else(|| {
            EngineError::Invalid(format!(
                "the secrets of run {run} were sealed with key {id}, which is not in {}; copy that key file from the machine that created the run",
                self.path.display()
            ))
        })?;
        let aad = format!("{tenant}/{run}");
        key.decrypt(Nonce::from_slice(nonce), Payload { msg: body, aad: aad.as_bytes() })
            .map_err(|_| EngineError::Internal(format!("a sealed value of run {run} was changed, or belongs to another run")))
    }
}

fn make(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut key = Zeroizing::new([0_u8; 32]);
    rand::rng().fill_bytes(key.as_mut());
    let id = blake3::hash(key.as_ref()).to_hex();
    let line = Zeroizing::new(format!("{} {}\n", &id[..ID], Zeroizing::new(STANDARD.encode(key.as_ref())).as_str()));
    // Written whole under another name first: two processes that start together end with one key, never with half of one.
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(line),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => std::fs::read_to_string(path).map(Zeroizing::new),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_for_its_tenant_and_run() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keyring::open(dir.path()).unwrap();
        let sealed = keys.seal("t", "r", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_ne!(sealed, keys.seal("t", "r", b"hunter2").unwrap());
        assert_eq!(Keyring::open(dir.path()).unwrap().unseal("t", "r", &sealed).unwrap(), b"hunter2");
        assert!(keys.unseal("other", "r", &sealed).is_err());
        assert!(keys.unseal("t", "other", &sealed).is_err());
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(keys.unseal("t", "r", &changed).is_err());
        assert!(keys.unseal("t", "r", &sealed[..5]).is_err());
    }

    #[test]
    fn a_new_key_below_seals_and_the_old_one_still_opens() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sealed = Keyring::open(dir.path()).unwrap().seal("t", "r", b"x").unwrap();
        let stranger = Keyring::open(other.path()).unwrap();
        let refused = stranger.unseal("t", "r", &sealed).unwrap_err().to_string();
        assert!(refused.contains("copy that key file"), "{refused}");
        let new = std::fs::read_to_string(other.path().join(FILE)).unwrap();
        let old = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        std::fs::write(dir.path().join(FILE), format!("{old}{new}")).unwrap();
        let both = Keyring::open(dir.path()).unwrap();
        assert_eq!(both.unseal("t", "r", &sealed).unwrap(), b"x");
        assert_eq!(stranger.unseal("t", "r", &both.seal("t", "r", b"y").unwrap()).unwrap(), b"y");
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Keyring::open(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Keyring::open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}

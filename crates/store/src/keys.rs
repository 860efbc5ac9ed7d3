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
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};
use zeroize::Zeroizing;

pub const FILE: &str = "seal.keys";
/// Where a sealed value has the id of its key: behind the form, counted from 1 as SQL does.
pub const ID_AT: usize = 2;
/// First byte of every sealed value: the version of this form.
const FORM: u8 = 1;
pub const ID: usize = 8;
const NONCE: usize = 12;

/// How often the file is looked at for a new key.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The keys of one installation. A key that is put into the file is known within a second: nothing has to be restarted.
pub struct Keyring {
    known: RwLock<Known>,
    path: PathBuf,
}

/// What the file held when it was read.
struct Known {
    keys: Vec<(String, Aes256GcmSiv)>,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl Keyring {
    /// Reads the key file, or makes it with a first key.
    pub fn open(data_dir: &Path) -> Result<Self, EngineError> {
        let path = data_dir.join(FILE);
        if !path.exists() {
            make(&path).map_err(|e| unusable(&path, &e.to_string()))?;
        }
        Ok(Self { known: RwLock::new(read(&path)?), path })
    }

    /// Reads the key file; one that is missing is an error.
    pub fn existing(data_dir: &Path) -> Result<Self, EngineError> {
        let path = data_dir.join(FILE);
        Ok(Self { known: RwLock::new(read(&path)?), path })
    }

    /// The id of the key that seals.
    pub fn newest(&self) -> String {
        self.known().keys.last().map(|(id, _)| id.clone()).unwrap_or_default()
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.known().keys.len()
    }

    /// Puts a new key below the others: from now on it seals.
    pub fn add(&self) -> Result<(), EngineError> {
        let text = self.text()?;
        let whole = Zeroizing::new(format!("{}\n{}", text.trim_end(), fresh().as_str()));
        self.replace(&whole)
    }

    /// Forgets all keys but the newest.
    pub fn keep_newest(&self) -> Result<(), EngineError> {
        let text = self.text()?;
        let last = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
        self.replace(&Zeroizing::new(format!("{last}\n")))
    }

    fn text(&self) -> Result<Zeroizing<String>, EngineError> {
        std::fs::read_to_string(&self.path).map(Zeroizing::new).map_err(|e| unusable(&self.path, &e.to_string()))
    }

    fn replace(&self, text: &str) -> Result<(), EngineError> {
        let draft = self.path.with_extension(format!("new-{}", std::process::id()));
        let written = write_private(&draft, text).and_then(|()| std::fs::rename(&draft, &self.path));
        written.map_err(|e| unusable(&self.path, &e.to_string()))?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = read(&self.path)?;
        Ok(())
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again when it has changed; a file that cannot be used leaves the keys as they are.
    fn look(&self) {
        if self.known().looked.elapsed() < LOOK_EVERY {
            return;
        }
        let modified = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.looked = Instant::now();
        if modified.is_some() && modified != known.modified {
            match read(&self.path) {
                Ok(new) => *known = new,
                Err(error) => tracing::warn!(%error, "the key file has changed and cannot be used; the keys known so far stay in use"),
            }
        }
    }

    /// Seals for that tenant and run; the same value looks different each time.
    pub fn seal(&self, tenant: &str, run: &str, value: &[u8]) -> Result<Vec<u8>, EngineError> {
        self.look();
        let known = self.known();
        let (id, key) = known.keys.last().ok_or_else(|| EngineError::Internal("there is no key to seal with".to_owned()))?;
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
        if !self.known().keys.iter().any(|(known, _)| *known == id) {
            self.look();
        }
        let known = self.known();
        let (_, key) = known.keys.iter().rev().find(|(known, _)| *known == id).ok_or_else(|| {
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

fn unusable(path: &Path, reason: &str) -> EngineError {
    EngineError::Invalid(format!("the key file {} cannot be used: {reason}", path.display()))
}

fn read(path: &Path) -> Result<Known, EngineError> {
    let bad = |reason: String| unusable(path, &reason);
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?);
    let meta = std::fs::metadata(path).map_err(|e| bad(e.to_string()))?;
    let mode = meta.permissions().mode();
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
    Ok(Known { keys, modified: meta.modified().ok(), looked: Instant::now() })
}

/// A line with a new random key.
fn fresh() -> Zeroizing<String> {
    let mut key = Zeroizing::new([0_u8; 32]);
    rand::rng().fill_bytes(key.as_mut());
    let id = blake3::hash(key.as_ref()).to_hex();
    Zeroizing::new(format!("{} {}\n", &id[..ID], Zeroizing::new(STANDARD.encode(key.as_ref())).as_str()))
}

/// Writes a new file that only its owner may read, down to the disk.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes the file with a first key, unless another process is faster.
fn make(path: &Path) -> std::io::Result<()> {
    // Written whole under another name first: two processes that start together end with one key, never with half of one.
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    write_private(&draft, &fresh())?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
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

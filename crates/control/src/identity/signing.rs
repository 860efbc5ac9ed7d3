//! The keys that sign our tokens, and the cryptography behind the `jsonwebtoken` crate: ring's, as everywhere in this product.
//!
//! Our own tokens are HS256 and nothing else. RS256 and ES256 are verified only for what an OpenID provider has signed.

use crate::Error;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, Header, Validation};
use ring::{hmac, signature as public};
use serde::Serialize;
use serde::de::DeserializeOwned;
use signature::{Signer, Verifier};
use std::sync::Once;
use zeroize::Zeroizing;

/// Who our tokens are from.
pub const ISSUER: &str = "migration-assistant";

/// A secret shorter than this many bytes can be guessed from a token by trying.
pub const GOOD_LENGTH: usize = 32;

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

/// Secrets in the order in which they came into use: the last one signs, all verify.
pub struct Keys {
    keys: Vec<Key>,
}

impl Keys {
    /// `None` when there is no secret, or an empty one.
    pub fn new(secrets: &[Zeroizing<String>]) -> Option<Self> {
        install();
        let keys: Vec<Key> = secrets.iter().filter(|s| !s.trim().is_empty()).map(|s| Key::of(s.trim().as_bytes())).collect();
        (!keys.is_empty() && keys.len() == secrets.len()).then_some(Self { keys })
    }

    /// `kind` is the `typ` of the header: a token for one purpose is no token for another.
    pub fn sign<T: Serialize>(&self, kind: &str, claims: &T) -> Result<String, Error> {
        let key = self.keys.last().ok_or_else(|| Error::internal("there is no key to sign with"))?;
        let header = Header { typ: Some(kind.to_owned()), kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &key.sign).map_err(|e| Error::internal(format!("a token cannot be signed: {e}")))
    }

    /// The claims of a token of that kind for that audience which one of the keys has signed and whose time it is.
    pub fn verify<T: DeserializeOwned>(&self, kind: &str, audience: &str, token: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.alg != Algorithm::HS256 || header.typ.as_deref() != Some(kind) || header.crit.is_some() {
            return None;
        }
        let key = self.keys.iter().rev().find(|k| header.kid.as_deref() == Some(&k.id))?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[audience]);
        rules.validate_nbf = true;
        // Our own clock, or that of a sibling server.
        rules.leeway = 5;
        jsonwebtoken::decode::<T>(token, &key.verify, &rules).ok().map(|data| data.claims)
    }
}

impl Key {
    /// The id follows from the secret, so that servers with the same secrets understand each other.
    fn of(secret: &[u8]) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"key id");
        Self { id: hex::encode(&tag.as_ref()[..8]), sign: EncodingKey::from_secret(secret), verify: DecodingKey::from_secret(secret) }
    }
}

/// Gives `jsonwebtoken` its cryptography, once a process.
pub fn install() {
    static ONCE: Once = Once::new();
    static RING: CryptoProvider = CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };
    ONCE.call_once(|| {
        // Only another user of the same crate in this process could have been faster; its cryptography does as well.
        let _installed_already = RING.install_default();
    });
}

struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, given).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// A public key of an OpenID provider.
enum Public {
    Rs256 { n: Vec<u8>, e: Vec<u8> },
    Es256(Vec<u8>),
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = match self {
            Self::Rs256 { n, e } => public::RsaPublicKeyComponents { n, e }.verify(&public::RSA_PKCS1_2048_8192_SHA256, message, given),
            Self::Es256(point) => public::UnparsedPublicKey::new(&public::ECDSA_P256_SHA256_FIXED, point).verify(message, given),
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rs256 { .. } => Algorithm::RS256,
            Self::Es256(_) => Algorithm::ES256,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that the crate asks for")]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that the crate asks for")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    match (algorithm, key.family(), key.kind()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)))),
        (Algorithm::RS256, AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => Ok(Box::new(Public::Rs256 { n: n.clone(), e: e.clone() })),
        (Algorithm::ES256, AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => Ok(Box::new(Public::Es256(point.clone()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(&secrets.iter().map(|s| Zeroizing::new((*s).to_owned())).collect::<Vec<_>>()).expect("keys")
    }

    fn claims() -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({"iss": ISSUER, "aud": "a", "nbf": now, "exp": now + 60, "sub": "u"})
    }

    #[test]
    fn the_last_key_signs_and_all_verify() {
        let (old, both, new) = (keys(&["old"]), keys(&["old", "new"]), keys(&["new"]));
        let before = old.sign("k", &claims()).unwrap();
        let after = both.sign("k", &claims()).unwrap();
        assert!(both.verify::<Value>("k", "a", &before).is_some() && both.verify::<Value>("k", "a", &after).is_some());
        assert!(new.verify::<Value>("k", "a", &after).is_some() && new.verify::<Value>("k", "a", &before).is_none());
        assert!(both.verify::<Value>("other", "a", &after).is_none() && both.verify::<Value>("k", "b", &after).is_none());
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert!(Keys::new(&[]).is_none());
        assert!(Keys::new(&[Zeroizing::new(" ".to_owned())]).is_none());
    }
}

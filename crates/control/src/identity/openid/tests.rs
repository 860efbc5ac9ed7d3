//! ID tokens of a provider that plays every trick.

use super::{Provider, Settings, Web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use zeroize::Zeroizing;

const ISSUER: &str = "https://login.example";

struct Fake {
    key: EcdsaKeyPair,
    /// What it calls itself.
    issuer: &'static str,
}

impl Fake {
    fn new(issuer: &'static str) -> Arc<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        Arc::new(Self { key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key"), issuer })
    }

    fn jwk(&self) -> Value {
        let point = &self.key.public_key().as_ref()[1..];
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k", "x": URL_SAFE_NO_PAD.encode(&point[..32]), "y": URL_SAFE_NO_PAD.encode(&point[32..])})
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn provider(self: &Arc<Self>) -> Provider {
        Provider::new(Settings {
            issuer: ISSUER.to_owned(),
            client_id: "us".to_owned(),
            client_secret: Zeroizing::new("s".to_owned()),
            redirect_uri: "https://ma.example/auth/oidc/callback".to_owned(),
            newcomers: None,
            web: self.clone(),
        })
    }
}

#[async_trait::async_trait]
impl Web for Fake {
    async fn get(&self, url: &str) -> Result<Value, String> {
        match url {
            "https://login.example/keys" => Ok(json!({"keys": [self.jwk(), {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "other"}]})),
            "https://login.example/.well-known/openid-configuration" => Ok(json!({
                "issuer": self.issuer, "authorization_endpoint": "https://login.example/auth", "token_endpoint": "https://login.example/token", "jwks_uri": "https://login.example/keys",
            })),
            other => Err(format!("nothing at {other}")),
        }
    }

    async fn post(&self, _: &str, _: &[(&str, &str)], _: (&str, &str)) -> Result<Value, String> {
        Err("no tokens here".to_owned())
    }
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn with(value: &Value, field: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[field] = new;
    value
}

#[tokio::test]
async fn only_a_fresh_token_for_us_and_this_log_in_counts() {
    let fake = Fake::new(ISSUER);
    let provider = fake.provider();
    let now = jiff::Timestamp::now().as_second();
    let header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
    let claims = json!({"iss": ISSUER, "aud": "us", "sub": "ann", "nonce": "n", "iat": now, "exp": now + 300});
    assert_eq!(provider.verified(&fake.signed(&header, &claims), "n").await.expect("a good token").sub, "ann");
    let several = with(&with(&claims, "aud", json!(["us", "them"])), "azp", json!("us"));
    assert!(provider.verified(&fake.signed(&header, &several), "n").await.is_ok());

    for (field, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", Value::Null),
        ("aud", json!("them")),
        ("aud", json!(["us", "them"])),
        ("aud", Value::Null),
        ("azp", json!("them")),
        ("nonce", json!("m")),
        ("nonce", Value::Null),
        ("exp", json!(now - 300)),
        ("exp", json!("later")),
        ("exp", Value::Null),
        ("nbf", json!(now + 300)),
        ("sub", json!("")),
        ("sub", Value::Null),
    ] {
        let token = fake.signed(&header, &with(&claims, field, value.clone()));
        assert!(provider.verified(&token, "n").await.is_err(), "{field} {value}");
    }
    let stranger = Fake::new(ISSUER);
    let by_public_key =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, fake.key.public_key().as_ref()), message(&with(&header, "alg", json!("HS256")), &claims).as_bytes());
    for (why, token) in [
        ("another's key", stranger.signed(&header, &claims)),
        ("unknown key id", fake.signed(&with(&header, "kid", json!("x")), &claims)),
        ("a key of another kind", fake.signed(&with(&header, "kid", json!("other")), &claims)),
        ("RS256 with an elliptic key", fake.signed(&with(&header, "alg", json!("RS256")), &claims)),
        ("unsigned", format!("{}.", message(&with(&header, "alg", json!("none")), &claims))),
        ("the public key as a secret", format!("{}.{}", message(&with(&header, "alg", json!("HS256")), &claims), URL_SAFE_NO_PAD.encode(by_public_key))),
        ("critical extension", fake.signed(&with(&header, "crit", json!(["x"])), &claims)),
        ("no token", "x".to_owned()),
    ] {
        assert!(provider.verified(&token, "n").await.is_err(), "{why}");
    }
}

#[tokio::test]
async fn a_provider_that_calls_itself_otherwise_is_not_asked() {
    let error = Fake::new("https://evil.example").provider().addresses().await.err().expect("refused");
    assert!(error.private.expect("a reason").contains("calls itself") && !error.message.contains("evil"));
}

//! Tokens that are not ours, not any more, not yet, or were changed: none opens the door.

use super::auth::{Guarded, PASSWORD, SECRET};
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use control::identity::Settings;
use ring::hmac;
use serde_json::{Value, json};
use zeroize::Zeroizing;

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn sealed(algorithm: hmac::Algorithm, secret: &[u8], message: &str) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes())))
}

fn signed(secret: &str, header: &Value, claims: &Value) -> String {
    sealed(hmac::HMAC_SHA256, secret.as_bytes(), &format!("{}.{}", encoded(header), encoded(claims)))
}

/// Header and claims of a token.
fn parts(token: &str) -> (Value, Value) {
    let part = |n: usize| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).expect("a part")).expect("base64")).expect("JSON");
    (part(0), part(1))
}

fn with(value: &Value, field: &str, new: Value) -> Value {
    let mut value = value.clone();
    match new {
        Value::Null => drop(value.as_object_mut().expect("an object").remove(field)),
        new => value[field] = new,
    }
    value
}

#[tokio::test]
async fn no_forged_token_opens_the_door() {
    let guarded = Guarded::new().await;
    let good = guarded.admin.clone();
    let (header, claims) = parts(&good);
    let now = claims["iat"].as_i64().expect("a time");
    assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("at+jwt")));
    let ours = signed(SECRET, &header, &claims);
    assert_eq!(guarded.as_token(&ours, Method::GET, "/auth/me", None).await.status, StatusCode::OK, "this test signs as the server does");

    let mut corpus: Vec<(String, String)> = Vec::new();
    let mut forge = |why: &str, token: String| corpus.push((why.to_owned(), token));
    let pieces: Vec<&str> = good.split('.').collect();
    let (h, c, s) = (pieces[0], pieces[1], pieces[2]);

    // The algorithm is ours to choose.
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let head = encoded(&with(&header, "alg", json!(alg)));
        forge(&format!("alg {alg:?} without a signature"), format!("{head}.{c}."));
        forge(&format!("alg {alg:?} with the old signature"), format!("{head}.{c}.{s}"));
    }
    for (alg, digest) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        forge(alg, sealed(digest, SECRET.as_bytes(), &format!("{}.{c}", encoded(&with(&header, "alg", json!(alg))))));
    }
    for alg in ["RS256", "ES256", "PS256", "EdDSA", "RS512", "hs256", "HS256 ", "HS256\0"] {
        forge(&format!("alg {alg:?}, signed with the secret"), signed(SECRET, &with(&header, "alg", json!(alg)), &claims));
    }
    forge("alg missing", signed(SECRET, &with(&header, "alg", Value::Null), &claims));
    forge("alg a number", signed(SECRET, &with(&header, "alg", json!(256)), &claims));

    // The header.
    for typ in [json!("JWT"), json!("jwt"), json!("authorize+jwt"), json!(""), Value::Null] {
        forge(&format!("typ {typ}"), signed(SECRET, &with(&header, "typ", typ), &claims));
    }
    for kid in [json!("other"), json!(""), json!("../../dev/null"), json!("' OR 1=1 --"), Value::Null, json!(1)] {
        forge(&format!("kid {kid}"), signed(SECRET, &with(&header, "kid", kid), &claims));
    }
    forge("unknown critical extension", signed(SECRET, &with(&header, "crit", json!(["x"])), &claims));
    forge("a key of its own (jwk)", signed("mine", &with(&header, "jwk", json!({"kty": "oct", "k": "bWluZQ"})), &claims));
    forge("a key from elsewhere (jku)", signed("mine", &with(&header, "jku", json!("https://evil.example/keys")), &claims));

    // The key.
    for secret in ["", "secret", "a secret of this test, long enough for HS25", "a secret of this test, long enough for HS256 "] {
        forge(&format!("signed with {secret:?}"), signed(secret, &header, &claims));
    }

    // The times.
    for (field, value) in [
        ("exp", json!(now - 3600)),
        ("exp", json!(now - 6)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!("9999999999")),
        ("exp", json!({})),
        ("exp", Value::Null),
        ("nbf", json!(now + 3600)),
        ("nbf", json!("soon")),
        ("nbf", Value::Null),
        ("iss", json!("somebody")),
        ("iss", Value::Null),
        ("aud", json!("authorize+jwt")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("sub", json!("somebody")),
        ("sub", Value::Null),
        ("sid", json!("00000000000000000000000000000000")),
        ("sid", json!(["x"])),
        ("sid", Value::Null),
    ] {
        forge(&format!("{field} {value}"), signed(SECRET, &header, &with(&claims, field, value)));
    }

    // The form.
    let flipped = |text: &str| {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).expect("base64");
        bytes[0] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    forge("signature changed", format!("{h}.{c}.{}", flipped(s)));
    forge("claims changed", format!("{h}.{}.{s}", encoded(&with(&claims, "sub", json!("x")))));
    forge("signature missing", format!("{h}.{c}"));
    forge("signature empty", format!("{h}.{c}."));
    forge("signature cut", format!("{h}.{c}.{}", &s[..s.len() - 2]));
    forge("signature too long", format!("{h}.{c}.{s}AA"));
    forge("a part more", format!("{good}.x"));
    forge("claims missing", format!("{h}..{s}"));
    forge("header missing", format!(".{c}.{s}"));
    forge("padded", format!("{h}.{c}.{s}="));
    forge("the other base64", format!("{h}.{c}.{}", STANDARD.encode(URL_SAFE_NO_PAD.decode(s).expect("base64"))));
    forge("other last bits", format!("{h}.{c}.{}{}", &s[..s.len() - 1], if s.ends_with('A') { 'B' } else { char::from(s.as_bytes()[s.len() - 1] + 1) }));
    forge("claims no JSON", sealed(hmac::HMAC_SHA256, SECRET.as_bytes(), &format!("{h}.{}", URL_SAFE_NO_PAD.encode("{"))));
    forge("claims a list", sealed(hmac::HMAC_SHA256, SECRET.as_bytes(), &format!("{h}.{}", URL_SAFE_NO_PAD.encode("[]"))));
    forge("five parts, as if encrypted", format!("{good}.x.y"));
    forge("not a token", "token".to_owned());
    forge("dots", "..".to_owned());
    forge("nothing", String::new());
    forge("very long", "a".repeat(7000));
    forge("its own refresh token", "mr_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned());

    assert!(corpus.len() >= 40, "only {}", corpus.len());
    for (why, token) in corpus {
        let answer = guarded.as_token(&token, Method::GET, "/auth/me", None).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "AUTHENTICATION_REQUIRED"), "{why}: {}", answer.text);
        assert!(token.len() < 20 || !answer.text.contains(&token), "{why}: the token is repeated in the answer");
    }
    assert_eq!(guarded.as_token(&good, Method::GET, "/auth/me", None).await.status, StatusCode::OK, "the good one still is");
}

/// A new secret is put last: it signs, and tokens of the older one hold until they expire.
#[tokio::test]
async fn secrets_are_changed_without_logging_anybody_out() {
    let old = Guarded::new().await;
    let bench = super::bench::Bench::new().await;
    let secrets = [SECRET, "the next secret, which is as long as this"].map(|s| Zeroizing::new(s.to_owned())).to_vec();
    bench.control.begin_identity(Settings { secrets, ..Settings::default() }).await.expect("identity");
    bench.control.first_administrator(Some(Zeroizing::new(PASSWORD.to_owned()))).await.expect("an administrator");
    let new = Guarded { bench, admin: String::new() };
    let token = new.log_in("admin").await;
    let (header, claims) = parts(&token);
    assert_ne!(header["kid"], parts(&old.admin).0["kid"]);
    let by_old_key = signed(SECRET, &parts(&old.admin).0, &claims);
    assert_eq!(new.as_token(&by_old_key, Method::GET, "/auth/me", None).await.status, StatusCode::OK);
    assert_eq!(old.as_token(&token, Method::GET, "/auth/me", None).await.status, StatusCode::UNAUTHORIZED);
}

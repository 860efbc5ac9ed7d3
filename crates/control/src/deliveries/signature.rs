//! Signatures as Standard Webhooks want them: HMAC-SHA256 over id, time and body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::Secret;
use jiff::Timestamp;
use ring::hmac;

/// The three headers of a message. Several secrets give several signatures, so that a receiver may know either.
pub(super) fn headers(id: &str, at: Timestamp, body: &str, secrets: &[Secret]) -> Vec<(String, String)> {
    let seconds = at.as_second().to_string();
    let mut out = vec![("webhook-id".to_owned(), id.to_owned()), ("webhook-timestamp".to_owned(), seconds.clone())];
    if !secrets.is_empty() {
        let signed = format!("{id}.{seconds}.{body}");
        let signatures: Vec<String> = secrets.iter().map(|secret| sign(secret, &signed)).collect();
        out.push(("webhook-signature".to_owned(), signatures.join(" ")));
    }
    out
}

fn sign(secret: &Secret, signed: &str) -> String {
    let text = secret.expose();
    // A secret that somebody else made up, in no known form, is taken as it is.
    let key = text.strip_prefix("whsec_").and_then(|rest| BASE64_STANDARD.decode(rest).ok()).unwrap_or_else(|| text.as_bytes().to_vec());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_specifications_example() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let found = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#, &[secret.clone(), Secret::new("plain words")]);
        let signature = &found.iter().find(|(name, _)| name == "webhook-signature").unwrap().1;
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,X8r2rKntoEWqVpbkfGoPJhW4mV8IuVNDzdgApHtzUlM=");
        assert_eq!(found[1].1, "1614265330");
        assert_eq!(headers("m", at, "{}", &[]).len(), 2, "nothing to sign with");
    }
}

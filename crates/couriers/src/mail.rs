//! E-mail over SMTP: one connection a letter, encrypted before anything is said about who we are.

use crate::addresses::Policy;
use crate::names::{Lookup, NoAddress, checked};
use domain::Secret;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use percent_encoding::percent_decode_str;
use ports::courier::{Letter, Undelivered};
use std::net::IpAddr;
use std::time::Duration;
use url::Url;

/// One whole try.
const TIMEOUT: Duration = Duration::from_secs(20);
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// An e-mail server and who we are to it.
pub struct Mailer {
    host: String,
    port: u16,
    encryption: Encryption,
    login: Option<(String, Secret)>,
    from: Mailbox,
    /// Certificates in PEM that are trusted instead of the system's authorities.
    ca: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    StartTls,
    Implicit,
    /// Only without a login.
    None,
}

impl Mailer {
    /// `smtp://user:password@host:port` (STARTTLS, port 587), `smtps://…` (TLS from the first byte, port 465), or
    /// `smtp://host:port?tls=none` for a relay that knows no TLS, without a login. `from` is the sender of every letter.
    ///
    /// # Errors
    /// What is wrong, without the password.
    pub fn new(url: &Secret, from: &str, ca: Option<Vec<u8>>) -> Result<Self, String> {
        let form = "it must have the form smtp://user:password@host:587 or smtps://user:password@host:465";
        let url = Url::parse(url.expose()).map_err(|e| format!("the address of the e-mail server cannot be read ({e}); {form}"))?;
        let encryption = encryption(&url)?;
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| format!("the address of the e-mail server names no host; {form}"))?;
        let login = login(&url)?;
        if login.is_some() && encryption == Encryption::None {
            return Err("a password is never sent without TLS: leave out '?tls=none' or the login".to_owned());
        }
        let from = from.parse().map_err(|e| format!("the sender '{}' is no e-mail address: {e}", from.escape_default()))?;
        let port = url.port().unwrap_or(if encryption == Encryption::Implicit { 465 } else { 587 });
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, encryption, login, from, ca })
    }

    pub(crate) async fn send(&self, letter: &Letter, policy: Policy, names: &dyn Lookup) -> Result<(), Undelivered> {
        let message = self.message(letter)?;
        let sending = async {
            let ip = self.address(policy, names).await?;
            self.transport(ip)?.send(message).await.map(drop).map_err(|e| self.not_sent(&e))
        };
        let late = || Undelivered::for_now(format!("the e-mail server {}:{} did not take the letter within {} s", self.host, self.port, TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, sending).await.unwrap_or_else(|_| Err(late()))
    }

    fn message(&self, letter: &Letter) -> Result<Message, Undelivered> {
        let bad = |what: &str, why: String| Undelivered::for_good(format!("the {what} cannot be used: {why}"));
        let id = format!("<{}@{}>", letter.id, self.from.email.domain());
        let mut message = Message::builder().from(self.from.clone()).message_id(Some(id)).subject(&letter.subject);
        for to in &letter.to {
            message = message.to(to.parse().map_err(|e| bad("recipient", format!("'{}': {e}", to.escape_default())))?);
        }
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        message
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))
            .map_err(|e| bad("letter", e.to_string()))
    }

    /// The address that is connected to, checked like a webhook's.
    async fn address(&self, policy: Policy, names: &dyn Lookup) -> Result<IpAddr, Undelivered> {
        if let Ok(ip) = self.host.parse() {
            return policy.refuses(ip).map_or(Ok(ip), |why| Err(Undelivered::for_good(format!("the e-mail server leads inside: {why}"))));
        }
        match checked(names, policy, &self.host).await {
            Ok(found) => found.first().copied().ok_or_else(|| Undelivered::for_now(format!("the e-mail server {} has no address", self.host))),
            Err(NoAddress::Refused(refused)) => Err(Undelivered::for_now(format!("e-mail: {refused}"))),
            Err(NoAddress::NotFound(error)) => Err(Undelivered::for_now(format!("the e-mail server {} is not found: {error}", self.host))),
        }
    }

    fn transport(&self, ip: IpAddr) -> Result<AsyncSmtpTransport<Tokio1Executor>, Undelivered> {
        let tls = match self.encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(self.tls()?),
            Encryption::Implicit => Tls::Wrapper(self.tls()?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(ip.to_string()).port(self.port).tls(tls).timeout(Some(STEP_TIMEOUT));
        if let Some((user, password)) = &self.login {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(transport.build())
    }

    fn tls(&self) -> Result<TlsParameters, Undelivered> {
        let bad = |e: lettre::transport::smtp::Error| Undelivered::for_good(format!("TLS to the e-mail server cannot be prepared: {e}"));
        let mut tls = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.ca {
            tls = tls.certificate_store(CertificateStore::None).add_root_certificate(Certificate::from_pem(pem).map_err(bad)?);
        }
        tls.build_rustls().map_err(bad)
    }

    fn not_sent(&self, error: &lettre::transport::smtp::Error) -> Undelivered {
        let reason = format!("the e-mail server {}:{} did not take the letter: {error}", self.host, self.port);
        // A refused login is the operator's to repair; what is said of the letter or its recipient is final.
        let about_us = error.status().is_some_and(|code| code.to_string().starts_with("53"));
        if error.is_permanent() && !about_us { Undelivered::for_good(reason) } else { Undelivered::for_now(reason) }
    }
}

fn encryption(url: &Url) -> Result<Encryption, String> {
    let words: Vec<(String, String)> = url.query_pairs().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    match (url.scheme(), words.as_slice()) {
        ("smtps", []) => Ok(Encryption::Implicit),
        ("smtp", []) => Ok(Encryption::StartTls),
        ("smtp", [(name, value)]) if name == "tls" && value == "none" => Ok(Encryption::None),
        ("smtp" | "smtps", _) => Err("the address of the e-mail server takes only '?tls=none', and only with smtp://".to_owned()),
        (other, _) => Err(format!("the address of the e-mail server must start with smtp:// or smtps://, not {other}:")),
    }
}

fn login(url: &Url) -> Result<Option<(String, Secret)>, String> {
    let decoded =
        |text: &str| percent_decode_str(text).decode_utf8().map(|t| t.into_owned()).map_err(|_| "the login of the e-mail server is not UTF-8".to_owned());
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, Some(password)) if !user.is_empty() => Ok(Some((decoded(user)?, Secret::new(decoded(password)?)))),
        _ => Err("the login of the e-mail server needs a user and a password, percent-encoded where they contain signs".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(url: &str) -> Result<Mailer, String> {
        Mailer::new(&Secret::new(url), "Migrations <migrations@example.com>", None)
    }

    #[test]
    fn the_three_forms() {
        let relay = made("smtp://relay.example").unwrap();
        assert_eq!((relay.host.as_str(), relay.port, relay.encryption, relay.login.is_none()), ("relay.example", 587, Encryption::StartTls, true));
        let wrapped = made("smtps://us%40er:p%2Fw@mail.example").unwrap();
        assert_eq!((wrapped.port, wrapped.encryption), (465, Encryption::Implicit));
        let (user, password) = wrapped.login.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("us@er", "p/w"));
        assert_eq!(made("smtp://[::1]:2525?tls=none").unwrap().host, "::1");
    }

    #[test]
    fn a_password_is_never_sent_in_the_clear_nor_shown() {
        for bad in [
            "smtp://u:canary-word@h?tls=none",
            "smtp://u:canary-word@h?tls=maybe",
            "http://u:canary-word@h",
            "smtp://u@h",
            "smtp://:canary-word@h",
            "nonsense canary-word",
        ] {
            let why = made(bad).err().unwrap_or_else(|| panic!("{bad} was taken"));
            assert!(!why.contains("canary-word"), "{why}");
        }
        assert!(Mailer::new(&Secret::new("smtp://h"), "nobody", None).is_err());
    }
}

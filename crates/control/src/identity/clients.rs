//! OAuth clients: applications that users of a tenant let in.

use super::{CLIENT, SESSION, body, digest, new_id, random, stored};
use crate::caller::Caller;
use crate::{Control, Error, Filter, time};
use domain::decode::{Fields, Problems};
use ports::records::{Record, RecordFilter, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use subtle::ConstantTimeEq;
use url::Url;
use utoipa::ToSchema;

/// As stored; the record's state is its tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub name: String,
    pub redirect_uris: Vec<String>,
    /// Hash of the secret of a confidential client.
    secret: Option<String>,
}

pub(super) struct Client {
    pub id: String,
    pub tenant: String,
    pub body: Body,
}

/// A client, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClientView {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    /// The same as `id`, by its name in OAuth.
    pub client_id: String,
    #[schema(example = "Deployment dashboard")]
    pub name: String,
    pub tenant_id: String,
    #[schema(example = json!(["https://dashboard.example.com/callback"]))]
    pub redirect_uris: Vec<String>,
    /// Whether it keeps a secret. One that cannot (an app, a page) must use PKCE.
    pub confidential: bool,
    pub created_at: String,
}

/// Answer of the creation: the only time that the secret is shown.
#[derive(Clone, Serialize, ToSchema)]
pub struct NewClient {
    #[serde(flatten)]
    pub client: ClientView,
    /// `null` for a client that is not confidential.
    pub client_secret: Option<String>,
}

impl Client {
    pub fn is_confidential(&self) -> bool {
        self.body.secret.is_some()
    }

    /// A confidential client has shown its secret; another has none to show.
    pub fn is_proved_by(&self, secret: Option<&str>) -> bool {
        match (&self.body.secret, secret) {
            (Some(stored), Some(given)) => stored.as_bytes().ct_eq(digest(given).as_bytes()).into(),
            (None, given) => given.is_none_or(str::is_empty),
            (Some(_), None) => false,
        }
    }
}

impl Control {
    /// Body: `name`, `redirect_uris`, `confidential` (true without it).
    pub async fn create_client(&self, caller: &Caller, given: &Value) -> Result<NewClient, Error> {
        let (name, redirect_uris, confidential) = decode(given, true)?;
        let client_secret = confidential.then(|| random(32));
        let new = Body { name, redirect_uris, secret: client_secret.as_deref().map(digest) };
        let fields = ports::records::Fields::body(body(&new)?).state(&caller.tenant);
        let made = self.records().apply(vec![Write::insert(SYSTEM, CLIENT, &new_id(), fields)]).await?;
        let record = made.first().ok_or_else(|| Error::internal("the new client was not answered"))?;
        Ok(NewClient { client: view(record)?, client_secret })
    }

    /// The clients of the caller's tenant, newest first.
    pub async fn clients(&self, caller: &Caller, mut query: Filter) -> Result<Vec<ClientView>, Error> {
        let page = query.page();
        query.done()?;
        let filter = RecordFilter { states: vec![caller.tenant.clone()], ..page.filter() };
        self.records().list(SYSTEM, CLIENT, &filter).await?.iter().map(view).collect()
    }

    pub async fn client(&self, caller: &Caller, id: &str) -> Result<ClientView, Error> {
        view(&self.known_client(caller, id).await?)
    }

    /// Body: `name`, `redirect_uris`. The secret stays.
    pub async fn change_client(&self, caller: &Caller, id: &str, given: &Value) -> Result<ClientView, Error> {
        let (name, redirect_uris, _) = decode(given, false)?;
        let record = self.known_client(caller, id).await?;
        let changed = Body { name, redirect_uris, ..stored(&record)? };
        let written = self.records().apply(vec![Write::update(&record, ports::records::Fields::body(body(&changed)?))]).await?;
        view(written.first().ok_or_else(|| Error::internal("the changed client was not answered"))?)
    }

    /// The client goes, and the sessions that it was given.
    pub async fn delete_client(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let record = self.known_client(caller, id).await?;
        let mut writes = vec![Write::delete(&record)];
        let sessions = self.records().list(SYSTEM, SESSION, &RecordFilter::default()).await?;
        let theirs = sessions.into_iter().filter(|s| s.body["client"] == id);
        writes.extend(theirs.map(|s| Write::Delete { tenant: s.tenant, kind: s.kind, id: s.id, version: None }));
        self.records().apply(writes).await?;
        self.identity().standings.forget();
        Ok(())
    }

    pub(super) async fn client_record(&self, id: &str) -> Result<Option<Client>, Error> {
        let record = self.records().get(SYSTEM, CLIENT, id).await?;
        record.map(|r| Ok(Client { id: r.id.clone(), tenant: r.state.clone().unwrap_or_default(), body: stored(&r)? })).transpose()
    }

    async fn known_client(&self, caller: &Caller, id: &str) -> Result<Record, Error> {
        let found = self.records().get(SYSTEM, CLIENT, id).await?.filter(|r| r.state.as_deref() == Some(&caller.tenant));
        found.ok_or_else(|| Error::not_found("client", id))
    }
}

fn decode(given: &Value, is_new: bool) -> Result<(String, Vec<String>, bool), Error> {
    let mut problems = Problems::default();
    let decoded = Fields::of("", given, &mut problems).map(|mut fields| {
        let name = fields.required_text("name", &mut problems);
        if name.chars().count() > 200 || name.chars().any(char::is_control) {
            problems.note("name", "may have up to 200 characters, in one line");
        }
        let uris = fields.texts("redirect_uris", &mut problems);
        if uris.is_empty() || uris.len() > 20 {
            problems.note("redirect_uris", "must have 1 to 20 addresses");
        }
        for (i, uri) in uris.iter().enumerate() {
            if let Err(reason) = judge_address(uri) {
                problems.note(format!("redirect_uris[{i}]"), reason);
            }
        }
        let confidential = is_new && fields.flag("confidential", true, &mut problems);
        fields.done(&mut problems);
        (name, uris, confidential)
    });
    decoded.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
}

/// An address that a browser may be sent to with a code.
fn judge_address(text: &str) -> Result<(), &'static str> {
    let plain = text.len() <= 2000 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\^`{|};,".contains(&b));
    let url = Url::parse(text).ok().filter(|_| plain).ok_or("must be an absolute address, such as https://app.example.com/callback")?;
    if text.contains('#') {
        return Err("must not have a fragment (#…)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password");
    }
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" if !host.is_empty() => Ok(()),
        "http" if ["localhost", "127.0.0.1", "[::1]"].contains(&host) => Ok(()),
        "http" => Err("must be https, except on this machine (http://127.0.0.1, http://localhost)"),
        // An application of its own on a device (RFC 8252): com.example.app:/callback.
        scheme if scheme.contains('.') => Ok(()),
        _ => Err("must be https, http on this machine, or an application's own scheme such as com.example.app:/callback"),
    }
}

fn view(record: &Record) -> Result<ClientView, Error> {
    let client: Body = stored(record)?;
    Ok(ClientView {
        id: record.id.clone(),
        client_id: record.id.clone(),
        name: client.name,
        tenant_id: record.state.clone().unwrap_or_default(),
        redirect_uris: client.redirect_uris,
        confidential: client.secret.is_some(),
        created_at: time::text(record.created_at),
    })
}

#[cfg(test)]
mod tests {
    use super::judge_address;

    #[test]
    fn browsers_are_sent_to_safe_addresses_only() {
        for good in
            ["https://a.example/cb", "https://a.example:8443/cb?x=1", "http://127.0.0.1:9/cb", "http://localhost/cb", "http://[::1]:1/", "com.example.app:/cb"]
        {
            assert_eq!(judge_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "a.example/cb",
            "http://a.example/cb",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "https://a.example/cb#x",
            "https://u:p@a.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://a.example/ x",
            "https://a.example/\r\nx",
            "https://a.example/;sandbox",
            "https:///",
            "myapp:/cb",
            "https://a.example/'",
            "ftp://a.example/",
        ] {
            assert!(judge_address(bad).is_err(), "{bad}");
        }
    }
}

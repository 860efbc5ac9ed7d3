//! `serve --oidc-…`: logging in through an OpenID provider, and how it is reached.

use crate::failure::{Exit, Failure};
use clap::Args as ClapArgs;
use control::identity::openid::{Settings, Web};
use control::identity::scopes;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest wait for one answer of the provider.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const LIMIT: usize = 1 << 20;

#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_field_names, reason = "a field is the name of its option")]
pub struct Oidc {
    /// Let people log in through this OpenID provider: https://login.example.com
    #[arg(long, value_name = "URL", requires_all = ["auth_enabled", "oidc_client_id"])]
    oidc_issuer: Option<String>,
    /// What the provider calls this server
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    oidc_client_id: Option<String>,
    /// The secret that goes with it; better the file or the environment
    #[arg(long, value_name = "SECRET", env = "MIGRATION_ASSISTANT_OIDC_CLIENT_SECRET", hide_env_values = true)]
    oidc_client_secret: Option<String>,
    /// File that holds the secret
    #[arg(long, value_name = "FILE", requires = "oidc_issuer", conflicts_with = "oidc_client_secret")]
    oidc_client_secret_file: Option<PathBuf>,
    /// Our address as the provider knows it [default: http://HOST:PORT/auth/oidc/callback]
    #[arg(long, value_name = "URL", requires = "oidc_issuer")]
    oidc_redirect_uri: Option<String>,
    /// Tenant in which people whom the provider knows become users by themselves; without it only known users get in
    #[arg(long, value_name = "TENANT", requires = "oidc_issuer")]
    oidc_tenant: Option<String>,
    /// What they may do there
    #[arg(long, value_name = "SCOPES", requires = "oidc_tenant", default_value = "migrations:read presets:read templates:read")]
    oidc_scopes: String,
}

impl Oidc {
    /// `None` without a provider. `address` is where the server listens.
    pub fn settings(&self, address: SocketAddr) -> Result<Option<Settings>, Failure> {
        let (Some(issuer), Some(client_id)) = (&self.oidc_issuer, &self.oidc_client_id) else { return Ok(None) };
        let local = issuer.starts_with("http://127.0.0.1") || issuer.starts_with("http://localhost") || issuer.starts_with("http://[::1]");
        if !issuer.starts_with("https://") && !local {
            return Err(Failure::usage(format!("--oidc-issuer {issuer}: must be https, except on this machine")));
        }
        let granted = scopes::parse(&self.oidc_scopes).ok_or_else(|| Failure::usage(format!("--oidc-scopes {}: has unknown words", self.oidc_scopes)))?;
        Ok(Some(Settings {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: self.secret()?,
            redirect_uri: self.oidc_redirect_uri.clone().unwrap_or_else(|| format!("http://{address}/auth/oidc/callback")),
            newcomers: self.oidc_tenant.clone().map(|tenant| (tenant, granted)),
            web: Arc::new(Http::new()?),
        }))
    }

    fn secret(&self) -> Result<Zeroizing<String>, Failure> {
        let text = match (&self.oidc_client_secret_file, &self.oidc_client_secret) {
            (Some(file), _) => std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("--oidc-client-secret-file {}: {e}", file.display())))?,
            (None, Some(secret)) => secret.clone(),
            (None, None) => {
                return Err(Failure::usage("--oidc-issuer needs the client's secret: MIGRATION_ASSISTANT_OIDC_CLIENT_SECRET or --oidc-client-secret-file"));
            }
        };
        Ok(Zeroizing::new(text.trim().to_owned()))
    }
}

/// The provider over HTTP. Redirects are not followed: an address that the provider publishes is the one.
struct Http {
    client: reqwest::Client,
}

impl Http {
    fn new() -> Result<Self, Failure> {
        let agent = concat!("migration-assistant/", env!("CARGO_PKG_VERSION"));
        let client = reqwest::Client::builder().user_agent(agent).timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|e| Failure::new(Exit::Failed, "INTERNAL_ERROR", format!("The HTTP client could not be made: {e}")))?;
        Ok(Self { client })
    }

    async fn json(&self, request: reqwest::RequestBuilder, url: &str) -> Result<Value, String> {
        // The error's own words may hold the address with its parameters.
        let told = |e: reqwest::Error| format!("{url}: {}", e.without_url());
        let mut response = request.header("accept", "application/json").send().await.map_err(told)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(told)? {
            body.extend_from_slice(&piece);
            if body.len() > LIMIT {
                return Err(format!("{url}: the answer is larger than {LIMIT} bytes"));
            }
        }
        let value: Value = serde_json::from_slice(&body).map_err(|_| format!("{url}: status {status}, and no JSON"))?;
        if status.is_success() { Ok(value) } else { Err(format!("{url}: status {status}, error {}", value["error"])) }
    }
}

#[async_trait::async_trait]
impl Web for Http {
    async fn get(&self, url: &str) -> Result<Value, String> {
        self.json(self.client.get(url), url).await
    }

    async fn post(&self, url: &str, form: &[(&str, &str)], (id, secret): (&str, &str)) -> Result<Value, String> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(url).basic_auth(id, Some(secret)).header("content-type", "application/x-www-form-urlencoded").body(body);
        self.json(request, url).await
    }
}

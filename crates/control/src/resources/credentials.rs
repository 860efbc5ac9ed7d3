//! Credentials.

use super::decode;
use crate::workloads::stored::{CREDENTIALS, CredentialsBody, credentials_fields, read};
use crate::{Control, Error, Filter};
use domain::secret::MASK;
use domain::workloads::Credentials;
use ports::records::Record;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Credentials with their id. The password always reads `********`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CredentialsResource {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "testuser")]
    pub username: String,
    #[schema(example = "********")]
    pub password: &'static str,
    #[schema(example = "testdomain.com")]
    pub domain: Option<String>,
}

impl Control {
    pub async fn create_credentials(&self, tenant: &str, value: &Value) -> Result<CredentialsResource, Error> {
        let wanted = decode(value, |f, p| Credentials::read(f, false, p))?;
        view(&self.add_resource(tenant, CREDENTIALS, credentials_fields(&wanted)?).await?)
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn all_credentials(&self, tenant: &str, query: Filter) -> Result<Vec<CredentialsResource>, Error> {
        self.list_resources(tenant, CREDENTIALS, query).await?.iter().map(view).collect()
    }

    pub async fn credentials(&self, tenant: &str, id: &str) -> Result<CredentialsResource, Error> {
        view(&self.find_resource(tenant, CREDENTIALS, id).await?)
    }

    pub async fn delete_credentials(&self, tenant: &str, id: &str) -> Result<(), Error> {
        self.delete_resource(tenant, CREDENTIALS, id).await
    }
}

fn view(record: &Record) -> Result<CredentialsResource, Error> {
    let body: CredentialsBody = read(record)?;
    Ok(CredentialsResource { id: record.id.clone(), username: body.username, password: MASK, domain: body.domain })
}

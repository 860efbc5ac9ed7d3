//! The cloud that a target VM is in, and how it can be asked about it. Document 0 has `cloud_type` and `cloud_credentials`; where to ask is ours.

use super::Credentials;
use crate::Secret;
use crate::decode::{Fields, Problems};

/// The clouds that a target may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudType {
    Aws,
    Azure,
    Vsphere,
    Vcloud,
}

impl CloudType {
    pub const ALL: [(&'static str, Self); 4] = [("aws", Self::Aws), ("azure", Self::Azure), ("vsphere", Self::Vsphere), ("vcloud", Self::Vcloud)];

    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, c)| *c == self).map_or("", |(word, _)| word)
    }
}

/// Where a cloud is asked, as the caller gave it.
#[derive(Debug, Clone, Default)]
pub struct CloudAccess {
    /// `https://` and a host: a compatible service, or a vCenter.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Belongs to temporary credentials.
    pub session_token: Option<Secret>,
    /// PEM: vouches for the endpoint instead of the system's authorities.
    pub ca: Option<String>,
}

/// A cloud that can be asked, with all that is needed.
#[derive(Debug, Clone)]
pub enum CloudAt {
    Aws(AwsAt),
    Vsphere(VsphereAt),
}

#[derive(Debug, Clone)]
pub struct AwsAt {
    pub region: String,
    /// In the place of the region's own addresses.
    pub endpoint: Option<String>,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
    pub ca: Option<String>,
}

#[derive(Debug, Clone)]
pub struct VsphereAt {
    pub endpoint: String,
    /// With its domain, if it has one.
    pub username: String,
    pub password: Secret,
    pub ca: Option<String>,
}

impl CloudAt {
    /// For messages; no secrets.
    pub fn describe(&self) -> String {
        match self {
            Self::Aws(AwsAt { endpoint: Some(endpoint), .. }) => format!("aws at {endpoint}"),
            Self::Aws(AwsAt { region, .. }) => format!("aws in {region}"),
            Self::Vsphere(VsphereAt { endpoint, .. }) => format!("vsphere at {endpoint}"),
        }
    }

    pub fn ca(&self) -> Option<&str> {
        match self {
            Self::Aws(at) => at.ca.as_deref(),
            Self::Vsphere(at) => at.ca.as_deref(),
        }
    }
}

impl CloudAccess {
    /// Reads `{endpoint?, region?, session_token?, ca?}`.
    pub fn read(fields: Option<Fields<'_>>, cloud: Option<CloudType>, p: &mut Problems) -> Self {
        let Some(mut f) = fields else { return Self::default() };
        let out = Self {
            endpoint: f.text("endpoint", p),
            region: f.text("region", p),
            session_token: f.text("session_token", p).map(Secret::new),
            ca: f.text("ca", p),
        };
        if let Some(endpoint) = &out.endpoint {
            check_endpoint(endpoint, &f.path("endpoint"), p);
        }
        if out.region.as_deref().is_some_and(|r| !is_region(r)) {
            p.note(f.path("region"), "must be a region's name, such as eu-central-1");
        }
        if out.session_token.as_ref().is_some_and(|t| !is_header_word(t.expose())) {
            p.note(f.path("session_token"), "must have plain ASCII letters only, without blanks; was something pasted with it?");
        }
        if out.ca.as_deref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
            p.note(f.path("ca"), "must be a certificate in PEM form");
        }
        if let Some(cloud) = cloud.filter(|c| *c != CloudType::Aws) {
            for field in ["region", "session_token"].into_iter().filter(|field| f.has(field)) {
                p.note(f.path(field), format!("belongs to aws; {} has none", cloud.word()));
            }
        }
        f.done(p);
        out
    }

    /// The cloud behind it, or why it is not asked.
    pub fn at(&self, cloud: CloudType, credentials: &Credentials) -> Result<CloudAt, String> {
        let (username, password) = (credentials.username.clone(), credentials.password.clone());
        let password = password.ok_or_else(|| "migration_target.cloud_credentials has no password".to_owned())?;
        match (cloud, &self.endpoint) {
            (CloudType::Aws, None) if self.region.is_none() => {
                Err("neither migration_target.cloud.region nor migration_target.cloud.endpoint says where".to_owned())
            }
            (CloudType::Aws, endpoint) => Ok(CloudAt::Aws(AwsAt {
                region: self.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
                endpoint: endpoint.clone(),
                access_key_id: username,
                secret_access_key: password,
                session_token: self.session_token.clone(),
                ca: self.ca.clone(),
            })),
            (CloudType::Vsphere, None) => Err("migration_target.cloud.endpoint does not say where the vCenter is".to_owned()),
            (CloudType::Vsphere, Some(endpoint)) => {
                let domain = credentials.domain.as_ref().filter(|_| !username.contains(['@', '\\']));
                let username = domain.map_or_else(|| username.clone(), |d| format!("{username}@{d}"));
                Ok(CloudAt::Vsphere(VsphereAt { endpoint: endpoint.clone(), username, password, ca: self.ca.clone() }))
            }
            (CloudType::Azure | CloudType::Vcloud, _) => Err(format!("this version can ask aws and vsphere, not {}", cloud.word())),
        }
    }
}

/// The name of an AWS key travels in a header, and names what it is signed for, with slashes between.
pub(super) fn check_access_key(username: &str, field: &str, p: &mut Problems) {
    if !is_header_word(username) || username.contains(['/', ',']) {
        p.note(field, "must be the id of an access key, such as AKIAIOSFODNN7EXAMPLE");
    }
}

/// Credentials are sent there: only with TLS, and to a plain address.
fn check_endpoint(endpoint: &str, field: &str, p: &mut Problems) {
    let Some(rest) = endpoint.strip_prefix("https://") else {
        p.note(field, "must start with https://");
        return;
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        p.note(field, "must name a host");
    } else if rest.chars().any(|c| !c.is_ascii_graphic() || "@?#\\\"<>^`{|}".contains(c)) {
        p.note(field, "must be https://, a host and maybe a port and a path, without user, question mark or fragment");
    }
}

fn is_region(text: &str) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    letters && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_header_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(body: &Value, cloud: CloudType) -> (CloudAccess, Vec<String>) {
        let mut p = Problems::default();
        let f = Fields::of("cloud", body, &mut p);
        let access = CloudAccess::read(f, Some(cloud), &mut p);
        (access, p.0.into_iter().map(|p| p.field).collect())
    }

    fn credentials(domain: Option<&str>) -> Credentials {
        Credentials { username: "me".to_owned(), password: Some(Secret::new("canary")), domain: domain.map(str::to_owned) }
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        let bad = json!({"endpoint": "http://x", "region": "eu central", "session_token": "a b", "ca": "x", "zone": "a"});
        assert_eq!(read(&bad, CloudType::Aws).1, ["cloud.endpoint", "cloud.region", "cloud.session_token", "cloud.ca", "cloud.zone"]);
        assert_eq!(read(&json!({"region": "r", "session_token": "t"}), CloudType::Vsphere).1, ["cloud.region", "cloud.session_token"]);
        for endpoint in
            ["https://", "https://:443", "https:///x", "https://me@host", "https://host?x", "https://host#x", "https://h ost", "https://h\\x", "ftp://h"]
        {
            assert_eq!(read(&json!({"endpoint": endpoint}), CloudType::Aws).1, ["cloud.endpoint"], "{endpoint}");
        }
        for endpoint in ["https://ec2.example", "https://10.0.0.1:8443/api", "https://[2001:db8::1]:8443"] {
            assert!(read(&json!({"endpoint": endpoint}), CloudType::Vsphere).1.is_empty(), "{endpoint}");
        }
    }

    #[test]
    fn a_cloud_is_asked_when_enough_is_known() {
        let at = |body: Value, cloud| read(&body, cloud).0.at(cloud, &credentials(Some("rig.test"))).map(|at| at.describe());
        assert_eq!(at(json!({"region": "eu-central-1"}), CloudType::Aws).unwrap(), "aws in eu-central-1");
        assert_eq!(at(json!({"endpoint": "https://h"}), CloudType::Aws).unwrap(), "aws at https://h");
        assert_eq!(at(json!({"endpoint": "https://h"}), CloudType::Vsphere).unwrap(), "vsphere at https://h");
        for (body, cloud) in [(json!({}), CloudType::Aws), (json!({}), CloudType::Vsphere), (json!({"endpoint": "https://h"}), CloudType::Azure)] {
            assert!(at(body, cloud).is_err());
        }
    }

    #[test]
    fn an_account_of_vsphere_has_its_domain() {
        let access = CloudAccess { endpoint: Some("https://h".to_owned()), ..CloudAccess::default() };
        let name = |domain| match access.at(CloudType::Vsphere, &credentials(domain)) {
            Ok(CloudAt::Vsphere(at)) => at.username,
            other => panic!("{other:?}"),
        };
        assert_eq!((name(None), name(Some("rig.test"))), ("me".to_owned(), "me@rig.test".to_owned()));
    }
}

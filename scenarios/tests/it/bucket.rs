//! A bucket on the rig's strict store, asked without the product's help.

use domain::Secret;
use domain::spec::{FilesAt, S3At};
use ports::files::{FilePath, FileTarget};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::sync::Arc;

pub struct Bucket {
    pub name: String,
    pub store: testkit::rig::S3,
}

impl Bucket {
    /// A name for a bucket of this test run; nothing is made yet.
    pub fn strict(name: &str) -> Self {
        Self { name: format!("{name}-{}", std::process::id()), store: testkit::rig::rgw() }
    }

    pub fn port(&self) -> u16 {
        self.store.endpoint.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port")
    }

    /// As a migration's destination, reached at `endpoint`.
    pub fn destination(&self, endpoint: &str) -> Value {
        json!({"type": "aws-s3", "bucket": self.name, "endpoint": endpoint,
            "access_key_id": self.store.access_key_id, "secret_access_key": self.store.secret_access_key})
    }

    /// The ids of all uploads in progress.
    pub fn uploads(&self) -> Vec<String> {
        let output = self.ask("?uploads=").output().expect("curl");
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listing.contains("ListMultipartUploadsResult"), "{listing}");
        listing.split("<UploadId>").skip(1).filter_map(|rest| rest.split_once('<')).map(|(id, _)| id.to_owned()).collect()
    }

    /// The hash of an object as it is stored.
    pub fn hash(&self, key: &str) -> String {
        let mut child = self.ask(key).stdout(Stdio::piped()).spawn().expect("curl");
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(child.stdout.take().expect("a pipe")).expect("read");
        assert!(child.wait().expect("curl").success());
        hasher.finalize().to_hex().to_string()
    }

    /// The website configuration as the store words it.
    pub fn website(&self) -> String {
        let output = self.ask("?website=").output().expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn set_website(&self, configuration: &str) {
        let answer = self.ask("?website=").args(["-f", "-X", "PUT", "--data", configuration]).status().expect("curl");
        assert!(answer.success());
    }

    fn ask(&self, what: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--user"]);
        curl.arg(format!("{}:{}", self.store.access_key_id, self.store.secret_access_key));
        curl.arg(format!("{}/{}/{what}", self.store.endpoint, self.name).replace("/?", "?"));
        curl
    }

    /// The bucket through the connector.
    pub async fn files(&self) -> Arc<dyn FileTarget> {
        let at = S3At {
            bucket: self.name.clone(),
            prefix: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: Some(self.store.endpoint.clone()),
            path_style: None,
            access_key_id: Some(self.store.access_key_id.clone()),
            secret_access_key: Some(Secret::new(self.store.secret_access_key.clone())),
            session_token: None,
            index_document: None,
            error_document: None,
        };
        connectors_files::open(&FilesAt::S3(at), 2).await.expect("open")
    }

    /// Removes the objects and then the bucket, which must be empty then.
    pub async fn remove(&self, keys: &[&str]) {
        let files = self.files().await;
        for key in keys {
            files.remove(&FilePath::from(*key)).await.expect("remove");
        }
        files.remove(&FilePath::default()).await.expect("remove the bucket");
    }
}

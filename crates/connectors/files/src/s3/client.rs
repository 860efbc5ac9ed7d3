//! The client: no retries, no metadata service, no checksum trailers (old servers choke on them), a connect limit.

use super::credentials;
use super::manners::Manners;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{AsyncSleep, BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, Sleep, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use domain::spec::S3At;
use ports::Result;
use std::time::Duration;

/// A dead host is known as such after this time.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(9);

pub(super) fn build(at: &S3At, location: &str, manners: &Manners) -> Result<Client> {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(at.region.clone()))
        .credentials_provider(credentials::load(at, location)?)
        .force_path_style(at.path_style.unwrap_or(at.endpoint.is_some()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).build())
        .sleep_impl(TokioSleep)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .disable_s3_express_session_auth(true)
        .interceptor(manners.clone());
    if let Some(endpoint) = &at.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(config.build()))
}

/// The SDK's timer, on tokio.
#[derive(Debug, Clone)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
}

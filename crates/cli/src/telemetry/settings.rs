//! Where traces go and which are recorded: `--otlp-endpoint`, and the `OTEL_*` variables that every OpenTelemetry program knows.

use crate::failure::Failure;
use clap::Args as ClapArgs;
use control::operations::Sampling;
use std::time::Duration;

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Traces")]
pub struct Tracing {
    /// Send traces to this OpenTelemetry collector (OTLP over HTTP), such as http://localhost:4318; the other OTEL_ variables are known, too
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// How traces are exported. Headers, time-out and compression are read by the exporter itself.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    /// `None`: as the environment says.
    pub endpoint: Option<String>,
    pub sampling: Sampling,
    /// How long finished spans may wait for others.
    pub delay: Duration,
}

impl Settings {
    /// `None`: nothing is exported.
    pub fn read(given: &Tracing, env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Failure> {
        let env = |name: &str| env(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].iter().any(|name| env(name).is_some());
        let off = env("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) || env("OTEL_TRACES_EXPORTER").as_deref() == Some("none");
        if off || !(named || given.otlp_endpoint.is_some()) {
            return Ok(None);
        }
        let endpoint = given.otlp_endpoint.as_deref().map(endpoint).transpose()?;
        let delay = env("OTEL_BSP_SCHEDULE_DELAY").map_or(Ok(5000), |v| v.parse()).map_err(|_| bad("OTEL_BSP_SCHEDULE_DELAY", "must be milliseconds"))?;
        let sampling = sampling(env("OTEL_TRACES_SAMPLER").as_deref(), env("OTEL_TRACES_SAMPLER_ARG").as_deref())?;
        Ok(Some(Self { endpoint, sampling, delay: Duration::from_millis(delay) }))
    }
}

/// The collector's base address with the path for traces.
fn endpoint(base: &str) -> Result<String, Failure> {
    let uri = base.parse::<http::Uri>().ok().filter(|u| matches!(u.scheme_str(), Some("http" | "https")));
    let authority = uri.as_ref().and_then(|u| u.authority()).ok_or_else(|| bad("--otlp-endpoint", "must be an address such as http://localhost:4318"))?;
    if authority.as_str().contains('@') {
        return Err(bad("--otlp-endpoint", "holds a password; put it into OTEL_EXPORTER_OTLP_HEADERS, such as authorization=Bearer%20…"));
    }
    Ok(if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{}/v1/traces", base.trim_end_matches('/')) })
}

fn sampling(sampler: Option<&str>, argument: Option<&str>) -> Result<Sampling, Failure> {
    let sampler = sampler.unwrap_or("parentbased_always_on");
    let by_parent = sampler.starts_with("parentbased_");
    let share = match sampler.trim_start_matches("parentbased_") {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => argument
            .map_or(Ok(1.0), str::parse)
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| bad("OTEL_TRACES_SAMPLER_ARG", "must be from 0 to 1"))?,
        _ => {
            let known = "must be always_on, always_off, traceidratio, or one of them with parentbased_ before it";
            return Err(bad("OTEL_TRACES_SAMPLER", known));
        }
    };
    Ok(Sampling { share, by_parent })
}

fn bad(name: &str, why: &str) -> Failure {
    Failure::usage(format!("{name} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: Option<&str>, env: &[(&str, &str)]) -> Result<Option<Settings>, Failure> {
        let given = Tracing { otlp_endpoint: endpoint.map(str::to_owned) };
        Settings::read(&given, |name| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        assert_eq!(read(None, &[("OTEL_SERVICE_NAME", "x")]).unwrap(), None);
        let by_env = read(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).unwrap().unwrap();
        assert_eq!((by_env.endpoint, by_env.sampling, by_env.delay.as_secs()), (None, Sampling { share: 1.0, by_parent: true }, 5));
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read(Some("http://c:4318"), &[off]).unwrap(), None);
        }
    }

    #[test]
    fn the_address_gets_its_path_and_no_password() {
        let endpoint = |text| read(Some(text), &[]).map(|s| s.unwrap().endpoint.unwrap());
        assert_eq!(endpoint("http://c:4318/").unwrap(), "http://c:4318/v1/traces");
        assert_eq!(endpoint("https://c/otlp/v1/traces").unwrap(), "https://c/otlp/v1/traces");
        for refused in ["c:4318", "ftp://c", "http://me:word@c:4318", ""] {
            assert!(endpoint(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn samplers_by_their_standard_names() {
        let of = |sampler, argument| sampling(Some(sampler), argument).ok();
        assert_eq!(of("traceidratio", Some("0.25")), Some(Sampling { share: 0.25, by_parent: false }));
        assert_eq!(of("parentbased_always_off", None), Some(Sampling { share: 0.0, by_parent: true }));
        assert_eq!((of("traceidratio", Some("2")), of("xray", None)), (None, None));
    }
}

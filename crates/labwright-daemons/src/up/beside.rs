//! What runs beside a supervisor in its process, as far as the supervisor and its processes are told of it: where the
//! dashboard is, and where telemetry goes.

use std::collections::BTreeMap;

/// Whoever starts a supervisor says what there is.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Where a browser is shown how everything is.
    pub dashboard: Option<String>,
    /// Why there is no dashboard though one was wanted.
    pub fault: Option<String>,
    /// Where OTLP over HTTP is taken: `http://127.0.0.1:4318`.
    pub telemetry: Option<String>,
}

impl Beside {
    /// Adds to the environment of a process where its telemetry goes, unless the lab or whoever started it says otherwise.
    /// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>
    pub fn tell(&self, unit: &str, environment: &mut BTreeMap<String, String>) {
        let Some(endpoint) = &self.telemetry else { return };
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let said = |environment: &BTreeMap<String, String>, name: &str| {
            environment.contains_key(name) || std::env::var_os(name).is_some()
        };
        // Who sends it elsewhere has their own ways of doing so.
        if said(environment, ENDPOINT) || said(environment, TRACES) {
            return;
        }
        for (name, value) in [
            (ENDPOINT, endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", unit),
            // Whoever looks at a page waits for no minute, in milliseconds.
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ] {
            if !said(environment, name) {
                environment.insert(name.into(), value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_goes_here_unless_it_goes_elsewhere() {
        let beside = Beside { telemetry: Some("http://127.0.0.1:4318".into()), ..Beside::default() };
        let mut environment = BTreeMap::from([("OTEL_SERVICE_NAME".to_string(), "own".to_string())]);
        beside.tell("shop", &mut environment);
        assert_eq!(environment["OTEL_EXPORTER_OTLP_ENDPOINT"], "http://127.0.0.1:4318");
        assert_eq!(environment["OTEL_SERVICE_NAME"], "own");
        assert!(!environment.contains_key("OTEL_METRICS_EXPORTER") && !environment.contains_key("OTEL_LOGS_EXPORTER"));
        let elsewhere = BTreeMap::from([("OTEL_EXPORTER_OTLP_ENDPOINT".to_string(), "http://jaeger:4318".to_string())]);
        let mut environment = elsewhere.clone();
        beside.tell("shop", &mut environment);
        assert_eq!(environment, elsewhere);
    }
}

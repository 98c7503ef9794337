//! What the proxy counts, in Prometheus' names.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Labels = Vec<(String, String)>;

/// Seconds until an answer begins: from a page in memory to something slow.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0];

/// Everything that is counted.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
    refused: Family<Labels, Counter>,
    failed: Family<Labels, Counter>,
    pub connections: Gauge,
    pub handshakes_failed: Counter,
    pub certificate_ends: Family<Labels, Gauge>,
    pub certificate_errors: Family<Labels, Counter>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            refused: Family::default(),
            failed: Family::default(),
            connections: Gauge::default(),
            handshakes_failed: Counter::default(),
            certificate_ends: Family::default(),
            certificate_errors: Family::default(),
        }
    }
}

/// What is counted of one service, looked up once.
#[derive(Clone)]
pub struct Counted {
    by_class: [Counter; 5],
    seconds: Histogram,
    /// Requests that were not let in.
    pub refused: Counter,
    /// Requests that no upstream answered.
    pub failed: Counter,
}

impl Counted {
    pub fn answered(&self, status: http::StatusCode, seconds: f64) {
        if let Some(counter) = self.by_class.get((status.as_u16() / 100).saturating_sub(1) as usize) {
            counter.inc();
        }
        self.seconds.observe(seconds);
    }
}

impl Metrics {
    pub fn counted(&self, service: &str) -> Counted {
        let labels = vec![("service".to_string(), service.to_string())];
        let class = |class: &str| {
            let mut labels = labels.clone();
            labels.push(("code".to_string(), class.to_string()));
            self.requests.get_or_create_owned(&labels)
        };
        Counted {
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            seconds: self.seconds.get_or_create_owned(&labels),
            refused: self.refused.get_or_create_owned(&labels),
            failed: self.failed.get_or_create_owned(&labels),
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("proxy");
        registry.register("requests", "Requests that were answered, by class of the status", self.requests.clone());
        registry.register_with_unit("answer", "Time until an answer began", Unit::Seconds, self.seconds.clone());
        registry.register("refused_requests", "Requests that were not let in", self.refused.clone());
        registry.register("failed_requests", "Requests that no upstream answered", self.failed.clone());
        registry.register("connections", "Connections of clients that are open", self.connections.clone());
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that came to nothing",
            self.handshakes_failed.clone(),
        );
        let ends = "When a certificate ends, in seconds since 1970";
        registry.register("certificate_not_after_timestamp_seconds", ends, self.certificate_ends.clone());
        let errors = "Certificates that could not be had";
        registry.register("certificate_errors", errors, self.certificate_errors.clone());
    }
}

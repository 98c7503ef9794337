//! What a resolver says to Prometheus.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::answer::Core;
use super::stats::OUTCOMES;

/// The resolver of this moment; there may be none.
struct Of<F>(F);

impl<F> std::fmt::Debug for Of<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dns")
    }
}

/// Adds the resolver's metrics; they are read when somebody asks.
pub fn register(registry: &mut Registry, core: impl Fn() -> Option<Arc<Core>> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Of(core)));
}

/// Samples of one metric: each a pair of label and value.
type Samples<'a, T> = Vec<(Option<(&'a str, String)>, T)>;

fn one<'a, T>(value: T) -> Samples<'a, T> {
    vec![(None, value)]
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: Samples<'_, u64>,
) -> std::fmt::Result {
    let kind = prometheus_client::metrics::MetricType::Counter;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (label, value) in samples {
        let counter = ConstCounter::new(value);
        match label {
            Some(label) => counter.encode(family.encode_family(&[label])?)?,
            None => return counter.encode(family),
        }
    }
    Ok(())
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, samples: Samples<'_, f64>) -> std::fmt::Result {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (label, value) in samples {
        let gauge = ConstGauge::new(value);
        match label {
            Some(label) => gauge.encode(family.encode_family(&[label])?)?,
            None => return gauge.encode(family),
        }
    }
    Ok(())
}

impl<F: Fn() -> Option<Arc<Core>> + Send + Sync + 'static> Collector for Of<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(core) = (self.0)() else { return Ok(()) };
        let view = core.view();
        let outcomes =
            OUTCOMES.iter().map(|(outcome, word)| (Some(("outcome", word.to_string())), core.tallies.total(*outcome)));
        let encoder = &mut encoder;
        counters(encoder, "labwright_dns_queries", "Queries by what became of them", outcomes.collect())?;
        let unrecorded = core.tallies.unrecorded();
        counters(encoder, "labwright_dns_queries_unrecorded", "Queries that the log had no room for", one(unrecorded))?;
        let members = || view.forwarder.everything.upstreams.0.members.iter();
        let of = |value: &dyn Fn(&super::forward::Member) -> u64| -> Samples<'_, u64> {
            members().map(|member| (Some(("upstream", member.shown())), value(member))).collect()
        };
        let asked = of(&|member| member.asked.load(std::sync::atomic::Ordering::Relaxed));
        let failed = of(&|member| member.failed.load(std::sync::atomic::Ordering::Relaxed));
        counters(encoder, "labwright_dns_upstream_queries", "Questions to each upstream", asked)?;
        counters(encoder, "labwright_dns_upstream_failures", "Questions that an upstream did not answer", failed)?;
        let seconds = members()
            .map(|member| (Some(("upstream", member.shown())), f64::from(member.rtt_micros()) / 1e6))
            .collect();
        gauges(encoder, "labwright_dns_upstream_seconds", "What each upstream takes of late", seconds)?;
        gauges(encoder, "labwright_dns_cache_entries", "Answers that are remembered", one(core.cache.len() as f64))?;
        gauges(encoder, "labwright_dns_cache_bytes", "Memory of remembered answers", one(core.cache.bytes() as f64))?;
        gauges(
            encoder,
            "labwright_dns_waiting",
            "Questions that wait for upstreams",
            one(core.resolver.waiting() as f64),
        )?;
        let names = view.filter.compiled.table.names() as f64;
        gauges(encoder, "labwright_dns_blocklist_names", "Names of all lists together", one(names))?;
        let bytes = view.filter.compiled.table.bytes() as f64;
        gauges(encoder, "labwright_dns_blocklist_bytes", "Memory of the names of lists", one(bytes))?;
        let status = &view.filter.compiled.status;
        let rules = status.iter().map(|list| (Some(("list", list.name.clone())), list.rules as f64)).collect();
        gauges(encoder, "labwright_dns_list_rules", "Rules of each list", rules)?;
        let faults =
            status.iter().map(|list| (Some(("list", list.name.clone())), if list.fault.is_some() { 1.0 } else { 0.0 }));
        gauges(
            encoder,
            "labwright_dns_list_faulty",
            "Lists that are not in use, or not in their newest edition",
            faults.collect(),
        )?;
        let records = view.zones.len() as f64;
        gauges(encoder, "labwright_dns_local_names", "Names that are the lab's own", one(records))?;
        gauges(encoder, "labwright_dns_generation", "The snapshot that is served", one(view.generation as f64))
    }
}

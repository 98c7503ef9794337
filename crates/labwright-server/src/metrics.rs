//! Metrics that processes send: the latest value of each series, in a bounded store. No history: who wants one has a
//! time series database.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use otlp::metric::Data;
use otlp::number_data_point::Value as Number;

use crate::attributes::{cut, pairs, service};

/// Series of one service. The one that was not told for longest goes for a new one.
const SERIES: usize = 300;
/// Letters of all that tells one series of a metric from the others.
const LETTERS: usize = 300;

/// One series as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is measured in, in the codes of UCUM; empty where that is not said.
    pub unit: String,
    pub reading: Reading,
    /// Milliseconds since 1970 when it was told last.
    pub at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    Number(f64),
    /// Of many: how many, all together, the least and the most, as far as that is said.
    Distribution {
        count: u64,
        sum: Option<f64>,
        least: Option<f64>,
        most: Option<f64>,
    },
}

impl Reading {
    /// With what was told before, where only what has come since is told.
    fn after(self, before: Option<Reading>) -> Reading {
        let fold = |one: Option<f64>, other: Option<f64>, of: fn(f64, f64) -> f64| match (one, other) {
            (Some(one), Some(other)) => Some(of(one, other)),
            (one, other) => one.or(other),
        };
        match (self, before) {
            (Reading::Number(new), Some(Reading::Number(old))) => Reading::Number(old + new),
            (
                Reading::Distribution { count, sum, least, most },
                Some(Reading::Distribution {
                    count: count_before,
                    sum: sum_before,
                    least: least_before,
                    most: most_before,
                }),
            ) => Reading::Distribution {
                count: count.saturating_add(count_before),
                sum: fold(sum, sum_before, |one, other| one + other),
                least: fold(least, least_before, f64::min),
                most: fold(most, most_before, f64::max),
            },
            (new, _) => new,
        }
    }
}

/// By metric, and by what tells its series apart.
type OfService = BTreeMap<(String, String), Series>;

/// The latest values, by service.
#[derive(Default)]
pub struct Store {
    services: BTreeMap<String, OfService>,
}

impl Store {
    /// The series of a service by metric and attributes.
    pub fn of_service(&self, service: &str) -> impl Iterator<Item = (&str, &str, &Series)> {
        let all = self.services.get(service).into_iter().flatten();
        all.map(|((name, attributes), series)| (name.as_str(), attributes.as_str(), series))
    }

    /// Takes in what services of the lab sent; returns how many values were of others, and the name of one of those.
    pub fn add(
        &mut self,
        request: ExportMetricsServiceRequest,
        at: i64,
        known: impl Fn(&str) -> bool,
    ) -> (usize, Option<String>) {
        let (mut rejected, mut stranger) = (0, None);
        for resource in request.resource_metrics {
            let service = service(resource.resource.as_ref());
            let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            if !known(&service) {
                rejected += metrics.map(|metric| points(&metric).len()).sum::<usize>();
                stranger = Some(service);
                continue;
            }
            let own = self.services.entry(service).or_default();
            for metric in metrics {
                for (attributes, reading, is_delta) in points(&metric) {
                    put(own, &metric, attributes, reading, is_delta, at);
                }
            }
        }
        (rejected, stranger)
    }
}

fn put(own: &mut OfService, metric: &otlp::Metric, attributes: &[KeyValue], reading: Reading, is_delta: bool, at: i64) {
    let mut said: Vec<String> = pairs(attributes).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    said.sort();
    let key = (cut(&metric.name), said.join(" ").chars().take(LETTERS).collect::<String>());
    let before = own.get(&key).map(|series| series.reading).filter(|_| is_delta);
    if !own.contains_key(&key) && own.len() >= SERIES {
        let oldest = own.iter().min_by_key(|(_, series)| series.at).map(|(key, _)| key.clone());
        oldest.into_iter().for_each(|key| drop(own.remove(&key)));
    }
    own.insert(key, Series { unit: cut(&metric.unit), reading: reading.after(before), at });
}

/// The attributes of each point of a metric, what it says, and whether that is only what has come since the last.
fn points(metric: &otlp::Metric) -> Vec<(&[KeyValue], Reading, bool)> {
    // https://opentelemetry.io/docs/specs/otel/metrics/data-model/#no-recorded-value
    let is_told = |flags: u32| flags & 1 == 0;
    let is_delta = |temporality: i32| temporality == otlp::AggregationTemporality::Delta as i32;
    let number = |point: &otlp::NumberDataPoint| match point.value {
        Some(Number::AsDouble(value)) => Some(value),
        Some(Number::AsInt(value)) => Some(value as f64),
        None => None,
    };
    let numbers = |points: &'_ [otlp::NumberDataPoint]| -> Vec<usize> {
        (0..points.len()).filter(|at| is_told(points[*at].flags) && number(&points[*at]).is_some()).collect()
    };
    let of_numbers = |points: &'_ [otlp::NumberDataPoint], delta: bool| -> Vec<(usize, Reading, bool)> {
        numbers(points)
            .into_iter()
            .map(|at| (at, Reading::Number(number(&points[at]).unwrap_or_default()), delta))
            .collect()
    };
    match &metric.data {
        Some(Data::Gauge(gauge)) => {
            let all = of_numbers(&gauge.data_points, false);
            all.into_iter()
                .map(|(at, reading, delta)| (gauge.data_points[at].attributes.as_slice(), reading, delta))
                .collect()
        }
        Some(Data::Sum(sum)) => {
            let all = of_numbers(&sum.data_points, is_delta(sum.aggregation_temporality));
            all.into_iter()
                .map(|(at, reading, delta)| (sum.data_points[at].attributes.as_slice(), reading, delta))
                .collect()
        }
        Some(Data::Histogram(histogram)) => {
            let delta = is_delta(histogram.aggregation_temporality);
            let points = histogram.data_points.iter().filter(|point| is_told(point.flags));
            let reading = |point: &otlp::HistogramDataPoint| Reading::Distribution {
                count: point.count,
                sum: point.sum,
                least: point.min,
                most: point.max,
            };
            points.map(|point| (point.attributes.as_slice(), reading(point), delta)).collect()
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            let delta = is_delta(histogram.aggregation_temporality);
            let points = histogram.data_points.iter().filter(|point| is_told(point.flags));
            let reading = |point: &otlp::ExponentialHistogramDataPoint| Reading::Distribution {
                count: point.count,
                sum: point.sum,
                least: point.min,
                most: point.max,
            };
            points.map(|point| (point.attributes.as_slice(), reading(point), delta)).collect()
        }
        Some(Data::Summary(summary)) => {
            let points = summary.data_points.iter().filter(|point| is_told(point.flags));
            let reading = |point: &otlp::SummaryDataPoint| Reading::Distribution {
                count: point.count,
                sum: Some(point.sum),
                least: None,
                most: None,
            };
            points.map(|point| (point.attributes.as_slice(), reading(point), false)).collect()
        }
        None => Vec::new(),
    }
}

/// A reading in words.
pub fn words(series: &Series) -> String {
    let one = |value: f64| measure(value, &series.unit);
    match series.reading {
        Reading::Number(value) => one(value),
        Reading::Distribution { count, sum, least, most } => {
            let mean = sum.filter(|_| count > 0).map(|sum| format!(", {} each", one(sum / count as f64)));
            let range = least.zip(most).map(|(least, most)| format!(", from {} to {}", one(least), one(most)));
            format!("{count} times{}{}", mean.unwrap_or_default(), range.unwrap_or_default())
        }
    }
}

/// A value with its unit, as people write them. UCUM: `By` are bytes, `1` is nothing, what stands in braces is a remark.
/// <https://ucum.org/ucum>
fn measure(value: f64, unit: &str) -> String {
    const BINARY: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    match unit {
        "By" => {
            let power = (0..BINARY.len()).rev().find(|power| value.abs() >= 1024_f64.powi(*power as i32)).unwrap_or(0);
            format!("{} {}", rounded(value / 1024_f64.powi(power as i32)), BINARY[power])
        }
        "s" if value != 0.0 && value.abs() < 1.0 => format!("{} ms", rounded(value * 1000.0)),
        "" | "1" => rounded(value),
        unit => format!("{} {}", rounded(value), unit.trim_start_matches('{').trim_end_matches('}')),
    }
}

/// Whole numbers as they are, others with three digits that count.
fn rounded(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(service: &str, metrics: serde_json::Value) -> ExportMetricsServiceRequest {
        serde_json::from_value(json!({ "resourceMetrics": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
            "scopeMetrics": [{ "metrics": metrics }],
        }] }))
        .unwrap()
    }

    fn shown(store: &Store) -> Vec<String> {
        store.of_service("shop").map(|(name, said, series)| format!("{name}|{said}|{}", words(series))).collect()
    }

    #[test]
    fn the_latest_values_are_shown_with_their_units() {
        let mut store = Store::default();
        let point = |value: serde_json::Value| json!([{ "timeUnixNano": "1", "asInt": value, "attributes": [] }]);
        let sum = |value: &str, temporality: u8| json!({ "dataPoints": point(value.into()), "aggregationTemporality": temporality, "isMonotonic": true });
        let all = |requests: &str| {
            json!([
                { "name": "memory", "unit": "By", "gauge": { "dataPoints": [{ "asInt": "3145728", "attributes": [
                    { "key": "pool", "value": { "stringValue": "heap" } } ] }] } },
                { "name": "requests", "unit": "{request}", "sum": sum(requests, 2) },
                { "name": "since", "sum": sum("5", 1) },
                { "name": "took", "unit": "s", "histogram": { "aggregationTemporality": 2, "dataPoints": [
                    { "count": "4", "sum": 0.5, "min": 0.05, "max": 0.2, "bucketCounts": [], "explicitBounds": [] } ] } },
                { "name": "silent", "gauge": { "dataPoints": [{ "asInt": "1", "flags": 1 }] } },
            ])
        };
        assert_eq!(store.add(request("shop", all("7")), 1, |_| true), (0, None));
        store.add(request("shop", all("9")), 2, |_| true);
        let wanted = [
            "memory|pool=heap|3 MiB",
            "requests||9 request",
            "since||10",
            "took||4 times, 125 ms each, from 50 ms to 200 ms",
        ];
        assert_eq!(shown(&store), wanted);
        assert_eq!(store.add(request("nobody", all("1")), 3, |name| name == "shop"), (4, Some("nobody".into())));
    }

    #[test]
    fn the_store_is_bounded() {
        let mut store = Store::default();
        for number in 0..1000 {
            let points = json!([{ "asDouble": 0.1234567, "attributes": [{ "key": "user", "value": { "stringValue": number.to_string() } }] }]);
            store.add(request("shop", json!([{ "name": "x", "gauge": { "dataPoints": points } }])), number, |_| true);
        }
        let all = shown(&store);
        assert_eq!(all.len(), SERIES);
        assert!(all.iter().all(|line| line.ends_with("|0.123")) && all.contains(&"x|user=999|0.123".to_string()));
    }
}

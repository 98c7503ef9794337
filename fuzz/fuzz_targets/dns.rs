//! Any datagram may come from anybody: it is read, or refused, and never more.
#![no_main]

use labwright_daemons::dns::wire::{Query, Reply, skip_name, ttls, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut query = Query::default();
    let read = query.read(data);
    for skipped in 0..=query.labels() {
        query.from_label(skipped);
    }
    let mut out = Vec::new();
    write(&query, &Reply::default(), query.udp_limit(), &mut out);
    assert!(read.is_err() || out.len() >= 12);
    skip_name(data, 12);
    ttls(data);
});

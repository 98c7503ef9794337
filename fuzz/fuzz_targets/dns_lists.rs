//! Lists come from strangers: every line is a rule, or none, and never more.
#![no_main]

use labwright_daemons::dns::lists::parse::line;
use labwright_daemons::dns::lists::table::Builder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut builder = Builder::default();
    for text in data.split(|byte| *byte == b'\n') {
        line(text, &mut |rule| {
            builder.add(0, &rule, false);
        });
    }
    builder.build(0);
});

# What people type here. `just` lists it.
default:
    @just --list

# Everything that CI runs.
ci:
    scripts/test

# The edit-test loop of one crate: `just t plan`.
t crate *args:
    cargo nextest run -p labwright-{{crate}} {{args}}

fmt:
    cargo fmt --all

lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Invariants that the compiler cannot see, and generated pages that must be fresh.
tidy:
    cargo run -q -p xtask -- tidy

# Write the generated pages under docs/reference.
generate:
    cargo run -q -p xtask -- generate

# Licences, sources, duplicate versions.
deny:
    cargo deny check bans licenses sources

# Measure beside the peers; results go to docs/performance.md by hand.
bench:
    scripts/bench

# Run the parser fuzzer for a minute (needs cargo-fuzz and a nightly compiler).
fuzz:
    cargo fuzz run parse -- -max_total_time=60

//! The same doors for other proxies: a Caddyfile, and a file for Traefik's file provider. Pure.

mod caddy;
mod traefik;

pub use caddy::caddy;
pub use traefik::traefik;

#[path = "../secrets/generate.rs"]
mod generate;
#[path = "../secrets/vault.rs"]
mod vault;

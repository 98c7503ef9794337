//! What the model makes of a text: findings with their places, values, what is shown, the schema.
//! Judges no lab; the rules are tested in `labwright-plan`.

mod support;

mod bad;
mod compose;
mod compose_peer;
mod good;
mod includes;
mod placement;
mod references;
mod schema;
mod show;
mod store;
mod syntax;

mod fuzz;

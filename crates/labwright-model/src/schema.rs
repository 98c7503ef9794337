//! The JSON Schema of the lab file, from the same declarations that read it.

use crate::lab::Lab;

/// The schema, for editors and for `labwright schema`.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Lab).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "Labwright lab file".into());
    }
    schema
}

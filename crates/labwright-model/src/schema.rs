//! The JSON Schema of the lab file, from the same declarations that read it.
//! Says what an editor needs to complete and explain keys; what values mean together is for the rules.

use serde_json::{Value, json};

use crate::lab::Lab;

/// The schema, for editors and for `labwright schema`.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Lab).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "Labwright lab file".into());
    }
    loosen(&mut schema);
    schema
}

/// A string of the lab file may be written without quotes, and then looks like a number or a boolean to an editor.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let free = !["enum", "const", "format", "pattern"].iter().any(|key| object.contains_key(*key));
            if let Some(kind) = object.get_mut("type")
                && free
            {
                if *kind == json!("string") {
                    *kind = json!(["string", "number", "boolean"]);
                } else if *kind == json!(["string", "null"]) {
                    *kind = json!(["string", "number", "boolean", "null"]);
                }
            }
            object.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

//! The JSON Schema that editors use: it takes what the parser takes, and knows every key.

use labwright_model::schema;
use serde_json::{Value, json};

use crate::support::{read, texts};

/// YAML as JSON, by way of a key of the lab file that takes anything.
fn json_of(yaml: &str) -> Value {
    let indented: String = yaml.lines().map(|line| format!("      {line}\n")).collect();
    let parsed = read(&format!("services:\n  any:\n    networks:\n{indented}"));
    parsed.lab.services["any"].networks.0.clone()
}

/// What a value breaks, as far as the keywords go that our schema uses; others are refused.
fn faults(schema: &Value, value: &Value, root: &Value, at: &str) -> Vec<String> {
    let Value::Object(keywords) = schema else { return Vec::new() };
    let mut found = Vec::new();
    let properties = keywords.get("properties").and_then(Value::as_object);
    for (keyword, wanted) in keywords {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" | "properties" | "format" => {}
            "$ref" => {
                let path = wanted.as_str().unwrap().trim_start_matches('#');
                found.extend(faults(root.pointer(path).unwrap(), value, root, at));
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("unknown type {other}"),
                };
                if !wanted.as_array().map_or_else(|| is(wanted), |names| names.iter().any(is)) {
                    found.push(format!("{at}: {value} is not of type {wanted}"));
                }
            }
            "enum" if !wanted.as_array().unwrap().contains(value) => {
                found.push(format!("{at}: {value} is none of {wanted}"))
            }
            "const" if wanted != value => found.push(format!("{at}: {value} is not {wanted}")),
            "enum" | "const" => {}
            "minimum" if value.as_f64().is_some_and(|number| number < wanted.as_f64().unwrap()) => {
                found.push(format!("{at}: {value} is below {wanted}"));
            }
            "maximum" if value.as_f64().is_some_and(|number| number > wanted.as_f64().unwrap()) => {
                found.push(format!("{at}: {value} is above {wanted}"));
            }
            "minimum" | "maximum" => {}
            "anyOf" | "oneOf" => {
                let tries: Vec<_> =
                    wanted.as_array().unwrap().iter().map(|schema| faults(schema, value, root, at)).collect();
                if tries.iter().all(|faults| !faults.is_empty()) {
                    // The try that comes nearest tells most.
                    found.extend(tries.into_iter().max_by_key(|faults| faults[0].find(": ")).unwrap());
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(wanted, item, root, &format!("{at}[{i}]")));
                }
            }
            "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let at = format!("{at}.{key}");
                    match properties.and_then(|properties| properties.get(key)) {
                        Some(schema) => found.extend(faults(schema, value, root, &at)),
                        None if *wanted == json!(false) => found.push(format!("{at}: unknown key")),
                        None => found.extend(faults(wanted, value, root, &at)),
                    }
                }
            }
            other => panic!("the schema uses `{other}`, which this walker does not know"),
        }
    }
    found
}

fn check(yaml: &str) -> Vec<String> {
    let schema = schema();
    faults(&schema, &json_of(yaml), &schema, "lab")
}

#[test]
fn every_lab_that_the_project_shows_satisfies_the_schema() {
    for lab in texts() {
        assert_eq!(check(lab), Vec::<String>::new());
    }
}

#[test]
fn short_forms_and_unquoted_values_satisfy_the_schema() {
    assert_eq!(
        check(
            "\
edge: { router: gw, vpn: tailscale }
compute:
  proxmox: pve
  hosts:
    a: { sysctl: { vm.swappiness: 10 }, sshd: true, mounts: { /m: nas:/x }, users: { u: [key] }, address: 10.0.0.1 }
    b:
network: { zones: { z: { vlan: 10, subnet: [10.0.0.0/24] } }, flows: { from: z, to: internet, allow: 51820 } }
platform: { dns: d, reverse_proxy: { on: p, tls: internal }, secrets: s.yaml }
services:
  a: { run: guestbook, environments: [dev, prod], probe: /x, backup: nightly, port: 3000 }
  b: { run: { command: [x, 5], environment: { PORT: 8080, DEBUG: true } } }
"
        ),
        Vec::<String>::new()
    );
}

#[test]
fn the_schema_knows_what_is_wrong() {
    assert_eq!(check("serivces: {}"), ["lab.serivces: unknown key"]);
    assert_eq!(check("compute: { hosts: { a: { adress: x } } }"), ["lab.compute.hosts.a.adress: unknown key"]);
    assert_eq!(check("services: { a: { tier: prod } }").len(), 1);
    assert_eq!(check("network: { zones: { a: { vlan: 70000 } } }"), ["lab.network.zones.a.vlan: 70000 is above 65535"]);
}

#[test]
fn every_key_is_explained() {
    fn walk(schema: &Value, at: &str, missing: &mut Vec<String>) {
        match schema {
            Value::Object(keywords) => {
                for (key, property) in keywords.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if property.get("description").is_none() {
                        missing.push(format!("{at}.{key}"));
                    }
                }
                for (key, value) in keywords {
                    let at = if at == "/$defs" { key.clone() } else { format!("{at}/{key}") };
                    walk(value, &at, missing);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, at, missing)),
            _ => {}
        }
    }
    let mut missing = Vec::new();
    walk(&schema(), "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

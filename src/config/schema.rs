//! A JSON Schema of the files, as editors use it (`hearth config schema`). Made from the same tables as the reader.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, ROOT, Table};

/// Returns the schema. Draft 7, because that is what editors know for TOML.
pub fn schema() -> Value {
    let mut schema = table(&ROOT);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".to_owned(), json!("hearth"));
    }
    schema
}

fn table(table: &Table) -> Value {
    let properties: Map<String, Value> = table.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    let Value::Object(fields) = &mut schema else { return schema };
    let mut description = key.about.to_owned();
    match value(key.default) {
        Some(default) => drop(fields.insert("default".to_owned(), default)),
        None if key.default.is_empty() => {}
        None => description.push_str(&format!(" Default: {}.", key.default)),
    }
    if let Some(example) = value(key.example) {
        fields.insert("examples".to_owned(), json!([example]));
    }
    fields.insert("description".to_owned(), json!(description));
    schema
}

fn kind(of: &Kind) -> Value {
    match of {
        Kind::Text("") => json!({ "type": "string" }),
        Kind::Text(pattern) => json!({ "type": "string", "pattern": pattern }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Integer { least } => json!({ "type": "integer", "minimum": least }),
        Kind::Number => json!({ "type": "number", "minimum": 0.01 }),
        Kind::List(item) => json!({ "type": "array", "items": kind(item) }),
        Kind::Table(of) => table(of),
        Kind::Tables(of) => json!({ "type": "array", "items": table(of) }),
        Kind::Named(names, of) => by_name(names, table(of)),
        Kind::Entries(names, of) => by_name(names, kind(of)),
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>() }),
    }
}

fn by_name(names: &str, schema: Value) -> Value {
    json!({ "type": "object", "patternProperties": { names: schema }, "additionalProperties": false })
}

/// Reads a value as it stands in a file; `None` for a word about it.
fn value(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::config::keys;

    /// Says where a value is not as the schema has it. Knows what [`schema`] uses and nothing else.
    fn faults(schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let is_type = |kind: &str| match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64(),
            "number" => value.is_number(),
            other => panic!("type {other}"),
        };
        for (keyword, rule) in schema.as_object().unwrap() {
            let ok = match keyword.as_str() {
                "type" => is_type(rule.as_str().unwrap()),
                "enum" => rule.as_array().unwrap().contains(value),
                "pattern" => {
                    value.as_str().is_some_and(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text))
                }
                "minimum" => value.as_f64().is_some_and(|number| number >= rule.as_f64().unwrap()),
                "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
                "anyOf" => rule.as_array().unwrap().iter().any(|schema| self::faults(schema, value, at).is_empty()),
                "items" => {
                    let items = value.as_array().into_iter().flatten().enumerate();
                    faults.extend(items.flat_map(|(n, item)| self::faults(rule, item, &format!("{at}[{n}]"))));
                    true
                }
                "additionalProperties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        let at = format!("{at}.{key}");
                        match rule_for(schema, key) {
                            Some(schema) => faults.extend(self::faults(schema, value, &at)),
                            None => faults.push(format!("{at}: unknown")),
                        }
                    }
                    true
                }
                "properties" | "patternProperties" | "description" | "default" | "examples" | "$schema" | "title" => {
                    true
                }
                other => panic!("the schema uses `{other}`"),
            };
            if !ok {
                faults.push(format!("{at}: {keyword} {rule}"));
            }
        }
        faults
    }

    fn rule_for<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
        let exact = schema.get("properties").and_then(|properties| properties.get(key));
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let matches = |pattern: &str| Regex::new(pattern).unwrap().is_match(key);
        exact.or_else(|| patterns?.iter().find(|(pattern, _)| matches(pattern)).map(|(_, schema)| schema))
    }

    fn validate(text: &str) -> Vec<String> {
        let value = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
        faults(&schema(), &value, "")
    }

    #[test]
    fn c4_the_samples_are_as_the_schema_has_them() {
        for sample in [include_str!("tests/design.toml"), include_str!("../../config/hearth.toml")] {
            assert_eq!(validate(sample), Vec::<String>::new());
        }
    }

    #[test]
    fn c4_what_is_wrong_by_itself_the_schema_knows_too() {
        for (name, fault) in [
            ("unknown_key", ".orgs.acme.auto_of: unknown"),
            ("wrong_type", ".server.max_builds: type \"integer\""),
            ("bad_duration", ".orgs.acme.hold_max: pattern"),
            ("bad_size", ".orgs.acme.resources.memory: pattern"),
            ("bad_number", ".orgs.acme.resources.pids: minimum 1"),
            ("bad_word", ".orgs.acme.pull: enum"),
            ("bad_name", ".orgs.Acme: unknown"),
            ("missing_key", ".orgs.acme: required"),
        ] {
            let path = format!("{}/src/config/tests/bad/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            let faults = validate(&std::fs::read_to_string(path).unwrap());
            assert!(faults.iter().any(|found| found.starts_with(fault)), "{fault} is not in {faults:?}");
        }
    }

    #[test]
    fn c4_every_key_that_the_reader_knows_is_in_the_schema() {
        let text = schema().to_string();
        for table in keys::ALL {
            for key in table.keys {
                assert!(text.contains(&format!("\"{}\":{{", key.name)), "{} {}", table.header, key.name);
                assert!(!key.about.is_empty(), "{} {}", table.header, key.name);
            }
        }
    }

    #[test]
    fn examples_and_defaults_are_as_the_schema_has_them() {
        for table in keys::ALL {
            for key in table.keys {
                for text in [key.example, key.default] {
                    if let Some(value) = value(text) {
                        let at = format!("{} {}", table.header, key.name);
                        assert_eq!(faults(&kind(&key.kind), &value, &at), Vec::<String>::new());
                    }
                }
            }
        }
        assert_eq!(schema()["properties"]["server"]["properties"]["max_builds"]["default"], json!(4));
    }
}

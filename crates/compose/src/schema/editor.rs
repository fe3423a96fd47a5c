//! The JSON schema of `x-roads`, from the same table that the loader checks with; editors complete
//! from it.

use serde_json::{Map, Value, json};

use super::{Honour, Presence, Row, Scalar, Shape, Short, Table, roads};

/// The JSON schema (draft 7) of a compose file as far as `x-roads` goes; it says nothing of other
/// keys, so that it can be used beside the schema of the Compose specification.
#[must_use]
pub fn roads_schema() -> String {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "x-roads in a compose file",
        "type": "object",
        "properties": {
            "x-roads": table(&roads::APP),
            "services": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": { "x-roads": table(&roads::SERVICE) },
                },
            },
        },
        "definitions": {
            "variable": {
                "description": "a value with a variable in it",
                "type": "string",
                "pattern": "\\$",
            },
        },
    });
    format!("{schema:#}")
}

fn table(table: &Table) -> Value {
    let property = |row: &Row| (row.name.to_owned(), property(row));
    let properties: Map<String, Value> = table.rows.iter().map(property).collect();
    let required = table
        .rows
        .iter()
        .filter(|row| row.presence == Presence::Required);
    let required: Vec<&str> = required.map(|row| row.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(row: &Row) -> Value {
    let mut value = match row.honour {
        Honour::Full | Honour::On(_) | Honour::Ignored => shape(&row.shape),
        Honour::Refused => json!({ "not": {} }),
    };
    let description = match row.honour {
        Honour::Full | Honour::On(_) => row.note.to_owned(),
        Honour::Ignored => format!("not honoured: {}", row.note),
        Honour::Refused => format!("refused: {}", row.note),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("description".to_owned(), description.into());
    }
    value
}

/// What a value of this shape looks like in a file, before variables are replaced.
fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::One(value) => scalar(value),
        Shape::External => scalar(&Scalar::Flag),
        Shape::Command | Shape::Test => one_or_many(&Shape::One(Scalar::Text)),
        Shape::Assignments(_, item) => {
            json!({ "anyOf": [named(item), list(&Shape::One(Scalar::Text))] })
        }
        Shape::Hosts => json!({ "type": ["object", "array"] }),
        Shape::List(item, _) => list(item),
        Shape::OneOrMany(item, _) => one_or_many(item),
        Shape::Table(keys) => table(keys),
        Shape::Named(_, item) => named(item),
        Shape::NamesOr(_, item) => {
            json!({ "anyOf": [list(&Shape::One(Scalar::Text)), named(item)] })
        }
        Shape::Short(short, keys) => json!({ "anyOf": [shorter(*short, keys), table(keys)] }),
        Shape::Gpus(item) => json!({ "anyOf": [{ "const": "all" }, list(item)] }),
    }
}

fn scalar(value: &Scalar) -> Value {
    match value {
        Scalar::Text | Scalar::Path | Scalar::Context | Scalar::Address | Scalar::Like(..) => {
            json!({ "type": "string" })
        }
        Scalar::Quantity
        | Scalar::Mode
        | Scalar::Devices
        | Scalar::Published
        | Scalar::Exposed
        | Scalar::Bytes
        | Scalar::Swap => json!({ "type": ["string", "number"] }),
        Scalar::Word => json!({ "type": ["string", "number", "boolean", "null"] }),
        Scalar::Flag => or_variable(json!({ "type": "boolean" })),
        Scalar::Whole(least, most) => {
            or_variable(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Scalar::Number => or_variable(json!({ "type": "number" })),
        Scalar::Duration => or_variable(json!({
            "type": "string",
            "pattern": "^(0|([0-9]+(\\.[0-9]*)?(ns|us|µs|ms|s|m|h|d|w))+)$",
        })),
        Scalar::Choice(words) => or_variable(json!({ "enum": words })),
    }
}

/// The shorter form of a mapping.
fn shorter(short: Short, keys: &Table) -> Value {
    match short {
        Short::Activation => shape(keys.shape("mode")),
        Short::Port | Short::Ulimit => json!({ "type": ["string", "integer"] }),
        Short::Build
        | Short::Device
        | Short::EnvFile
        | Short::Extends
        | Short::FileMount
        | Short::Include
        | Short::Mount => json!({ "type": "string" }),
    }
}

fn list(item: &Shape) -> Value {
    json!({ "type": "array", "items": shape(item) })
}

fn one_or_many(item: &Shape) -> Value {
    json!({ "anyOf": [shape(item), list(item)] })
}

fn named(item: &Shape) -> Value {
    json!({ "type": "object", "additionalProperties": shape(item) })
}

fn or_variable(value: Value) -> Value {
    json!({ "anyOf": [value, { "$ref": "#/definitions/variable" }] })
}

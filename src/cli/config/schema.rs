//! The JSON schema of configuration files, made from the definition of the command line.

use serde_json::{Map, Value, json};

use super::keys::{FILE_KEYS, Form, KEYS, Key, Kind, RuleShape, Table};

/// The schema as text, in the form of the file in `docs/`.
pub(in crate::cli) fn schema() -> String {
    let mut schema = table(Table::Top);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("The configuration file of ringd");
    // Serialising a value of this kind does not fail.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

fn table(table: Table) -> Value {
    let own = FILE_KEYS.iter().filter(|key| key.table == table);
    let own = own.map(|key| (key.name.to_owned(), described(form(key.form), key.help)));
    let options = KEYS.iter().filter(|key| key.is_in(table));
    let options = options.map(|key| (key.name.clone(), described(option(key), &help(key))));
    let properties: Map<String, Value> = own.chain(options).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn described(mut schema: Value, help: &str) -> Value {
    schema["description"] = json!(help);
    schema
}

/// The help of the flag. That of a negated flag speaks of what `false` does.
fn help(key: &Key) -> String {
    if key.is_negated { format!("false: {}", key.help) } else { key.help.clone() }
}

fn form(form: Form) -> Value {
    match form {
        Form::Text => json!({ "type": "string" }),
        Form::Switch => json!({ "type": "boolean" }),
        Form::Numbers(numbers) => json!({ "enum": numbers }),
        Form::Texts => one_or_more(json!({ "type": "string" })),
        Form::One(inner) => table(inner),
        Form::Many(inner) => json!({ "type": "array", "items": table(inner) }),
    }
}

fn one_or_more(item: Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}

fn option(key: &Key) -> Value {
    let mut schema = match &key.kind {
        Kind::Switch => json!({ "type": "boolean" }),
        // Texts may have variables.
        Kind::Number | Kind::Size => json!({ "type": ["integer", "string"] }),
        Kind::Choice(choices) => {
            let variable = json!({ "type": "string", "pattern": "\\$\\{" });
            json!({ "anyOf": [{ "enum": choices }, variable] })
        }
        Kind::Time | Kind::Text if key.may_be_true => json!({ "type": ["boolean", "string"] }),
        Kind::Time | Kind::Text => json!({ "type": "string" }),
        Kind::Rules(shape) => rules(*shape),
    };
    if key.is_list && !matches!(key.kind, Kind::Rules(_)) {
        schema = one_or_more(schema);
    }
    if let Some(default) = key.default.as_ref().filter(|_| !key.is_list) {
        schema["default"] = json!(default);
    }
    if key.kind == Kind::Switch {
        schema["default"] = json!(key.is_negated);
    }
    schema
}

fn rules(shape: RuleShape) -> Value {
    let text = json!({ "type": "string" });
    let table = match shape {
        RuleShape::MediaTypes | RuleShape::Codings | RuleShape::ErrorPages => {
            json!({ "type": "object", "additionalProperties": text })
        }
        RuleShape::CacheRules => parts(["glob", "value"], [text.clone(), text.clone()]),
        RuleShape::HeaderRules => {
            let fields = one_or_more(text.clone());
            let fields = json!({ "type": "object", "additionalProperties": fields });
            parts(["glob", "set"], [text.clone(), fields])
        }
    };
    let item = json!({ "anyOf": [text, table] });
    one_or_more(item)
}

fn parts(names: [&str; 2], [one, two]: [Value; 2]) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": { names[0]: one, names[1]: two },
        "required": names,
    })
}

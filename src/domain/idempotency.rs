//! Idempotency keys. A client chooses a key; a retry of the same request with the same key answers the task of the first
//! one, however often and by however many clients it is sent.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// The longest key.
pub const LONGEST: usize = 255;

/// Hours for which a key is remembered at least; longer while its task has not ended.
pub const HOURS: u32 = 24;

/// A request under a key.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The dialect and the call: a key is of one call of a project.
    pub call: &'static str,
    /// The key.
    pub key: String,
    /// What is asked for, in one form; it may hold passwords.
    request: SecretString,
}

impl IdempotencyKey {
    /// A request under a key; `None` for what is no key: 1 to [`LONGEST`] printable characters of ASCII.
    pub fn new(call: &'static str, key: &str, request: &Value) -> Option<Self> {
        let fits =
            (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        let mut text = String::new();
        write(request, &mut text);
        fits.then(|| Self { call, key: key.to_owned(), request: SecretString::from(text) })
    }

    /// What is asked for, in one form.
    pub fn request(&self) -> &str {
        self.request.expose_secret()
    }
}

/// Writes a value with its keys in order, and without those that hold nothing.
fn write(value: &Value, into: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().filter(|key| !map[*key].is_null()).collect();
            keys.sort();
            into.push('{');
            for key in keys {
                *into += &Value::from(key.as_str()).to_string();
                into.push(':');
                write(&map[key], into);
                into.push(',');
            }
            into.push('}');
        }
        Value::Array(list) => {
            into.push('[');
            for value in list {
                write(value, into);
                into.push(',');
            }
            into.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => *into += &value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_has_one_form() {
        let form = |request: Value| IdempotencyKey::new("call", "k", &request).unwrap().request().to_owned();
        assert_eq!(
            form(json!({"b": [1, {"d": 1, "c": "x"}], "a": null})),
            "{\"b\":[1,{\"c\":\"x\",\"d\":1,},],}"
        );
        for (one, other) in [
            (json!({"a": 1}), json!({"a": "1"})),
            (json!({"a": [1, 2]}), json!({"a": [2, 1]})),
            (json!({"a": "b,c"}), json!({"a": "b", "c": ""})),
            (json!({"a\":1,\"b": 1}), json!({"a": 1, "b": 1})),
            (json!([null]), json!([])),
        ] {
            assert_ne!(form(one.clone()), form(other.clone()), "{one} {other}");
        }
    }

    #[test]
    fn a_key_is_printable_and_does_not_print_what_it_is_for() {
        let secret = json!({"password": "hunter2"});
        for (key, fits) in [
            ("k", true),
            ("0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e", true),
            ("ETn~/+*!", true),
            ("", false),
            ("a b", true),
            ("a\n", false),
            ("é", false),
            ("\u{7f}", false),
        ] {
            let idempotency_key = IdempotencyKey::new("call", key, &secret);
            assert_eq!(idempotency_key.is_some(), fits, "{key:?}");
            assert!(!format!("{idempotency_key:?}").contains("hunter2"));
        }
        assert!(IdempotencyKey::new("call", &"k".repeat(255), &secret).is_some());
        assert!(IdempotencyKey::new("call", &"k".repeat(256), &secret).is_none());
    }
}

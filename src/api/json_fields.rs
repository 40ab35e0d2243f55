//! Reading a request's JSON: a value with the path that leads to it, so that every refusal names the field and says
//! what was expected, and never repeats what was sent (a value may be a password).

use serde_json::{Map, Value};

use crate::domain::refusal::Refusal;

/// Refuses keys of a body that are not in `known`.
///
/// # Errors
/// A refusal that says which keys there are.
pub fn closed(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    if body.keys().all(|key| known.contains(&key.as_str())) {
        return Ok(());
    }
    Err(Refusal::invalid("body", format!("must have no other properties than {}", known.join(", "))))
}

/// A value of a body, and where it stands: `instance['volume']['size']`.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The root of a body, under the one key that it must have.
    ///
    /// # Errors
    /// A refusal when the key is absent.
    pub fn root(body: &'a Map<String, Value>, key: &str) -> Result<Self, Refusal> {
        body.get(key)
            .map(|value| Self { path: key.to_owned(), value })
            .ok_or_else(|| Refusal::invalid(key, "is a required property"))
    }

    /// A whole body.
    pub fn of(body: &'a Value) -> Self {
        Self { path: "body".to_owned(), value: body }
    }

    /// A refusal of this value.
    pub fn refuse(&self, expected: &str) -> Refusal {
        Refusal::invalid(&self.path, expected)
    }

    /// Where the value stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value itself.
    pub const fn value(&self) -> &'a Value {
        self.value
    }

    /// Its keys and values.
    ///
    /// # Errors
    /// A refusal when it is no object.
    pub fn object(&self) -> Result<&'a Map<String, Value>, Refusal> {
        self.value.as_object().ok_or_else(|| self.refuse("must be an object"))
    }

    /// The value of a key that may be absent; `null` is the same as absent.
    ///
    /// # Errors
    /// A refusal when this is no object.
    pub fn optional(&self, key: &str) -> Result<Option<Self>, Refusal> {
        Ok(self.object()?.get(key).filter(|value| !value.is_null()).map(|value| self.child(key, value)))
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// A refusal when it is absent or `null`, or this is no object.
    pub fn required(&self, key: &str) -> Result<Self, Refusal> {
        self.optional(key)?
            .ok_or_else(|| Refusal::invalid(&format!("{}['{key}']", self.path), "is a required property"))
    }

    /// Refuses keys that are not in `known`.
    ///
    /// # Errors
    /// A refusal that says which keys there are.
    pub fn closed(&self, known: &[&str]) -> Result<(), Refusal> {
        if self.object()?.keys().all(|key| known.contains(&key.as_str())) {
            return Ok(());
        }
        Err(self.refuse(&format!("must have no other properties than {}", known.join(", "))))
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        Self { path: format!("{}['{key}']", self.path), value }
    }

    /// Its elements.
    ///
    /// # Errors
    /// A refusal when it is no array.
    pub fn array(&self) -> Result<Vec<Self>, Refusal> {
        let elements = self.value.as_array().ok_or_else(|| self.refuse("must be an array"))?;
        Ok(elements
            .iter()
            .enumerate()
            .map(|(at, value)| Self { path: format!("{}[{at}]", self.path), value })
            .collect())
    }

    /// Its text.
    ///
    /// # Errors
    /// A refusal when it is no string.
    pub fn text(&self) -> Result<&'a str, Refusal> {
        self.value.as_str().ok_or_else(|| self.refuse("must be a string"))
    }

    /// Its truth.
    ///
    /// # Errors
    /// A refusal when it is no boolean.
    pub fn boolean(&self) -> Result<bool, Refusal> {
        self.value.as_bool().ok_or_else(|| self.refuse("must be a boolean"))
    }

    /// An integer from `least` to `most`; a number with a fraction is none, nor is a string of digits.
    ///
    /// # Errors
    /// A refusal of anything else.
    pub fn integer(&self, least: i64, most: i64) -> Result<i64, Refusal> {
        self.value
            .as_i64()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.refuse(&format!("must be an integer from {least} to {most}")))
    }

    /// A string of at most `longest` characters with at least one letter or digit.
    ///
    /// # Errors
    /// A refusal of anything else.
    pub fn words(&self, longest: usize) -> Result<&'a str, Refusal> {
        let text = self.text()?;
        if !text.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Err(self.refuse("must be a string with at least one letter or digit"));
        }
        if text.chars().count() > longest {
            return Err(self.refuse(&format!("must have {longest} characters at most")));
        }
        Ok(text)
    }

    /// A dashed UUID, in either case.
    ///
    /// # Errors
    /// A refusal of anything else.
    pub fn uuid(&self) -> Result<&'a str, Refusal> {
        let text = self.text()?;
        if text.len() == 36 && uuid::Uuid::parse_str(text).is_ok() {
            Ok(text)
        } else {
            Err(self.refuse("must be a UUID with dashes"))
        }
    }

    /// A volume's size in GB: an integer of at least 1, or a string of digits that is one. A size beyond what an
    /// `i32` holds is given as its largest: too large for every limit.
    ///
    /// # Errors
    /// A refusal of anything else.
    pub fn size(&self) -> Result<i32, Refusal> {
        let refuse = || self.refuse("must be an integer of at least 1, or a string of digits that is one");
        let gb = match self.value {
            Value::Number(number) => number.as_u64().ok_or_else(refuse)?,
            Value::String(text)
                if (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) =>
            {
                text.parse::<u64>().unwrap_or(u64::MAX)
            }
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(refuse());
            }
        };
        if gb == 0 { Err(refuse()) } else { Ok(i32::try_from(gb).unwrap_or(i32::MAX)) }
    }

    /// A flavor's id: an integer, or a string of which the last segment of the path counts.
    ///
    /// # Errors
    /// A refusal of anything else.
    pub fn flavor(&self) -> Result<String, Refusal> {
        if let Some(number) = self.value.as_u64() {
            return Ok(number.to_string());
        }
        if !self.value.is_string() {
            return Err(self.refuse("must be a string or an integer"));
        }
        match self.words(255)?.rsplit('/').next() {
            Some(id) if !id.is_empty() => Ok(id.to_owned()),
            Some(_) | None => Err(self.refuse("must end in a flavor's id")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(value: Value, how: impl Fn(&Field<'_>) -> Result<T, Refusal>) -> Result<T, String> {
        let body = json!({"x": value});
        let field = Field::root(body.as_object().unwrap(), "x").unwrap();
        how(&field).map_err(|e| e.to_string())
    }

    #[test]
    fn a_size_is_a_positive_integer_or_its_digits() {
        for (value, size) in [
            (json!(1), Some(1)),
            (json!("1"), Some(1)),
            (json!("007"), Some(7)),
            (json!(5_000_000_000_u64), Some(i32::MAX)),
            (json!("9".repeat(40)), Some(i32::MAX)),
            (json!(0), None),
            (json!("0"), None),
            (json!("00"), None),
            (json!(-1), None),
            (json!("-1"), None),
            (json!(1.5), None),
            (json!(1.0), None),
            (json!(""), None),
            (json!(" 1"), None),
            (json!("1e3"), None),
            (json!("١"), None),
            (json!("9".repeat(41)), None),
            (json!(true), None),
            (json!([1]), None),
            (json!(null), None),
        ] {
            assert_eq!(read(value.clone(), |field| field.size()).ok(), size, "{value}");
        }
    }

    #[test]
    fn a_flavor_is_an_id_or_a_link_to_one() {
        for (value, flavor) in [
            (json!(2), Some("2")),
            (json!("2"), Some("2")),
            (json!("http://h/v1.0/p/flavors/7"), Some("7")),
            (json!("m1.small"), Some("m1.small")),
            (json!("http://h/flavors/"), None),
            (json!("//"), None),
            (json!(""), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(true), None),
            (json!({"id": 1}), None),
            (json!("9".repeat(256)), None),
        ] {
            assert_eq!(read(value.clone(), |field| field.flavor()).ok().as_deref(), flavor, "{value}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_not_the_value() {
        let body = json!({"instance": {"users": [{"password": ["hunter2"]}]}});
        let root = Field::root(body.as_object().unwrap(), "instance").unwrap();
        let users = root.required("users").unwrap().array().unwrap();
        let text = users[0].required("password").unwrap().text().unwrap_err().to_string();
        assert_eq!(text, "Validation error: instance['users'][0]['password'] must be a string");
        let text = root.required("name").unwrap_err().to_string();
        assert_eq!(text, "Validation error: instance['name'] is a required property");
        let text = root.closed(&["name"]).unwrap_err().to_string();
        assert_eq!(text, "Validation error: instance must have no other properties than name");
    }

    #[test]
    fn words_hold_a_letter_or_a_digit() {
        for (value, fits) in [
            (json!("a"), true),
            (json!("é1"), true),
            (json!("é"), false),
            (json!(" "), false),
            (json!(""), false),
            (json!("é".repeat(254) + "1"), true),
            (json!("a".repeat(256)), false),
            (json!(1), false),
        ] {
            assert_eq!(read(value.clone(), |f| f.words(255).map(drop)).is_ok(), fits, "{value}");
        }
    }
}

//! What a call is given: a query whose names come once, and an object of JSON, of which unknown fields are left alone.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::api::huawei::error::VendorError;

/// A query's pairs.
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// A value; an empty one is none.
    pub fn text(&self, name: &str) -> Result<Option<&str>, VendorError> {
        let mut values = self.0.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(VendorError::invalid(name, "given once")),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// One of some words.
    pub fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, VendorError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = words.iter().find(|word| **word == text).copied();
        found.map(Some).ok_or_else(|| VendorError::invalid(name, &format!("one of {}", words.join(", "))))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, VendorError> {
        match self.text(name)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_other) => Err(VendorError::invalid(name, "true or false")),
        }
    }

    /// Milliseconds since 1970.
    pub fn instant(&self, name: &str) -> Result<Option<DateTime<Utc>>, VendorError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let at = text.parse().ok().and_then(DateTime::from_timestamp_millis);
        at.map(Some)
            .ok_or_else(|| VendorError::invalid(name, "a time in milliseconds since 1970-01-01T00:00:00Z"))
    }

    fn number(
        &self,
        name: &str,
        usual: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, VendorError> {
        let Some(text) = self.text(name)? else { return Ok(usual) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            VendorError::invalid(name, &format!("an integer from {} to {}", range.start(), range.end()))
        })
    }

    /// `offset` and `limit`.
    pub fn page(&self, usual: usize, most: usize) -> Result<Page, VendorError> {
        Ok(Page {
            offset: self.number("offset", 0, 0..=1_000_000)?,
            limit: self.number("limit", usual, 1..=most)?,
        })
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    /// The part.
    pub fn take<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

/// A body's object; of no body it is empty.
pub struct Body(pub Map<String, Value>);

impl Body {
    /// A field that is true or false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, VendorError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_other) => Err(VendorError::invalid(name, "true or false")),
        }
    }

    /// A field that is a text, and not empty.
    pub fn text(&self, name: &str) -> Result<Option<&str>, VendorError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if (1..=255).contains(&text.chars().count()) => Ok(Some(text)),
            Some(_other) => Err(VendorError::invalid(name, "a text of 1 to 255 characters")),
        }
    }

    /// One that must be there.
    pub fn needed<T>(name: &str, expected: &str, found: Option<T>) -> Result<T, VendorError> {
        found.ok_or_else(|| VendorError::invalid(name, &format!("given: {expected}")))
    }
}

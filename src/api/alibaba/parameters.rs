//! The parameters of a call, from query and form together.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::api::alibaba::error::VendorError;

/// What came, decoded.
#[derive(Clone, Debug, Default)]
pub struct Parameters(pub Vec<(String, String)>);

impl Parameters {
    /// A value; an empty one counts as none.
    ///
    /// # Errors
    /// It is there twice.
    pub fn text(&self, name: &str) -> Result<Option<&str>, VendorError> {
        let mut values = self.0.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str());
        let value = values.next();
        match values.next() {
            Some(_) => Err(VendorError::invalid(name, "it once")),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// It is not, or twice.
    pub fn needed(&self, name: &str) -> Result<&str, VendorError> {
        self.text(name)?.ok_or_else(|| VendorError::missing(name))
    }

    /// One of a few words; the first one where it is absent.
    ///
    /// # Errors
    /// It is another.
    pub fn word(&self, name: &str, words: &[&'static str]) -> Result<&'static str, VendorError> {
        let usual = words.first().copied().unwrap_or_default();
        match self.text(name)? {
            None => Ok(usual),
            Some(text) => {
                let found = words.iter().copied().find(|word| *word == text);
                found.ok_or_else(|| VendorError::invalid(name, &words.join(" or ")))
            }
        }
    }

    /// A number within bounds.
    ///
    /// # Errors
    /// It is none.
    pub fn number(
        &self,
        name: &str,
        usual: usize,
        (least, most): (usize, usize),
    ) -> Result<usize, VendorError> {
        let Some(text) = self.text(name)? else { return Ok(usual) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| VendorError::invalid(name, &format!("a number from {least} to {most}")))
    }

    /// A moment, as `2026-11-22T02:56:18Z`, or without its seconds.
    ///
    /// # Errors
    /// It is none: with `code`.
    pub fn moment(&self, name: &str, code: &'static str) -> Result<Option<DateTime<Utc>>, VendorError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let seconds = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ");
        let parsed = seconds.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ"));
        let text = format!("The parameter {name} is not valid; expected a time like 2026-11-22T02:56:18Z.");
        parsed.map(|at| Some(at.and_utc())).map_err(|_| VendorError::new(400, code, text))
    }

    /// The moment up to which, and with which, something counts: of one that is told without its seconds the whole
    /// minute does, else the whole second.
    ///
    /// # Errors
    /// It is none: with `code`.
    pub fn last_moment(&self, name: &str, code: &'static str) -> Result<Option<DateTime<Utc>>, VendorError> {
        let Some(at) = self.moment(name, code)? else { return Ok(None) };
        let has_seconds = self.text(name)?.is_some_and(|text| text.matches(':').count() == 2);
        let rest = if has_seconds { TimeDelta::seconds(1) } else { TimeDelta::minutes(1) };
        Ok(Some(at + rest - TimeDelta::microseconds(1)))
    }

    /// A list of so many at most, with commas between.
    ///
    /// # Errors
    /// It is longer.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, VendorError> {
        const MOST: usize = 30;
        let list: Vec<_> =
            self.text(name)?.map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default();
        if list.len() > MOST {
            return Err(VendorError::invalid(name, "30 at most, with commas between"));
        }
        Ok(list)
    }
}

/// A page of a list: which, of how many each.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// From 1 on.
    pub number: usize,
    /// How many each has.
    pub size: usize,
}

impl Page {
    /// What was asked for.
    ///
    /// # Errors
    /// It is no number, or beyond the bounds.
    pub fn of(parameters: &Parameters, usual: usize, bounds: (usize, usize)) -> Result<Self, VendorError> {
        let number = parameters.number("PageNumber", 1, (1, 1_000_000))?;
        Ok(Self { number, size: parameters.number("PageSize", usual, bounds)? })
    }

    /// What of a list is on the page.
    pub fn take<T>(self, list: Vec<T>) -> Vec<T> {
        list.into_iter().skip((self.number - 1).saturating_mul(self.size)).take(self.size).collect()
    }
}

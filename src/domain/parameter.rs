//! Parameters of servers that their customers may set, and the values of a configuration group.
//!
//! What parameters there are, and what values they take, a server of the version itself has told
//! ([`Configure::parameters`](crate::engines::Configure::parameters)). So a value is judged here, before it is stored, by what
//! its server would say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::domain::flavor::Flavor;
use crate::domain::ids::{ConfigurationId, InstanceId, ProjectId};
use crate::domain::refusal::Refusal;

/// The most values of one group.
const MOST: usize = 200;

/// The longest text of a value.
const LONGEST: usize = 4_096;

/// What a parameter's value is, as Trove names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// On or off.
    Boolean,
    /// A whole number, in the parameter's unit.
    Integer,
    /// A number.
    Float,
    /// A text: one of the values, where there are such.
    String,
    /// Several of the values, with commas between them.
    List,
    /// Several of the values, each followed by `=on` or `=off`, with commas between them.
    Switches,
}

impl ParameterType {
    /// Trove's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::String | Self::List | Self::Switches => "string",
        }
    }
}

/// A parameter of a version's servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, as the server writes it.
    pub name: String,
    /// What its value is.
    pub kind: ParameterType,
    /// Whether a value has its effect from the server's next start on.
    pub restart: bool,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// The largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// The texts that it takes, in lower case where case does not matter; empty for any number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What a number counts: `kB`, `8kB`, `ms` for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The most of the flavor's memory that it may take, in percent; a number is bytes then, times the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_percent: Option<u8>,
}

impl Parameter {
    /// Judges a value: gives it as the server reads it.
    ///
    /// # Errors
    /// What was expected.
    pub fn read(&self, value: &Value) -> Result<Value, String> {
        let between = |number: f64| {
            let bound = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64);
            bound(&self.min).is_none_or(|min| number >= min)
                && bound(&self.max).is_none_or(|max| number <= max)
        };
        let read = match (self.kind, value) {
            (ParameterType::Boolean, Value::Bool(_)) => Some(value.clone()),
            // Trove's own rules for MySQL have booleans as integers.
            (ParameterType::Boolean, Value::Number(number)) => match number.as_u64() {
                Some(0) => Some(Value::Bool(false)),
                Some(1) => Some(Value::Bool(true)),
                _ => None,
            },
            (ParameterType::Integer, Value::Number(number)) => {
                let is_whole = number.is_i64() || number.is_u64();
                number.as_f64().filter(|it| is_whole && between(*it)).map(|_| value.clone())
            }
            (ParameterType::Float, Value::Number(number)) => {
                number.as_f64().filter(|it| between(*it)).map(|_| value.clone())
            }
            // Terraform writes a number with a fraction as a text.
            (ParameterType::Float, Value::String(text)) => {
                let number = text.parse::<f64>().ok().filter(|it| between(*it));
                number.and_then(Number::from_f64).map(Value::Number)
            }
            (ParameterType::String, Value::String(text)) => {
                self.values.iter().find(|one| one.eq_ignore_ascii_case(text)).cloned().map(Value::String)
            }
            (ParameterType::List, Value::String(text)) => self
                .each(text, |one| self.values.iter().find(|known| known.eq_ignore_ascii_case(one)).cloned()),
            (ParameterType::Switches, Value::String(text)) => self.each(text, |one| {
                let (name, state) = one.split_once('=')?;
                let known = self.values.iter().find(|known| known.eq_ignore_ascii_case(name.trim()))?;
                let state =
                    ["on", "off", "default"].into_iter().find(|it| it.eq_ignore_ascii_case(state.trim()))?;
                Some(format!("{known}={state}"))
            }),
            (_, _) => None,
        };
        read.ok_or_else(|| self.expected())
    }

    /// Takes no number below `least` or above `most`, whatever its server would take.
    pub fn narrow(&mut self, least: i64, most: i64) {
        let bound = |number: &Option<Number>| number.as_ref().and_then(Number::as_i64);
        self.min = Some(bound(&self.min).unwrap_or(least).max(least).into());
        self.max = Some(bound(&self.max).unwrap_or(most).min(most).into());
    }

    fn each(&self, text: &str, one: impl Fn(&str) -> Option<String>) -> Option<Value> {
        if text.len() > LONGEST {
            return None;
        }
        if text.trim().is_empty() {
            return Some(Value::String(String::new()));
        }
        let all: Option<Vec<String>> = text.split(',').map(|part| one(part.trim())).collect();
        let name = |one: &String| one.split('=').next().unwrap_or_default().to_owned();
        // A server does not start with a switch that is told twice.
        all.filter(|all| all.iter().map(name).collect::<BTreeSet<_>>().len() == all.len())
            .map(|all| Value::String(all.join(",")))
    }

    fn expected(&self) -> String {
        let mut text = match self.kind {
            ParameterType::Boolean => "must be a boolean".to_owned(),
            ParameterType::Integer => "must be an integer".to_owned(),
            ParameterType::Float => "must be a number".to_owned(),
            ParameterType::String => "must be a string, one of: ".to_owned(),
            ParameterType::List => "must be a string, of these with commas between them: ".to_owned(),
            ParameterType::Switches => {
                "must be a string of NAME=on or NAME=off with commas between them, where NAME is of: "
                    .to_owned()
            }
        };
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => text.push_str(&format!(" from {min} to {max}")),
            (Some(min), None) => text.push_str(&format!(" of at least {min}")),
            (None, Some(max)) => text.push_str(&format!(" of at most {max}")),
            (None, None) => {}
        }
        const TOLD: usize = 40;
        text.push_str(&self.values.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", "));
        if self.values.len() > TOLD {
            text.push_str(", and others");
        }
        text
    }
}

/// The values of a group, by the parameters' names.
pub type Values = BTreeMap<String, Value>;

/// A value as a server's configuration writes it, without quotes.
pub fn written(value: &Value) -> String {
    match value {
        Value::Bool(true) => "ON".to_owned(),
        Value::Bool(false) => "OFF".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn named<'a>(parameters: &'a [Parameter], name: &str) -> Option<&'a Parameter> {
    parameters.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
}

/// Judges the values that a caller sends for servers that have these parameters.
///
/// # Errors
/// [`Refusal::Parameter`] that names the first parameter that is not there or whose value does not fit.
pub fn read(parameters: &[Parameter], sent: &Map<String, Value>) -> Result<Values, Refusal> {
    if sent.len() > MOST {
        return Err(Refusal::Parameter(format!("values must have {MOST} properties at most.")));
    }
    let mut values = Values::new();
    for (name, value) in sent {
        let shown: String = name.chars().take(64).collect();
        let Some(parameter) = named(parameters, name) else {
            return Err(Refusal::Parameter(format!(
                "The configuration parameter {shown} is not supported for this datastore version."
            )));
        };
        let read = parameter.read(value).map_err(|expected| {
            Refusal::Parameter(format!(
                "The value provided for the configuration parameter {} {expected}.",
                parameter.name
            ))
        })?;
        if values.insert(parameter.name.clone(), read).is_some() {
            return Err(Refusal::Parameter(format!(
                "The configuration parameter {} is there twice.",
                parameter.name
            )));
        }
    }
    agree(&values)?;
    Ok(values)
}

/// Values that depend on each other.
fn agree(values: &Values) -> Result<(), Refusal> {
    let text = |name: &str| values.get(name).and_then(Value::as_str);
    if let (Some(set), Some(collation)) = (text("character_set_server"), text("collation_server"))
        && character_set_of(collation) != set
    {
        return Err(Refusal::Parameter(format!(
            "The value provided for the configuration parameter collation_server must be of the character set {set}."
        )));
    }
    Ok(())
}

/// The character set of a collation.
pub fn character_set_of(collation: &str) -> &str {
    collation.split('_').next().unwrap_or_default()
}

/// Why a server with the flavor's memory would not have room for these values: names the parameter.
pub fn too_large(parameters: &[Parameter], values: &Values, flavor: &Flavor) -> Option<String> {
    let memory = f64::from(flavor.ram_mb) * 1_048_576.0;
    values.iter().find_map(|(name, value)| {
        let parameter = named(parameters, name)?;
        let most = memory * f64::from(parameter.memory_percent?) / 100.0;
        let unit = bytes_of(parameter.unit.as_deref());
        (value.as_f64()? * unit > most).then(|| {
            format!(
                "the configuration parameter {name} may be at most {:.0} with the flavor {}: {} % of its {} MB",
                (most / unit).floor(),
                flavor.name,
                parameter.memory_percent.unwrap_or_default(),
                flavor.ram_mb
            )
        })
    })
}

/// How many bytes a unit is; 1 for what is none.
fn bytes_of(unit: Option<&str>) -> f64 {
    let unit = unit.unwrap_or("B");
    let digits = unit.len() - unit.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, of) = unit.split_at(digits);
    let of = match of {
        "kB" => 1_024.0,
        "MB" => 1_048_576.0,
        _ => 1.0,
    };
    count.parse::<f64>().unwrap_or(1.0) * of
}

/// What of a group's values servers with these parameters have no more, or read otherwise: a line for each.
pub fn lost(parameters: &[Parameter], values: &Values) -> Vec<(String, String)> {
    values
        .iter()
        .filter_map(|(name, value)| match named(parameters, name) {
            None => Some((name.clone(), "is not known to the new version".to_owned())),
            Some(parameter) => parameter
                .read(value)
                .err()
                .map(|expected| (name.clone(), format!("{expected} on the new version"))),
        })
        .collect()
}

/// A configuration group.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Its id.
    pub id: ConfigurationId,
    /// The project that owns it.
    pub project: ProjectId,
    /// Its name: 1 to 255 characters.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The version that it is for.
    pub version: crate::domain::datastore::DatastoreVersion,
    /// Its values.
    pub values: Values,
    /// When it was made.
    pub created_at: chrono::DateTime<chrono::Utc>,
    /// When it was changed last.
    pub updated_at: chrono::DateTime<chrono::Utc>,
    /// How many instances have it.
    pub instance_count: i64,
}

/// An instance that has a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The instance.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::ids::FlavorId;

    fn parameter(name: &str, kind: ParameterType) -> Parameter {
        Parameter {
            name: name.to_owned(),
            kind,
            restart: false,
            min: None,
            max: None,
            values: Vec::new(),
            unit: None,
            memory_percent: None,
        }
    }

    fn all() -> Vec<Parameter> {
        let number = |number: i64| Some(Number::from(number));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        vec![
            Parameter {
                min: number(10),
                max: number(5_000),
                ..parameter("max_connections", ParameterType::Integer)
            },
            Parameter { min: number(0), ..parameter("cost", ParameterType::Float) },
            parameter("innodb_rollback", ParameterType::Boolean),
            Parameter {
                values: words(&["utf8mb4", "latin1"]),
                ..parameter("character_set_server", ParameterType::String)
            },
            Parameter {
                values: words(&["utf8mb4_bin", "latin1_swedish_ci"]),
                ..parameter("collation_server", ParameterType::String)
            },
            Parameter {
                values: words(&["ANSI", "STRICT_TRANS_TABLES"]),
                ..parameter("sql_mode", ParameterType::List)
            },
            Parameter {
                values: words(&["mrr", "index_merge"]),
                ..parameter("optimizer_switch", ParameterType::Switches)
            },
            Parameter {
                unit: Some("8kB".to_owned()),
                memory_percent: Some(50),
                ..parameter("shared_buffers", ParameterType::Integer)
            },
        ]
    }

    #[test]
    fn each_value_is_judged_by_its_type_and_its_bounds() {
        let fits = |name: &str, value: Value| {
            let sent = Map::from_iter([(name.to_owned(), value)]);
            read(&all(), &sent).map(|values| values.into_iter().next().unwrap()).ok()
        };
        for (name, sent, stored) in [
            ("max_connections", json!(10), Some(json!(10))),
            ("MAX_connections", json!(5_000), Some(json!(5_000))),
            ("max_connections", json!(9), None),
            ("max_connections", json!(5_001), None),
            ("max_connections", json!("10"), None),
            ("max_connections", json!(10.0), None),
            ("max_connections", json!(true), None),
            ("max_connections", json!(null), None),
            ("max_connections", json!(18_446_744_073_709_551_615_u64), None),
            ("cost", json!(0), Some(json!(0))),
            ("cost", json!(0.25), Some(json!(0.25))),
            ("cost", json!(-0.25), None),
            ("cost", json!("0.25"), Some(json!(0.25))),
            ("cost", json!("-0.25"), None),
            ("cost", json!("inf"), None),
            ("cost", json!("x"), None),
            ("innodb_rollback", json!(true), Some(json!(true))),
            ("innodb_rollback", json!(0), Some(json!(false))),
            ("innodb_rollback", json!(1), Some(json!(true))),
            ("innodb_rollback", json!(2), None),
            ("innodb_rollback", json!("ON"), None),
            ("character_set_server", json!("UTF8MB4"), Some(json!("utf8mb4"))),
            ("character_set_server", json!("utf8mb4\nx"), None),
            ("sql_mode", json!("strict_trans_tables, ANSI"), Some(json!("STRICT_TRANS_TABLES,ANSI"))),
            ("sql_mode", json!(""), Some(json!(""))),
            ("sql_mode", json!("ANSI,"), None),
            ("sql_mode", json!("ANSI\nlog_bin=0"), None),
            ("optimizer_switch", json!("MRR = off,index_merge=ON"), Some(json!("mrr=off,index_merge=on"))),
            ("optimizer_switch", json!("mrr"), None),
            ("optimizer_switch", json!("mrr=on,MRR=off"), None),
            ("sql_mode", json!("ANSI,ansi"), None),
            ("optimizer_switch", json!("other=on"), None),
            ("log_bin", json!(1), None),
            ("", json!(1), None),
        ] {
            assert_eq!(fits(name, sent.clone()).map(|(_, value)| value), stored, "{name} {sent}");
        }
        assert_eq!(fits("MAX_CONNECTIONS", json!(10)).unwrap().0, "max_connections");
    }

    #[test]
    fn values_that_depend_on_each_other_agree() {
        for (set, collation, fits) in
            [("latin1", "latin1_swedish_ci", true), ("utf8mb4", "latin1_swedish_ci", false)]
        {
            let sent = json!({"character_set_server": set, "collation_server": collation});
            assert_eq!(read(&all(), sent.as_object().unwrap()).is_ok(), fits, "{set} {collation}");
        }
        let twice = json!({"max_connections": 10, "Max_Connections": 20});
        assert!(read(&all(), twice.as_object().unwrap()).is_err());
    }

    #[test]
    fn memory_is_the_flavors() {
        let flavor = Flavor { id: FlavorId("1".into()), name: "small".into(), ram_mb: 512, vcpus: 1 };
        // Half of 512 MB in pages of 8 kB.
        for (pages, fits) in [(32_768, true), (32_769, false)] {
            let values = Values::from([("shared_buffers".to_owned(), json!(pages))]);
            assert_eq!(too_large(&all(), &values, &flavor).is_none(), fits, "{pages}");
        }
    }

    #[test]
    fn what_another_version_does_not_have_is_named() {
        let values = Values::from([
            ("innodb_change_buffering".to_owned(), json!("all")),
            ("max_connections".to_owned(), json!(9)),
            ("cost".to_owned(), json!(1)),
        ]);
        let lost = lost(&all(), &values);
        assert_eq!(
            lost.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["innodb_change_buffering", "max_connections"]
        );
    }
}

//! The parameters of a simulated server: a few of each family's, as clients know them.

use std::collections::BTreeMap;

use serde_json::{Number, Value, json};

use crate::domain::datastore::EngineKind;
use crate::domain::flavor::client_connections;
use crate::domain::parameter::{Parameter, ParameterType, Values};
use crate::engines::{Settings, Standing};

/// Connections beyond the tenant's, as real servers have them.
const OUR_CONNECTIONS: u32 = 16;

fn integer(name: &str, (min, max): (i64, i64), restart: bool) -> Parameter {
    Parameter {
        name: name.to_owned(),
        kind: ParameterType::Integer,
        restart,
        min: Some(Number::from(min)),
        max: Some(Number::from(max)),
        values: Vec::new(),
        unit: None,
        memory_percent: None,
    }
}

fn text(name: &str, values: &[&str]) -> Parameter {
    Parameter {
        kind: ParameterType::String,
        min: None,
        max: None,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        ..integer(name, (0, 0), false)
    }
}

fn boolean(name: &str, restart: bool) -> Parameter {
    Parameter { kind: ParameterType::Boolean, min: None, max: None, ..integer(name, (0, 0), restart) }
}

/// Those of a server of this family, by name.
pub fn of(kind: EngineKind) -> Vec<Parameter> {
    match kind {
        EngineKind::MariaDb | EngineKind::Mysql => vec![
            text("character_set_server", &["latin1", "utf8", "utf8mb4"]),
            text("collation_server", &["latin1_swedish_ci", "utf8_general_ci", "utf8mb4_general_ci"]),
            integer("connect_timeout", (2, 31_536_000), false),
            Parameter {
                memory_percent: Some(70),
                ..integer("innodb_buffer_pool_size", (32 << 20, i64::MAX), true)
            },
            boolean("innodb_rollback_on_timeout", true),
            Parameter { memory_percent: Some(5), ..integer("join_buffer_size", (128, i64::MAX), false) },
            integer("max_connections", (32, 1_000), false),
            integer("wait_timeout", (1, 31_536_000), false),
        ],
        EngineKind::Postgresql => vec![
            boolean("autovacuum", false),
            integer("max_connections", (48, 1_000), true),
            Parameter { kind: ParameterType::Float, ..integer("random_page_cost", (0, i64::MAX), false) },
            Parameter {
                unit: Some("8kB".to_owned()),
                memory_percent: Some(50),
                ..integer("shared_buffers", (2_048, i64::MAX), true)
            },
            Parameter {
                unit: Some("ms".to_owned()),
                ..integer("statement_timeout", (0, 2_147_483_647), false)
            },
        ],
    }
}

/// What a real server's configuration would have by the flavor.
pub fn defaults(settings: &Settings) -> BTreeMap<String, Value> {
    let connections = client_connections(settings.memory_mb) + OUR_CONNECTIONS;
    BTreeMap::from([("max_connections".to_owned(), json!(connections))])
}

fn of_the_start(kind: EngineKind, name: &str) -> bool {
    of(kind).iter().any(|parameter| parameter.name == name && parameter.restart)
}

/// What a server that runs has when it takes `wanted`: what it has from its start stays.
pub fn while_it_runs(kind: EngineKind, runs_with: Values, wanted: Values) -> Values {
    let kept = runs_with.into_iter().filter(|(name, _)| of_the_start(kind, name));
    let taken = wanted.into_iter().filter(|(name, _)| !of_the_start(kind, name));
    kept.chain(taken).collect()
}

/// How a server that runs with these values stands to those of its settings.
pub fn standing(kind: EngineKind, runs_with: &Values, settings: &Settings) -> Standing {
    let from_the_start = |values: &Values| -> Values {
        values
            .iter()
            .filter(|(name, _)| of_the_start(kind, name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let chosen =
        runs_with.get("max_connections").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    let connections = chosen.unwrap_or(client_connections(settings.memory_mb) + OUR_CONNECTIONS);
    Standing {
        needs_restart: from_the_start(runs_with) != from_the_start(&settings.parameters),
        connections: connections.saturating_sub(OUR_CONNECTIONS).max(1),
    }
}

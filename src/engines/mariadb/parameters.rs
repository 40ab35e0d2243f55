//! Asking a server what parameters it has, and having it take the values of a group.
//!
//! # Whether a server has what its configuration says
//! A read-only variable has its value from the server's start, and what the server shows of it may be another text than
//! what was written. So the configuration has a mark of those values in a variable that nothing else uses and that nobody can
//! change while the server runs (`report_user`): a server whose mark is another one was started with other values.

use std::collections::BTreeMap;

use serde_json::{Number, Value, json};

use crate::domain::operation::Refused;
use crate::domain::parameter::{Parameter, ParameterType, Values, written};
use crate::engines::configure::Standing;
use crate::engines::mariadb::config;
use crate::engines::mariadb::connection::{Client, quoted};
use crate::engines::mariadb::offered::{BOUNDS, MEMORY, OFFERED, OUR_CONNECTIONS, is_of_the_start, mark};
use crate::engines::{Error, Server, Settings};
use crate::runtimes::Layout;

fn number(value: Option<String>) -> Option<Number> {
    let value = value?;
    if let Ok(whole) = value.parse::<i64>() {
        return Some(whole.into());
    }
    match value.parse::<u64>() {
        // No number of a client's is that large.
        Ok(_) => Some(i64::MAX.into()),
        Err(_) => value.parse::<f64>().ok().and_then(Number::from_f64),
    }
}

/// Asks a server what there is.
pub async fn ask(client: &mut Client) -> Result<Vec<Parameter>, Error> {
    let doing = "list the server's variables";
    let names: Vec<String> = OFFERED.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "SELECT LOWER(VARIABLE_NAME), VARIABLE_TYPE, NUMERIC_MIN_VALUE, NUMERIC_MAX_VALUE, ENUM_VALUE_LIST, READ_ONLY \
         FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME IN ({}) AND VARIABLE_SCOPE <> 'SESSION ONLY' ORDER BY 1",
        names.join(", ")
    );
    let rows = client.rows(doing, &sql).await?;
    let mut found = Vec::new();
    for row in rows {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let (Some(name), Some(kind)) = (next(), next()) else { continue };
        let (min, max, words, read_only) = (number(next()), number(next()), next(), next());
        let mut parameter = Parameter {
            restart: read_only.as_deref() == Some("YES") || is_of_the_start(&name),
            memory_percent: MEMORY.iter().find(|(of, _)| *of == name).map(|(_, percent)| *percent),
            kind: ParameterType::String,
            min: None,
            max: None,
            values: Vec::new(),
            unit: None,
            name,
        };
        let listed = || words.iter().flat_map(|words| words.split(',')).map(str::to_owned).collect();
        match kind.as_str() {
            "BOOLEAN" => parameter.kind = ParameterType::Boolean,
            "DOUBLE" => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Float, min, max),
            // A character set, of which there is no list here, is an ENUM, too.
            "ENUM" if words.is_none() => parameter.values = texts(client, &parameter.name).await?,
            "ENUM" => parameter.values = listed(),
            "SET" => (parameter.kind, parameter.values) = (ParameterType::List, listed()),
            "FLAGSET" => {
                (parameter.kind, parameter.values) = (ParameterType::Switches, listed());
                parameter.values.retain(|word| word != "default");
            }
            "VARCHAR" => parameter.values = texts(client, &parameter.name).await?,
            _ => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Integer, min, max),
        }
        if let Some((_, least, most)) = BOUNDS.iter().find(|(of, ..)| *of == parameter.name) {
            parameter.narrow(*least, *most);
        }
        found.push(parameter);
    }
    Ok(found)
}

/// The texts that a variable takes of which the server itself gives no list.
async fn texts(client: &mut Client, name: &str) -> Result<Vec<String>, Error> {
    let sql = match name {
        "character_set_server" => {
            "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS ORDER BY 1"
        }
        "collation_server" => {
            "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY ORDER BY 1"
        }
        // Names of zones are not in the server's tables.
        "time_zone" => {
            let quarters = (-48..=52).map(|quarter: i32| {
                let sign = if quarter < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", quarter.abs() / 4, quarter.abs() % 4 * 15)
            });
            return Ok(std::iter::once("SYSTEM".to_owned()).chain(quarters).collect());
        }
        _ => return Ok(Vec::new()),
    };
    Ok(client
        .rows("list a variable's values", sql)
        .await?
        .into_iter()
        .filter_map(|row| row.into_iter().next()?)
        .collect())
}

/// What the configuration has of what is offered, without a group.
pub fn defaults(server: &Server, layout: &Layout) -> BTreeMap<String, Value> {
    let settings = Settings { parameters: Values::new(), ..server.settings.clone() };
    let text = config::text(&settings, &server.version, false, layout);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let offered = pairs
        .map(|(option, value)| (option.replace('-', "_"), value))
        .filter(|(name, _)| OFFERED.contains(&name.as_str()));
    offered
        .map(|(name, value)| {
            let megabytes = value.strip_suffix('M').and_then(|count| count.parse::<u64>().ok());
            let whole = megabytes.map(|count| count << 20).or_else(|| value.parse().ok());
            (name, whole.map_or_else(|| json!(value), |whole| json!(whole)))
        })
        .collect()
}

/// A value in a statement.
fn sql(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => written(other),
    }
}

/// Sets at run time what can be: the values, and the defaults of what has none any more. Gives what the server says of those that
/// it does not take; it has the others.
pub async fn apply(
    client: &mut Client,
    values: &Values,
    defaults: &BTreeMap<String, Value>,
) -> Result<Option<Refused>, Error> {
    let names: Vec<String> =
        OFFERED.iter().filter(|name| !is_of_the_start(name)).map(|name| quoted(name)).collect();
    let select = format!(
        "SELECT LOWER(VARIABLE_NAME), GLOBAL_VALUE_ORIGIN, GLOBAL_VALUE FROM information_schema.SYSTEM_VARIABLES \
         WHERE VARIABLE_NAME IN ({}) AND READ_ONLY = 'NO' AND VARIABLE_SCOPE <> 'SESSION ONLY' ORDER BY 1",
        names.join(", ")
    );
    let mut refused = Vec::new();
    for row in client.rows("list what a server's variables have", &select).await? {
        let mut row = row.into_iter();
        let (Some(name), origin, has) = (row.next().flatten(), row.next().flatten(), row.next().flatten())
        else {
            continue;
        };
        // A server has one of both, which has its character set.
        if name == "character_set_server" && values.contains_key("collation_server") {
            continue;
        }
        if name == "collation_server" && !values.contains_key("collation_server") {
            continue;
        }
        let chosen = values.get(&name).or_else(|| defaults.get(&name));
        let has = has.and_then(|has| has.parse::<u64>().ok());
        // With fewer than there are, nobody could come in, we neither: that waits for the next start, which ends them all.
        if name == "max_connections" && chosen.and_then(Value::as_u64) < has {
            continue;
        }
        let value = match (chosen, name.as_str()) {
            // Only those that are named would change.
            (Some(Value::String(switches)), "optimizer_switch") => quoted(&format!("default,{switches}")),
            (Some(value), _) => sql(value),
            // It has what it had from the beginning, or chose by itself.
            (None, _) if !matches!(origin.as_deref(), Some("SQL" | "CONFIG")) => continue,
            // It knows no default of these, or another than at its start.
            (None, "time_zone") => "'SYSTEM'".to_owned(),
            (None, "innodb_io_capacity_max") => "2000".to_owned(),
            (None, _) => "DEFAULT".to_owned(),
        };
        match client.run("set a parameter", &format!("SET GLOBAL {name} = {value}")).await {
            Ok(()) => {}
            // It has judged the value, and takes it never.
            Err(Error::Refused { code: 1231 | 1232 | 1115 | 1273 | 1253 | 1210 | 1438, message, .. }) => {
                refused.push(format!("{name}: {message}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((!refused.is_empty()).then(|| Refused::Rejected { message: refused.join("; ") }))
}

/// How the server stands to its configuration.
pub async fn standing(
    client: &mut Client,
    values: &Values,
    defaults: &BTreeMap<String, Value>,
) -> Result<Standing, Error> {
    let sql = "SELECT COALESCE(@@GLOBAL.report_user, ''), @@GLOBAL.max_connections";
    let row = client.row("ask what a server was started with", sql).await?.unwrap_or_default();
    let mut row = row.into_iter();
    let started_with = row.next().flatten().unwrap_or_default();
    let has = row.next().flatten().and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    let chosen = values.get("max_connections").or_else(|| defaults.get("max_connections"));
    let chosen = chosen.and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok()).unwrap_or(has);
    Ok(Standing {
        needs_restart: started_with != mark(values).unwrap_or_default() || chosen < has,
        // No more come in from now on; those that are there stay until it is started again.
        connections: has.min(chosen).saturating_sub(OUR_CONNECTIONS).max(1),
    })
}

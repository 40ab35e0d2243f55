//! Asking a server what parameters it has, and having it take the values of a group.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Number, Value, json};
use tokio::time::Instant;

use crate::domain::operation::Refused;
use crate::domain::parameter::{Parameter, ParameterType, Values};
use crate::engines::configure::Standing;
use crate::engines::postgresql::config;
use crate::engines::postgresql::connection::{Client, quoted};
use crate::engines::postgresql::offered::{BOUNDS, MEMORY, OFFERED, OUR_CONNECTIONS};
use crate::engines::{Error, Server, Settings};
use crate::runtimes::Layout;

/// How long a server may take to read its configuration again.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// The orders of a date's parts, with the styles that have them.
const DATE_STYLES: [&str; 12] = [
    "ISO, MDY",
    "ISO, DMY",
    "ISO, YMD",
    "SQL, MDY",
    "SQL, DMY",
    "SQL, YMD",
    "Postgres, MDY",
    "Postgres, DMY",
    "Postgres, YMD",
    "German, MDY",
    "German, DMY",
    "German, YMD",
];

fn number(value: Option<String>) -> Option<Number> {
    let value = value?;
    value
        .parse::<i64>()
        .map(Number::from)
        .ok()
        .or_else(|| value.parse::<f64>().ok().and_then(Number::from_f64))
}

/// Asks a server what there is.
pub async fn ask(client: &Client) -> Result<Vec<Parameter>, Error> {
    let names: Vec<String> = OFFERED.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "SELECT name, vartype, context, unit, min_val, max_val, array_to_string(enumvals, ',') FROM pg_settings \
         WHERE name IN ({}) AND context <> 'internal' ORDER BY name COLLATE \"C\"",
        names.join(", ")
    );
    let mut found = Vec::new();
    for row in client.rows("list the server's parameters", &sql).await? {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let (Some(name), Some(kind), Some(context)) = (next(), next(), next()) else { continue };
        let (unit, min, max, words) = (next(), number(next()), number(next()), next());
        let words: Vec<String> = words.iter().flat_map(|words| words.split(',')).map(str::to_owned).collect();
        let mut parameter = Parameter {
            kind: ParameterType::String,
            restart: context == "postmaster",
            min: None,
            max: None,
            values: Vec::new(),
            unit,
            memory_percent: MEMORY.iter().find(|(of, _)| *of == name).map(|(_, percent)| *percent),
            name,
        };
        match kind.as_str() {
            "bool" => parameter.kind = ParameterType::Boolean,
            "integer" => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Integer, min, max),
            "real" => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Float, min, max),
            "enum" => parameter.values = words,
            _ => parameter.values = texts(client, &parameter.name).await?,
        }
        if let Some((_, least, most)) = BOUNDS.iter().find(|(of, ..)| *of == parameter.name) {
            parameter.narrow(*least, *most);
        }
        found.push(parameter);
    }
    Ok(found)
}

/// The texts that a parameter takes of which the server itself gives no list.
async fn texts(client: &Client, name: &str) -> Result<Vec<String>, Error> {
    match name {
        "DateStyle" => Ok(DATE_STYLES.iter().map(|style| (*style).to_owned()).collect()),
        "TimeZone" => {
            let sql = "SELECT name FROM pg_timezone_names WHERE name !~ '^posix' ORDER BY name COLLATE \"C\"";
            client.column("list the server's time zones", sql).await
        }
        _ => Ok(Vec::new()),
    }
}

/// What the configuration has of what is offered, without a group.
pub fn defaults(server: &Server, layout: &Layout) -> BTreeMap<String, Value> {
    let settings = Settings { parameters: Values::new(), ..server.settings.clone() };
    let text = config::main(&Server { settings, ..server.clone() }, layout);
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .filter_map(|(name, value)| {
            let name = OFFERED.iter().find(|offered| offered.eq_ignore_ascii_case(name))?;
            let value = value.trim_matches('\'');
            let whole = value.parse::<i64>().ok();
            Some(((*name).to_owned(), whole.map_or_else(|| json!(value), |whole| json!(whole))))
        })
        .collect()
}

/// Has a server that runs read its configuration again, which is written. Gives what it says of a line that it does not take.
pub async fn read_again(client: &Client) -> Result<Option<Refused>, Error> {
    let doing = "have the server read its configuration";
    let before = client.value(doing, "SELECT pg_conf_load_time()::text").await?;
    client.run(doing, "SELECT pg_reload_conf()").await?;
    let deadline = Instant::now() + READ_AGAIN;
    // What the file has wrong is known at once; what waits for a start is no error of it.
    let wrong = "SELECT string_agg(coalesce(f.name, 'a line') || ': ' || f.error, '; ') FROM pg_file_settings f \
                 WHERE f.error IS NOT NULL AND f.error NOT LIKE '%cannot be changed without restarting%' AND NOT EXISTS (SELECT FROM pg_settings s \
                 WHERE lower(s.name) = lower(f.name) AND s.context = 'postmaster')";
    if let Some(message) = client.value(doing, wrong).await? {
        return Ok(Some(Refused::Rejected { message }));
    }
    while client.value(doing, "SELECT pg_conf_load_time()::text").await? == before {
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{doing}: timed out")));
        }
        tokio::time::sleep(super::LOOK_EVERY).await;
    }
    Ok(None)
}

/// How the server stands to its configuration.
pub async fn standing(client: &Client) -> Result<Standing, Error> {
    let doing = "ask what a server was started with";
    // What else waits for a start is ours to know.
    let names: Vec<String> = OFFERED.iter().map(|name| quoted(name)).collect();
    let pending =
        format!("SELECT 1 FROM pg_settings WHERE pending_restart AND name IN ({})", names.join(", "));
    let needs_restart = client.is_there(doing, &pending).await?;
    let connections = client.value(doing, "SELECT current_setting('max_connections')").await?;
    let connections = connections.and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    Ok(Standing { needs_restart, connections: connections.saturating_sub(OUR_CONNECTIONS).max(1) })
}

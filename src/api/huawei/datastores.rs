//! What there is of an engine: its versions, and the builds of each.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::huawei::error::VendorError;
use crate::api::huawei::{Answer, Call, ok};
use crate::db;
use crate::db::catalogue_cache::{self, Catalogue};
use crate::domain::build_upgrades::order;
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::policy::{Rule, allow};

/// The engine that is named; `None` for one of the vendor's that this service does not have.
fn engine(name: &str) -> Result<Option<EngineKind>, VendorError> {
    match name.to_ascii_lowercase().as_str() {
        "mysql" => Ok(Some(EngineKind::Mysql)),
        "mariadb" => Ok(Some(EngineKind::MariaDb)),
        "postgresql" => Ok(Some(EngineKind::Postgresql)),
        "sqlserver" => Ok(None),
        _unknown => {
            Err(VendorError::unsupported("The database must be MySQL, PostgreSQL, SQLServer or MariaDB."))
        }
    }
}

async fn catalogue(call: &Call) -> Result<Arc<Catalogue>, VendorError> {
    allow(&call.caller, Rule::CatalogueRead)?;
    let read: Result<_, db::Error> = call.state.commands.db.run(catalogue_cache::now).await;
    Ok(read?)
}

/// The active versions of an engine, the newest in front.
fn active(catalogue: &Catalogue, engine: Option<EngineKind>) -> Vec<&DatastoreVersion> {
    let mut found: Vec<_> =
        catalogue.versions().filter(|version| Some(version.engine) == engine && version.active).collect();
    found.sort_by(|a, b| order(&b.number, &a.number));
    found
}

/// `GET …/datastores/{database}`: a line for each major version.
pub async fn versions(call: &Call, database: &str) -> Answer {
    let engine = engine(database)?;
    let catalogue = catalogue(call).await?;
    let mut lines: Vec<Value> = Vec::new();
    let mut last = String::new();
    for version in active(&catalogue, engine) {
        let series = version.engine.series(&version.number);
        if series != last {
            lines.push(json!({"id": version.id.to_string(), "name": series}));
            last = series;
        }
    }
    ok(json!({"dataStores": lines}))
}

/// `GET …/datastores/{database}/small-version`: a line for each build.
pub async fn builds(call: &Call, database: &str) -> Answer {
    let engine = engine(database)?;
    let wanted = call.query.text("version")?;
    let page = call.query.page(100, 100)?;
    let catalogue = catalogue(call).await?;
    let mut last = String::new();
    let mut lines: Vec<Value> = Vec::new();
    for version in active(&catalogue, engine) {
        let series = version.engine.series(&version.number);
        // The newest of a series comes first.
        let favored = series != last;
        if wanted.is_none_or(|wanted| wanted == series) {
            lines.push(json!({"id": version.id.to_string(), "name": version.number, "favored": favored}));
        }
        last = series;
    }
    ok(json!({"count": lines.len(), "data_stores": page.take(lines)}))
}

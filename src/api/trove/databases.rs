//! The databases of an instance (api-ref: `databases-users.md`), and how lists of names are cut into pages.
//!
//! What changes them is an operation: it is accepted with 202, and its end is waited for a while.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::links::Link;
use crate::api::request::{Call, accepted, json as answer};
use crate::api::trove::content;
use crate::api::trove::instances::load;
use crate::db;
use crate::domain::caller::Caller;
use crate::domain::datastore::EngineKind;
use crate::domain::operation::Operation;
use crate::domain::policy::{Rule, allow};
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::serving;
use crate::domain::tenant::Database;

/// A database, as it is listed and as a user's rights name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DatabaseView {
    /// Its name.
    pub name: String,
}

/// `GET /instances/{id}/databases`.
///
/// # Errors
/// 400 for the paging; 404; 422 for an instance that serves nobody; 503 when its server does not answer in time.
pub async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let limit = call.limit()?;
    let instance = load(&call, &caller, call.instance_id()?).await?;
    serving(&instance)?;
    let databases: Vec<Database> = call.state.commands.ask(&instance, QuestionKind::Databases).await?;
    let named = databases.into_iter().map(|database| (database.name.clone(), database)).collect();
    let marker = call.query_value("marker").unwrap_or_default();
    let (page, next) = page(named, marker, limit);
    let views = page.into_iter().map(|database| DatabaseView { name: database.name }).collect::<Vec<_>>();
    listed("databases", json!(views), next.map(|marker| call.next_page(&marker)))
}

/// Has an operation done that a body asks for. `how` takes the body apart by the rules of an engine.
///
/// # Errors
/// In this order: 400 for what no engine takes, 403 by role, 404, 400 for what the instance's engine does not take, 422, 413,
/// and what the server refuses.
pub async fn operate<F>(call: &Call, caller: &Caller, body: Map<String, Value>, how: F) -> Result<(), Fault>
where
    F: Fn(&Map<String, Value>, EngineKind) -> Result<Operation, Refusal> + Send + 'static,
{
    // Making PostgreSQL's verifiers takes a while.
    let parsed = tokio::task::spawn_blocking(move || {
        let parse = |engine| how(&body, engine);
        (parse(EngineKind::MariaDb), parse(EngineKind::Postgresql))
    });
    let (mariadb, postgresql) =
        parsed.await.map_err(|_| Fault::from(db::Error::Broken("a body could not be parsed".to_owned())))?;
    if let (Err(refusal), Err(_)) = (&mariadb, &postgresql) {
        return Err(refusal.clone().into());
    }
    allow(caller, Rule::ContentChange)?;
    let instance = load(call, caller, call.instance_id()?).await?;
    let operation = match instance.shown_version().engine {
        EngineKind::MariaDb | EngineKind::Mysql => mariadb?,
        EngineKind::Postgresql => postgresql?,
    };
    Ok(call.state.commands.operate(caller, instance.id, &operation).await?)
}

/// `POST /instances/{id}/databases`: 202.
///
/// # Errors
/// 400 naming the field, and for one that is there already; 403 by role; 404; 413 when too many changes wait; 422 for an
/// instance that serves nobody.
pub async fn create(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let how = |body: &Map<String, Value>, engine| {
        // openstacksdk asks for one, as an object.
        let one = body.get("database").filter(|_| !body.contains_key("databases"));
        let list = one.map(|one| Map::from_iter([("databases".to_owned(), json!([one]))]));
        let field = Field::root(list.as_ref().unwrap_or(body), "databases")?;
        let databases = content::databases(&field, engine)?;
        if databases.is_empty() {
            return Err(field.refuse("must have at least one element"));
        }
        Ok(Operation::CreateDatabases { databases })
    };
    operate(&call, &caller, body, how).await?;
    Ok(accepted())
}

/// `GET /instances/{id}/databases/{name}`: 501, as Trove.
///
/// # Errors
/// Always.
pub async fn show(_call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    Err(Fault::NotImplemented(
        "A database alone is not shown: GET /instances/{id}/databases lists them.".to_owned(),
    ))
}

/// `DELETE /instances/{id}/databases/{name}`: 202.
///
/// # Errors
/// 400 for one that is the service's or the server's; 403 by role; 404, also for the database; 413; 422.
pub async fn delete(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let name = call.param(1).to_owned();
    let how = move |_: &Map<String, Value>, engine| {
        content::changeable_database(&name, engine)?;
        Ok(Operation::DropDatabase { name: name.clone() })
    };
    operate(&call, &caller, Map::new(), how).await?;
    Ok(accepted())
}

/// The page after `marker` of things that have names: ordered by name, byte by byte, whatever order they came in.
/// A marker that nothing has goes on where it would stand. With it the next marker, when there is more.
pub fn page<T>(mut named: Vec<(String, T)>, marker: &str, limit: u32) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    named.retain(|(name, _)| marker.is_empty() || name.as_str() > marker);
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    let more = named.len() > limit;
    named.truncate(limit);
    let next = named.last().filter(|_| more).map(|(name, _)| name.clone());
    (named.into_iter().map(|(_, thing)| thing).collect(), next)
}

/// Both names of the paging key: gophercloud reads `<collection>_links`, everybody else `links`.
///
/// # Errors
/// 500 when the view cannot be written.
pub fn listed(collection: &str, views: Value, next: Option<Link>) -> Result<HttpResponse, Fault> {
    let mut body = json!({ collection: views });
    if let Some(next) = next {
        body["links"] = json!([next]);
        body[format!("{collection}_links")] = json!([next]);
    }
    answer(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_page_is_as_promised() {
        let next = json!([{"href": "http://h/databases?limit=2&marker=shop", "rel": "next"}]);
        let promised = json!({
            "databases": [{"name": "books"}, {"name": "shop"}], "links": next, "databases_links": next,
        });
        let views = ["books", "shop"].map(|name| DatabaseView { name: name.to_owned() });
        let next = Link { href: promised["links"][0]["href"].as_str().unwrap().to_owned(), rel: "next" };
        let answer = listed("databases", json!(views), Some(next)).unwrap();
        let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), promised);
    }

    #[test]
    fn a_page_goes_on_where_its_marker_would_stand() {
        let all = || ["b", "a", "C", "d", "ä"].map(|name| (name.to_owned(), name)).to_vec();
        for (marker, limit, page_is, next) in [
            ("", 10, &["C", "a", "b", "d", "ä"][..], None),
            ("", 2, &["C", "a"], Some("a")),
            ("a", 2, &["b", "d"], Some("d")),
            ("aa", 2, &["b", "d"], Some("d")),
            ("d", 2, &["ä"], None),
            ("ä", 2, &[], None),
            ("", 5, &["C", "a", "b", "d", "ä"], None),
        ] {
            let (found, then) = page(all(), marker, limit);
            assert_eq!((&found[..], then.as_deref()), (page_is, next), "{marker:?} {limit}");
        }
    }
}

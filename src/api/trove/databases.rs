//! The databases of an instance (api-ref: `databases-users.md`), and how lists of names are cut into pages.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::links::Link;
use crate::api::request::{Call, json as answer};
use crate::api::trove::instances::load;
use crate::domain::caller::Caller;
use crate::domain::question::QuestionKind;
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

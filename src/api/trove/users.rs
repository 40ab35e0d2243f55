//! The users of an instance (api-ref: `databases-users.md`).

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::request::Call;
use crate::api::trove::databases::{DatabaseView, listed, page};
use crate::api::trove::instances::load;
use crate::domain::caller::Caller;
use crate::domain::question::QuestionKind;
use crate::domain::replica_upgrade::serving;
use crate::domain::tenant::User;

/// A user, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// Where it may come from.
    pub host: String,
    /// What it has rights on.
    pub databases: Vec<DatabaseView>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let databases = user.databases.into_iter().map(|name| DatabaseView { name }).collect();
        Self { name: user.name, host: user.host, databases }
    }
}

/// `GET /instances/{id}/users`.
///
/// # Errors
/// 400 for the paging; 404; 422 for an instance that serves nobody; 503 when its server does not answer in time.
pub async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let limit = call.limit()?;
    let instance = load(&call, &caller, call.instance_id()?).await?;
    serving(&instance)?;
    let users: Vec<User> = call.state.commands.ask(&instance, QuestionKind::Users).await?;
    let named = users.into_iter().map(|user| (format!("{}@{}", user.name, user.host), user)).collect();
    let marker = whole(call.query_value("marker").unwrap_or_default());
    let (page, next) = page(named, &marker, limit);
    let views = page.into_iter().map(UserView::from).collect::<Vec<_>>();
    listed("users", json!(views), next.map(|marker| call.next_page(&marker)))
}

/// A marker with its host: a name alone, or with nothing behind its `@`, means any.
fn whole(marker: &str) -> String {
    match marker.rsplit_once('@') {
        _ if marker.is_empty() => String::new(),
        None => format!("{marker}@%"),
        Some((name, "")) => format!("{name}@%"),
        Some(_) => marker.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn users_are_as_promised() {
        let promised = json!({"users": [
            {"name": "app", "host": "%", "databases": [{"name": "books"}, {"name": "shop"}]},
            {"name": "report", "host": "10.0.%", "databases": []},
        ]});
        let user = |name: &str, host: &str, databases: &[&str]| User {
            name: name.to_owned(),
            host: host.to_owned(),
            databases: databases.iter().map(|name| (*name).to_owned()).collect(),
        };
        let users = [user("app", "%", &["books", "shop"]), user("report", "10.0.%", &[])];
        let answer = listed("users", json!(users.map(UserView::from)), None).unwrap();
        let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), promised);
    }

    #[test]
    fn a_marker_without_a_host_means_any() {
        for (marker, is) in [("", ""), ("a", "a@%"), ("a@", "a@%"), ("a@b@10.%", "a@b@10.%")] {
            assert_eq!(whole(marker), is);
        }
    }
}

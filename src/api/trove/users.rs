//! The users of an instance (api-ref: `databases-users.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::request::{Call, Keyed, accepted, json as answer};
use crate::api::trove::content;
use crate::api::trove::databases::{DatabaseView, listed, operate, page};
use crate::api::trove::instances::load;
use crate::domain::caller::Caller;
use crate::domain::datastore::EngineKind;
use crate::domain::operation::{Account, Operation, Refused};
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;
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

/// `POST /instances/{id}/users`: 202.
///
/// # Errors
/// 400 naming the field, for a user that is there already, and for a database that is not; 403 by role; 404; 413 when too
/// many changes wait; 422 for an instance that serves nobody.
pub async fn create(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let how = |body: &Map<String, Value>, engine| create_users(&Field::root(body, "users")?, engine);
    operate(&call, &caller, body, how).await?;
    Ok(accepted())
}

fn create_users(field: &Field<'_>, engine: EngineKind) -> Result<Operation, Refusal> {
    let users = content::users(field, None, engine)?;
    if users.is_empty() {
        return Err(field.refuse("must have at least one element"));
    }
    Ok(Operation::CreateUsers { users })
}

/// `POST /instances/{id}/users/{user}`: 202. openstacksdk makes a user so, which is an object there and not a list.
///
/// # Errors
/// As [`create`].
pub async fn create_one(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let how = |body: &Map<String, Value>, engine| {
        let user = body.get("users").or_else(|| body.get("user")).unwrap_or(&Value::Null);
        let list = Map::from_iter([("users".to_owned(), json!([user]))]);
        create_users(&Field::root(&list, "users")?, engine)
    };
    operate(&call, &caller, body, how).await?;
    Ok(accepted())
}

/// `PUT /instances/{id}/users`: other passwords; 202.
///
/// # Errors
/// 400 naming the field; 403 by role; 404, also for a user; 413; 422.
pub async fn change_passwords(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let how = |body: &Map<String, Value>, engine| {
        let field = Field::root(body, "users")?;
        let mut users = Vec::new();
        for element in content::few(&field)? {
            let (_, account) = content::account(&element, engine)?;
            users.push((account, content::password(&element.required("password")?, engine)?));
        }
        if users.is_empty() {
            return Err(field.refuse("must have at least one element"));
        }
        Ok(Operation::ChangePasswords { users })
    };
    operate(&call, &caller, body, how).await?;
    Ok(accepted())
}

/// The user that a path names, as its server tells it.
async fn find(call: &Call, caller: &Caller) -> Result<User, Fault> {
    let instance = load(call, caller, call.instance_id()?).await?;
    serving(&instance)?;
    let account = content::account_in_path(call.param(1));
    let users: Vec<User> = call.state.commands.ask(&instance, QuestionKind::Users).await?;
    let is_meant = |user: &User| user.name == account.name && user.host.eq_ignore_ascii_case(&account.host);
    users
        .into_iter()
        .find(is_meant)
        .ok_or_else(|| Refusal::Operation(Refused::Missing { what: format!("User {account}") }).into())
}

/// `GET /instances/{id}/users/{user}`.
///
/// # Errors
/// 404, also for the user; 422 for an instance that serves nobody; 503 when its server does not answer in time.
pub async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let view = UserView::from(find(&call, &caller).await?);
    answer(StatusCode::OK, &Keyed("user", &view))
}

/// `GET /instances/{id}/users/{user}/databases`.
///
/// # Errors
/// As [`show`].
pub async fn databases(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let view = UserView::from(find(&call, &caller).await?);
    answer(StatusCode::OK, &Keyed("databases", &view.databases))
}

/// The user that a path names, which may be changed.
fn named(segment: &str, engine: EngineKind) -> Result<Account, Refusal> {
    let account = content::account_in_path(segment);
    content::changeable(&account, engine)?;
    Ok(account)
}

/// `PUT /instances/{id}/users/{user}`: another name, host or password; 202.
///
/// # Errors
/// 400 naming the field, and for a name that is there already; 403 by role; 404, also for the user; 413; 422.
pub async fn change(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (body, segment) = (call.json()?, call.param(1).to_owned());
    let how = move |body: &Map<String, Value>, engine| {
        let account = named(&segment, engine)?;
        let field = Field::root(body, "user")?;
        let (name, host) = (field.optional("name")?, field.optional("host")?);
        let password = field.optional("password")?;
        if name.is_none() && host.is_none() && password.is_none() {
            return Err(field.refuse("must have at least one of name, host and password"));
        }
        let mut renamed = account.clone();
        if let Some(name) = &name {
            content::user_name(name, engine)?.clone_into(&mut renamed.name);
        }
        if let Some(host) = &host {
            content::user_host(host, engine)?.clone_into(&mut renamed.host);
        }
        let verifier = password.map(|password| content::password(&password, engine)).transpose()?;
        Ok(Operation::AlterUser { account, renamed, verifier })
    };
    operate(&call, &caller, body, how).await?;
    Ok(accepted())
}

/// `DELETE /instances/{id}/users/{user}`: 202.
///
/// # Errors
/// 400 for one that is the service's or the server's; 403 by role; 404, also for the user; 413; 422.
pub async fn delete(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let segment = call.param(1).to_owned();
    let how =
        move |_: &Map<String, Value>, engine| Ok(Operation::DropUser { account: named(&segment, engine)? });
    operate(&call, &caller, Map::new(), how).await?;
    Ok(accepted())
}

/// `PUT /instances/{id}/users/{user}/databases`: every right on databases; 202.
///
/// # Errors
/// 400 naming the field; 403 by role; 404, also for the user or a database; 413; 422.
pub async fn grant(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (body, segment) = (call.json()?, call.param(1).to_owned());
    let how = move |body: &Map<String, Value>, engine| {
        let account = named(&segment, engine)?;
        let field = Field::root(body, "databases")?;
        let mut databases = Vec::new();
        for (name, field) in content::named_databases(&field)? {
            content::changeable_database(&name, engine).map_err(|_| field.refuse("is reserved"))?;
            databases.push(name);
        }
        if databases.is_empty() {
            return Err(field.refuse("must have at least one element"));
        }
        Ok(Operation::Grant { account, databases })
    };
    operate(&call, &caller, body, how).await?;
    Ok(accepted())
}

/// `DELETE /instances/{id}/users/{user}/databases/{name}`: 202.
///
/// # Errors
/// 400 for a reserved name; 403 by role; 404, also for the user, and for a database on which it has no rights; 413; 422.
pub async fn revoke(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (segment, database) = (call.param(1).to_owned(), call.param(2).to_owned());
    let how = move |_: &Map<String, Value>, engine| {
        let account = named(&segment, engine)?;
        content::changeable_database(&database, engine)?;
        Ok(Operation::Revoke { account, database: database.clone() })
    };
    operate(&call, &caller, Map::new(), how).await?;
    Ok(accepted())
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

//! The built-in identity on the wire: just enough of Keystone v3 for keystoneauth (api-ref: `identity-dev.md`). Only
//! `coffer dev` serves it.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::request::{Call, Route, json as answer};
use crate::api::shapes::{KeystoneDocument, TokenRequest};
use crate::auth;
use crate::auth::dev::{DOMAIN_ID, DOMAIN_NAME, DevIdentity, Project, REGION, Scope, User, time_of};
use crate::auth::tokens::Claims;
use crate::domain::caller::Level;
use crate::domain::refusal::Refusal;

/// The table.
pub const ROUTES: &[Route] = &[
    Route::open(
        "GET",
        "/identity",
        Doc::new("identityVersions", "The versions of the built-in identity", "identity-dev.md")
            .gives(300, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[404]),
        |call| Box::pin(versions(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3",
        Doc::new("identityVersion", "Its one version", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[404]),
        |call| Box::pin(version(call)),
    ),
    Route::open(
        "POST",
        "/identity/v3/auth/tokens",
        Doc::new("issueToken", "Get a token", "identity-dev.md")
            .takes::<TokenRequest>(sample!("identity-token-request"))
            .gives(201, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[401, 404]),
        |call| Box::pin(issue(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3/auth/tokens",
        Doc::new("showToken", "What a token says", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[400, 401, 403, 404]),
        |call| Box::pin(validate(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3/auth/projects",
        Doc::new("listOwnProjects", "The caller's projects", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[401, 404]),
        |call| Box::pin(own_projects(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3/auth/catalog",
        Doc::new("showCatalog", "The catalog of services", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[401, 403, 404]),
        |call| Box::pin(catalog_of_token(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3/projects",
        Doc::new("listProjects", "Projects", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[401, 404]),
        |call| Box::pin(projects(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3/projects/{id}",
        Doc::new("showProject", "A project", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[401]),
        |call| Box::pin(project(call)),
    ),
    Route::open(
        "GET",
        "/identity/v3/users/{id}/projects",
        Doc::new("listProjectsOfUser", "The projects of a user", "identity-dev.md")
            .gives(200, Gives::Whole(shape::<KeystoneDocument>))
            .refuses(&[401]),
        |call| Box::pin(projects_of_user(call)),
    ),
];

fn identity(call: &Call) -> Result<&DevIdentity, Fault> {
    call.state.identity.as_deref().ok_or_else(Fault::no_such_uri)
}

fn document(call: &Call) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{}/identity/v3/", call.base.0)}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

async fn versions(call: Call) -> Result<HttpResponse, Fault> {
    answer(StatusCode::MULTIPLE_CHOICES, &json!({"versions": {"values": [document(&call)]}}))
}

async fn version(call: Call) -> Result<HttpResponse, Fault> {
    answer(StatusCode::OK, &json!({"version": document(&call)}))
}

/// How a caller proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof<'a> {
    /// A user's id, or its name, and its password; `None` for a user of a domain that is not there.
    Password(Option<(Option<&'a str>, Option<&'a str>)>, &'a str),
    /// A token of before.
    Token(&'a str),
}

/// Parses the body of `POST /auth/tokens`.
///
/// # Errors
/// 400 naming the field; 401 for a method or scope that there is not.
fn parse(body: &Map<String, Value>) -> Result<(Proof<'_>, Scope), Fault> {
    let auth = Field::root(body, "auth")?;
    let identity = auth.required("identity")?;
    let methods = identity.required("methods")?.array()?;
    let [method] = &methods[..] else {
        return Err(identity.required("methods")?.refuse("must name one method").into());
    };
    let proof = match method.text()? {
        "password" => {
            let user = identity.required("password")?.required("user")?;
            let password = user.required("password")?.text()?;
            let id = user.optional("id")?.map(|f| f.text()).transpose()?;
            let name = user.optional("name")?.map(|f| f.text()).transpose()?;
            if id.is_none() && name.is_none() {
                return Err(user.refuse("must have an id or a name").into());
            }
            let here = id.is_some() || in_our_domain(&user)?;
            Proof::Password(here.then_some((id, name)), password)
        }
        "token" => Proof::Token(identity.required("token")?.required("id")?.text()?),
        _other => return Err(Fault::Unauthorized),
    };
    let scope = match auth.optional("scope")? {
        None => Scope::Default,
        Some(scope) if scope.value().is_string() => match scope.text()? {
            "unscoped" => Scope::Unscoped,
            _other => return Err(scope.refuse("must be an object or unscoped").into()),
        },
        Some(scope) => match scope.optional("project")? {
            Some(project) => match (project.optional("id")?, project.optional("name")?) {
                (Some(id), _) => Scope::ProjectId(id.text()?.to_owned()),
                (None, Some(name)) if in_our_domain(&project)? => Scope::ProjectName(name.text()?.to_owned()),
                (None, Some(_)) => return Err(Fault::Unauthorized),
                (None, None) => return Err(project.refuse("must have an id or a name").into()),
            },
            // There is no role in a domain or in the system here.
            None if scope.object()?.is_empty() => Scope::Default,
            None => return Err(Fault::Unauthorized),
        },
    };
    Ok((proof, scope))
}

/// Whether a user or a project is said to be in the one domain that there is.
fn in_our_domain(field: &Field<'_>) -> Result<bool, Refusal> {
    let domain = field.required("domain")?;
    match (domain.optional("id")?, domain.optional("name")?) {
        (Some(id), _) => Ok(id.text()? == DOMAIN_ID),
        (None, Some(name)) => Ok(name.text()?.eq_ignore_ascii_case(DOMAIN_NAME)),
        (None, None) => Err(domain.refuse("must have an id or a name")),
    }
}

async fn issue(call: Call) -> Result<HttpResponse, Fault> {
    let identity = identity(&call)?;
    let body = call.json()?;
    let (proof, scope) = parse(&body)?;
    let (user, method, not_after) = match proof {
        Proof::Password(who, password) => {
            let (id, name) = who.unwrap_or((None, None));
            (identity.prove(id, name, password).ok_or(Fault::Unauthorized)?, "password", None)
        }
        Proof::Token(token) => {
            let claims = identity.check(token)?;
            (identity.user(&claims.sub).ok_or(Fault::Unauthorized)?, "token", Some(claims.exp))
        }
    };
    let project = identity.scope(user, &scope).map_err(|()| Fault::Unauthorized)?;
    let token = identity.issue(user, project, &[method], not_after).map_err(|e| Fault::Broken(e.into()))?;
    let view = token_view(&token.claims, user, project, &call);
    let mut answer = answer(StatusCode::CREATED, &view)?;
    set_token(&mut answer, &token.text)?;
    Ok(answer)
}

fn set_token(answer: &mut HttpResponse, token: &str) -> Result<(), Fault> {
    let mut value = HeaderValue::from_str(token).map_err(|e| Fault::Broken(e.into()))?;
    value.set_sensitive(true);
    answer.headers_mut().insert(HeaderName::from_static("x-subject-token"), value);
    answer.headers_mut().insert(HeaderName::from_static("vary"), HeaderValue::from_static("X-Auth-Token"));
    Ok(())
}

async fn validate(call: Call) -> Result<HttpResponse, Fault> {
    let identity = identity(&call)?;
    let caller = claims(&call)?;
    let missing = || Fault::NotFound("Could not find token.".to_owned());
    let text = call
        .subject
        .as_deref()
        .ok_or_else(|| Fault::BadRequest("The header X-Subject-Token is required.".to_owned()))?;
    let subject = identity.check(text).map_err(|_| missing())?;
    if subject.sub != caller.sub && !is_admin(&caller) {
        return Err(Fault::Forbidden("Only an admin may look at another user's token.".to_owned()));
    }
    let user = identity.user(&subject.sub).ok_or_else(missing)?;
    let project = subject.project.as_deref().and_then(|id| identity.project(id));
    let mut answer = answer(StatusCode::OK, &token_view(&subject, user, project, &call))?;
    set_token(&mut answer, text)?;
    Ok(answer)
}

fn claims(call: &Call) -> Result<Arc<Claims>, Fault> {
    let token = call.token.as_deref().ok_or(auth::Error::Invalid)?;
    Ok(identity(call)?.check(token)?)
}

fn is_admin(claims: &Claims) -> bool {
    Level::of_roles(&claims.roles) == Some(Level::Admin)
}

fn token_view(claims: &Claims, user: &User, project: Option<&Project>, call: &Call) -> Value {
    let domain = json!({"id": DOMAIN_ID, "name": DOMAIN_NAME});
    let time = |seconds: i64| time_of(seconds).format("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let mut token = json!({
        "methods": claims.methods,
        "user": {"id": user.id, "name": user.name, "domain": domain, "password_expires_at": null},
        "audit_ids": [claims.jti],
        "issued_at": time(claims.iat),
        "expires_at": time(claims.exp),
    });
    if let Some(project) = project {
        token["is_domain"] = json!(false);
        token["project"] = json!({"id": project.id, "name": project.name, "domain": domain});
        token["roles"] = claims.roles.iter().map(|role| json!({"id": role, "name": role})).collect();
        if call.query_value("nocatalog").is_none() {
            token["catalog"] = catalog(&project.id, call);
        }
    }
    json!({"token": token})
}

fn catalog(project: &str, call: &Call) -> Value {
    let database = format!("{}/v1.0/{project}", call.base.0);
    let identity = format!("{}/identity/v3", call.base.0);
    let entry = |kind: &str, name: &str, url: &str| {
        let endpoint = |interface: &str| {
            json!({
                "id": format!("{}-{interface}", kind.replace(':', "-")),
                "interface": interface,
                "region": REGION,
                "region_id": REGION,
                "url": url,
            })
        };
        json!({
            "id": kind.replace(':', "-"),
            "type": kind,
            "name": name,
            "endpoints": [endpoint("public"), endpoint("internal"), endpoint("admin")],
        })
    };
    json!([
        entry("database", "trove", &database),
        entry("rax:database", "cloudDatabases", &database),
        entry("identity", "keystone", &identity),
        entry("object-store", "swift", &format!("{database}/swift")),
    ])
}

async fn catalog_of_token(call: Call) -> Result<HttpResponse, Fault> {
    let claims = claims(&call)?;
    let project = claims
        .project
        .clone()
        .ok_or_else(|| Fault::Forbidden("The token is not scoped to a project.".to_owned()))?;
    answer(StatusCode::OK, &json!({"catalog": catalog(&project, &call), "links": links(&call)}))
}

fn links(call: &Call) -> Value {
    json!({"self": format!("{}{}", call.base.0, call.path), "previous": null, "next": null})
}

fn project_view(project: &Project, call: &Call) -> Value {
    json!({
        "id": project.id,
        "name": project.name,
        "domain_id": DOMAIN_ID,
        "parent_id": DOMAIN_ID,
        "enabled": true,
        "is_domain": false,
        "description": "",
        "tags": [],
        "options": {},
        "links": {"self": format!("{}/identity/v3/projects/{}", call.base.0, project.id)},
    })
}

fn list_of<'a>(call: &Call, projects: impl Iterator<Item = &'a Project>) -> Result<HttpResponse, Fault> {
    let name = call.query_value("name");
    let domain = call.query_value("domain_id").is_none_or(|id| id == DOMAIN_ID);
    let views: Vec<_> = projects
        .filter(|project| domain && name.is_none_or(|name| project.name == name))
        .map(|project| project_view(project, call))
        .collect();
    answer(StatusCode::OK, &json!({"projects": views, "links": links(call)}))
}

/// The projects that the caller may know of: all for an admin, else its own.
fn known<'a>(identity: &'a DevIdentity, claims: &Claims) -> impl Iterator<Item = &'a Project> {
    let own = identity.user(&claims.sub).map(|user| user.project.clone());
    let all = is_admin(claims);
    identity.projects().iter().filter(move |project| all || own.as_ref() == Some(&project.id))
}

async fn projects(call: Call) -> Result<HttpResponse, Fault> {
    let claims = claims(&call)?;
    list_of(&call, known(identity(&call)?, &claims))
}

async fn project(call: Call) -> Result<HttpResponse, Fault> {
    let claims = claims(&call)?;
    let missing = || Fault::NotFound(format!("Could not find project: {}.", call.param(0)));
    let project =
        known(identity(&call)?, &claims).find(|project| project.id == call.param(0)).ok_or_else(missing)?;
    answer(StatusCode::OK, &json!({"project": project_view(project, &call)}))
}

async fn own_projects(call: Call) -> Result<HttpResponse, Fault> {
    let claims = claims(&call)?;
    let own = identity(&call)?.user(&claims.sub).map(|user| user.project.clone());
    list_of(&call, identity(&call)?.projects().iter().filter(|project| own.as_ref() == Some(&project.id)))
}

async fn projects_of_user(call: Call) -> Result<HttpResponse, Fault> {
    let claims = claims(&call)?;
    let identity = identity(&call)?;
    let missing = || Fault::NotFound(format!("Could not find user: {}.", call.param(0)));
    let user = identity
        .user(call.param(0))
        .filter(|user| user.id == claims.sub || is_admin(&claims))
        .ok_or_else(missing)?;
    list_of(&call, identity.projects().iter().filter(|project| project.id == user.project))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::trove::create::tests::any_json;

    fn status(body: &Value) -> u16 {
        match parse(body.as_object().unwrap()) {
            Ok(_) => 201,
            Err(fault) => fault.row().0.as_u16(),
        }
    }

    #[test]
    fn a_body_is_understood_or_refused() {
        let by = |user: Value| json!({"methods": ["password"], "password": {"user": user}});
        let named = || by(json!({"name": "coffer", "domain": {"name": "Default"}, "password": "p"}));
        let scoped = |scope: Value| json!({"auth": {"identity": named(), "scope": scope}});
        for (body, code) in [
            (json!({"auth": {"identity": named()}}), 201),
            (json!({"auth": {"identity": by(json!({"id": "x", "password": "p"}))}}), 201),
            (scoped(json!("unscoped")), 201),
            (scoped(json!({"project": {"id": "x"}})), 201),
            (scoped(json!({"project": {"name": "x", "domain": {"id": "default"}}})), 201),
            (scoped(json!({"project": {"name": "x", "domain": {"id": "other"}}})), 401),
            (scoped(json!({"system": {"all": true}})), 401),
            (scoped(json!({"domain": {"id": "default"}})), 401),
            (scoped(json!({"project": {"name": "x"}})), 400),
            (scoped(json!({"project": {}})), 400),
            (scoped(json!(7)), 400),
            (json!({}), 400),
            (json!({"auth": {}}), 400),
            (json!({"auth": {"identity": {"methods": []}}}), 400),
            (json!({"auth": {"identity": {"methods": ["password", "totp"]}}}), 400),
            (json!({"auth": {"identity": {"methods": ["application_credential"]}}}), 401),
            (json!({"auth": {"identity": {"methods": ["password"]}}}), 400),
            (json!({"auth": {"identity": by(json!({"name": "coffer", "password": "p"}))}}), 400),
            (json!({"auth": {"identity": by(json!({"password": "p"}))}}), 400),
            (json!({"auth": {"identity": by(json!({"id": "x", "password": 7}))}}), 400),
            (json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "t"}}}}), 201),
        ] {
            assert_eq!(status(&body), code, "{body}");
        }
    }

    #[test]
    fn a_user_of_another_domain_is_nobody() {
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
            {"name": "coffer", "domain": {"name": "Other"}, "password": "p"}}}}});
        let (proof, scope) = parse(body.as_object().unwrap()).unwrap();
        assert_eq!((proof, scope), (Proof::Password(None, "p"), Scope::Default));
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json()) {
            if let Some(body) = value.as_object() {
                let _ = parse(body);
            }
            let _ = parse(json!({"auth": {"identity": value.clone()}}).as_object().unwrap());
            let _ = parse(json!({"auth": {"identity": {"methods": ["password"], "password": value.clone()}, "scope": value}})
                .as_object().unwrap());
        }
    }
}

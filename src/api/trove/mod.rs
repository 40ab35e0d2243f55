//! The dialect of OpenStack Trove v1.0: what python-troveclient, `openstack database`, openstacksdk, Horizon and
//! gophercloud speak.

pub mod catalogue;
pub mod create;
pub mod databases;
pub mod instances;
pub mod update;
pub mod users;
pub mod versions;
pub mod views;

use crate::api::call::Route;
use crate::domain::policy::Rule;

/// The table. Where two paths fit, the first one is meant.
pub const ROUTES: &[Route] = &[
    Route::open("GET", "/", |call| Box::pin(versions::list(call))),
    Route::open("GET", "/v1.0", |call| Box::pin(versions::show(call))),
    Route::open("GET", "/healthcheck", |call| Box::pin(versions::health(call))),
    Route::project("GET", "/v1.0/{project}/instances", Rule::InstanceRead, |call, caller| {
        Box::pin(instances::list(call, caller))
    }),
    Route::project("POST", "/v1.0/{project}/instances", Rule::InstanceCreate, |call, caller| {
        Box::pin(instances::create(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/instances/detail", Rule::InstanceRead, |call, caller| {
        Box::pin(instances::list_detail(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/instances/{id}", Rule::InstanceRead, |call, caller| {
        Box::pin(instances::show(call, caller))
    }),
    Route::project("PUT", "/v1.0/{project}/instances/{id}", Rule::InstanceUpdate, |call, caller| {
        Box::pin(instances::update(call, caller))
    }),
    Route::project("PATCH", "/v1.0/{project}/instances/{id}", Rule::InstanceUpdate, |call, caller| {
        Box::pin(instances::update(call, caller))
    }),
    Route::project("DELETE", "/v1.0/{project}/instances/{id}", Rule::InstanceDelete, |call, caller| {
        Box::pin(instances::delete(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/instances/{id}/databases", Rule::InstanceRead, |call, caller| {
        Box::pin(databases::list(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/instances/{id}/users", Rule::InstanceRead, |call, caller| {
        Box::pin(users::list(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/datastores", Rule::CatalogueRead, |call, caller| {
        Box::pin(catalogue::datastores(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/datastores/{datastore}", Rule::CatalogueRead, |call, caller| {
        Box::pin(catalogue::datastore(call, caller))
    }),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/versions/{version}",
        Rule::CatalogueRead,
        |call, caller| Box::pin(catalogue::version_by_id(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions",
        Rule::CatalogueRead,
        |call, caller| Box::pin(catalogue::versions(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}",
        Rule::CatalogueRead,
        |call, caller| Box::pin(catalogue::version(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}/flavors",
        Rule::CatalogueRead,
        |call, caller| Box::pin(catalogue::flavors_of_version(call, caller)),
    ),
    Route::project("GET", "/v1.0/{project}/flavors", Rule::CatalogueRead, |call, caller| {
        Box::pin(catalogue::flavors(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/flavors/{id}", Rule::CatalogueRead, |call, caller| {
        Box::pin(catalogue::flavor(call, caller))
    }),
    Route::project("GET", "/v1.0/{project}/limits", Rule::LimitsRead, |call, caller| {
        Box::pin(catalogue::limits(call, caller))
    }),
    // `openstack database root enable NAME` looks for clusters when it finds no instance.
    Route::project("GET", "/v1.0/{project}/clusters", Rule::InstanceRead, |call, caller| {
        Box::pin(instances::clusters(call, caller))
    }),
    Route::project("POST", "/v1.0/{project}/clusters", Rule::InstanceCreate, |call, caller| {
        Box::pin(instances::create_cluster(call, caller))
    }),
];

//! What Trove has and this service does not: each route answers 501 and names what is missing (api-ref: `not-yet.md`).
//!
//! A 404 would be taken for an answer: a client that deletes takes it for "already gone", and reports as deleted what goes on
//! to exist.

use actix_web::HttpResponse;

use crate::api::doc::{Doc, Gives};
use crate::api::error::Fault;
use crate::api::request::Route;
use crate::domain::caller::Caller;
use crate::domain::policy::{Rule, allow};

fn refuse(caller: &Caller, rule: Rule, what: &str) -> Result<HttpResponse, Fault> {
    allow(caller, rule)?;
    Err(Fault::not_yet(what))
}

/// A route that is not there.
macro_rules! missing {
    ($method:literal, $path:literal, $rule:ident, $id:literal, $what:literal) => {
        Route::project(
            $method,
            concat!("/v1.0/{project}/", $path),
            Rule::$rule,
            Doc::new($id, concat!($what, ": not there"), "not-yet.md").gives(501, Gives::Fault),
            |_call, caller| Box::pin(std::future::ready(refuse(&caller, Rule::$rule, $what))),
        )
    };
}

/// The table. Where two paths fit, the first one is meant.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    missing!("GET", "instances/{id}/backups", InstanceRead, "listInstanceBackups", "Backups"),
    missing!("GET", "instances/{id}/modules", InstanceRead, "listInstanceModules", "Modules"),
    missing!("POST", "instances/{id}/modules", InstanceAction, "applyModules", "Modules"),
    missing!("DELETE", "instances/{id}/modules/{module}", InstanceAction, "removeModule", "Modules"),
    missing!("GET", "backups", InstanceRead, "listBackups", "Backups"),
    missing!("POST", "backups", InstanceAction, "createBackup", "Backups"),
    missing!("GET", "backups/{id}", InstanceRead, "showBackup", "Backups"),
    missing!("DELETE", "backups/{id}", InstanceAction, "deleteBackup", "Backups"),
    missing!("GET", "backup_strategies", InstanceRead, "listBackupStrategies", "Backup strategies"),
    missing!("POST", "backup_strategies", InstanceAction, "createBackupStrategy", "Backup strategies"),
    missing!("DELETE", "backup_strategies", InstanceAction, "deleteBackupStrategy", "Backup strategies"),
    missing!("GET", "modules", InstanceRead, "listModules", "Modules"),
    missing!("POST", "modules", InstanceAction, "createModule", "Modules"),
    missing!("GET", "modules/{id}", InstanceRead, "showModule", "Modules"),
    missing!("PUT", "modules/{id}", InstanceAction, "updateModule", "Modules"),
    missing!("DELETE", "modules/{id}", InstanceAction, "deleteModule", "Modules"),
    missing!("GET", "modules/{id}/instances", InstanceRead, "listModuleInstances", "Modules"),
    missing!("PUT", "modules/{id}/instances", InstanceAction, "reapplyModule", "Modules"),
    missing!("POST", "clusters/{id}", InstanceAction, "actOnCluster", "Clusters"),
    missing!("DELETE", "clusters/{id}", InstanceAction, "deleteCluster", "Clusters"),
    missing!("GET", "clusters/{id}/instances/{instance}", InstanceRead, "showClusterInstance", "Clusters"),
    missing!("GET", "clusters/{id}/root", InstanceRead, "showClusterRoot", "Clusters"),
    missing!("POST", "clusters/{id}/root", InstanceAction, "enableClusterRoot", "Clusters"),
    missing!("DELETE", "clusters/{id}/root", InstanceAction, "disableClusterRoot", "Clusters"),
    missing!("POST", "mgmt/instances/{id}/upgrade", Manage, "mgmtUpgradeAgent", "Upgrading an agent"),
    missing!("POST", "mgmt/datastore-versions", Manage, "mgmtCreateVersion", "Managing datastore versions"),
    missing!("POST", "mgmt/datastores/versions/{version}/parameters", Manage, "mgmtCreateParameter", "Managing configuration parameters"),
    missing!("PUT", "mgmt/datastores/versions/{version}/parameters/{name}", Manage, "mgmtUpdateParameter", "Managing configuration parameters"),
    missing!("DELETE", "mgmt/datastores/versions/{version}/parameters/{name}", Manage, "mgmtDeleteParameter", "Managing configuration parameters"),
    missing!("GET", "mgmt/clusters", Manage, "mgmtListClusters", "Clusters"),
    missing!("GET", "mgmt/clusters/{id}", Manage, "mgmtShowCluster", "Clusters"),
    missing!("POST", "mgmt/clusters/{id}/action", Manage, "mgmtActOnCluster", "Clusters"),
];

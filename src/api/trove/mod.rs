//! The dialect of OpenStack Trove v1.0: what python-troveclient, `openstack database`, openstacksdk, Horizon and
//! gophercloud speak.

pub mod catalogue;
pub mod configurations;
pub mod content;
pub mod create;
pub mod databases;
pub mod instances;
pub mod logs;
pub mod mgmt_instances;
pub mod missing;
pub mod root;
pub mod tls;
pub mod update;
pub mod users;
pub mod versions;
pub mod views;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::request::Route;
use crate::api::shapes::{
    ApiVersion, Cluster, CreateRequest, DatabasesRequest, GrantRequest, LimitPart, ManagedActionRequest,
    PasswordsRequest, RootEnabled, RootRequest, UpdateRequest, UserChangeRequest, UserRequest, UsersRequest,
    VersionChangeRequest,
};
use crate::api::trove::catalogue::{
    DatastoreView, FlavorView, ManagedVersionView, VersionView, VolumeTypeView,
};
use crate::api::trove::databases::DatabaseView;
use crate::api::trove::mgmt_instances::{DiagnosticsView, HardwareView, ManagedView, RootHistory};
use crate::api::trove::root::RootView;
use crate::api::trove::users::UserView;
use crate::api::trove::views::InstanceView;
use crate::domain::policy::Rule;

/// The table. Where two paths fit, the first one is meant.
pub const ROUTES: &[Route] = &[
    Route::open(
        "GET",
        "/",
        Doc::new("listVersions", "The versions of the API", "versions.md")
            .gives(200, Gives::Many("versions", shape::<ApiVersion>)),
        |call| Box::pin(versions::list(call)),
    ),
    Route::open(
        "GET",
        "/v1.0",
        Doc::new("showVersion", "The one version", "versions.md")
            .gives(200, Gives::One("version", shape::<ApiVersion>)),
        |call| Box::pin(versions::show(call)),
    ),
    Route::open(
        "GET",
        "/healthcheck",
        Doc::new("healthcheck", "Whether this process answers", "versions.md").gives(200, Gives::Text),
        |call| Box::pin(versions::health(call)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances",
        Rule::InstanceRead,
        Doc::new("listInstances", "The project's instances", "instances.md")
            .gives(200, Gives::Page("instances", shape::<InstanceView>)),
        |call, caller| Box::pin(instances::list(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances",
        Rule::InstanceCreate,
        Doc::new("createInstance", "Make an instance", "instances.md")
            .takes::<CreateRequest>(sample!("instance-create-request"))
            .gives(200, Gives::One("instance", shape::<InstanceView>))
            .refuses(&[404, 422, 501]),
        |call, caller| Box::pin(instances::create(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/detail",
        Rule::InstanceRead,
        Doc::new("listInstancesDetail", "The project's instances with details", "instances.md")
            .gives(200, Gives::Page("instances", shape::<InstanceView>)),
        |call, caller| Box::pin(instances::list_detail(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}",
        Rule::InstanceRead,
        Doc::new("showInstance", "An instance", "instances.md")
            .gives(200, Gives::One("instance", shape::<InstanceView>)),
        |call, caller| Box::pin(instances::show(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/instances/{id}",
        Rule::InstanceUpdate,
        Doc::new("replaceInstance", "Rename an instance, detach it, or upgrade it", "instances.md")
            .takes::<UpdateRequest>(sample!("instance-rename-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422, 501]),
        |call, caller| Box::pin(instances::update(call, caller)),
    ),
    Route::project(
        "PATCH",
        "/v1.0/{project}/instances/{id}",
        Rule::InstanceUpdate,
        Doc::new("updateInstance", "Rename an instance, detach it, or upgrade it", "instances.md")
            .takes::<UpdateRequest>(sample!("instance-rename-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422, 501]),
        |call, caller| Box::pin(instances::update(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/instances/{id}",
        Rule::InstanceDelete,
        Doc::new(
            "deleteInstance",
            "Delete an instance; the new side of an upgrade: abandon it",
            "instances.md",
        )
        .gives(202, Gives::Nothing)
        .refuses(&[422]),
        |call, caller| Box::pin(instances::delete(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/databases",
        Rule::InstanceRead,
        Doc::new("listDatabases", "The databases of an instance", "databases-users.md")
            .gives(200, Gives::Page("databases", shape::<DatabaseView>))
            .refuses(&[422]),
        |call, caller| Box::pin(databases::list(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/databases",
        Rule::ContentChange,
        Doc::new("createDatabases", "Make databases", "databases-users.md")
            .takes::<DatabasesRequest>(sample!("databases-create-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(databases::create(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/databases/{name}",
        Rule::InstanceRead,
        Doc::new("showDatabase", "A database alone is not shown", "databases-users.md")
            .gives(501, Gives::Fault),
        |call, caller| Box::pin(databases::show(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/instances/{id}/databases/{name}",
        Rule::ContentChange,
        Doc::new("deleteDatabase", "Drop a database", "databases-users.md")
            .gives(202, Gives::Nothing)
            .refuses(&[400, 422]),
        |call, caller| Box::pin(databases::delete(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/users",
        Rule::InstanceRead,
        Doc::new("listUsers", "The users of an instance", "databases-users.md")
            .gives(200, Gives::Page("users", shape::<UserView>))
            .refuses(&[422]),
        |call, caller| Box::pin(users::list(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/users",
        Rule::ContentChange,
        Doc::new("createUsers", "Make users", "databases-users.md")
            .takes::<UsersRequest>(sample!("users-create-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(users::create(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/instances/{id}/users",
        Rule::ContentChange,
        Doc::new("changePasswords", "Give users other passwords", "databases-users.md")
            .takes::<PasswordsRequest>(sample!("users-passwords-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(users::change_passwords(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/users/{user}",
        Rule::InstanceRead,
        Doc::new("showUser", "A user", "databases-users.md")
            .gives(200, Gives::One("user", shape::<UserView>))
            .refuses(&[422]),
        |call, caller| Box::pin(users::show(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/users/{user}",
        Rule::ContentChange,
        Doc::new("createUser", "Make a user, as openstacksdk asks for it", "databases-users.md")
            .takes::<UserRequest>(sample!("user-create-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(users::create_one(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/instances/{id}/users/{user}",
        Rule::ContentChange,
        Doc::new("updateUser", "Give a user another name, host or password", "databases-users.md")
            .takes::<UserChangeRequest>(sample!("user-update-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(users::change(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/instances/{id}/users/{user}",
        Rule::ContentChange,
        Doc::new("deleteUser", "Drop a user", "databases-users.md")
            .gives(202, Gives::Nothing)
            .refuses(&[400, 422]),
        |call, caller| Box::pin(users::delete(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/users/{user}/databases",
        Rule::InstanceRead,
        Doc::new("listGrants", "The databases that a user has rights on", "databases-users.md")
            .gives(200, Gives::Many("databases", shape::<DatabaseView>))
            .refuses(&[422]),
        |call, caller| Box::pin(users::databases(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/instances/{id}/users/{user}/databases",
        Rule::ContentChange,
        Doc::new("grantDatabases", "Give a user every right on databases", "databases-users.md")
            .takes::<GrantRequest>(sample!("user-grant-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(users::grant(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/instances/{id}/users/{user}/databases/{name}",
        Rule::ContentChange,
        Doc::new("revokeDatabase", "Take a user's rights on a database away", "databases-users.md")
            .gives(202, Gives::Nothing)
            .refuses(&[400, 422]),
        |call, caller| Box::pin(users::revoke(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/root",
        Rule::InstanceRead,
        Doc::new("showRoot", "Whether root is enabled", "databases-users.md")
            .gives(200, Gives::Whole(shape::<RootEnabled>))
            .refuses(&[422]),
        |call, caller| Box::pin(root::show(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/root",
        Rule::ContentChange,
        Doc::new("enableRoot", "Enable root, or give it another password", "databases-users.md")
            .takes::<RootRequest>(sample!("root-request"))
            .gives(200, Gives::One("user", shape::<RootView>))
            .refuses(&[422]),
        |call, caller| Box::pin(root::enable(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/instances/{id}/root",
        Rule::ContentChange,
        Doc::new("disableRoot", "Disable root", "databases-users.md")
            .gives(204, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(root::disable(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores",
        Rule::CatalogueRead,
        Doc::new("listDatastores", "Datastores with their versions", "datastores.md")
            .gives(200, Gives::Many("datastores", shape::<DatastoreView>)),
        |call, caller| Box::pin(catalogue::datastores(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}",
        Rule::CatalogueRead,
        Doc::new("showDatastore", "A datastore", "datastores.md")
            .gives(200, Gives::One("datastore", shape::<DatastoreView>)),
        |call, caller| Box::pin(catalogue::datastore(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/versions/{version}",
        Rule::CatalogueRead,
        Doc::new("showVersionById", "A datastore version by its id", "datastores.md")
            .gives(200, Gives::One("version", shape::<VersionView>)),
        |call, caller| Box::pin(catalogue::version_by_id(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions",
        Rule::CatalogueRead,
        Doc::new("listDatastoreVersions", "The versions of a datastore", "datastores.md")
            .gives(200, Gives::Many("versions", shape::<VersionView>)),
        |call, caller| Box::pin(catalogue::versions(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}",
        Rule::CatalogueRead,
        Doc::new("showDatastoreVersion", "A version of a datastore", "datastores.md")
            .gives(200, Gives::One("version", shape::<VersionView>)),
        |call, caller| Box::pin(catalogue::version(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}/flavors",
        Rule::CatalogueRead,
        Doc::new("listFlavorsOfVersion", "The flavors that a version can have", "flavors.md")
            .gives(200, Gives::Many("flavors", shape::<FlavorView>)),
        |call, caller| Box::pin(catalogue::flavors_of_version(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/flavors",
        Rule::CatalogueRead,
        Doc::new("listFlavors", "Flavors", "flavors.md")
            .gives(200, Gives::Many("flavors", shape::<FlavorView>)),
        |call, caller| Box::pin(catalogue::flavors(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/flavors/{id}",
        Rule::CatalogueRead,
        Doc::new("showFlavor", "A flavor", "flavors.md")
            .gives(200, Gives::One("flavor", shape::<FlavorView>)),
        |call, caller| Box::pin(catalogue::flavor(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/limits",
        Rule::LimitsRead,
        Doc::new("listLimits", "The project's limits", "limits.md")
            .gives(200, Gives::Many("limits", shape::<LimitPart>)),
        |call, caller| Box::pin(catalogue::limits(call, caller)),
    ),
    // `openstack database root enable NAME` looks for clusters when it finds no instance.
    Route::project(
        "GET",
        "/v1.0/{project}/clusters",
        Rule::InstanceRead,
        Doc::new("listClusters", "Clusters; there are none", "instances.md")
            .gives(200, Gives::Many("clusters", shape::<Cluster>)),
        |call, caller| Box::pin(instances::clusters(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/clusters/{id}",
        Rule::InstanceRead,
        Doc::new("showCluster", "A cluster; there are none", "instances.md").gives(404, Gives::Fault),
        |call, caller| Box::pin(instances::cluster(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/clusters",
        Rule::InstanceCreate,
        Doc::new("createCluster", "Clusters are not made", "instances.md").gives(501, Gives::Fault),
        |call, caller| Box::pin(instances::create_cluster(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances",
        Rule::Manage,
        Doc::new("mgmtListInstances", "Every project's instances", "mgmt.md")
            .gives(200, Gives::Page("instances", shape::<ManagedView>)),
        |call, caller| Box::pin(mgmt_instances::list(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances/{id}",
        Rule::Manage,
        Doc::new("mgmtShowInstance", "An instance of any project", "mgmt.md")
            .gives(200, Gives::One("instance", shape::<ManagedView>)),
        |call, caller| Box::pin(mgmt_instances::show(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances/{id}/root",
        Rule::Manage,
        Doc::new("mgmtShowRoot", "When root was enabled first, and by whom", "mgmt.md")
            .gives(200, Gives::One("root_history", shape::<RootHistory>)),
        |call, caller| Box::pin(mgmt_instances::root(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances/{id}/diagnostics",
        Rule::Manage,
        Doc::new("mgmtShowDiagnostics", "How an instance's server is", "mgmt.md")
            .gives(200, Gives::One("diagnostics", shape::<DiagnosticsView>))
            .refuses(&[501]),
        |call, caller| Box::pin(mgmt_instances::diagnostics(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances/{id}/hwinfo",
        Rule::Manage,
        Doc::new("mgmtShowHwinfo", "What an instance's server has of its host", "mgmt.md")
            .gives(200, Gives::One("hwinfo", shape::<HardwareView>)),
        |call, caller| Box::pin(mgmt_instances::hardware(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances/{id}/rpc_ping",
        Rule::Manage,
        Doc::new("mgmtPing", "Whether an instance's worker and server answer", "mgmt.md")
            .gives(204, Gives::Nothing),
        |call, caller| Box::pin(mgmt_instances::ping(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/mgmt/instances/{id}/action",
        Rule::Manage,
        Doc::new("mgmtActOnInstance", "Restart an instance of any project", "mgmt.md")
            .takes::<ManagedActionRequest>(sample!("mgmt-reboot-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422, 501]),
        |call, caller| Box::pin(mgmt_instances::act(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}/volume-types",
        Rule::CatalogueRead,
        Doc::new(
            "listVolumeTypes",
            "The types of volumes that a version can have; there are none",
            "flavors.md",
        )
        .gives(200, Gives::Many("volume_types", shape::<VolumeTypeView>)),
        |call, caller| Box::pin(catalogue::volume_types(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/datastore-versions",
        Rule::Manage,
        Doc::new("mgmtListVersions", "Every datastore's versions", "mgmt.md")
            .gives(200, Gives::Many("versions", shape::<ManagedVersionView>)),
        |call, caller| Box::pin(catalogue::managed_versions(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/datastores/{datastore}",
        Rule::Manage,
        Doc::new("deleteDatastore", "Delete a datastore that has no versions", "mgmt.md")
            .gives(202, Gives::Nothing)
            .refuses(&[400]),
        |call, caller| Box::pin(catalogue::delete_datastore(call, caller)),
    ),
    Route::project(
        "PATCH",
        "/v1.0/{project}/mgmt/datastore-versions/{id}",
        Rule::Manage,
        Doc::new("mgmtUpdateVersion", "Say whether new instances may have a version", "mgmt.md")
            .takes::<VersionChangeRequest>(sample!("mgmt-version-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[501]),
        |call, caller| Box::pin(catalogue::change_version(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/mgmt/datastore-versions/{id}",
        Rule::Manage,
        Doc::new("mgmtDeleteVersion", "Delete a version that nothing uses", "mgmt.md")
            .gives(202, Gives::Nothing)
            .refuses(&[400]),
        |call, caller| Box::pin(catalogue::delete_version(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/datastore-versions/{id}",
        Rule::Manage,
        Doc::new("mgmtShowVersion", "A datastore version", "mgmt.md")
            .gives(200, Gives::One("version", shape::<ManagedVersionView>)),
        |call, caller| Box::pin(catalogue::managed_version(call, caller)),
    ),
];

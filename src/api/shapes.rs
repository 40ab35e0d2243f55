//! The shapes of what is taken apart or put together by hand, for the OpenAPI document: bodies of requests, and answers
//! that are no view. The parsers are stricter than a schema can say; api-ref's pages tell how. That the shapes fit is
//! held by tests: every sample of a request fits its shape and is taken, and every answer of a route fits.
#![expect(dead_code, reason = "only their shapes are used")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A number or its digits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum NumberOrText {
    /// A number.
    Number(i64),
    /// Its digits, or an id.
    Text(String),
}

/// The body that makes a configuration group.
#[derive(Serialize, ToSchema)]
pub struct ConfigurationRequest {
    configuration: NewConfigurationBody,
}

/// A configuration group to make; keys that are not here are ignored.
#[derive(Serialize, ToSchema)]
struct NewConfigurationBody {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[schema(required = false, max_length = 1000)]
    description: Option<String>,
    #[schema(required = false)]
    datastore: Option<CreateDatastore>,
    /// Values, by the parameters' names.
    values: BTreeMap<String, serde_json::Value>,
}

/// The body that changes a configuration group.
#[derive(Serialize, ToSchema)]
pub struct ConfigurationChangeRequest {
    configuration: ConfigurationChangeBody,
}

/// What to change of a configuration group.
#[derive(Serialize, ToSchema)]
struct ConfigurationChangeBody {
    #[schema(required = false, min_length = 1, max_length = 255)]
    name: Option<String>,
    #[schema(required = false, max_length = 1000)]
    description: Option<String>,
    /// Values, by the parameters' names.
    #[schema(required = false)]
    values: Option<BTreeMap<String, serde_json::Value>>,
}

/// The body that changes a datastore version, under no key.
#[derive(Serialize, ToSchema)]
pub struct VersionChangeRequest {
    /// Whether new instances may have it.
    #[schema(required = false)]
    active: Option<bool>,
    /// Whether a new instance of its datastore has it that names no version.
    #[schema(required = false)]
    default: Option<bool>,
}

/// The body of a creation.
#[derive(Serialize, ToSchema)]
pub struct CreateRequest {
    instance: CreateInstance,
}

/// An instance to create; keys that are not here are ignored.
#[derive(Serialize, ToSchema)]
struct CreateInstance {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[serde(rename = "flavorRef")]
    flavor_ref: NumberOrText,
    volume: CreateVolume,
    #[schema(required = false)]
    datastore: Option<CreateDatastore>,
    #[schema(required = false)]
    databases: Option<Vec<CreateDatabase>>,
    #[schema(required = false)]
    users: Option<Vec<CreateUser>>,
}

/// The volume of an instance to create.
#[derive(Serialize, ToSchema)]
struct CreateVolume {
    size: NumberOrText,
}

/// The datastore of an instance to create, by names or ids.
#[derive(Serialize, ToSchema)]
struct CreateDatastore {
    #[schema(required = false)]
    r#type: Option<String>,
    #[schema(required = false)]
    version: Option<String>,
    #[schema(required = false)]
    version_number: Option<String>,
}

/// A database to create.
#[derive(Serialize, ToSchema)]
struct CreateDatabase {
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(required = false)]
    character_set: Option<String>,
    #[schema(required = false)]
    collate: Option<String>,
}

/// A user to create.
#[derive(Serialize, ToSchema)]
struct CreateUser {
    #[schema(min_length = 1, max_length = 16)]
    name: String,
    #[schema(min_length = 1, max_length = 255)]
    password: String,
    #[schema(required = false)]
    host: Option<String>,
    #[schema(required = false)]
    databases: Option<Vec<NamedDatabase>>,
}

/// A database of the same request.
#[derive(Serialize, ToSchema)]
struct NamedDatabase {
    name: String,
}

/// Databases to make.
#[derive(Serialize, ToSchema)]
pub struct DatabasesRequest {
    #[schema(min_items = 1)]
    databases: Vec<CreateDatabase>,
}

/// Users to make; the databases that they have rights on are there.
#[derive(Serialize, ToSchema)]
pub struct UsersRequest {
    #[schema(min_items = 1)]
    users: Vec<CreateUser>,
}

/// A user to make.
#[derive(Serialize, ToSchema)]
pub struct UserRequest {
    users: CreateUser,
}

/// Passwords to change.
#[derive(Serialize, ToSchema)]
pub struct PasswordsRequest {
    #[schema(min_items = 1)]
    users: Vec<ChangePassword>,
}

/// A user, and its password from then on.
#[derive(Serialize, ToSchema)]
struct ChangePassword {
    name: String,
    #[schema(required = false)]
    host: Option<String>,
    #[schema(min_length = 1, max_length = 255)]
    password: String,
}

/// What to change of a user.
#[derive(Serialize, ToSchema)]
pub struct UserChangeRequest {
    user: ChangeUser,
}

/// At least one of them.
#[derive(Serialize, ToSchema)]
struct ChangeUser {
    #[schema(required = false)]
    name: Option<String>,
    #[schema(required = false)]
    host: Option<String>,
    #[schema(required = false, min_length = 1, max_length = 255)]
    password: Option<String>,
}

/// Databases to give a user every right on.
#[derive(Serialize, ToSchema)]
pub struct GrantRequest {
    #[schema(min_items = 1)]
    databases: Vec<NamedDatabase>,
}

/// The password that root shall have; without, the service makes one.
#[derive(Serialize, ToSchema)]
pub struct RootRequest {
    #[schema(required = false, min_length = 1, max_length = 255)]
    password: Option<String>,
}

/// The body that changes the TLS state of an instance: one of `enable`, `disable` and `rollback`.
#[derive(Serialize, ToSchema)]
pub struct TlsRequest {
    ssl: TlsChange,
}

/// A change of the TLS state.
#[derive(Serialize, ToSchema)]
struct TlsChange {
    #[schema(required = false)]
    enable: Option<bool>,
    #[schema(required = false)]
    disable: Option<bool>,
    #[schema(required = false)]
    rollback: Option<bool>,
    /// `basic`, `enforced` or `mtls`.
    #[schema(required = false)]
    mode: Option<String>,
    /// `builtin`: the certificate that the service makes.
    #[schema(required = false)]
    container_ref: Option<String>,
    #[schema(required = false)]
    password_ref: Option<String>,
}

/// The body that shows a log, turns it on or off, publishes it or takes that back.
#[derive(Serialize, ToSchema)]
pub struct LogRequest {
    name: String,
    /// 1: have the server write it. Not together with `disable`.
    #[schema(required = false)]
    enable: Option<u8>,
    /// 1: have it write it no more.
    #[schema(required = false)]
    disable: Option<u8>,
    /// 1: publish its end.
    #[schema(required = false)]
    publish: Option<u8>,
    /// 1: take back what is published.
    #[schema(required = false)]
    discard: Option<u8>,
}

/// Whether root is enabled.
#[derive(Serialize, ToSchema)]
pub struct RootEnabled {
    #[serde(rename = "rootEnabled")]
    root_enabled: bool,
}

/// The body of an update: at most one key besides the name.
#[derive(Serialize, ToSchema)]
pub struct UpdateRequest {
    instance: UpdateInstance,
}

/// What is changed of an instance.
#[derive(Serialize, ToSchema)]
struct UpdateInstance {
    #[schema(required = false, min_length = 1, max_length = 255)]
    name: Option<String>,
    #[schema(required = false)]
    replica_of: Option<String>,
    #[schema(required = false)]
    slave_of: Option<String>,
    #[schema(required = false)]
    datastore_version: Option<String>,
    #[schema(required = false)]
    configuration: Option<String>,
}

/// The body of a group's creation.
#[derive(Serialize, ToSchema)]
pub struct HaRequest {
    ha: CreateHa,
}

/// A group to create; keys that are not here are ignored.
#[derive(Serialize, ToSchema)]
struct CreateHa {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    datastore: HaDatastore,
    /// The primary.
    #[schema(min_items = 1, max_items = 1)]
    replica_source: Vec<HaMember>,
    /// The standby.
    #[schema(min_items = 1, max_items = 1)]
    replicas: Vec<HaMember>,
}

/// The datastore of a group to create, by names or ids.
#[derive(Serialize, ToSchema)]
struct HaDatastore {
    r#type: String,
    #[schema(required = false)]
    version: Option<String>,
}

/// A member of a group to create; flavor and volume are the same for both.
#[derive(Serialize, ToSchema)]
struct HaMember {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[serde(rename = "flavorRef")]
    flavor_ref: NumberOrText,
    volume: CreateVolume,
    #[schema(required = false)]
    availability_zone: Option<String>,
}

/// The body of an action: exactly one key.
#[derive(Serialize, ToSchema)]
pub struct ActionRequest {
    #[schema(required = false)]
    upgrade: Option<UpgradeAction>,
    #[schema(required = false)]
    restart: Option<RestartAction>,
    #[schema(required = false)]
    resize: Option<ResizeAction>,
    #[schema(required = false)]
    reset_status: Option<ResetAction>,
}

/// With `force_delete`, of any value, for whoever may delete the instance.
#[derive(Serialize, ToSchema)]
struct ResetAction {
    #[schema(required = false)]
    force_delete: Option<bool>,
}

/// One of the two.
#[derive(Serialize, ToSchema)]
struct ResizeAction {
    #[serde(rename = "flavorRef")]
    #[schema(required = false)]
    flavor_ref: Option<NumberOrText>,
    #[schema(required = false)]
    volume: Option<CreateVolume>,
}

/// Nothing but that it shall be.
#[derive(Serialize, ToSchema)]
struct RestartAction {}

/// The body of an administrator's action: exactly one key.
#[derive(Serialize, ToSchema)]
pub struct ManagedActionRequest {
    #[schema(required = false)]
    reboot: Option<RestartAction>,
    #[serde(rename = "reset-task-status")]
    #[schema(required = false)]
    reset_task_status: Option<RestartAction>,
}

/// One of the instance's available upgrades, by names or ids.
#[derive(Serialize, ToSchema)]
struct UpgradeAction {
    #[schema(min_length = 1, max_length = 255)]
    datastore_type: String,
    #[schema(min_length = 1, max_length = 255)]
    datastore_version: String,
}

/// The body that upgrades the same instance.
#[derive(Serialize, ToSchema)]
pub struct UpgradeRequest {
    upgrade: UpgradeAsked,
}

/// What is asked of an upgrade.
#[derive(Serialize, ToSchema)]
struct UpgradeAsked {
    #[schema(min_length = 1, max_length = 255)]
    datastore_version: String,
    #[schema(required = false)]
    datastore_type: Option<String>,
    #[schema(required = false)]
    strategy: Option<String>,
    #[schema(required = false)]
    dry_run: Option<bool>,
    #[schema(required = false, minimum = 0, maximum = 2160)]
    keep_hours: Option<u32>,
    #[schema(required = false)]
    keep_retired: Option<bool>,
    /// Taken, without effect.
    #[schema(required = false)]
    drop_retired: Option<bool>,
    #[schema(required = false)]
    window: Option<bool>,
    #[schema(required = false)]
    not_before: Option<chrono::DateTime<chrono::Utc>>,
    #[schema(required = false)]
    not_after: Option<chrono::DateTime<chrono::Utc>>,
    #[schema(required = false, min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// The body that moves an upgrade which is for later: `window`, or `not_before`.
#[derive(Serialize, ToSchema)]
pub struct ScheduleRequest {
    schedule: SchedulePart,
}

/// When an upgrade begins.
#[derive(Serialize, ToSchema)]
struct SchedulePart {
    #[schema(required = false)]
    window: Option<bool>,
    #[schema(required = false)]
    not_before: Option<chrono::DateTime<chrono::Utc>>,
    #[schema(required = false)]
    not_after: Option<chrono::DateTime<chrono::Utc>>,
}

/// The body that sets by which policy newer builds come.
#[derive(Serialize, ToSchema)]
pub struct PolicyRequest {
    upgrade_policy: PolicyPart,
}

/// A policy.
#[derive(Serialize, ToSchema)]
struct PolicyPart {
    minor: PolicyWord,
}

/// The word of a policy.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PolicyWord {
    Off,
    Window,
}

/// The body that sets a window.
#[derive(Serialize, ToSchema)]
pub struct WindowRequest {
    window: WindowPart,
}

/// A day of the week.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DayWord {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A window: every day and UTC unless it says otherwise.
#[derive(Serialize, ToSchema)]
struct WindowPart {
    #[schema(required = false, min_items = 1)]
    days: Option<Vec<DayWord>>,
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    start: String,
    #[schema(minimum = 10, maximum = 1440)]
    minutes: u16,
    #[schema(required = false)]
    zone: Option<String>,
}

/// The body that sets quotas; -1 is no limit.
#[derive(Serialize, ToSchema)]
pub struct QuotasRequest {
    quotas: BTreeMap<String, Option<i32>>,
}

/// Quotas that were set.
#[derive(Serialize, ToSchema)]
pub struct QuotasSet {
    quotas: BTreeMap<String, i64>,
}

/// The body that switches maintenance.
#[derive(Serialize, ToSchema)]
pub struct MaintenanceRequest {
    on: bool,
    #[schema(required = false, minimum = 1, maximum = 86400)]
    retry_after: Option<u32>,
}

/// A version in a request, by names or ids.
#[derive(Serialize, ToSchema)]
struct VersionName {
    #[schema(min_length = 1, max_length = 255)]
    datastore_type: String,
    #[schema(min_length = 1, max_length = 255)]
    datastore_version: String,
}

/// A way in which a path is open.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WayWord {
    Replica,
    InPlace,
    Twin,
    Rolling,
}

/// The body that adds a path.
#[derive(Serialize, ToSchema)]
pub struct PathRequest {
    upgrade_path: NewPathPart,
}

/// A path to add.
#[derive(Serialize, ToSchema)]
struct NewPathPart {
    from: VersionName,
    to: VersionName,
    #[schema(min_items = 1)]
    ways: Vec<WayWord>,
    #[schema(required = false)]
    enabled: Option<bool>,
    #[schema(required = false, max_length = 1000)]
    note: Option<String>,
}

/// The body that changes a path: at least one key.
#[derive(Serialize, ToSchema)]
pub struct PathChangeRequest {
    upgrade_path: PathChangePart,
}

/// What is changed of a path.
#[derive(Serialize, ToSchema)]
struct PathChangePart {
    #[schema(required = false)]
    ways: Option<Vec<WayWord>>,
    #[schema(required = false)]
    enabled: Option<bool>,
    #[schema(required = false, max_length = 1000)]
    note: Option<String>,
}

/// What is asked of the steps of a simulated instance, by the step's word; `accept` is the next acceptance.
#[derive(Serialize, ToSchema)]
pub struct Simulation {
    steps: BTreeMap<String, SimulationStep>,
}

/// What is asked of a step.
#[derive(Serialize, ToSchema)]
struct SimulationStep {
    #[schema(required = false, minimum = 0, maximum = 3600000)]
    ms: Option<u32>,
    #[schema(required = false)]
    fault: Option<String>,
}

/// A limit of a project; an absolute one, or a rate.
#[derive(Serialize, ToSchema)]
pub struct LimitPart {
    /// `ABSOLUTE`, or a method.
    verb: String,
    #[schema(required = false)]
    max_instances: i64,
    #[schema(required = false)]
    max_volumes: i64,
    #[schema(required = false)]
    max_backups: i64,
    #[schema(required = false)]
    max_ram: i64,
    #[schema(required = false)]
    uri: String,
    #[schema(required = false)]
    regex: String,
    #[schema(required = false)]
    value: u32,
    #[schema(required = false)]
    remaining: u32,
    #[schema(required = false)]
    unit: String,
    #[schema(required = false, rename = "nextAvailable")]
    next_available: String,
}

/// A resource's quota.
#[derive(Serialize, ToSchema)]
pub struct QuotaPart {
    resource: String,
    in_use: i64,
    reserved: i64,
    limit: i64,
}

/// A version of the API.
#[derive(Serialize, ToSchema)]
pub struct ApiVersion {
    id: String,
    status: String,
    updated: String,
    links: Vec<crate::api::links::Link>,
}

/// A cluster; there are none.
#[derive(Serialize, ToSchema)]
pub struct Cluster {}

/// The body that asks for a token.
#[derive(Serialize, ToSchema)]
pub struct TokenRequest {
    auth: Auth,
}

/// How a user proves who it is, and for which project.
#[derive(Serialize, ToSchema)]
struct Auth {
    identity: AuthIdentity,
    /// `unscoped`, or an object with a project; absent, the user's own.
    #[schema(required = false)]
    scope: serde_json::Value,
}

/// How a user proves who it is.
#[derive(Serialize, ToSchema)]
struct AuthIdentity {
    /// `["password"]` or `["token"]`.
    methods: Vec<String>,
    #[schema(required = false)]
    password: AuthPassword,
    #[schema(required = false)]
    token: AuthToken,
}

/// A password.
#[derive(Serialize, ToSchema)]
struct AuthPassword {
    user: AuthUser,
}

/// A user, by its id, or by its name and domain.
#[derive(Serialize, ToSchema)]
struct AuthUser {
    #[schema(required = false)]
    id: Option<String>,
    #[schema(required = false)]
    name: Option<String>,
    #[schema(required = false)]
    domain: AuthDomain,
    password: String,
}

/// A domain.
#[derive(Serialize, ToSchema)]
struct AuthDomain {
    #[schema(required = false)]
    id: Option<String>,
    #[schema(required = false)]
    name: Option<String>,
}

/// A token of before.
#[derive(Serialize, ToSchema)]
struct AuthToken {
    id: String,
}

/// Keystone's own documents, whose keys are Keystone's.
#[derive(Serialize, ToSchema)]
pub struct KeystoneDocument {}

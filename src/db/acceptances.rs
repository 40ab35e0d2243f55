//! Accepting: everything that a new instance begins with, written in one statement. Instance, address, server, task,
//! claims and event are there together or not at all, and it takes one trip to the store.
//!
//! The statement holds again what was decided by reading before: the catalogue is the one that was read, and the source
//! of an upgrade is as it was. Where that is no longer so it writes nothing, and the caller reads and decides again.
//! Another live task of the same instance is met as a conflict of the claims' index.
//!
//! # Addresses
//! An address is looked for from a place that a sequence gives, so that nobody waits for another's commit, and an
//! address that was given back is not at once another's. Two that find the same one meet in the index of addresses,
//! and the second looks again.

use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use ipnet::Ipv4Net;
use uuid::Uuid;

use crate::db::catalogue_cache::Catalogue;
use crate::db::schema::{endpoints, hosts};
use crate::db::statement::{self, statement};
use crate::db::tasks::Claim;
use crate::db::{Conn, Error};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::flavor::Flavor;
use crate::domain::generation::Role;
use crate::domain::ids::{GenerationId, HostId, InstanceId, ProjectId, TaskId};
use crate::domain::instance::{Instance, InstanceState, Seen};
use crate::domain::task::{Plan, TaskState};

/// What a new instance begins with, whether it is created or an upgrade's new side.
pub struct Begin<'a> {
    /// Its id.
    pub instance: InstanceId,
    /// The project that owns it.
    pub project: &'a ProjectId,
    /// Its name.
    pub name: &'a str,
    /// Its flavor.
    pub flavor: &'a Flavor,
    /// Its volume in GB.
    pub volume_gb: i32,
    /// The version that was asked for.
    pub version: &'a DatastoreVersion,
    /// The host that it will live on.
    pub host: &'a HostId,
    /// Its server.
    pub generation: GenerationId,
    /// The password of our own account in the server, sealed.
    pub service_secret: &'a str,
    /// What makes it.
    pub task: TaskId,
    /// What the task was accepted to do.
    pub plan: &'a Plan,
    /// Sealed values that a step needs.
    pub secrets: Option<&'a str>,
    /// The user who asked.
    pub actor: &'a str,
    /// The catalogue that was decided by.
    pub catalogue: &'a Catalogue,
    /// The address to give; the next free one when there is none.
    pub address: Option<Ipv4Addr>,
}

statement! {
    /// The rows of the new instance: written when the part before gives `origin`, one row, and `place`, its address.
    Rows {
        instance: Uuid,
        project: String,
        name: String,
        building: &'static str,
        flavor: String,
        volume_gb: i32,
        version: Uuid,
        host: String,
        source: Option<Uuid>,
        port: i32,
        connections: i32,
        listens: bool,
        protocol: &'static str,
        generation: Uuid,
        candidate: &'static str,
        service_secret: String,
        follows: bool,
        task: Uuid,
        kind: &'static str,
        scheduled: &'static str,
        plan: serde_json::Value,
        secrets: Option<String>,
        claim: &'static str,
        actor: String,
        what: &'static str,
        about: Uuid,
    };
    { ", made as (insert into instances (id, project_id, name, state, flavor_id, volume_gb, \
       wanted_version_id, host_id, replica_of) select " }
    [instance as SqlUuid] { ", " } [project as Text] { ", " } [name as Text] { ", " } [building as Text]
    { ", " } [flavor as Text] { ", " } [volume_gb as Integer] { ", " } [version as SqlUuid] { ", " }
    [host as Text] { ", " } [source as Nullable<SqlUuid>]
    { "::uuid from origin, place returning id, created_at, updated_at), \
       led as (insert into endpoints (instance_id, host_id, address, port, connections, listens, protocol, allowed_cidrs, \
       tls_only) \
       select made.id, " } [host as Text] { ", place.address, " } [port as Integer] { ", " }
    [connections as Integer] { ", " } [listens as Bool] { ", " } [protocol as Text]
    // An upgrade's new side lets in whom its source lets in, and as encrypted.
    { ", coalesce(of.allowed_cidrs, '{}'), coalesce(of.tls_only, false) from made cross join place \
       left join endpoints of on of.instance_id = " }
    [source as Nullable<SqlUuid>]
    { "::uuid), \
       served as (insert into generations (id, instance_id, host_id, role, version_id, service_secret, \
       read_only, events, wanted) select " }
    [generation as SqlUuid] { ", made.id, " } [host as Text] { ", " } [candidate as Text] { ", " }
    [version as SqlUuid] { ", " } [service_secret as Text] { ", " } [follows as Bool] { ", not " }
    [follows as Bool]
    { ", 'stopped' from made), \
       asked as (insert into tasks (id, kind, project_id, host_id, state, plan, secrets) select " }
    [task as SqlUuid] { ", " } [kind as Text] { ", " } [project as Text] { ", " } [host as Text] { ", " }
    [scheduled as Text] { ", " } [plan as Jsonb] { ", " } [secrets as Nullable<Text>]
    { " from made), \
       claimed as (insert into task_instances (task_id, instance_id, role) select " }
    [task as SqlUuid] { ", made.id, " } [claim as Text]
    { " from made union all select " } [task as SqlUuid] { ", " } [source as Nullable<SqlUuid>]
    { "::uuid, 'source' from made where " } [source as Nullable<SqlUuid>]
    { "::uuid is not null), \
       noted as (insert into events (project_id, instance_id, task_id, actor, what) select " }
    [project as Text] { ", " } [about as SqlUuid] { ", " } [task as SqlUuid] { ", " } [actor as Text] { ", " }
    [what as Text]
    { " from made) select made.created_at, made.updated_at, place.address from made, place" }
}

statement! {
    /// The address: what was asked for, or the first free one of the next few of the host's network.
    Place {
        wish: Option<String>,
        host: String,
    };
    { "with place as materialized (select coalesce(" } [wish as Nullable<Text>]
    { "::text, (select t.address from (select host(set_masklen(network(h.instance_net::inet)::inet, 32) + 1 + \
       (nextval('addresses') - 1) % greatest((1::bigint << (32 - masklen(h.instance_net::inet))) - 2, 1)) \
       as address from hosts h, generate_series(1, 64) where h.id = " }
    [host as Text]
    { ") t where not exists (select from endpoints e where e.host_id = " } [host as Text]
    { " and e.address = t.address) limit 1)) as address)" }
}

type Made = (Timestamptz, Timestamptz, Text);

statement! {
    /// A created instance.
    Create { place: Place, catalogue: Uuid, rows: Rows } -> Made;
    (place)
    { ", origin as (select from place, catalogue where place.address is not null and catalogue.revision = " }
    [catalogue as SqlUuid] { ")" } (rows)
}

statement! {
    /// An upgrade's new side, and what becomes of its source.
    Upgrade { place: Place, next: &'static str, source: Uuid, revision: i64, catalogue: Uuid, rows: Rows } -> Made;
    (place)
    { ", origin as (update instances set state = " } [next as Text]
    { ", revision = instances.revision + 1, updated_at = now() from place, catalogue where instances.id = " }
    [source as SqlUuid] { " and instances.deleted_at is null and instances.revision = " } [revision as BigInt]
    { " and place.address is not null and catalogue.revision = " } [catalogue as SqlUuid]
    { " returning instances.id)" } (rows)
}

impl Begin<'_> {
    fn place(&self) -> Place {
        Place { wish: self.address.map(|address| address.to_string()), host: self.host.0.clone() }
    }

    fn rows(&self, source: Option<InstanceId>, what: &'static str) -> Result<Rows, Error> {
        Ok(Rows {
            instance: self.instance.0,
            project: self.project.as_str().to_owned(),
            name: self.name.to_owned(),
            building: InstanceState::Building.as_str(),
            flavor: self.flavor.id.0.clone(),
            volume_gb: self.volume_gb,
            version: self.version.id.0,
            host: self.host.0.clone(),
            source: source.map(|id| id.0),
            port: self.version.engine.standard_port().into(),
            connections: i32::try_from(self.flavor.connections()).unwrap_or(i32::MAX),
            listens: self.version.runtime.listens(),
            protocol: self.version.engine.protocol().as_str(),
            generation: self.generation.0,
            candidate: Role::Candidate.as_str(),
            service_secret: self.service_secret.to_owned(),
            follows: source.is_some(),
            task: self.task.0,
            kind: self.plan.kind().as_str(),
            scheduled: TaskState::Scheduled.as_str(),
            plan: serde_json::to_value(self.plan).map_err(|e| Error::Broken(e.to_string()))?,
            secrets: self.secrets.map(str::to_owned),
            claim: if source.is_some() { Claim::Candidate } else { Claim::Subject }.as_str(),
            actor: self.actor.to_owned(),
            what,
            about: source.unwrap_or(self.instance).0,
        })
    }

    /// The instance as it was just made.
    fn made(&self, source: Option<InstanceId>, (created_at, updated_at, address): Written) -> Instance {
        Instance {
            id: self.instance,
            project: self.project.clone(),
            name: self.name.to_owned(),
            state: InstanceState::Building,
            flavor: self.flavor.clone(),
            volume_gb: self.volume_gb,
            wanted: self.version.clone(),
            running: None,
            seen: Seen::default(),
            host: self.host.clone(),
            address: Some(address),
            allowed_cidrs: Vec::new(),
            configuration: None,
            replica_of: source,
            replicas: Vec::new(),
            member: None,
            fault: None,
            created_at,
            updated_at,
            revision: 0,
        }
    }
}

/// One live task an instance, and one instance an address.
const CLAIMS: &str = "one_live_task_per_instance";
pub(super) const ADDRESSES: &str = "endpoints_host_id_address_key";

type Written = (DateTime<Utc>, DateTime<Utc>, String);

fn written(doing: &'static str, done: diesel::QueryResult<Written>) -> Result<Written, Error> {
    match done.map_err(Error::query(doing)) {
        Err(Error::Query { source: diesel::result::Error::NotFound, .. }) => {
            Err(Error::Stale("what was read"))
        }
        Err(error) if error.violates(CLAIMS) || error.violates(ADDRESSES) => {
            Err(Error::Stale("what was read"))
        }
        done => done,
    }
}

/// Writes a created instance.
///
/// # Errors
/// [`Error::Stale`], with nothing written, when what was decided by has changed, or no address was found; the store's.
pub fn create(conn: &mut Conn, begin: &Begin<'_>) -> Result<Instance, Error> {
    let statement = Create {
        place: begin.place(),
        catalogue: begin.catalogue.revision,
        rows: begin.rows(None, "create_accepted")?,
    };
    Ok(begin.made(None, written("accept a creation", statement.get_result(conn))?))
}

/// Writes an upgrade's new side, and `next` as the state of `source`, which must be as it was read.
///
/// # Errors
/// [`Error::Stale`], with nothing written, when what was decided by has changed, or no address was found; the store's.
pub fn upgrade(
    conn: &mut Conn,
    source: &Instance,
    next: InstanceState,
    begin: &Begin<'_>,
) -> Result<Instance, Error> {
    let statement = Upgrade {
        place: begin.place(),
        next: next.as_str(),
        source: source.id.0,
        revision: source.revision,
        catalogue: begin.catalogue.revision,
        rows: begin.rows(Some(source.id), "upgrade_accepted")?,
    };
    Ok(begin.made(Some(source.id), written("accept an upgrade", statement.get_result(conn))?))
}

/// The texts of the statements that accept a creation and an upgrade, with `$1` and so on for their values.
///
/// # Errors
/// [`Error::Broken`].
pub fn texts(begin: &Begin<'_>) -> Result<(String, String), Error> {
    let (catalogue, next) = (begin.catalogue.revision, InstanceState::FeedingUpgrade.as_str());
    let create = Create { place: begin.place(), catalogue, rows: begin.rows(None, "create_accepted")? };
    let rows = begin.rows(Some(begin.instance), "upgrade_accepted")?;
    let upgrade =
        Upgrade { place: begin.place(), next, source: begin.instance.0, revision: 0, catalogue, rows };
    Ok((statement::text(&create), statement::text(&upgrade)))
}

statement! {
    /// An address alone.
    Address { place: Place } -> Nullable<Text>;
    (place) { " select place.address from place" }
}

/// The next free address of the host's network, from where the search for one begins now.
///
/// # Errors
/// [`Error::Stale`] when none was found near by; the store's.
pub fn next_address(conn: &mut Conn, host: &HostId) -> Result<String, Error> {
    let place = Place { wish: None, host: host.0.clone() };
    let found: Option<String> =
        Address { place }.get_result(conn).map_err(Error::query("look for an address"))?;
    found.ok_or(Error::Stale("the address"))
}

/// The lowest free address of the host's network, by looking at all of them; `None` when all are taken.
///
/// # Errors
/// The store's.
pub fn free_address(conn: &mut Conn, host: &HostId) -> Result<Option<Ipv4Addr>, Error> {
    let net: String = hosts::table
        .find(&host.0)
        .select(hosts::instance_net)
        .first(conn)
        .map_err(Error::query("read the host's network"))?;
    let net: Ipv4Net =
        net.parse().map_err(|_| Error::Broken(format!("instance_net {net:?} of host {host}")))?;
    let taken: std::collections::HashSet<String> = endpoints::table
        .filter(endpoints::host_id.eq(&host.0))
        .select(endpoints::address)
        .load(conn)
        .map_err(Error::query("read the addresses in use"))?
        .into_iter()
        .collect();
    Ok(net.hosts().find(|address| !taken.contains(&address.to_string())))
}

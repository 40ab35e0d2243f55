//! What the vendors' dialects show of a project: its instances and groups and the upgrades of them, read together. A
//! group is one instance there, with its members as its nodes.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::db::catalogue_cache::Catalogue;
use crate::db::{self, Conn, catalogue_cache, groups, instances, task_steps, tasks};
use crate::domain::build_upgrades::are_builds_of_one;
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::estimate::{self, Load, Pace};
use crate::domain::group::Group;
use crate::domain::ids::{GroupId, InstanceId, ProjectId, TaskId};
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::task::kinds::Upgraded;
use crate::domain::task::{Progress, Task, TaskState};

/// How many instances are read at a time.
const READ: i64 = 1_000;

/// Upgrades of the same instance, newest first, and everything that a list of them is made of.
pub struct Upgrades {
    /// The upgrades.
    pub tasks: Vec<Task>,
    /// The instances that they are of.
    pub instances: HashMap<InstanceId, Instance>,
    /// The groups that they are of.
    pub groups: HashMap<GroupId, Group>,
    /// What they are seen against.
    pub catalogue: Arc<Catalogue>,
    paces: HashMap<TaskId, Pace>,
}

impl Upgrades {
    /// Those of a project, or of an instance, as they are at this moment.
    ///
    /// # Errors
    /// The store's.
    pub fn read(
        conn: &mut Conn,
        project: Option<&ProjectId>,
        instance: Option<InstanceId>,
        now: DateTime<Utc>,
    ) -> Result<Self, db::Error> {
        let tasks = tasks::upgrades(conn, project, instance)?;
        Self::of(conn, tasks, now)
    }

    /// Those among these tasks.
    ///
    /// # Errors
    /// The store's.
    pub fn of(conn: &mut Conn, mut tasks: Vec<Task>, now: DateTime<Utc>) -> Result<Self, db::Error> {
        tasks.retain(|task| upgraded(task).is_some());
        let (mut of, mut of_groups) = (HashMap::new(), HashMap::new());
        for task in &tasks {
            let id = task.plan.subject();
            if let Some(id) = task.plan.group() {
                if !of_groups.contains_key(&id)
                    && let Some(group) = groups::find(conn, id)?
                {
                    of_groups.insert(id, group);
                }
            } else if !of.contains_key(&id)
                && let Some(it) = instances::find(conn, id)?
            {
                of.insert(id, it);
            }
        }
        let catalogue = catalogue_cache::now(conn)?;
        let mut paces = HashMap::new();
        for task in tasks.iter().filter(|task| is_under_way(task)) {
            let (bytes, marks) = task_steps::marks(conn, task.id)?;
            if let Some((version, _)) = ends(task, &catalogue) {
                let load = Load { bytes, engine: version.engine };
                let hops = estimate::kinds_by_hop(&task.plan);
                paces.insert(task.id, estimate::pace(&hops, load, task.progress, &marks, now));
            }
        }
        Ok(Self { tasks, instances: of, groups: of_groups, catalogue, paces })
    }

    /// How far a task is, of a hundred, and the seconds that are left.
    pub fn pace(&self, task: &Task) -> (u8, i64) {
        match (self.paces.get(&task.id), task.progress) {
            (Some(pace), _) => (pace.percent, pace.eta.unwrap_or(0)),
            (None, Progress::Ended(TaskState::Succeeded)) => (100, 0),
            (None, _) => (0, 0),
        }
    }

    /// Whether a task goes to a newer build of the same version.
    pub fn is_minor(&self, task: &Task) -> bool {
        is_minor(task, &self.catalogue)
    }

    /// The engine of the instance that a task is of; known of one that is gone, too.
    pub fn engine(&self, task: &Task) -> Option<EngineKind> {
        ends(task, &self.catalogue).map(|(from, _)| from.engine)
    }

    /// The version that a task goes to.
    pub fn target(&self, task: &Task) -> Option<&DatastoreVersion> {
        ends(task, &self.catalogue).map(|(_, to)| to)
    }

    /// The series that a task goes from and to, `15` and `17` for example.
    pub fn series(&self, task: &Task) -> (String, String) {
        let of = |version: &DatastoreVersion| version.engine.series(&version.number);
        ends(task, &self.catalogue).map(|(from, to)| (of(from), of(to))).unwrap_or_default()
    }
}

/// From where to where a task leads that upgrades what the vendors' calls know: an instance itself, or a group.
fn upgraded(task: &Task) -> Option<Upgraded<'_>> {
    task.plan.upgraded().filter(|_| task.plan.new_instance().is_none())
}

/// The version that served when an upgrade was accepted, and the one that was asked for.
fn ends<'a>(task: &Task, catalogue: &'a Catalogue) -> Option<(&'a DatastoreVersion, &'a DatastoreVersion)> {
    let led = upgraded(task)?;
    let is_origin = |version: &&DatastoreVersion| version.title() == led.from_title;
    let here = catalogue.version(led.from).filter(is_origin);
    here.or_else(|| catalogue.versions().find(is_origin)).zip(catalogue.version(led.to))
}

/// Whether a task goes to a newer build of the same version.
pub fn is_minor(task: &Task, catalogue: &Catalogue) -> bool {
    ends(task, catalogue).is_some_and(|(from, to)| are_builds_of_one(from, to))
}

/// Whether a worker is at it.
pub const fn is_under_way(task: &Task) -> bool {
    matches!(task.progress, Progress::At(_, _) | Progress::Verifying | Progress::NeedsOperator)
}

/// When a task began, or will.
pub fn began(task: &Task) -> DateTime<Utc> {
    task.starts.unwrap_or(task.created_at)
}

/// When a task ended, where it has.
pub const fn ended(task: &Task) -> Option<DateTime<Utc>> {
    match task.progress {
        Progress::Ended(_) => Some(task.updated_at),
        Progress::Deferred
        | Progress::Scheduled
        | Progress::At(_, _)
        | Progress::Verifying
        | Progress::NeedsOperator => None,
    }
}

/// Every instance of a project that is no group's member, and every group.
pub struct Everything {
    /// The instances.
    pub instances: Vec<Instance>,
    /// The groups.
    pub groups: Vec<Group>,
    /// The upgrade of each that is being upgraded, by its instance or by its group's address.
    pub upgrades: HashMap<InstanceId, Task>,
    /// `None` where there is no instance.
    pub catalogue: Option<Arc<Catalogue>>,
}

impl Everything {
    /// As it is at this moment.
    ///
    /// # Errors
    /// The store's.
    pub fn read(conn: &mut Conn, project: &ProjectId) -> Result<Self, db::Error> {
        let (mut all, mut catalogue) = (Vec::new(), None);
        loop {
            let marker = all.last().map(|it: &Instance| it.id);
            let (page, known) = instances::page(conn, project, marker, READ)?;
            let is_last = page.len() < usize::try_from(READ).unwrap_or(usize::MAX);
            all.extend(page);
            catalogue = known.or(catalogue);
            if is_last {
                break;
            }
        }
        let changing: Vec<InstanceId> =
            all.iter().filter(|it| it.state == InstanceState::Upgrading).map(|it| it.id).collect();
        let live = tasks::live_of(conn, &changing)?;
        let upgrades = live.into_iter().map(|task| (task.plan.address(), task)).collect();
        all.retain(|it| it.member.is_none());
        let mut found: Vec<Group> = Vec::new();
        loop {
            let page = groups::page(conn, project, found.last().map(|group| group.id), READ)?;
            let is_last = page.len() < usize::try_from(READ).unwrap_or(usize::MAX);
            found.extend(page);
            if is_last {
                break;
            }
        }
        Ok(Self { instances: all, groups: found, upgrades, catalogue })
    }
}

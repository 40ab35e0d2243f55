//! From one hop of an upgrade to the next: what its last record changes besides itself.
//!
//! Between two hops the instance serves the version between and stays claimed. The record of a hop's `retire` has the
//! next hop begin in the same transaction: if we die before it, `retire` runs again; after it, the next hop is looked at.
//! The first old server is the one that is kept, in place of what an earlier upgrade kept; that one and each later one are
//! the task's own from the cut-over on, and go with its `retire`.

use serde_json::{Value, json};

use crate::db::upgrades::{MISSED, REPLACES};
use crate::db::{self, Conn, generations, instances, tasks};
use crate::domain::generation::Role;
use crate::domain::task::{Plan, Task};
use crate::domain::upgrade::UpgradePlan;

/// What a hop reports, which the next one reports anew.
const HOPS: &str = "hops";

/// What is the whole task's to report, and no hop's.
const OWN: [&str; 2] = [MISSED, REPLACES];

/// Whether the instance keeps a server already, which an earlier hop left: then this hop's old one is not kept.
///
/// # Errors
/// The store's.
pub fn keeps_another(conn: &mut Conn, plan: &UpgradePlan) -> Result<bool, db::Error> {
    let kept = generations::retired(conn, plan.instance)?;
    Ok(kept.is_some_and(|kept| plan.passed.iter().any(|hop| hop.old == kept.id)))
}

/// Whether this hop's old server was left, and goes.
///
/// # Errors
/// The store's.
pub fn is_left(conn: &mut Conn, plan: &UpgradePlan) -> Result<bool, db::Error> {
    let old = generations::find(conn, plan.old)?;
    Ok(old.is_some_and(|old| old.role == Role::Candidate))
}

/// Begins the hop `next` of a task that has ended the one before.
///
/// # Errors
/// The store's; [`db::Error::Broken`] for a task without what the hop needs.
pub fn begin(
    conn: &mut Conn,
    task: &mut Task,
    plan: &UpgradePlan,
    next: UpgradePlan,
) -> Result<(), db::Error> {
    let broken = |what: &str| db::Error::Broken(format!("task {}: {what}", task.id));
    let sealed = task.secrets.as_deref().ok_or_else(|| broken("no secrets of later hops"))?;
    let secrets: Vec<String> =
        serde_json::from_str(sealed).map_err(|_| broken("the secrets of later hops cannot be read"))?;
    let secret = secrets.get(plan.passed.len()).ok_or_else(|| broken("no secret of the next hop"))?;
    let instance = instances::find(conn, plan.instance)?.ok_or_else(|| broken("its instance is gone"))?;
    generations::insert_candidate(conn, next.new, next.instance, &instance.host, next.to, secret)?;
    let facts = passed(conn, task, plan)?;
    let mut report = json!({HOPS: facts});
    for own in OWN {
        if let Some(told) = task.report.get(own) {
            report[own] = told.clone();
        }
    }
    tasks::set_report(conn, task.id, &report)?;
    task.redos = 0;
    task.plan = Plan::Upgrade(next);
    tasks::replan(conn, task)
}

/// Ends the last hop of a task: what it reports is of the whole way then.
///
/// # Errors
/// The store's.
pub fn end(conn: &mut Conn, task: &Task, plan: &UpgradePlan) -> Result<(), db::Error> {
    if !plan.has_hops() {
        return Ok(());
    }
    let facts = passed(conn, task, plan)?;
    let sum = |key: &str| facts.iter().filter_map(|hop| hop[key].as_i64()).sum::<i64>();
    let (gap, sessions) = (sum("gap_ms"), sum("sessions_ended"));
    let answered = facts.first().map_or(Value::Null, |hop| hop["from_answered"].clone());
    let whole = json!({HOPS: facts, "gap_ms": gap, "sessions_ended": sessions, "from_answered": answered});
    tasks::report(conn, task.id, &whole)
}

/// What each hop reported, this one's last.
fn passed(conn: &mut Conn, task: &Task, plan: &UpgradePlan) -> Result<Vec<Value>, db::Error> {
    // A step writes to its report while it runs, too.
    let now = tasks::find(conn, task.id)?.map(|now| now.report);
    let mut facts = now.and_then(|report| report.as_object().cloned()).unwrap_or_default();
    let mut hops = match facts.remove(HOPS) {
        Some(Value::Array(hops)) => hops,
        _none => Vec::new(),
    };
    for own in OWN {
        facts.remove(own);
    }
    facts.insert("from".to_owned(), json!(plan.from_title));
    facts.insert("to".to_owned(), json!(plan.to_title));
    hops.push(Value::Object(facts));
    Ok(hops)
}

/// Says of a task that ends in a later hop where its instance is now: it is not where it was when it was accepted.
pub fn stopped(task: &mut Task, plan: &UpgradePlan) {
    if plan.passed.is_empty() {
        return;
    }
    let place = format!(
        "The upgrade from {} to {} stopped at {}, which serves with all data.",
        plan.origin(),
        plan.goal(),
        plan.from_title
    );
    task.reason = Some(match task.reason.take() {
        Some(why) => format!("{place} {why}"),
        None => place,
    });
}

//! Upgrading the same instance: a candidate of the target version is made beside the server that serves, the instance is
//! held for a moment, and its address leads to the candidate from then on. In place, the candidate's data is made of the
//! old server's while it is stopped; as a twin, it was fed by replication and has everything already.
//!
//! The old server's folder is never written to by the candidate's making, and is kept after the cut-over. It takes the place
//! of what an earlier upgrade kept: that is the task's own from the record of the cut-over on, and its data goes with
//! `retire`, so that until the new version serves there is always a way back. Until the
//! record of the cut-over the old server is the truth: the way back has it serve again first, and clears away afterwards.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | examine | run again: it only reads; its record fixes the strategy, once |
//! | ready (in place), place, start, seed, convert, replicate, catch up, verify (twin) | as in [`replica_upgrade`](super::replica_upgrade): the old server serves, what is made is the candidate's |
//! | quiet | run again: it looks; a candidate that was to apply otherwise and was left standing still follows again first |
//! | catch up, quiet, where the twin is given up | run again: the candidate was removed, so it is made and judged once more; the record asks for a look at the server for in place, whole or not at all |
//! | hold | run again: the hold is a row and is there or not; the endpoint acknowledges it when it is on its disk |
//! | fence | run again: settings first, then the server, then its sessions; a server that died meanwhile comes up fenced |
//! | drain, cut (twin) | run again: it waits and reads; each statement of the cut may be repeated |
//! | stop (in place) | run again: a clean end is proven, or the old version is started fenced and stopped properly |
//! | transform (in place) | run again: the step goes on with the prepared copy while no server has opened it; else the candidate's folder is made again |
//! | cut-over | run again: it asks; its record makes the candidate serve, with version and route, whole or not at all. **This is the one-way point** |
//! | admit | run again: settings first, then the server; both generations may not be written to before it, one after it |
//! | reopen | run again: the hold is a row and is there or not |
//! | retire | run again: what an earlier upgrade kept goes, data first, then the row's role; a no-op when the old server is stopped, or, where another one is kept, gone. Its record begins the next hop, with the hop's candidate, whole or not at all |
//! | undo, abandon: reinstate | run again: settings first, then the server. The candidate was never reached by a tenant |
//! | reopen, drop server, release | run again: idempotent; a no-op when there is nothing |

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::db::{self, Conn, endpoints, generations, tasks};
use crate::domain::generation::{Generation, Role};
use crate::domain::ids::TaskId;
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{Phase, Step, Task};
use crate::domain::upgrade::{Strategy, UpgradePlan, choose};
use crate::engines::{Error, Sums};
use crate::workflow::chain;
use crate::workflow::cutover::{self, Cutover};
use crate::workflow::feed::{self, Feed};
use crate::workflow::for_tenants;
use crate::workflow::hops;
use crate::workflow::looks::{TRIAL_OF_A_TASK, until_unlooked};
use crate::workflow::parameters;
use crate::workflow::servers::{drop_server, end_if_hung, foreign, kept_settings, place, probe, start};
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen, serve};

fn cutover_of(plan: &UpgradePlan) -> Cutover {
    let fed = plan.strategy == Some(Strategy::Twin);
    Cutover { old: plan.old, new: plan.new, at: plan.instance, fed }
}

fn feed_of(plan: &UpgradePlan) -> Feed {
    Feed { source: plan.old, candidate: plan.new, at: plan.instance }
}

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(
    ctx: &StepContext,
    plan: &UpgradePlan,
    phase: Phase,
    step: Step,
) -> Result<StepOutcome, StepError> {
    match work(ctx, plan, phase, step).await {
        Ok(done) => Ok(done),
        Err(error) => Err(feed::or_anew(ctx, feed_of(plan), (phase, step), error).await),
    }
}

async fn work(
    ctx: &StepContext,
    plan: &UpgradePlan,
    phase: Phase,
    step: Step,
) -> Result<StepOutcome, StepError> {
    match step {
        Step::Examine => examine(ctx, plan).await,
        Step::Ready => ready(ctx, plan).await,
        Step::Place => {
            feed::source_answers(ctx, feed_of(plan)).await?;
            place(ctx, plan.new).await
        }
        Step::Start => start(ctx, plan.new).await,
        Step::Seed => feed::seed(ctx, feed_of(plan)).await,
        Step::Convert => feed::convert(ctx, plan.new).await,
        Step::Replicate => feed::replicate(ctx, feed_of(plan)).await,
        Step::CatchUp => match feed::catch_up(ctx, feed_of(plan)).await {
            Ok(position) => Ok(StepOutcome::with_detail(format!("reached position {:?}", position.0))),
            Err(StepError::FallsBehind(why)) => give_up(ctx, plan, why).await,
            Err(other) => Err(other),
        },
        Step::Verify => feed::compare(ctx, feed_of(plan)).await.map(StepOutcome::with_detail),
        Step::Quiet => match quiet(ctx, plan).await {
            Err(StepError::FallsBehind(why)) => give_up(ctx, plan, why).await,
            done => done,
        },
        Step::Hold => cutover::hold(ctx, cutover_of(plan), false).await,
        Step::Fence => cutover::fence(ctx, cutover_of(plan)).await,
        Step::Drain => {
            let drained = cutover::drain(ctx, cutover_of(plan));
            let (drained, carried) = tokio::join!(drained, feed::still_carried(ctx, feed_of(plan)));
            // It says more of what was not reached.
            carried.and(drained)
        }
        Step::Cut => cutover::cut(ctx, cutover_of(plan)).await,
        Step::Stop => stop(ctx, plan).await,
        Step::Transform => transform(ctx, plan).await,
        Step::Cutover => cut_over(ctx, plan).await,
        Step::Admit => admit(ctx, plan).await,
        Step::Reopen => cutover::reopen(ctx, cutover_of(plan)).await,
        Step::Retire => retire(ctx, plan).await,
        Step::Reinstate => reinstate(ctx, plan).await,
        Step::DropServer => drop_server(ctx, plan.new).await,
        Step::Release => release(ctx, plan).await,
        Step::Prepare
        | Step::Publish
        | Step::Open
        | Step::Unroute
        | Step::Rebuild
        | Step::Renew
        | Step::Rejoin
        | Step::Restore => {
            tracing::error!(task.id = %ctx.task.id, phase = phase.as_str(), "a step of another kind");
            Err(foreign(step))
        }
    }
}

/// Waits for a moment for the hold; a twin is then looked at a last time.
async fn quiet(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    if !cutover_of(plan).fed {
        return cutover::quiet(ctx, cutover_of(plan)).await;
    }
    let (engine, candidate) = ctx.reach(plan.new).await?;
    engine.resume(&candidate).await?;
    let done = cutover::quiet(ctx, cutover_of(plan)).await?;
    feed::still_carries(ctx, feed_of(plan)).await.map(|()| done)
}

/// What a step's record changes.
///
/// # Errors
/// The store's.
pub fn commit(
    conn: &mut Conn,
    task: &mut Task,
    plan: &UpgradePlan,
    phase: Phase,
    step: Step,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    match (phase, step) {
        (Phase::Forward, Step::Examine) => {
            let (strategy, why) = done
                .decided
                .clone()
                .ok_or_else(|| db::Error::Broken("the examination decided nothing".to_owned()))?;
            let decided = UpgradePlan { strategy: Some(strategy), why: Some(why), ..plan.clone() };
            task.plan = crate::domain::task::Plan::Upgrade(decided);
            tasks::replan(conn, task)
        }
        (Phase::Forward, Step::CatchUp | Step::Quiet) => {
            let Some(why) = &done.given_up else { return Ok(()) };
            endpoints::close_relay(conn, task.id)?;
            tasks::report(conn, task.id, &json!({"twin_given_up": why}))?;
            let again =
                UpgradePlan { allowed: vec![Strategy::InPlace], strategy: None, why: None, ..plan.clone() };
            task.plan = crate::domain::task::Plan::Upgrade(again);
            tasks::replan(conn, task)
        }
        (Phase::Forward, Step::Start | Step::Seed) => generations::set_wanted(conn, plan.new, true),
        (Phase::Forward, Step::Cutover) => {
            // The one-way point: generation, version and route, in one transaction with the record.
            if hops::keeps_another(conn, plan)? {
                generations::leave(conn, plan.old, |conn| serve(conn, plan.instance, plan.new, done))?;
            } else {
                let served = |conn: &mut Conn| {
                    generations::retire(conn, plan.old, plan.keep_hours)?;
                    serve(conn, plan.instance, plan.new, done)
                };
                match generations::retired(conn, plan.instance)? {
                    // It is the task's own from here on, and goes with `retire`.
                    Some(earlier) => generations::leave(conn, earlier.id, served)?,
                    None => served(conn)?,
                }
            }
            if let Some(kept) = generations::retired(conn, plan.instance)? {
                let until = kept.until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                tasks::report(conn, task.id, &json!({"kept_until": until}))?;
            }
            Ok(())
        }
        (Phase::Finish, Step::Retire) => {
            endpoints::close_relay(conn, task.id)?;
            if hops::is_left(conn, plan)? {
                generations::set_role(conn, plan.old, Role::Dropped)?;
            }
            if let Some(next) = plan.next() {
                return hops::begin(conn, task, plan, next);
            }
            hops::end(conn, task, plan)?;
            happen(conn, plan.instance, InstanceEvent::UpgradeEnded, |instance| instance.fault = None)
        }
        (Phase::Undo | Phase::Abandon, Step::DropServer) => {
            generations::set_role(conn, plan.new, Role::Dropped)
        }
        (Phase::Undo, Step::Release) => {
            endpoints::close_relay(conn, task.id)?;
            hops::stopped(task, plan);
            let fault = fault_of(task, "upgrade");
            happen(conn, plan.instance, InstanceEvent::UpgradeEnded, |instance| instance.fault = Some(fault))
        }
        (Phase::Abandon, Step::Release) => {
            endpoints::close_relay(conn, task.id)?;
            hops::stopped(task, plan);
            happen(conn, plan.instance, InstanceEvent::UpgradeEnded, |_| {})
        }
        (_, _) => Ok(()),
    }
}

/// Looks at the server for each strategy that is allowed, and decides for one.
async fn examine(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    until_unlooked(&ctx.worker, plan.instance).await?;
    let (engine, source) = ctx.reach(plan.old).await?;
    let (_, candidate) = ctx.reach(plan.new).await?;
    let number = engine.probe(&source, false).await?;
    let mut looked = Vec::new();
    for strategy in &plan.allowed {
        let found = engine.pre_check_within(&source, &candidate, *strategy, TRIAL_OF_A_TASK).await?;
        looked.push((*strategy, found));
    }
    let lost = parameters::findings(&ctx.worker, plan.instance, &candidate.version).await;
    let lost = lost.map_err(StepError::Retry)?;
    looked.iter_mut().for_each(|(_, found)| found.extend(lost.iter().cloned()));
    let (strategy, why) = choose(&looked).map_err(|refusal| StepError::RollBack {
        tenant: refusal.to_string(),
        operator: refusal.to_string(),
    })?;
    let findings: Vec<_> =
        looked.into_iter().filter(|(of, _)| *of == strategy).flat_map(|(_, findings)| findings).collect();
    let report = json!({"from_answered": number, "strategy": strategy.as_str(), "findings": findings});
    let mut done =
        StepOutcome::with_detail(format!("the old server answered {number}; {why}")).with_report(report);
    done.decided = Some((strategy, why));
    Ok(done)
}

/// Deletes what an earlier upgrade kept, whose place the old server took with the record of the cut-over. Gives whether
/// there was something.
async fn drop_earlier(ctx: &StepContext, plan: &UpgradePlan) -> Result<bool, StepError> {
    let instance = plan.instance;
    let all = ctx.worker.db.run(move |conn| generations::of_instance(conn, instance)).await?;
    let is_earlier = |it: &&Generation| it.role == Role::Candidate && ![plan.old, plan.new].contains(&it.id);
    let Some(earlier) = all.iter().find(is_earlier).map(|it| it.id) else { return Ok(false) };
    drop_server(ctx, earlier).await?;
    ctx.write(move |conn| generations::set_role(conn, earlier, Role::Dropped)).await?;
    Ok(true)
}

/// What becomes of a twin that does not come near enough to its source: where the request and the matrix allow it the
/// upgrade goes on in place, with a look at the server of its own; what was made of the twin goes first.
async fn give_up(ctx: &StepContext, plan: &UpgradePlan, why: String) -> Result<StepOutcome, StepError> {
    if !plan.allowed.contains(&Strategy::InPlace) {
        return Err(StepError::RollBack {
            tenant: format!(
                "The twin was given up: {why}. The old version serves with all data. Ask again at a quieter time, or with \
                 the strategy in_place."
            ),
            operator: why,
        });
    }
    drop_server(ctx, plan.new).await?;
    let (engine, source) = ctx.reach(plan.old).await?;
    engine.forget_follower(&source).await?;
    Ok(StepOutcome {
        given_up: Some(why.clone()),
        ..StepOutcome::with_detail(format!("the twin is given up: {why}"))
    })
}

async fn ready(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    let generation = plan.new;
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    ctx.worker.certify(generation).await?;
    let (engine, source) = ctx.reach(plan.old).await?;
    let (_, candidate) = ctx.reach(generation).await?;
    Ok(StepOutcome::with_detail(engine.prepare_in_place(&source, &candidate, ctx.progress()).await?))
}

/// One line for everything that a server holds besides rows.
fn fingerprint(inventory: &[String]) -> String {
    let mut hash = Sha256::new();
    for line in inventory {
        hash.update(line.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the task reports under `name`, as it is in the store now: a try that was killed may have written it.
async fn reported(ctx: &StepContext, name: &'static str) -> Result<Option<Value>, StepError> {
    let id = ctx.task.id;
    let task = ctx.worker.db.run(move |conn| tasks::find(conn, id)).await?;
    Ok(task.and_then(|task| task.report.get(name).cloned()))
}

/// How long the rows of one side are summed up while tenants wait, in place: what does not fit is reported as not
/// compared. Small databases take some milliseconds, beside the inventory.
const SUMMED_UP: Duration = Duration::from_secs(1);

/// How much longer the other side may take for the same tables: its server has just been started.
const SUMMED_UP_AGAIN: Duration = Duration::from_secs(10);

/// What the old servers held of those upgrades whose old side this worker has read, so that a difference can be named.
/// After a death the fingerprint in the store alone is left: it tells that there is a difference, and not which.
fn held() -> MutexGuard<'static, HashMap<TaskId, Vec<String>>> {
    static HELD: LazyLock<Mutex<HashMap<TaskId, Vec<String>>>> = LazyLock::new(Mutex::default);
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn stop(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    let generation = plan.old;
    let _turn = ctx.worker.turn(generation).await;
    let (engine, source) = ctx.reach(generation).await?;
    if reported(ctx, "fingerprint").await?.is_none() {
        // Nobody writes to it any more.
        let (lines, sums) =
            tokio::try_join!(engine.inventory(&source), engine.sum_rows(&source, None, SUMMED_UP))?;
        let facts = json!({
            "fingerprint": fingerprint(&lines),
            "objects_compared": lines.len(),
            "tables_compared": sums.tables.len(),
            "checksums": sums.tables,
            "not_compared": feed::reported(sums.not_compared),
        });
        let task = ctx.task.id;
        ctx.write(move |conn| tasks::report(conn, task, &facts)).await?;
        held().insert(task, lines);
    }
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    Ok(StepOutcome::with_detail(engine.stop_clean(&source).await?))
}

async fn transform(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    let generation = plan.new;
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    ctx.worker.certify(generation).await?;
    let (engine, source) = ctx.reach(plan.old).await?;
    let (_, candidate) = ctx.reach(generation).await?;
    match engine.convert_in_place(&source, &candidate, ctx.progress()).await {
        Ok(told) => Ok(StepOutcome::with_detail(told)),
        // Tenants wait: a second try is for who went away, not for who refused.
        Err(error @ Error::NoAnswer(_)) => Err(error.into()),
        Err(error) => Err(StepError::RollBack {
            tenant: match &error {
                Error::Object { .. } => error.to_string(),
                other => format!(
                    "The data could not be converted to the new version: {}. The old version serves with all data; \
                     change what is named, and ask again.",
                    for_tenants(&chain(other))
                ),
            },
            operator: chain(&error),
        }),
    }
}

/// Asks the candidate what it is, and whether it holds what the old server held.
async fn cut_over(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    let done = probe(ctx, plan.new).await?;
    if plan.strategy == Some(Strategy::InPlace) {
        let (engine, candidate) = ctx.reach(plan.new).await?;
        let theirs = reported(ctx, "checksums").await?.map(serde_json::from_value).transpose();
        let theirs = Sums {
            tables: theirs
                .map_err(|error| StepError::RetryBriefly(format!("the checksums cannot be read: {error}")))?
                .unwrap_or_default(),
            not_compared: Vec::new(),
        };
        let (lines, sums) = tokio::try_join!(
            engine.inventory(&candidate),
            engine.sum_rows(&candidate, Some(&theirs), SUMMED_UP_AGAIN)
        )?;
        let ours = fingerprint(&lines);
        if reported(ctx, "fingerprint").await?.as_ref().and_then(Value::as_str) != Some(&ours) {
            let before = held().remove(&ctx.task.id);
            let words = before.map(|before| feed::differences(&before, &lines)).unwrap_or_default();
            return Err(match words.is_empty() {
                false => feed::differing(&words),
                true => StepError::RollBack {
                    tenant: "The converted data does not hold the objects that the old server held."
                        .to_owned(),
                    operator: format!("the inventory's fingerprint is {ours} after the conversion"),
                },
            });
        }
        if let Some((table, _)) =
            theirs.tables.iter().find(|(table, sum)| sums.tables.get(*table) != Some(sum))
        {
            let why = sums.not_compared.iter().find(|left| left.object == *table);
            return Err(StepError::RollBack {
                tenant: format!(
                    "The converted data does not hold the rows that the old server held in {table}."
                ),
                operator: match why {
                    Some(left) => format!("{table}: {}", left.why),
                    None => format!("{table}: {:?} after the conversion", sums.tables.get(table)),
                },
            });
        }
        held().remove(&ctx.task.id);
    }
    let mut facts = json!({"to_answered": done.answered});
    let kept = kept_settings(ctx, plan.new).await?;
    if !kept.is_empty() {
        facts["kept_settings"] = json!(kept);
    }
    Ok(done.with_report(facts))
}

/// Opens the new server to writes; nobody reaches it before the hold ends.
async fn admit(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    cutover::open_to_writes(ctx, plan.new, false).await
}

/// Stops the old server, which is kept; what the upgrade left in it goes while it still answers.
async fn retire(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    let replaced = drop_earlier(ctx, plan).await?;
    let generation = plan.old;
    let _turn = ctx.worker.turn(generation).await;
    let (engine, old) = ctx.reach(generation).await?;
    if ctx.attempt > 1 {
        end_if_hung(&*engine, &old).await?;
    }
    if plan.strategy == Some(Strategy::InPlace) {
        let (_, new) = ctx.reach(plan.new).await?;
        engine.tidy(&new).await?;
    }
    if plan.strategy == Some(Strategy::Twin)
        && let Err(error) = engine.forget_follower(&old).await
    {
        // It serves nobody, and nobody knows the account's password.
        tracing::info!(error = %chain(&error), "the replication account is left on the old server");
    }
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    engine.stop(&old).await?;
    let looked = plan.clone();
    let is_left = ctx.worker.db.run(move |conn| hops::is_left(conn, &looked)).await?;
    let told = if is_left {
        // Nobody goes back to a version between.
        engine.drop_data(&old).await?;
        ctx.worker.forget_turn(generation);
        "the server between two hops is gone".to_owned()
    } else {
        let instead = if replaced { " in place of an earlier upgrade's, which is gone" } else { "" };
        format!("the old server is stopped, and kept for {} h{instead}", plan.keep_hours)
    };
    Ok(StepOutcome { goes_on: !plan.rest.is_empty(), ..StepOutcome::with_detail(told) })
}

/// The way back: the recorded decision to undo is what takes the fence off.
async fn reinstate(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    cutover::open_to_writes(ctx, plan.old, true).await
}

async fn release(ctx: &StepContext, plan: &UpgradePlan) -> Result<StepOutcome, StepError> {
    held().remove(&ctx.task.id);
    let (engine, old) = ctx.reach(plan.old).await?;
    match engine.forget_follower(&old).await {
        Ok(()) => Ok(StepOutcome::default()),
        // As after an abandoned upgrade: the supervisor takes it off once the server is back.
        Err(error) if ctx.attempt > 5 => Ok(StepOutcome::with_detail(format!(
            "the replication account is left on the server: {}",
            chain(&error)
        ))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_lines_apart() {
        let lines = |lines: &[&str]| fingerprint(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(lines(&["a", "b"]), lines(&["a", "b"]));
        assert_ne!(lines(&["a", "b"]), lines(&["ab"]));
        assert_ne!(lines(&["a", "b"]), lines(&["b", "a"]));
        assert_eq!(lines(&[]).len(), 64);
    }
}

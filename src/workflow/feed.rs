//! A candidate that is fed by its source while that serves: the steps that the strategies replica and twin share.
//! What a death does to each is told at the head of the kinds that have them: [`kinds`](crate::workflow::kinds).

use std::time::{Duration, Instant};

use crate::db::notices::Channel;
use crate::db::{endpoints, generations, tasks};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::replica_upgrade::unblocked;
use crate::domain::task::{Phase, Step};
use crate::engines::{self, Engine, Following, NotCompared, Position, RelayAddress, Server, object};
use crate::workflow::lag::Lag;
use crate::workflow::step::{StepContext, StepError, StepOutcome};
use crate::workflow::{chain, for_tenants};

/// How long one try of catching up lasts before it is recorded and begun anew.
const CATCH_UP: Duration = Duration::from_secs(600);

/// How often it is looked whether the source has something that must be applied otherwise.
const GROWN_LOOK: Duration = Duration::from_secs(10);

/// How soon a candidate that has caught up has what its source had.
const CLOSE: Duration = Duration::from_secs(2);

/// How often a step is tried while the candidate alone does not answer, before that is made anew: its host had the time
/// to start it again.
const TRIES_OF_A_CANDIDATE: i32 = 4;

/// Who feeds whom.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// The server that serves.
    pub source: GenerationId,
    /// The server that follows it.
    pub candidate: GenerationId,
    /// The instance at whose address the relay listens.
    pub at: InstanceId,
}

/// A copy needs its source: waits for it before anything is made.
///
/// # Errors
/// Who acts next.
pub async fn source_answers(ctx: &StepContext, feed: Feed) -> Result<String, StepError> {
    let (engine, source) = ctx.reach(feed.source).await?;
    Ok(engine.probe(&source, false).await?)
}

/// What becomes of a step of the copy's making that did not do what it is for: where it waits for a candidate that does
/// not come up any more, what was made is worth nothing. While tenants wait, nothing is begun anew.
pub async fn or_anew(
    ctx: &StepContext,
    feed: Feed,
    (phase, step): (Phase, Step),
    error: StepError,
) -> StepError {
    let StepError::Retry(why) = error else { return error };
    let kind = ctx.task.kind();
    let line = kind.steps(phase);
    let at = |which: Step| line.iter().position(|it| *it == which);
    let copies = at(Step::Place).is_some_and(|placed| at(step).is_some_and(|now| placed < now));
    // From the verification on a replica is an instance that is served.
    let may = copies && step != Step::Open && phase.can_undo(kind) && !kind.holds(phase, step);
    if may && ctx.attempt >= TRIES_OF_A_CANDIDATE && is_alone(ctx, feed).await {
        return StepError::Redo(Step::Place, format!("the candidate does not come up: {why}"));
    }
    StepError::Retry(why)
}

/// Whether the source answers, and the candidate does not.
async fn is_alone(ctx: &StepContext, feed: Feed) -> bool {
    let answers = async |id| match ctx.reach(id).await {
        Ok((engine, server)) => engine.probe(&server, false).await.is_ok(),
        Err(_) => false,
    };
    answers(feed.source).await && !answers(feed.candidate).await
}

/// Brings the candidate's system objects to its version.
///
/// # Errors
/// Who acts next.
pub async fn convert(ctx: &StepContext, candidate: GenerationId) -> Result<StepOutcome, StepError> {
    let (engine, candidate) = ctx.reach(candidate).await?;
    let due = engine.convert(&candidate).await?;
    Ok(StepOutcome::with_detail(if due { "converted" } else { "not due" }))
}

/// Refuses what the source's content has that a copy with replication cannot carry.
///
/// # Errors
/// [`StepError::RollBack`] naming it.
pub async fn refuse_blockers(engine: &dyn Engine, source: &Server) -> Result<(), StepError> {
    let blockers = engine.replica_blockers(source).await?;
    unblocked(&blockers)
        .map_err(|refusal| StepError::RollBack { tenant: refusal.to_string(), operator: refusal.to_string() })
}

/// Copies the source's content.
///
/// # Errors
/// Who acts next; a second try begins with the place again.
pub async fn seed(ctx: &StepContext, feed: Feed) -> Result<StepOutcome, StepError> {
    if ctx.attempt > 1 {
        return Err(StepError::Resume(Step::Place, "a copy was begun and not finished".to_owned()));
    }
    let generation = feed.candidate;
    // A copy of files stops the candidate's server and empties its folder: nobody may start it meanwhile.
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    let (engine, source) = ctx.reach(feed.source).await?;
    let (_, candidate) = ctx.reach(generation).await?;
    let began = Instant::now();
    let position = loop {
        unhindered(ctx, &*engine, &source, began).await?;
        match engine.seed(&source, &candidate, ctx.progress()).await {
            // It is waited for before the next try.
            Err(engines::Error::HeldUp(who)) if began.elapsed() < ctx.worker.quiet => {
                tracing::info!(task.id = %ctx.task.id, who, "a copy was held up");
            }
            Err(engines::Error::HeldUp(who)) => return Err(hindered(ctx, &who)),
            other => break other.map_err(|error| anew(error.into()))?,
        }
    };
    Ok(StepOutcome::with_detail(format!("the copy stands for position {:?}", position.0)))
}

/// How often it is looked whether a session is still in the way.
const IN_THE_WAY_LOOK: Duration = Duration::from_millis(500);

/// Waits until no session of the tenant's is in the way of a copy or a comparison, and says for whom it waits.
async fn unhindered(
    ctx: &StepContext,
    engine: &dyn Engine,
    source: &Server,
    began: Instant,
) -> Result<(), StepError> {
    let progress = ctx.progress();
    let mut told = None;
    while let Some(who) = engine.in_the_way(source).await? {
        if began.elapsed() >= ctx.worker.quiet {
            return Err(hindered(ctx, &who));
        }
        if told.as_ref() != Some(&who) {
            progress(format!("waiting: {who}"));
            told = Some(who);
        }
        tokio::time::sleep(IN_THE_WAY_LOOK).await;
    }
    Ok(())
}

fn hindered(ctx: &StepContext, who: &str) -> StepError {
    let waited = ctx.worker.quiet.as_secs();
    StepError::RollBack {
        tenant: format!(
            "The data could not be read within {waited} s: {who}. End the session or what it holds, and ask again."
        ),
        operator: format!("held up for {waited} s: {who}"),
    }
}

/// What becomes of a copy that was not made: a half one is never gone on with.
fn anew(error: StepError) -> StepError {
    match error {
        StepError::Retry(why) | StepError::RetryBriefly(why) => StepError::Redo(Step::Place, why),
        StepError::Refused(why) => StepError::RedoRefused(Step::Place, why),
        other => other,
    }
}

/// A follower that cannot go on: once it may have been what became of it meanwhile, twice it is its source's content.
pub fn broke(why: &str) -> StepError {
    StepError::RedoRefused(Step::Place, format!("the copy cannot follow the old server: {why}"))
}

/// How many definitions are named that may have broken a follower.
const NAMED: usize = 3;

/// Why a candidate cannot follow any more, in words for its tenant: the server's own, which do not always name what they
/// are about; and where definitions do not follow, those that are others by now.
pub async fn why_broken(engine: &dyn Engine, (source, candidate): (&Server, &Server), why: &str) -> String {
    let said = for_tenants(why);
    if engine.replicates_definitions() {
        return said;
    }
    let both = (engine.inventory_while_serving(source), engine.inventory_while_serving(candidate));
    match tokio::try_join!(both.0, both.1) {
        Ok((theirs, ours)) => match differences(&theirs, &ours) {
            none if none.is_empty() => said,
            mut found => {
                found.truncate(NAMED);
                format!("{said} ({})", found.join("; "))
            }
        },
        Err(error) => {
            tracing::info!(error = %chain(&error), "what broke a follower could not be looked for");
            said
        }
    }
}

/// Has the candidate follow.
///
/// # Errors
/// Who acts next.
pub async fn replicate(ctx: &StepContext, feed: Feed) -> Result<StepOutcome, StepError> {
    let (engine, source) = ctx.reach(feed.source).await?;
    let relay = if engine.needs_relay() { Some(relay(ctx, feed).await?) } else { None };
    let began = Instant::now();
    loop {
        unhindered(ctx, &*engine, &source, began).await?;
        let followed = {
            // The supervisor takes an account off that no task needs: not between the look and the making.
            let _turn = ctx.worker.turn(feed.source).await;
            let (_, candidate) = ctx.reach(feed.candidate).await?;
            engine.follow(&source, &candidate, relay.as_ref()).await
        };
        match followed {
            Err(engines::Error::HeldUp(who)) if began.elapsed() < ctx.worker.quiet => {
                ctx.progress()(format!("waiting: {who}"));
            }
            Err(engines::Error::HeldUp(who)) => return Err(hindered(ctx, &who)),
            other => break other?,
        }
    }
    Ok(StepOutcome::default())
}

/// Has the endpoint open a relay to the source, and gives its address.
async fn relay(ctx: &StepContext, feed: Feed) -> Result<RelayAddress, StepError> {
    let (task, host) = (ctx.task.id, ctx.worker.host.clone());
    // At the source's own address, which its certificate names.
    let (generation, at) = (feed.source, feed.at);
    ctx.write(move |conn| endpoints::open_relay(conn, task, &host, generation, at)).await?;
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some((host, port)) = ctx.worker.db.run(move |conn| endpoints::relay(conn, task)).await? {
            return Ok(RelayAddress { host, port });
        }
        if Instant::now() >= deadline {
            return Err(StepError::Retry("the endpoint has not opened the relay".to_owned()));
        }
        ctx.worker.notices.wait(Channel::Applied, Duration::from_millis(200)).await;
    }
}

/// Waits until the candidate has soon what the source had when it was asked; gives that position. Before a hold it must be
/// closer than that: here it is told from one that never comes near.
///
/// # Errors
/// Who acts next.
pub async fn catch_up(ctx: &StepContext, feed: Feed) -> Result<Position, StepError> {
    let (engine, source) = ctx.reach(feed.source).await?;
    let (_, candidate) = ctx.reach(feed.candidate).await?;
    let progress = ctx.progress();
    let deadline = Instant::now() + CATCH_UP;
    let mut connecting_since: Option<Instant> = None;
    let began = Instant::now();
    let mut lag = Lag::over(ctx.worker.quiet / 10);
    let mut hurries = false;
    let mut looked: Option<Instant> = None;
    while Instant::now() < deadline {
        match engine.following(&candidate).await? {
            Following::Running => connecting_since = None,
            Following::Connecting(why) => {
                let since = *connecting_since.get_or_insert_with(Instant::now);
                // The engine's own words name what is ours: they are for the operator, in the step's outcome.
                progress("not connected to the source".to_owned());
                if since.elapsed() > Duration::from_secs(60) {
                    return Err(StepError::Retry(format!("no connection to the source: {why}")));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Following::Broken(why) => {
                return Err(broke(&why));
            }
            Following::Nobody => {
                return Err(StepError::Redo(Step::Place, "the candidate follows nobody".to_owned()));
            }
        }
        hurries = hurries || engine.hurry(&candidate).await?;
        // What a tenant makes meanwhile may have to be applied otherwise. A locked table is waited for elsewhere.
        if engine.replicates_definitions()
            && looked.is_none_or(|at| at.elapsed() >= GROWN_LOOK)
            && engine.in_the_way(&source).await?.is_none()
        {
            looked = Some(Instant::now());
            if let Some(object) = engine.adapt(&source, &candidate).await? {
                progress(format!("changes are applied one after the other, because of {object}"));
                continue;
            }
        }
        let position = engine.position(&source).await?;
        // Caught up means: what the source had written when we asked was there within so much.
        if engine.reached(&candidate, &position, CLOSE).await? {
            return Ok(position);
        }
        // While tables are copied for the first time what is written meanwhile waits.
        if hurries {
            progress(lag.note(began.elapsed(), engine.behind(&source, &candidate).await?));
            if let Some(why) = lag.stands() {
                return Err(StepError::FallsBehind(why));
            }
        } else {
            progress("the tables are being copied".to_owned());
        }
    }
    Err(StepError::Retry("not caught up yet".to_owned()))
}

/// Compares every object and every row of both sides, while the source serves; gives what was compared, for people.
///
/// # Errors
/// Who acts next.
pub async fn compare(ctx: &StepContext, feed: Feed) -> Result<String, StepError> {
    let (engine, source) = ctx.reach(feed.source).await?;
    let (_, candidate) = ctx.reach(feed.candidate).await?;
    // What the tenant made since it was examined is no more to be trusted to the copy than what was there before: the
    // snapshot does not hold for a table without transactions.
    refuse_blockers(&*engine, &source).await?;
    engine.resume(&candidate).await?;
    // It may have been killed since it had caught up: what cannot go on is made anew while that costs nobody anything.
    if let Following::Broken(why) = engine.following(&candidate).await? {
        return Err(broke(&why));
    }
    if let Some(object) = engine.adapt(&source, &candidate).await? {
        tracing::info!(task.id = %ctx.task.id, object, "changes are applied one after the other");
    }
    let mut lasting: Option<Vec<String>> = None;
    // The tenant may change objects while we compare, all the time: only a difference that stays is one.
    for _ in 0..5 {
        let theirs = engine.inventory_while_serving(&source).await?;
        let position = engine.position(&source).await?;
        if !engine.reached(&candidate, &position, Duration::from_secs(30)).await? {
            return Err(StepError::Retry("the candidate fell behind while comparing".to_owned()));
        }
        let ours = engine.inventory_while_serving(&candidate).await?;
        let stay = staying(lasting.take(), differences(&theirs, &ours));
        if lasting.insert(stay).is_empty() {
            let began = Instant::now();
            let compared = loop {
                unhindered(ctx, &*engine, &source, began).await?;
                match engine.compare_rows(&source, &candidate, ctx.progress()).await {
                    Err(engines::Error::HeldUp(_)) if began.elapsed() < ctx.worker.quiet => {}
                    Err(engines::Error::HeldUp(who)) => return Err(hindered(ctx, &who)),
                    other => break other?,
                }
            };
            if let Some(first) = compared.differing.first() {
                return Err(StepError::RollBack {
                    tenant: format!(
                        "The copy does not hold the rows that the source holds in {first}{}. Ask for the upgrade again; \
                         if that table differs again, tell the operator.",
                        and_more(compared.differing.len())
                    ),
                    operator: format!(
                        "at position {:?} these tables differ: {}",
                        compared.position,
                        compared.differing.join(", ")
                    ),
                });
            }
            let facts = serde_json::json!({
                "objects_compared": ours.len(),
                "tables_compared": compared.tables,
                "rows_compared": compared.rows,
                "not_compared": reported(compared.not_compared),
            });
            let task = ctx.task.id;
            ctx.write(move |conn| tasks::report(conn, task, &facts)).await?;
            return Ok(format!(
                "{} objects equal; {} rows of {} tables equal at position {:?}",
                ours.len(),
                compared.rows,
                compared.tables,
                compared.position
            ));
        }
    }
    Err(differing(&lasting.unwrap_or_default()))
}

/// The differences of the first looks that are there at this one, too.
fn staying(before: Option<Vec<String>>, now: Vec<String>) -> Vec<String> {
    match before {
        None => now,
        Some(before) => before.into_iter().filter(|line| now.contains(line)).collect(),
    }
}

/// Looks a last time, before clients are held, at what the tenant may have made since the copy was examined and compared: what
/// it cannot carry, and what must be applied otherwise than it was. Where definitions do not follow, one that is new is found
/// by its name.
///
/// # Errors
/// Who acts next.
pub async fn still_carries(ctx: &StepContext, feed: Feed) -> Result<(), StepError> {
    let (engine, source) = ctx.reach(feed.source).await?;
    let (_, candidate) = ctx.reach(feed.candidate).await?;
    if !engine.replicates_definitions() {
        return Ok(());
    }
    refuse_blockers(&*engine, &source).await?;
    match engine.adapt(&source, &candidate).await? {
        // What came of it so far is compared once more.
        Some(object) => Err(StepError::Resume(
            Step::Verify,
            format!("changes are applied one after the other from now on, because of {object}"),
        )),
        None => Ok(()),
    }
}

/// The same while clients are held, where nothing can be mended any more.
///
/// # Errors
/// [`StepError::RollBack`] naming what was made in the last moments.
pub async fn still_carried(ctx: &StepContext, feed: Feed) -> Result<(), StepError> {
    let (engine, source) = ctx.reach(feed.source).await?;
    let (_, candidate) = ctx.reach(feed.candidate).await?;
    if !engine.replicates_definitions() {
        return Ok(());
    }
    let outgrown = engine.outgrown(&source, &candidate);
    let (blocked, outgrown) = tokio::join!(refuse_blockers(&*engine, &source), outgrown);
    blocked?;
    match outgrown? {
        Some(object) => Err(StepError::RollBack {
            tenant: format!(
                "{object} was made in the last moments before the switch, and the copy did not follow it in the way that it \
                 needs. Ask for the upgrade again."
            ),
            operator: format!("{object} was made since the last look before the hold"),
        }),
        None => Ok(()),
    }
}

/// How many things a report names that were not compared.
const REPORTED: usize = 100;

/// What was not compared, as a task reports it: of many, the first.
pub fn reported(mut left: Vec<NotCompared>) -> Vec<NotCompared> {
    let more = left.len().saturating_sub(REPORTED);
    if more > 0 {
        left.truncate(REPORTED);
        left.push(NotCompared::new(format!("{more} more"), "are left for reasons like these"));
    }
    left
}

fn and_more(of: usize) -> String {
    if of > 1 { format!(" and {} more tables", of - 1) } else { String::new() }
}

/// What differs between two inventories, in words for people. No secret is told.
pub fn differences(theirs: &[String], ours: &[String]) -> Vec<String> {
    object::differences(theirs, ours)
}

/// The end of an upgrade whose sides differ.
pub fn differing(words: &[String]) -> StepError {
    let first = words.first().cloned().unwrap_or_default();
    let more = match words.len() {
        0 | 1 => String::new(),
        of => format!(" ({} more differences)", of - 1),
    };
    StepError::RollBack {
        tenant: format!("The copy does not hold what the source holds: {first}{more}."),
        operator: words.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_difference_that_stays_is_one() {
        let lines = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        // Users are made and dropped all the time: each look finds others that are not on the other side yet.
        let passing = staying(Some(staying(None, lines(&["u1", "u2"]))), lines(&["u3"]));
        assert_eq!(passing, lines(&[]));
        let missing = staying(Some(staying(None, lines(&["view v", "u1"]))), lines(&["u2", "view v"]));
        assert_eq!(missing, lines(&["view v"]));
    }
}

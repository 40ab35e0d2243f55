//! An upgrade in place: the candidate gets a copy of the files of the old server, which was stopped cleanly, and the
//! new version opens the copy. The old files are only read: the way back is to start the old server again. Most of the
//! copy is made while the old server serves; clients wait for what has changed since.
//!
//! # If we die here
//! The candidate's folder is worth nothing until [`convert`] has returned: the next try makes it anew, or goes on with
//! the copy that was made ahead, which no server has opened as long as the runtime says that it is there.

use std::time::Duration;

use crate::domain::question::Finding;
use crate::domain::upgrade::Strategy;
use crate::engines::mariadb::connection::Client;
use crate::engines::mariadb::{
    DROP_PATIENCE, backup, blockers, layout, leftovers, rehearsal, runtime, waits,
};
use crate::engines::{Engine as _, Error, OnProgress, Server};
use crate::runtimes::{CopyRules, Layout};

use super::MariaDb;

/// Authentication plugins that are part of every server.
const BUILT_IN: [&str; 3] = ["mysql_native_password", "mysql_old_password", "unix_socket"];

/// Where a tree keeps its plugins, by version.
const PLUGIN_FOLDERS: [&str; 3] =
    ["rootfs/usr/lib/mysql/plugin", "rootfs/usr/lib/mariadb/plugin", "rootfs/usr/lib/mariadb19/plugin"];

/// What a look before the upgrade finds.
pub async fn pre_check(
    source: &Server,
    candidate: &Server,
    strategy: Strategy,
    trial: Duration,
) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    if numbers(&candidate.version) < numbers(&source.version) {
        found.push(Finding {
            blocks: true,
            object: "the target".to_owned(),
            why: format!("is {}, older than {}, which runs", candidate.version, source.version),
            remedy: "choose a newer version".to_owned(),
        });
    }
    let mut client = Client::connect(source).await?;
    let target = target_layout(source, candidate)?;
    found.extend(plugins(source, &target, &mut client).await?);
    found.extend(room(source, strategy).await?);
    match strategy {
        Strategy::Twin => {
            found.extend(MariaDb.replica_blockers(source).await?.into_iter().map(Finding::from));
        }
        Strategy::InPlace => {
            found.extend(prepared(&mut client).await?);
            found.extend(blockers::lost_with_a_restart(source, &mut client).await?);
        }
    }
    found.extend(leftovers::findings(source, &mut client, strategy).await?);
    found.extend(rehearsal::findings(source, candidate, trial).await?);
    // Last: who is still at it now has been so for the time of this look.
    found.extend(waits::findings(&mut client).await?);
    client.close().await;
    Ok(found)
}

/// The files of the target's version, for a look at them; the candidate itself need not be there.
fn target_layout(source: &Server, candidate: &Server) -> Result<Layout, Error> {
    Ok(Layout { root: layout(candidate)?.root, ..layout(source)? })
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Plugins that the tenant's accounts and tables need and that the target does not have.
async fn plugins(source: &Server, target: &Layout, client: &mut Client) -> Result<Vec<Finding>, Error> {
    let doing = "look at the plugins";
    let mut found = Vec::new();
    let used = client
        .rows(
            doing,
            "SELECT DISTINCT p.PLUGIN_NAME, p.PLUGIN_LIBRARY FROM information_schema.PLUGINS p \
             WHERE p.PLUGIN_LIBRARY IS NOT NULL ORDER BY 1",
        )
        .await?;
    for row in used {
        let [Some(name), Some(library)] = row.as_slice() else { continue };
        if !has_plugin(source, target, library).await? {
            found.push(Finding {
                blocks: true,
                object: format!("plugin {name}"),
                why: format!("is loaded, and the target has no {library}"),
                remedy: format!("UNINSTALL SONAME '{library}' once nothing needs it"),
            });
        }
    }
    let accounts = client
        .rows(
            doing,
            "SELECT DISTINCT JSON_VALUE(Priv, '$.plugin') FROM mysql.global_priv \
             WHERE JSON_VALUE(Priv, '$.plugin') IS NOT NULL AND JSON_VALUE(Priv, '$.plugin') <> '' ORDER BY 1",
        )
        .await?;
    for plugin in accounts.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
        let library = match plugin.as_str() {
            "ed25519" => "auth_ed25519.so".to_owned(),
            other => format!("{other}.so"),
        };
        if !BUILT_IN.contains(&plugin.as_str()) && !has_plugin(source, target, &library).await? {
            found.push(Finding {
                blocks: true,
                object: format!("authentication plugin {plugin}"),
                why: "is what an account logs in by, and the target does not have it".to_owned(),
                remedy: "give these accounts another: ALTER USER … IDENTIFIED VIA mysql_native_password"
                    .to_owned(),
            });
        }
    }
    Ok(found)
}

async fn has_plugin(source: &Server, target: &Layout, library: &str) -> Result<bool, Error> {
    // A name from a server is no path.
    if library.contains('/') {
        return Ok(false);
    }
    for folder in PLUGIN_FOLDERS {
        let file = format!("{folder}/{library}");
        if source
            .runtime
            .engine_file(target, &file)
            .await
            .map_err(runtime("look for the target's plugins"))?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Room for a second copy, and a tenth more.
async fn room(source: &Server, strategy: Strategy) -> Result<Option<Finding>, Error> {
    let used =
        source.runtime.used_bytes(source.generation).await.map_err(runtime("measure the server's data"))?;
    let free = source.runtime.free_bytes().await.map_err(runtime("measure the room on the host"))?;
    let needed = used.saturating_add(used / 10);
    Ok((free < needed).then(|| Finding {
        blocks: true,
        object: "the host".to_owned(),
        why: format!(
            "has {} MB of room, and the upgrade ({}) needs {} MB beside the data that is there",
            free >> 20,
            strategy.as_str(),
            needed >> 20
        ),
        remedy: "make room, or have the instance moved".to_owned(),
    }))
}

/// Prepared transactions come along with the files: worth a word, and no more.
async fn prepared(client: &mut Client) -> Result<Vec<Finding>, Error> {
    let rows = client.rows("look for prepared transactions", "XA RECOVER").await?;
    let finding = |row: Vec<Option<String>>| Finding {
        blocks: false,
        object: format!("transaction {}", row.into_iter().nth(3).flatten().unwrap_or_default()),
        why: "is prepared (XA) and neither committed nor rolled back; it is there after the upgrade, too"
            .to_owned(),
        remedy: "XA COMMIT or XA ROLLBACK it".to_owned(),
    };
    Ok(rows.into_iter().take(100).map(finding).collect())
}

/// The history of changes stays behind: the candidate begins its own. And InnoDB writes to its tables' files by system
/// calls alone; what else there is, the redo log for one, may be mapped.
const RULES: CopyRules = CopyRules {
    without: &["binlog.", "relay.", "log."],
    settles: &[".ibd"],
    settled: Duration::from_secs(60),
};

/// Makes the candidate's folders and copies ahead what is there: within the hold only what has changed since is copied.
pub async fn prepare(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<String, Error> {
    anew(candidate).await?;
    let begun = std::time::Instant::now();
    let (from, to) = (source.generation, candidate.generation);
    let bytes = source.runtime.copy_ahead(from, to, &RULES, progress.as_ref()).await;
    let bytes = bytes.map_err(runtime("copy the files ahead"))?;
    Ok(format!("{} MB copied ahead in {:.1} s", bytes >> 20, begun.elapsed().as_secs_f32()))
}

async fn anew(candidate: &Server) -> Result<(), Error> {
    let (place, generation) = (&candidate.runtime, candidate.generation);
    place
        .stop_server(generation, DROP_PATIENCE, true)
        .await
        .map_err(runtime("stop the server of an earlier try"))?;
    place.drop_volume(generation).await.map_err(runtime("remove what an earlier try left"))?;
    place
        .ensure_volume(generation, candidate.account.as_deref())
        .await
        .map_err(runtime("make the candidate's folders"))
}

/// Copies the files and has the new version take them over. The candidate's server runs afterwards, fenced.
pub async fn convert(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<String, Error> {
    let (place, to) = (&candidate.runtime, candidate.generation);
    if !place.is_copied_ahead(to).await.map_err(runtime("look for a copy made ahead"))? {
        anew(candidate).await?;
    }
    let copied = place.copy_data(source.generation, to, &RULES, progress.as_ref()).await;
    let copied = copied.map_err(runtime("copy the files"))?;
    backup::take_over(source, candidate, None, progress).await?;
    let [all, settled, written] = [copied.all, copied.settled, copied.written].map(|bytes| bytes >> 20);
    Ok(format!("{all} MB converted, {settled} of them copied ahead and not changed since, {written} written"))
}

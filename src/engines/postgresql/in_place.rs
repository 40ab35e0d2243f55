//! An upgrade in place: the copy of a server that was stopped cleanly becomes the new version's cluster. The old files
//! are only read: the way back is to start the old server again.
//!
//! `pg_upgrade` links the copy's files into the new cluster, which is why the copy is made in the candidate's own folder
//! and goes afterwards. It starts both versions itself, in turn, on a socket in the candidate's socket folder, and comes
//! in as the instance's account, by `peer`: by rules in the clusters' own folders, which are read for that run only
//! (ours lie elsewhere). What a tenant wrote is harmless while it runs, and put back afterwards ([`disarm`]).
//!
//! # If we die here
//! A copy that has been made a server of its own is used up: the next try copies the stopped server's files again.

use crate::engines::postgresql::config;
use crate::engines::postgresql::connection::{Client, hide_verifiers, options};
use crate::engines::postgresql::disarm::{self, Aside};
use crate::engines::postgresql::{ACCOUNT, cluster, control, copy, last_lines, layout, major, run, runtime};
use crate::engines::{Engine as _, Error, OnProgress, Server};
use crate::runtimes::{Job, JobOutput, Layout};

/// The rules for one run, in the candidate's folder of configuration.
const RULES: &str = "upgrade_hba.conf";
const NAMES: &str = "upgrade_ident.conf";

/// How many databases `pg_upgrade` takes at one time, at most.
const JOBS: usize = 4;

/// Makes the candidate's cluster of the source's data. After a conversion the candidate's server runs, fenced.
pub async fn convert(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<String, Error> {
    let theirs = layout(source)?;
    let end = control::read(source, &theirs, &cluster(&theirs)).await?;
    if end.state != control::STOPPED {
        let answer = end.state;
        return Err(Error::Unexpected { doing: "look whether the old server was stopped cleanly", answer });
    }
    let ours = layout(candidate)?;
    let aside = (major(&source.version) != major(&candidate.version)).then(Aside::drawn);
    let how = if copy::is_ready(source, candidate, &end).await {
        progress("the copy takes what is left".to_owned());
        copy::finish(source, candidate, &end, aside.as_ref()).await?;
        "the copy"
    } else {
        progress("there is no copy that can be used, the stopped server's files are copied".to_owned());
        copy::again(source, candidate, &end, aside.as_ref()).await?;
        "another copy"
    };
    if let Some(aside) = aside {
        progress("pg_upgrade".to_owned());
        upgrade(source, candidate, &ours).await?;
        progress("definitions and settings are put back".to_owned());
        super::Postgresql.start(candidate).await?;
        disarm::put_back(candidate, &Client::connect(candidate).await?, &aside).await?;
    } else {
        let paths = [copy::folder(&ours), cluster(&ours)].map(|path| path.to_string_lossy().into_owned());
        let args = [vec!["--no-target-directory".to_owned(), "--".to_owned()], paths.to_vec()].concat();
        run(candidate, &ours, Job { program: "/bin/mv".to_owned(), args, ..Job::default() }).await?;
        // pg_upgrade has all files on disk when it ends; here it is asked for.
        let args = vec![format!("--pgdata={}", cluster(&ours).display()), "--sync-only".to_owned()];
        run(candidate, &ours, Job { program: "initdb".to_owned(), args, ..Job::default() }).await?;
    }
    Ok(format!("{how} of the server that ended at {} was converted", end.checkpoint))
}

/// Runs `pg_upgrade` on the copy and the new cluster.
async fn upgrade(source: &Server, candidate: &Server, ours: &Layout) -> Result<(), Error> {
    // Its socket folder goes with every server that is stopped.
    let account = candidate.account.as_deref();
    let made = candidate.runtime.ensure_volume(candidate.generation, account).await;
    made.map_err(runtime("make the candidate's folders"))?;
    let old = copy::as_source(source, candidate)?;
    let_in(candidate, ours, &[copy::folder(ours), cluster(ours)]).await?;
    let mut args = arguments(&old, ours, &copy::folder(ours));
    args.push("--link".to_owned());
    // Databases are described and made side by side.
    args.push(format!("--jobs={}", std::thread::available_parallelism().map_or(1, usize::from).min(JOBS)));
    let output = program(candidate, ours, args).await?;
    if output.status == Some(0) { Ok(()) } else { Err(refused(candidate, ours, &output).await) }
}

/// What `pg_upgrade` is called with.
pub fn arguments(old: &Layout, new: &Layout, from: &std::path::Path) -> Vec<String> {
    let option = |name: &str, path: &std::path::Path| format!("--{name}={}", path.display());
    vec![
        option("old-bindir", &old.root.join("bin")),
        option("new-bindir", &new.root.join("bin")),
        option("old-datadir", from),
        option("new-datadir", &cluster(new)),
        option("socketdir", new.socket.parent().unwrap_or(&new.tmp)),
        format!("--username={ACCOUNT}"),
    ]
}

/// Runs it beside the candidate's data.
async fn program(candidate: &Server, ours: &Layout, args: Vec<String>) -> Result<JobOutput, Error> {
    let job = Job { program: "pg_upgrade".to_owned(), args, ..Job::default() };
    candidate.runtime.run(candidate.generation, ours, job).await.map_err(runtime("run pg_upgrade"))
}

/// Has it look only, at a server that serves: whatever a tenant has set for its database, its sessions begin as ours do. In
/// the copy that it converts nobody has set anything.
pub async fn look(
    source: &Server,
    candidate: &Server,
    ours: &Layout,
    mut args: Vec<String>,
) -> Result<JobOutput, Error> {
    let program = ours.root.join("bin/pg_upgrade").to_string_lossy().into_owned();
    args.splice(0..0, [format!("PGOPTIONS={}", options(&source.version)), program]);
    args.push("--check".to_owned());
    let job = Job { program: "/usr/bin/env".to_owned(), args, ..Job::default() };
    candidate.runtime.run(candidate.generation, ours, job).await.map_err(runtime("run pg_upgrade"))
}

/// What it says when it does not do it: it says so on its standard output.
pub async fn refused(candidate: &Server, ours: &Layout, output: &JobOutput) -> Error {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(file) = named_file(&said, &cluster(ours)) {
        // A log says why in a line before the statement, not always the one that is named: one that fails ends the others. A
        // list of what is in the way has no such line.
        let folder = file.rsplit_once('/').map_or(&*file, |(folder, _)| folder);
        let server = ("/bin/grep", vec!["-rhE", "--max-count=3", "error: .*ERROR:"], folder);
        let errors = ("/bin/grep", vec!["--max-count=5", "--ignore-case", "-E", "error|fatal"], &*file);
        let end = ("/usr/bin/tail", vec!["--bytes=600"], &*file);
        for (program, args, of) in [server, errors, end] {
            let args = args.into_iter().chain(["--", of]).map(str::to_owned).collect();
            let job = Job { program: program.to_owned(), args, ..Job::default() };
            if let Ok(output) = run(candidate, ours, job).await {
                said.push_str("\nit says: ");
                said.push_str(&String::from_utf8_lossy(&output.stdout));
                break;
            }
        }
    }
    let said = hide_verifiers(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim_end().ends_with(" ok")).collect();
    let text = format!("{}\n{}", lines.join("\n"), output.stderr.trim());
    Error::Program { program: "pg_upgrade".to_owned(), message: last_lines(&text, 900).trim().to_owned() }
}

/// The last file that it names, of its own in the new cluster's folder.
fn named_file(said: &str, cluster: &std::path::Path) -> Option<String> {
    let own = cluster.join("pg_upgrade_output.d").to_string_lossy().into_owned();
    let from = said.get(said.rfind(&own)?..)?;
    let end = from.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(from.len());
    let file = from.get(..end)?;
    (!file.contains("/../")).then(|| file.to_owned())
}

/// The name of the account that the generation's programs run as.
pub async fn account_of(server: &Server, layout: &Layout) -> Result<String, Error> {
    let job = Job { program: "/usr/bin/id".to_owned(), args: vec!["-un".to_owned()], ..Job::default() };
    let output = run(server, layout, job).await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has clusters that are started by their own folders' rules let the candidate's account in as ours, by its socket.
pub async fn let_in(candidate: &Server, ours: &Layout, clusters: &[std::path::PathBuf]) -> Result<(), Error> {
    let account = account_of(candidate, ours).await?;
    for (file, text) in [(RULES, config::upgrade_rules()), (NAMES, config::names(&[&account]))] {
        let written = candidate.runtime.write_config(candidate.generation, file, &text).await;
        written.map_err(runtime("write who may convert the data"))?;
    }
    for folder in clusters {
        for (file, into) in [(RULES, "pg_hba.conf"), (NAMES, "pg_ident.conf")] {
            let paths =
                [ours.config.join(file), folder.join(into)].map(|path| path.to_string_lossy().into_owned());
            let args = [vec!["--".to_owned()], paths.to_vec()].concat();
            run(candidate, ours, Job { program: "/bin/cp".to_owned(), args, ..Job::default() }).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_file_of_its_own_is_read() {
        let cluster = std::path::Path::new("/s/data/cluster");
        let said = "see \"/s/data/cluster/pg_upgrade_output.d/1/log/a.log\" for\n and:\n    \
                    /s/data/cluster/pg_upgrade_output.d/1/b.txt\nFailure";
        assert_eq!(named_file(said, cluster).as_deref(), Some("/s/data/cluster/pg_upgrade_output.d/1/b.txt"));
        assert_eq!(named_file("see \"/etc/passwd\"", cluster), None);
    }
}

//! The floor: pgbench, which sends the statements that the api sends, prepared, and does nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use uuid::Uuid;

use crate::cli::bench::requests::data::{BIG, FROM, HOST, Projects, SHOWN, SOURCES, TO};
use crate::cli::bench::requests::report::Kind;
use crate::cli::state::Folders;
use crate::db::acceptances::{self, Begin};
use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::{self, Db, hosts, instances, quotas};
use crate::domain::ids::{FlavorId, GenerationId, HostId, InstanceId, ProjectId, TaskId};
use crate::domain::replica_upgrade::ReplicaUpgradePlan;
use crate::domain::task::{CreatePlan, Plan};
use crate::embedded_postgres::EmbeddedPostgres;

/// A new row's id, of a number that each transaction draws; the first digit tells rows apart.
const NEW: [&str; 3] = [
    "('1' || lpad(to_hex(:n::bigint), 31, '0'))::uuid",
    "('2' || lpad(to_hex(:n::bigint), 31, '0'))::uuid",
    "('3' || lpad(to_hex(:n::bigint), 31, '0'))::uuid",
];

/// Runs pgbench.
pub struct Floor {
    program: PathBuf,
    database: String,
    folder: PathBuf,
    projects: [String; 3],
    catalogue: Arc<Catalogue>,
}

/// What a run of pgbench did.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// Transactions.
    pub transactions: u64,
    /// Transactions a second, without the time to connect.
    tps: f64,
}

impl Ran {
    /// Transactions a second.
    pub const fn rate(&self) -> f64 {
        self.tps
    }
}

impl Floor {
    /// Finds pgbench beside the store's Postgres.
    ///
    /// # Errors
    /// It is not there; the store's.
    pub async fn new(
        db: &Db,
        store: &EmbeddedPostgres,
        folders: &Folders,
        projects: &Projects,
    ) -> anyhow::Result<Self> {
        let program = folders.engines.join("postgresql-15/bin/pgbench");
        ensure!(program.exists(), "{} is not there: `make engines` fetches it", program.display());
        let read: Result<_, db::Error> = db.run(catalogue_cache::now).await;
        Ok(Self {
            program,
            database: store.url(),
            folder: super::folder_for(folders, "floor")?,
            projects: [projects.big.clone(), projects.small.clone(), projects.changing.clone()],
            catalogue: read.context("read the catalogue")?,
        })
    }

    /// Runs the statements of a kind of request with so many connections for so many seconds. Upgrades take the
    /// sources after `from`.
    ///
    /// # Errors
    /// pgbench failed.
    pub async fn run(
        &self,
        kind: Kind,
        connections: u32,
        seconds: u32,
        from: u32,
        count: u32,
    ) -> anyhow::Result<Ran> {
        let script = self.folder.join("script.sql");
        std::fs::write(&script, self.script(kind)?).context("write the script for pgbench")?;
        let ran = tokio::process::Command::new(&self.program)
            .args(["--no-vacuum", "--protocol", "prepared", "--jobs", "2"])
            .args(["--client", &connections.to_string(), "--time", &seconds.to_string()])
            .args(["--define", "i=0", "--define", &format!("first={from}")])
            .args(["--define", &format!("each={}", count / connections)])
            .arg("--file")
            .arg(&script)
            .arg(&self.database)
            .kill_on_drop(true)
            .output()
            .await
            .context("run pgbench")?;
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let number = |before: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(before))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let processed = number("number of transactions actually processed: ");
        let (Some(processed), Some(tps), Some(0.0), true) =
            (processed, number("tps = "), number("number of failed transactions: "), ran.status.success())
        else {
            bail!("pgbench said: {told}{said}");
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count that was printed"
        )]
        let transactions = processed as u64;
        Ok(Ran { transactions, tps })
    }

    fn script(&self, kind: Kind) -> anyhow::Result<String> {
        let [show, list, to_upgrade] = instances::texts();
        let [big, small, changing] = &self.projects;
        let quoted = |text: &str| format!("'{text}'");
        let catalogue = format!("'{}'::uuid", self.catalogue.revision);
        let nil = format!("'{}'::uuid", Uuid::nil());
        Ok(match kind {
            Kind::Show => {
                let id = format!("('{SHOWN}' || lpad(to_hex(:k::bigint), 12, '0'))::uuid");
                format!("\\set k random(1, {BIG})\n{};\n", filled(&show, &[id])?)
            }
            Kind::ListSmall | Kind::ListBig => {
                let project = if kind == Kind::ListSmall { small } else { big };
                format!("{};\n", filled(&list, &[quoted(project), nil, "21".to_owned()])?)
            }
            Kind::Create => {
                let plan = self.create_plan();
                let (create, _) = self.with_begin(&plan, acceptances::texts)?;
                let mut values = vec!["null".to_owned(), quoted(HOST), quoted(HOST), catalogue];
                values.extend(self.rows(&plan, "null", "subject", NEW[0], "create_accepted")?);
                let place = ["mysql", FROM.1, "simulated", "simulated"].map(quoted);
                format!(
                    "\\set n random(1, 4611686018427387904)\n{};\n{};\n{};\n",
                    filled(&quotas::text(), &[quoted(changing)])?,
                    filled(&hosts::place_text(), &place)?,
                    filled(&create, &values)?,
                )
            }
            Kind::Upgrade => {
                let source = format!("('{SOURCES}' || lpad(to_hex(:at::bigint), 12, '0'))::uuid");
                let plan = self.upgrade_plan()?;
                let (_, upgrade) = self.with_begin(&plan, acceptances::texts)?;
                let mut values = vec!["null".to_owned(), quoted(HOST), quoted(HOST)];
                values.extend([quoted("feeding_upgrade"), source.clone(), "0".to_owned(), catalogue]);
                values.extend(self.rows(&plan, &source, "candidate", &source, "upgrade_accepted")?);
                format!(
                    "\\set i :i + 1\n\\set at :first + :client_id * :each + :i\n\
                     \\set n random(1, 4611686018427387904)\n{};\n{};\n",
                    filled(&to_upgrade, &[quoted("accept"), source])?,
                    filled(&upgrade, &values)?,
                )
            }
        })
    }

    /// The values of the rows that a new instance begins with, in the order of the statement.
    fn rows(
        &self,
        plan: &Plan,
        source: &str,
        claim: &str,
        about: &str,
        what: &str,
    ) -> anyhow::Result<Vec<String>> {
        let quoted = |text: &str| format!("'{text}'");
        let [instance, generation, task] = NEW.map(str::to_owned);
        let project = quoted(&self.projects[2]);
        let (_, version) = self.versions()?;
        let version = if claim == "subject" { self.versions()?.0 } else { version };
        let version = format!("'{version}'::uuid");
        let plan_text = format!("'{}'::jsonb", serde_json::to_string(plan)?.replace('\'', "''"));
        let host = quoted(HOST);
        // As long as a sealed password.
        let secret = quoted(&"s".repeat(120));
        let follows = (claim == "candidate").to_string();
        let secrets = if claim == "subject" { secret.clone() } else { "null".to_owned() };
        Ok(vec![
            instance,
            project.clone(),
            quoted("bench"),
            quoted("building"),
            quoted("2"),
            "5".to_owned(),
            version.clone(),
            host.clone(),
            source.to_owned(),
            host.clone(),
            "3306".to_owned(),
            "128".to_owned(),
            "false".to_owned(),
            quoted("mysql"),
            source.to_owned(),
            generation,
            host.clone(),
            quoted("candidate"),
            version,
            secret,
            follows.clone(),
            follows,
            task.clone(),
            quoted(plan.kind().as_str()),
            project.clone(),
            host,
            quoted("scheduled"),
            plan_text,
            secrets,
            task.clone(),
            quoted(claim),
            task.clone(),
            source.to_owned(),
            source.to_owned(),
            project,
            about.to_owned(),
            task,
            quoted("bench"),
            quoted(what),
        ])
    }

    fn versions(&self) -> anyhow::Result<(Uuid, Uuid)> {
        let find = |(datastore, name): (&str, &str)| {
            self.catalogue
                .versions()
                .find(|v| v.datastore == datastore && v.name == name)
                .map(|v| v.id.0)
                .with_context(|| format!("no {datastore} {name}"))
        };
        Ok((find(FROM)?, find(TO)?))
    }

    fn create_plan(&self) -> Plan {
        let (instance, generation) = (InstanceId(Uuid::nil()), GenerationId(Uuid::nil()));
        Plan::Create(CreatePlan { form: 1, instance, generation, databases: Vec::new() })
    }

    fn upgrade_plan(&self) -> anyhow::Result<Plan> {
        let (from, to) = self.versions()?;
        Ok(Plan::ReplicaUpgrade(ReplicaUpgradePlan {
            form: 1,
            source: InstanceId(Uuid::nil()),
            source_generation: GenerationId(Uuid::nil()),
            candidate: InstanceId(Uuid::nil()),
            candidate_generation: GenerationId(Uuid::nil()),
            from: crate::domain::ids::VersionId(from),
            to: crate::domain::ids::VersionId(to),
            from_title: format!("{} {}", FROM.0, FROM.1),
            to_title: format!("{} {}", TO.0, TO.1),
        }))
    }

    /// Asks with any new instance: a statement's text does not depend on its values.
    fn with_begin<T>(
        &self,
        plan: &Plan,
        ask: impl FnOnce(&Begin<'_>) -> Result<T, db::Error>,
    ) -> anyhow::Result<T> {
        let project = ProjectId::parse(&self.projects[2]).context("a project's id")?;
        let id = Uuid::nil();
        Ok(ask(&Begin {
            instance: InstanceId(id),
            project: &project,
            name: "",
            flavor: self.catalogue.flavor(&FlavorId("2".to_owned())).context("no flavor 2")?,
            volume_gb: 1,
            version: self.catalogue.versions().next().context("no version")?,
            host: &HostId(HOST.to_owned()),
            generation: GenerationId(id),
            service_secret: "",
            task: TaskId(id),
            plan,
            secrets: None,
            actor: "",
            catalogue: &self.catalogue,
            address: None,
        })?)
    }
}

/// The statement with these values for `$1` and so on.
fn filled(text: &str, values: &[String]) -> anyhow::Result<String> {
    let mut pieces = text.split('$');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    let mut used = 0;
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let number: usize = number.parse().context("a $ that is no value")?;
        let value = number.checked_sub(1).and_then(|at| values.get(at));
        filled += value.with_context(|| format!("no value {number} for {text}"))?;
        filled += rest;
        used = used.max(number);
    }
    ensure!(used == values.len(), "{} values for the {used} of {text}", values.len());
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::datastore::{Datastore, DatastoreVersion, EngineKind, RuntimeKind};
    use crate::domain::flavor::Flavor;
    use crate::domain::ids::{DatastoreId, VersionId};

    /// A column that the statements get is a value here, too.
    #[test]
    fn every_statement_has_its_values() {
        let datastore_id = DatastoreId(Uuid::nil());
        let version = |(datastore, name): (&str, &str)| DatastoreVersion {
            id: VersionId(Uuid::nil()),
            datastore_id,
            datastore: datastore.to_owned(),
            name: name.to_owned(),
            number: name.to_owned(),
            engine: EngineKind::Mysql,
            runtime: RuntimeKind::Simulated,
            active: true,
        };
        let mut catalogue = Catalogue::default();
        catalogue.datastores.push(Datastore {
            id: datastore_id,
            name: FROM.0.to_owned(),
            default_version: None,
            versions: vec![version(FROM), version(TO)],
        });
        catalogue.flavors.push(Flavor {
            id: FlavorId("2".to_owned()),
            name: "2".to_owned(),
            ram_mb: 1024,
            vcpus: 1,
        });
        let floor = Floor {
            program: PathBuf::new(),
            database: String::new(),
            folder: PathBuf::new(),
            projects: ["big", "small", "changing"].map(str::to_owned),
            catalogue: Arc::new(catalogue),
        };
        for kind in Kind::ALL {
            assert!(floor.script(kind).unwrap().ends_with(";\n"), "{kind:?}");
        }
    }

    #[test]
    fn each_value_has_its_place() {
        let values = ["a", "b"].map(str::to_owned);
        assert_eq!(filled("x $1 $2 $1", &values).unwrap(), "x a b a");
        assert!(filled("x $1", &values).is_err(), "one too many");
        assert!(filled("x $1 $2 $3", &values).is_err(), "one too few");
    }
}

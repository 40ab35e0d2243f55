//! A day of the unmodified OpenStack client: every command that it has for databases, on MariaDB, on PostgreSQL, and on simulated
//! servers. What a command did is looked at in the server, by SQL, and not at the client's exit code. `make test-clients` runs it.
//!
//! A command that the client has and this table has not fails the test: so does one that a newer client brings.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::client::openstack_of;
use crate::harness::house::House;
use crate::harness::roles::Roles;
use crate::harness::{healthy, status, wait_for};
use crate::postgres_servers::rows;
use crate::postgresql::login;

const LONG: Duration = Duration::from_secs(180);

/// Commands for what is not there: each is told so, by name, and changes nothing.
const NOT_YET: &[(&str, &[&str])] = &[
    ("database backup create", &["b1", "-i", "INSTANCE"]),
    ("database backup delete", &["0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"]),
    ("database backup list", &[]),
    ("database backup list instance", &["INSTANCE"]),
    ("database backup show", &["0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"]),
    ("database backup strategy create", &["--instance-id", "INSTANCE", "--swift-container", "c"]),
    ("database backup strategy delete", &["--instance-id", "INSTANCE"]),
    ("database backup strategy list", &[]),
    ("database cluster create", &["c1", "DATASTORE", "VERSION", "--instance", "flavor=1,volume=1"]),
    ("database instance eject", &["INSTANCE"]),
    ("database instance promote", &["INSTANCE"]),
    ("database ssl enable", &["INSTANCE", "http://barbican/v1/containers/0b1f6d52"]),
    ("database ssl rollback", &["INSTANCE"]),
];

/// The same of what an operator does.
const NOT_YET_OF_AN_ADMIN: &[(&str, &[&str])] = &[
    ("database instance rebuild", &["INSTANCE", "0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"]),
    ("datastore version create", &["v1", "DATASTORE", "DATASTORE", "0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"]),
];

/// Clusters, of which there are none: each answers as for one that is not there. And a command of the client's that asks
/// another service than Trove.
const OF_NOTHING: &[(&str, &[&str])] = &[
    ("database backup execution delete", &["0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"]),
    ("database cluster delete", &["c1"]),
    ("database cluster force delete", &["c1"]),
    ("database cluster grow", &["c1", "--instance", "flavor=1,volume=1"]),
    ("database cluster list instances", &["c1"]),
    ("database cluster modules", &["c1"]),
    ("database cluster reset status", &["c1"]),
    ("database cluster show", &["c1"]),
    ("database cluster shrink", &["c1", "INSTANCE"]),
    ("database cluster upgrade", &["c1", "VERSION"]),
];

/// The client, and which of its commands have run.
struct Shell {
    clouds: PathBuf,
    tried: RefCell<BTreeSet<String>>,
}

impl Shell {
    fn ask(&self, cloud: &str, command: &str, args: &[&str]) -> Result<Value, String> {
        self.tried.borrow_mut().insert(command.to_owned());
        let words: Vec<&str> = command.split(' ').chain(args.iter().copied()).collect();
        openstack_of(&self.clouds, cloud, &words)
    }

    fn run(&self, command: &str, args: &[&str]) -> Value {
        self.run_as("coffer", command, args)
    }

    fn run_as(&self, cloud: &str, command: &str, args: &[&str]) -> Value {
        self.ask(cloud, command, args).unwrap_or_else(|error| panic!("{command} {args:?}: {error}"))
    }

    /// What a command prints, as JSON.
    fn read(&self, command: &str, args: &[&str]) -> Value {
        let told = self.run(command, &[args, &["-f", "json"]].concat());
        assert!(!told.is_null(), "{command} {args:?} tells nothing");
        told
    }

    fn fails(&self, cloud: &str, command: &str, args: &[&str], with: &str) {
        let error = self.ask(cloud, command, args).expect_err(command);
        assert!(error.contains(with), "{command} {args:?}: {error}");
    }

    /// Every command of the client's was tried.
    fn tried_all(&self) {
        let client = PathBuf::from(std::env::var("COFFER_TEST_CLIENT").unwrap());
        let sql = "import importlib.metadata as m\n\
                   for e in m.entry_points(group='openstack.database.v1'): print(e.name.replace('_', ' '))";
        let listed =
            std::process::Command::new(client.with_file_name("python")).args(["-c", sql]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let all: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
        assert!(all.len() >= 84, "{} commands", all.len());
        let tried = self.tried.borrow();
        let missing: Vec<&String> = all.difference(&tried).collect();
        assert!(missing.is_empty(), "not tried: {missing:?}");
        eprintln!("{} commands", all.len());
    }
}

/// Who looks into a server.
enum Eyes {
    MariaDb,
    Postgresql,
    /// There is no server: its rows are looked at.
    Simulated(tokio_postgres::Client),
}

/// A kind of servers, and what its day is about.
struct Day<'a> {
    shell: Shell,
    api: Client,
    eyes: Eyes,
    datastore: &'a str,
    version: &'a str,
    next: &'a str,
    /// A parameter with a value that is no default, and one of another value.
    parameter: (&'a str, &'a str, &'a str),
}

impl Day<'_> {
    /// The first values of a question, asked as a user in one of its databases; `None` where it cannot log in.
    async fn sees(
        &self,
        address: &str,
        user: (&str, &str),
        database: &str,
        sql: &str,
    ) -> Option<Vec<String>> {
        let secret = SecretString::from(user.1.to_owned());
        match &self.eyes {
            Eyes::MariaDb => {
                let opts = mysql_async::OptsBuilder::default()
                    .ip_or_hostname(address)
                    .user(Some(user.0))
                    .pass(Some(secret.expose_secret()))
                    .db_name(Some(database))
                    .prefer_socket(false);
                let mut conn = mysql_async::Conn::new(opts).await.ok()?;
                conn.query(sql).await.ok()
            }
            Eyes::Postgresql => {
                let client = login(address, user.0, &secret, database).await.ok()?;
                client.batch_execute("SELECT 1").await.ok()?;
                Some(rows(&client, sql).await)
            }
            Eyes::Simulated(store) => {
                let sql = format!(
                    "SELECT 1 FROM simulated_servers s JOIN generations g ON g.id = s.generation_id AND g.role = 'serving' \
                     WHERE EXISTS (SELECT FROM jsonb_array_elements(s.users) u WHERE u->>'name' = '{}' AND (u->>'name' = 'root' \
                     OR u->'databases' ? '{database}')) AND EXISTS (SELECT FROM jsonb_array_elements(s.databases) d \
                     WHERE d->>'name' = '{database}')",
                    user.0
                );
                let found = rows(store, &sql).await;
                (!found.is_empty()).then_some(found)
            }
        }
    }

    async fn comes_in(&self, address: &str, user: (&str, &str), database: &str) -> bool {
        self.sees(address, user, database, "SELECT 1").await.is_some()
    }

    /// The value of the day's parameter in the server.
    async fn parameter_is(&self, address: &str) -> String {
        let name = self.parameter.0;
        match &self.eyes {
            Eyes::MariaDb => {
                let sql = format!("SELECT CAST(@@GLOBAL.{name} AS CHAR)");
                self.sees(address, ("app", "secret"), "shop", &sql).await.unwrap().remove(0)
            }
            Eyes::Postgresql => {
                let sql = format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
                self.sees(address, ("app", "secret"), "shop", &sql).await.unwrap().remove(0)
            }
            Eyes::Simulated(store) => {
                let sql = format!(
                    "SELECT coalesce(s.parameters->>'{name}', 'default') FROM simulated_servers s JOIN generations g ON g.id = s.generation_id AND g.role = 'serving'"
                );
                rows(store, &sql).await.remove(0)
            }
        }
    }

    async fn passes(&self) {
        let shell = &self.shell;
        let of_version = ["--datastore", self.datastore, "--datastore-version", self.version];
        let flavors = shell.read("database flavor list", &[]);
        assert!(flavors.as_array().unwrap().len() > 2, "{flavors}");
        assert_eq!(shell.read("database flavor show", &["1"])["ram"], flavors[0]["RAM"]);
        let stores = shell.read("datastore list", &[]);
        assert!(stores.to_string().contains(self.datastore), "{stores}");
        assert_eq!(shell.read("datastore show", &[self.datastore])["name"], self.datastore);
        let versions = shell.read("datastore version list", &[self.datastore]);
        assert!(versions.to_string().contains(self.version), "{versions}");
        let shown = shell.read("datastore version show", &[self.version, "--datastore", self.datastore]);
        assert_eq!(shown["name"], self.version);
        let version_id = shown["id"].as_str().unwrap().to_owned();
        // Its lists are told one after the other, which is no JSON.
        shell.run("database limit list", &[]);

        // Create.
        let users = [
            "--databases",
            "shop",
            "--users",
            "app:secret",
            "--nic",
            "net-id=0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e",
        ];
        let made =
            [&["orders", "--flavor", "1", "--size", "1", "-f", "json"], &of_version[..], &users[..]].concat();
        let made = shell.run("database instance create", &made);
        let id = made["id"].as_str().unwrap().to_owned();
        assert_eq!(made["status"], "BUILD");
        let address = healthy(&self.api, &id).await;
        assert!(self.comes_in(&address, ("app", "secret"), "shop").await);
        let listed = shell.read("database instance list", &[]);
        assert!(listed.to_string().contains(&id), "{listed}");
        assert_eq!(shell.read("database instance show", &["orders"])["id"], id.as_str());

        // TLS. That nobody comes in the clear any more, where there is a server.
        let shown = shell.read("database ssl show", &["orders", "--include-certificate"]);
        assert_eq!((&shown["status"], &shown["mode"]), (&json!("on"), &json!("builtin")), "{shown}");
        let required = shell.read("database ssl enable", &["orders", "builtin", "--mode", "enforced"]);
        assert_eq!(required["mode"], "enforced", "{required}");
        if !matches!(self.eyes, Eyes::Simulated(_)) {
            assert!(shown["certificate.payload"].as_str().unwrap().contains("BEGIN CERTIFICATE"), "{shown}");
            wait_for("nobody comes in the clear", LONG, async || {
                (!self.comes_in(&address, ("app", "secret"), "shop").await).then_some(())
            })
            .await;
        }
        let not = shell.read("database ssl disable", &["orders"]);
        assert_eq!(not["mode"], "builtin", "{not}");
        wait_for("clients come in the clear", LONG, async || {
            self.comes_in(&address, ("app", "secret"), "shop").await.then_some(())
        })
        .await;

        // Logs. What a session did is in them.
        assert!(shell.read("database log list", &["orders"]).to_string().contains("general"));
        shell.read("database log set", &["orders", "general", "--enable"]);
        assert!(self.comes_in(&address, ("app", "secret"), "shop").await);
        let published = shell.read("database log set", &["orders", "general", "--publish"]);
        assert_eq!(published["status"], "Published", "{published}");
        assert_eq!(shell.read("database log show", &["orders", "general"])["container"], "database_logs");
        let file = tempfile::NamedTempFile::new().unwrap();
        shell.run("database log save", &["orders", "general", "--file", &file.path().to_string_lossy()]);
        let saved = std::fs::read_to_string(file.path()).unwrap();
        let has = if matches!(self.eyes, Eyes::Simulated(_)) { "there is no server" } else { "SELECT 1" };
        assert!(saved.contains(has), "{saved}");
        shell.run("database log tail", &["orders", "general", "--lines", "3"]);
        shell.read("database log set", &["orders", "general", "--disable", "--discard"]);

        // Databases and users.
        shell.run("database db create", &["orders", "books"]);
        shell.fails("coffer", "database db create", &["orders", "books"], "already exists");
        assert!(shell.read("database db list", &["orders"]).to_string().contains("books"));
        shell.run("database user create", &["orders", "ann", "s3cret", "--databases", "books"]);
        assert!(self.comes_in(&address, ("ann", "s3cret"), "books").await);
        assert!(!self.comes_in(&address, ("ann", "s3cret"), "shop").await);
        assert!(shell.read("database user list", &["orders"]).to_string().contains("ann"));
        assert_eq!(shell.read("database user show", &["orders", "ann"])["name"], "ann");
        shell.run("database user grant access", &["orders", "ann", "shop"]);
        assert!(self.comes_in(&address, ("ann", "s3cret"), "shop").await);
        assert!(shell.read("database user show access", &["orders", "ann"]).to_string().contains("shop"));
        shell.run("database user revoke access", &["orders", "ann", "shop"]);
        assert!(!self.comes_in(&address, ("ann", "s3cret"), "shop").await);
        shell.run(
            "database user update attributes",
            &["orders", "ann", "--new_name", "eve", "--new_password", "other"],
        );
        assert!(self.comes_in(&address, ("eve", "other"), "books").await);
        assert!(!self.comes_in(&address, ("ann", "s3cret"), "books").await);
        shell.run("database user delete", &["orders", "eve"]);
        assert!(!self.comes_in(&address, ("eve", "other"), "books").await);
        let root = shell.read("database root enable", &["orders"]);
        let root = root["password"].as_str().unwrap().to_owned();
        assert!(self.comes_in(&address, ("root", &root), "books").await);
        let is_enabled = shell.read("database root show", &["orders"]);
        assert!(is_enabled.to_string().to_lowercase().contains("true"), "{is_enabled}");
        shell.run("database root disable", &["orders"]);
        assert!(!self.comes_in(&address, ("root", &root), "books").await);
        shell.run("database db delete", &["orders", "books"]);
        assert!(!shell.read("database db list", &["orders"]).to_string().contains("books"));

        // Configuration.
        let (name, value, other) = self.parameter;
        assert_ne!(self.parameter_is(&address).await, value);
        let of = [self.version, "--datastore", self.datastore];
        let listed = shell.read("database configuration parameter list", &of);
        assert!(listed.to_string().contains(name), "{listed}");
        let shown = shell.read(
            "database configuration parameter show",
            &[self.version, name, "--datastore", self.datastore],
        );
        assert_eq!(shown["name"], name);
        let values = format!("{{\"{name}\": {value}}}");
        let made = [&["busy", &values, "-f", "json"], &of_version[..]].concat();
        let group = shell.run("database configuration create", &made)["id"].as_str().unwrap().to_owned();
        assert!(shell.read("database configuration list", &[]).to_string().contains(&group));
        shell.run("database configuration attach", &["orders", "busy"]);
        assert_eq!(self.parameter_is(&address).await, value);
        assert!(shell.read("database configuration instances", &["busy"]).to_string().contains(&id));
        shell.run("database configuration parameter set", &[&group, &format!("{{\"{name}\": {other}}}")]);
        wait_for("another value", LONG, async || (self.parameter_is(&address).await == other).then_some(()))
            .await;
        shell.run("database configuration set", &[&group, &values]);
        wait_for("the first value", LONG, async || {
            (self.parameter_is(&address).await == value).then_some(())
        })
        .await;
        assert_eq!(shell.read("database configuration show", &["busy"])["instance_count"], 1);
        shell.read("database configuration default", &["orders"]);
        shell.fails("coffer", "database configuration delete", &["busy"], "HTTP 400");

        // Restart, resize, update, upgrade: the values of the group stay.
        shell.run("database instance restart", &["orders"]);
        status(&self.api, &id, "ACTIVE", LONG).await;
        shell.run("database instance resize flavor", &["orders", "2"]);
        status(&self.api, &id, "ACTIVE", LONG).await;
        shell.run("database instance resize volume", &["orders", "2"]);
        let shown = shell.read("database instance show", &["orders"]);
        assert_eq!((&shown["flavor"], &shown["volume"]), (&json!("2"), &json!(2)), "{shown}");
        healthy(&self.api, &id).await;
        shell.run(
            "database instance update",
            &["orders", "--name", "ledger", "--allowed-cidr", "127.0.0.0/8"],
        );
        healthy(&self.api, &id).await;
        assert_eq!(self.parameter_is(&address).await, value);
        shell.run("database instance upgrade", &["ledger", self.next]);
        status(&self.api, &id, "ACTIVE", LONG).await;
        healthy(&self.api, &id).await;
        let shown = shell.read("database instance show", &["ledger"]);
        assert_eq!(shown["datastore_version"], self.next, "{shown}");
        assert!(self.comes_in(&address, ("app", "secret"), "shop").await);
        assert_eq!(self.parameter_is(&address).await, value);
        shell.run("database configuration detach", &["ledger"]);
        // By the flavor that it has by now.
        assert_ne!(self.parameter_is(&address).await, value);
        shell.run("database configuration delete", &["busy"]);
        // It is no replica.
        shell.fails("coffer", "database instance detach", &["ledger"], "HTTP 400");

        // What an operator does.
        let all = shell.run_as("coffer-admin", "database instance list", &["--all-projects", "-f", "json"]);
        assert!(all.to_string().contains(&id), "{all}");
        shell.run_as("coffer-admin", "database instance reboot", &[&id]);
        status(&self.api, &id, "ACTIVE", LONG).await;
        shell.run_as("coffer-admin", "database instance reset status", &[&id]);
        healthy(&self.api, &id).await;
        let project = self.api.project.clone();
        shell.run_as("coffer-admin", "database quota update", &[&project, "instances", "20"]);
        let quota = shell.run_as("coffer-admin", "database quota show", &[&project, "-f", "json"]);
        assert!(quota.to_string().contains("20"), "{quota}");

        shell.fails("coffer", "datastore version set", &[&version_id, "--disable"], "HTTP 403");
        shell.run_as("coffer-admin", "datastore version set", &[&version_id, "--disable"]);
        let refused = [&["refused", "--flavor", "1", "--size", "1"], &of_version[..], &users[..]].concat();
        shell.fails("coffer", "database instance create", &refused, "HTTP 400");
        shell.run_as("coffer-admin", "datastore version set", &[&version_id, "--enable"]);
        shell.fails("coffer-admin", "datastore version delete", &[&version_id], "HTTP 400");
        shell.fails("coffer-admin", "datastore delete", &[self.datastore], "HTTP 400");

        // What is not there says so, and what is nowhere is not found.
        assert_eq!(shell.read("database cluster list", &[]), json!([]));
        let fill = |args: &[&str]| -> Vec<String> {
            let words = [
                ("INSTANCE", id.as_str()),
                ("DATASTORE", self.datastore),
                ("VERSION-ID", &version_id),
                ("VERSION", self.version),
            ];
            args.iter()
                .map(|arg| words.iter().find(|(word, _)| word == arg).map_or(*arg, |(_, is)| is).to_owned())
                .collect()
        };
        for (cloud, commands) in [("coffer", NOT_YET), ("coffer-admin", NOT_YET_OF_AN_ADMIN)] {
            for (command, args) in commands {
                let args = fill(args);
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                // Some print an error of their own, whatever they are told, and one of them ends well.
                let of_its_own = command.ends_with("delete");
                let error = match shell.ask(cloud, command, &args) {
                    Ok(_) if of_its_own => continue,
                    told => told.expect_err(command),
                };
                let told = error.contains("HTTP 501") || of_its_own && !error.is_empty();
                assert!(told, "{command}: {error}");
            }
        }
        for (command, args) in OF_NOTHING {
            let args = fill(args);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            shell.ask("coffer", command, &args).expect_err(command);
        }
        assert!(self.comes_in(&address, ("app", "secret"), "shop").await, "nothing of it changed a thing");

        // The end.
        shell.run("database instance delete", &["ledger"]);
        self.api.wait_until_gone(&id).await.unwrap();
        let made =
            [&["other", "--flavor", "1", "--size", "1", "-f", "json"], &of_version[..], &users[..]].concat();
        let made = shell.run("database instance create", &made)["id"].as_str().unwrap().to_owned();
        healthy(&self.api, &made).await;
        // Two calls: a reset, which a member may not ask for, and a deletion.
        shell.fails("coffer", "database instance force delete", &["other"], "HTTP 403");
        shell.run_as("coffer-admin", "database instance force delete", &[&made]);
        self.api.wait_until_gone(&made).await.unwrap();
        assert!(!self.comes_in(&address, ("app", "secret"), "shop").await);
        shell.tried_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-clients runs it"]
async fn every_command_on_mariadb() {
    let dev = House::start().await;
    let shell = Shell { clouds: dev.folder().join("state/clouds.yaml"), tried: RefCell::default() };
    let day = Day {
        shell,
        api: dev.login("coffer").await,
        eyes: Eyes::MariaDb,
        datastore: "mariadb",
        version: "10.11",
        next: "11.8",
        parameter: ("wait_timeout", "777", "778"),
    };
    day.passes().await;
    dev.leave_nothing(&day.api, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-clients runs it"]
async fn every_command_on_postgresql() {
    let dev = House::start().await;
    let shell = Shell { clouds: dev.folder().join("state/clouds.yaml"), tried: RefCell::default() };
    let day = Day {
        shell,
        api: dev.login("coffer").await,
        eyes: Eyes::Postgresql,
        datastore: "postgresql",
        version: "15",
        next: "17",
        parameter: ("work_mem", "4097", "4098"),
    };
    day.passes().await;
    dev.leave_nothing(&day.api, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-clients runs it"]
async fn every_command_on_simulated_servers() {
    let roles = Roles::start("simulated").await;
    let shell = Shell { clouds: roles.folder().join("state/clouds.yaml"), tried: RefCell::default() };
    let day = Day {
        shell,
        api: roles.login("coffer").await,
        eyes: Eyes::Simulated(roles.db().await),
        datastore: "mysql",
        version: "5.6",
        next: "5.7",
        parameter: ("wait_timeout", "777", "778"),
    };
    day.passes().await;
}

//! The production roles on their own: what they refuse, and that there may be several.

use std::process::{Command, Output};

use coffer::cli::accounts::{Accounts, store_config};
use coffer::domain::task::TaskKind;
use coffer::embedded_postgres::EmbeddedPostgres;

use crate::harness::house::{end_all, own_run_folder};
use crate::harness::roles::{Role, Roles, engines};
use crate::harness::{delete, healthy};

fn coffer(arguments: &[&str], url: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
    command.args(arguments).env_remove("DATABASE_URL").env_remove("COFFER_KEY_FILE");
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A role that met another schema would write what others do not understand: it says what to do, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_refuses_a_schema_that_it_does_not_know() {
    let folder = tempfile::Builder::new().prefix("coffer-roles-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let run = own_run_folder();
    let accounts = Accounts::find().unwrap();
    let config = store_config(&state, &engines(), &run, accounts.as_ref()).unwrap();
    let store = EmbeddedPostgres::start(&config).await.unwrap();
    let url = store.url();
    let (dir, key) = (state.to_str().unwrap(), state.join("key"));
    let worker = ["worker", "--state-dir", dir, "--runtime", "simulated"];
    let api = ["api", "--listen", "127.0.0.1:0", "--identity-dir", dir, "--key-file", key.to_str().unwrap()];
    for role in [&worker[..], &api[..]] {
        let refused = coffer(role, Some(&url));
        assert!(!refused.status.success(), "{role:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("`coffer migrate` brings it up to date"), "{role:?}: {said}");
    }
    let migrated = coffer(&["migrate"], Some(&url));
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    let (db, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // As a program left it that does not know all kinds of tasks.
    db.batch_execute(
        "alter table tasks drop constraint tasks_kind_check; \
         alter table tasks add constraint tasks_kind_check check (kind in ('create', 'delete'))",
    )
    .await
    .unwrap();
    for role in [&worker[..], &api[..]] {
        let said = text(&coffer(role, Some(&url)).stderr);
        assert!(said.contains("`coffer migrate` brings it up to date"), "{role:?}: {said}");
    }
    assert!(coffer(&["migrate"], Some(&url)).status.success());
    let allowed = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'tasks_kind_check'";
    let allowed: String = db.query_one(allowed, &[]).await.unwrap().get(0);
    for kind in TaskKind::ALL {
        assert!(allowed.contains(&format!("'{}'", kind.as_str())), "{kind:?}: {allowed}");
    }
    // As a newer program would leave it.
    db.batch_execute("insert into __diesel_schema_migrations (version) values ('99999999000000')")
        .await
        .unwrap();
    for role in [&worker[..], &api[..]] {
        let said = text(&coffer(role, Some(&url)).stderr);
        assert!(said.contains("newer than this program"), "{role:?}: {said}");
    }
    drop(db);
    store.stop().await.unwrap();
    end_all(folder.path(), &state, &run);
}

/// Two workers of one host and an API that is gone for a while: whoever is there does the work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_share_a_host() {
    let mut roles = Roles::start("simulated").await;
    roles.begin(Role::Worker(1)).await;
    let api = roles.login("coffer").await;
    let mut made = Vec::new();
    for number in 0..6 {
        if number == 3 {
            roles.kill(Role::Worker(0));
        }
        let password = crate::harness::password();
        made.push(api.create(&format!("i{number}"), "10.4", "shop", "app", &password).await.unwrap());
    }
    for id in &made {
        healthy(&api, id).await;
    }
    roles.begin(Role::Worker(0)).await;
    let all: Vec<&str> = made.iter().map(String::as_str).collect();
    delete(&api, &all).await;
}

#[test]
fn the_doctor_finds_nothing_missing_where_the_tests_run() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let engines = engines();
    let (state, engines) = (folder.path().join("state"), engines.to_str().unwrap());
    let arguments = ["doctor", "--instance-net", "127.99.0.0/16", "--state-dir", state.to_str().unwrap()];
    let well = coffer(&[&arguments[..], &["--engines", engines]].concat(), None);
    let said = text(&well.stdout);
    assert!(well.status.success(), "{said}{}", text(&well.stderr));
    assert!(said.contains("ok       engines: mariadb 10.11"), "{said}");
    let ill = coffer(&[&arguments[..], &["--engines", "/nonexistent"]].concat(), None);
    assert!(!ill.status.success());
    let said = text(&ill.stdout);
    assert!(said.contains("missing  engines: none in /nonexistent\n         mend: make engines"), "{said}");
    assert!(!state.exists(), "it changes nothing");
}

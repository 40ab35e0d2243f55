//! Doors that must stay shut: service and root accounts through the public address, a client's word of who it is, and
//! passwords in places where they do not belong.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::tenant::{NewUser, Verifier};
use coffer::engines::Engine as _;
use mysql_async::prelude::Queryable as _;
use serde_json::json;

use crate::doors_wire::{Answer, Knock, proves_itself, sent_in_the_clear};
use crate::engine_servers::{self, ENGINE};
use crate::harness::{
    ask_for_detach, ask_for_upgrade, bed, delete, healthy, processes, status, store, wait_for,
};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);

/// Names of accounts that are ours or the system's, or that a server of another make would have.
const OURS: [&str; 16] = [
    "root",
    "mysql",
    "coffer",
    "coffer_repl",
    "coffer_dump",
    "coffer_load",
    "coffer_look",
    "coffer_show",
    "coffer_make",
    "coffer-engine",
    "mariadb.sys",
    "mysql.sys",
    "debian-sys-maint",
    "os_admin",
    "PUBLIC",
    "",
];

/// Access denied; by a plugin; because it is locked; from this address.
const REFUSALS: [u16; 4] = [1045, 1698, 4151, 1130];

/// An instance, as its tenants and their guests meet it.
struct Side {
    address: SocketAddr,
    authority: String,
    password: String,
}

impl Side {
    fn knock<'a>(&self, from: Ipv4Addr, user: &'a str, password: Option<&'a str>) -> Knock<'a> {
        Knock::new(from, self.address, user, password)
    }

    /// Everything that must hold of an instance, whatever happened to it.
    async fn holds(&self) {
        self.lets_no_service_account_in().await;
        self.drops_headers_in_the_clear().await;
        self.believes_headers_inside_tls_and_lets_nobody_in_for_it().await;
        self.knows_clients_by_their_address().await;
        self.honours_a_demand_for_tls().await;
        assert!(proves_itself(self.address, &self.authority, self.address.ip()).await);
        assert!(!proves_itself(self.address, &self.authority, HERE.into()).await, "only as itself");
    }

    async fn lets_no_service_account_in(&self) {
        for from in [HERE, THERE] {
            for name in OURS {
                for password in [None, Some(""), Some("wrong"), Some(name)] {
                    let knock = self.knock(from, name, password);
                    for knock in [knock.clone(), knock.over(&self.authority)] {
                        let answer = knock.answer().await;
                        let refused = answer.code().is_some_and(|code| REFUSALS.contains(&code));
                        assert!(refused, "{name:?} {password:?} from {from}: {answer:?}");
                    }
                }
            }
        }
    }

    async fn drops_headers_in_the_clear(&self) {
        let (v1, v2) = (header_v1("TCP4 127.9.0.1 127.0.0.1 7 7"), header_v2(1, 1, THERE));
        for header in [v1, v2, header_v1("UNKNOWN"), header_v2(0, 0, THERE)] {
            let each: Vec<&[u8]> = header.chunks(1).collect();
            for parts in [vec![&header[..]], vec![&header[..2], &header[2..]], each] {
                let said = sent_in_the_clear(HERE, self.address, &parts).await;
                assert!(said.is_empty(), "the server answered {header:?}: {said:?}");
                let near = self.knock(HERE, "near", Some(&self.password)).after(parts);
                for near in [near.clone(), near.over(&self.authority)] {
                    let answer = near.answer().await;
                    assert!(matches!(answer, Answer::Closed(_)), "{header:?}: {answer:?}");
                }
            }
        }
        // Between the parts of a first packet that is as long as can be.
        let amid = self.knock(HERE, "near", Some(&self.password)).with_amid(&header_v2(1, 1, THERE));
        let answer = amid.answer().await;
        assert!(matches!(answer, Answer::Closed(_)), "{answer:?}");
        // Behind a first packet that is a login, the server has made up its mind who comes.
        let late = self.knock(HERE, "near", Some(&self.password)).with_late(&header_v2(1, 1, THERE));
        let answer = late.answer().await;
        assert!(!answer.is_in(), "{answer:?}");
    }

    async fn believes_headers_inside_tls_and_lets_nobody_in_for_it(&self) {
        let knock = |user, password| self.knock(HERE, user, password).over(&self.authority);
        // That the server takes these headers at all is what makes the rest worth trying.
        for header in [header_v1("TCP4 127.9.0.1 127.0.0.1 7 7"), header_v2(1, 1, THERE)] {
            let answer = knock("near", Some(&self.password)).with(&header).answer().await;
            assert!(answer.is_in(), "{answer:?}");
        }
        let headers = [
            header_v1("TCP4 127.0.0.1 127.0.0.1 7 7"),
            header_v1("TCP6 ::1 ::1 7 7"),
            header_v1("UNKNOWN"),
            header_v2(1, 1, HERE),
            header_v2(0, 0, HERE),
            // By a Unix socket: `localhost`.
            header_v2(1, 3, HERE),
            // As the relay at the instance's own address.
            header_v1(&format!("TCP4 {0} {0} 7 13306", self.address.ip())),
        ];
        for header in headers {
            for name in OURS {
                for password in [None, Some(""), Some("wrong")] {
                    let answer = knock(name, password).with(&header).answer().await;
                    assert!(!answer.is_in(), "{name:?} {password:?} by {header:?}: {answer:?}");
                }
            }
        }
    }

    async fn knows_clients_by_their_address(&self) {
        let password = Some(self.password.as_str());
        for tls in [None, Some(self.authority.as_str())] {
            let knock = |from, user, password| Knock { tls, ..self.knock(from, user, password) };
            let Answer::In(mut session) = knock(THERE, "near", password).answer().await else {
                panic!("near may come from {THERE}");
            };
            let who = session.value("select concat_ws(' ', user(), current_user())").await.unwrap();
            assert_eq!(who, "near@127.9.0.1 near@127.9.%");
            let answer = knock(HERE, "near", password).answer().await;
            assert_eq!(answer.code(), Some(1045), "{answer:?}");
            let answer = knock(THERE, "near", Some("wrong")).answer().await;
            assert_eq!(answer.code(), Some(1045), "{answer:?}");
            for from in [HERE, THERE] {
                assert!(knock(from, "app", password).answer().await.is_in());
            }
        }
    }

    async fn honours_a_demand_for_tls(&self) {
        let password = Some(self.password.as_str());
        let answer = self.knock(HERE, "strict", password).answer().await;
        assert_eq!(answer.code(), Some(1045), "{answer:?}");
        let Answer::In(mut session) =
            self.knock(HERE, "strict", password).over(&self.authority).answer().await
        else {
            panic!("over TLS it may");
        };
        let version = session.value("select variable_value from information_schema.session_status where variable_name='Ssl_version'").await.unwrap();
        assert!(["TLSv1.2", "TLSv1.3"].contains(&version.as_str()), "{version}");
    }
}

fn header_v1(of: &str) -> Vec<u8> {
    format!("PROXY {of}\r\n").into_bytes()
}

/// A header of version 2: its command (0 is local), its family (1 is IPv4, 3 a Unix socket), and from where.
fn header_v2(command: u8, family: u8, from: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let body = match family {
        1 => [&from.octets()[..], &HERE.octets(), &[0, 7, 0, 7]].concat(),
        3 => [[b'/'; 108], [0; 108]].concat(),
        _ => Vec::new(),
    };
    header.extend([0x20 | command, family << 4 | 1]);
    header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    header.extend(body);
    header
}

fn run_dir() -> PathBuf {
    match rustix::process::geteuid().is_root() {
        true => PathBuf::from("/run/coffer"),
        false => match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_dir()) {
            Some(runtime) => PathBuf::from(runtime).join("coffer"),
            None => PathBuf::from(format!("/tmp/coffer-{}", rustix::process::geteuid().as_raw())),
        },
    }
}

async fn authority(store: &tokio_postgres::Client) -> String {
    store.query_one("select certificate from authorities", &[]).await.unwrap().get(0)
}

async fn create(api: &Client, name: &str, password: &str) -> String {
    let user = |name: &str, host: &str| json!({"name": name, "host": host, "password": password, "databases": [{"name": "shop"}]});
    let body = json!({"instance": {
        "name": name, "flavorRef": "2", "volume": {"size": 5},
        "datastore": {"type": "mariadb", "version": "10.11"},
        "databases": [{"name": "shop"}],
        "users": [user("app", "%"), user("near", "127.9.%"), user("strict", "%")]}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    answer["instance"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doors_hold_before_and_after_an_upgrade() {
    let state = bed().state;
    let api = Client::login(&state, "coffer").await.unwrap();
    let store = store::connect(&state).await;
    let password = uuid::Uuid::new_v4().simple().to_string();
    let old = create(&api, "doors", &password).await;
    let address = healthy(&api, &old).await;
    let engine = async |id: &str| {
        let generation = store::generation(&store, id).await.unwrap();
        store::engine(&state, &run_dir(), &store, generation).await.unwrap()
    };
    // As whoever may make users would.
    engine(&old).await.query_drop("alter user strict@'%' require ssl").await.unwrap();
    let at = |address: &str, authority: &str| Side {
        address: SocketAddr::new(address.parse().unwrap(), 3306),
        authority: authority.to_owned(),
        password: password.clone(),
    };
    let authority = authority(&store).await;
    let before = at(&address, &authority);
    before.holds().await;

    let new = ask_for_upgrade(&api, &old, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    // The candidate follows by the relay, as an account that can come by it only, over TLS that it has verified.
    let mut source = engine(&old).await;
    let found: Vec<String> = source
        .query("select concat(user, '@', host, ' ', json_value(priv, '$.ssl_type')) from mysql.global_priv where user = 'coffer_repl'")
        .await
        .unwrap();
    assert_eq!(found, [format!("coffer_repl@{address} 1")]);
    let seen: Option<String> = source
        .query_first("select host from information_schema.processlist where user = 'coffer_repl'")
        .await
        .unwrap();
    assert!(seen.unwrap().starts_with(&address), "it comes as its relay");
    let mut candidate = engine(&new).await;
    let row: mysql_async::Row = candidate.query_first("show slave status").await.unwrap().unwrap();
    assert_eq!(row.get::<String, _>("Master_SSL_Allowed").unwrap(), "Yes");
    assert_eq!(row.get::<String, _>("Master_SSL_Verify_Server_Cert").unwrap(), "Yes");
    assert_eq!(row.get::<String, _>("Master_Host").unwrap(), address);
    drop((source, candidate));
    before.lets_no_service_account_in().await;

    ask_for_detach(&api, &new).await;
    let after = at(&healthy(&api, &new).await, &authority);
    healthy(&api, &old).await;
    after.holds().await;
    before.holds().await;
    for id in [&old, &new] {
        let found = store::accounts(&mut engine(id).await).await;
        assert_eq!(found, ["app@%", "coffer@localhost", "near@127.9.%", "strict@%"], "none of ours is left");
        let locked: Option<String> = engine(id)
            .await
            .query_first("select json_value(priv, '$.account_locked') from mysql.global_priv where user = 'mariadb.sys'")
            .await
            .unwrap();
        assert_eq!(locked.as_deref(), Some("1"));
        let open: Vec<String> = engine(id)
            .await
            .query(
                "select concat(user, '@', host) from mysql.global_priv where json_value(priv, '$.is_role') is null and \
                 (json_value(priv, '$.plugin') <> 'mysql_native_password' or \
                 (user <> 'mariadb.sys' and length(ifnull(json_value(priv, '$.authentication_string'), '')) < 41))",
            )
            .await
            .unwrap();
        assert!(open.is_empty(), "{open:?}");
    }
    delete(&api, &[&new, &old]).await;
    let id: uuid::Uuid = old.parse().unwrap();
    let left = store.query("select 1 from certificates where instance_id = $1", &[&id]).await.unwrap();
    assert!(left.is_empty(), "the certificate goes with the address");
}

/// What the endpoint looks for is worth it: a forwarder that looks at nothing lets a client say who it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_forwarder_that_does_not_look_a_header_in_the_clear_is_believed() {
    let house = engine_servers::House::new();
    for version in ["10.11.0", "11.8.0"] {
        let server = house.started(version, false).await;
        let near = NewUser { host: "127.9.%".to_owned(), ..engine_servers::user("near", "pw", &[]) };
        ENGINE.create_content(&server, &[], &[near]).await.unwrap();
        let relay = engine_servers::Relay::to(&server).await;
        let at = SocketAddr::new(relay.address.host.parse().unwrap(), relay.address.port);
        let near = || Knock::new(HERE, at, "near", Some("pw"));
        assert!(!near().answer().await.is_in());
        for header in [header_v1("TCP4 127.9.0.1 127.0.0.1 7 7"), header_v2(1, 1, THERE)] {
            let answer = near().after(vec![&header]).answer().await;
            assert!(answer.is_in(), "{version} {header:?}: {answer:?}");
            // The fourth byte of such a login is as it shall be; its length gives it away.
            let answer = near().with_amid(&header).answer().await;
            assert!(answer.is_in(), "{version} {header:?}: {answer:?}");
            // By then the server has looked for the account.
            let answer = near().with_late(&header).answer().await;
            assert_eq!(answer.code(), Some(1045), "{version} {header:?}: {answer:?}");
        }
    }
}

/// A server that comes back has a certificate even if it never had one, and nothing of a follower that went meanwhile;
/// but what a follower needs that is still there stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_left_over_is_mended_when_a_server_comes_back() {
    let state = bed().state;
    let api = Client::login(&state, "coffer").await.unwrap();
    let store = store::connect(&state).await;
    let password = uuid::Uuid::new_v4().simple().to_string();
    let old = create(&api, "mended", &password).await;
    let address = healthy(&api, &old).await;
    let side = SocketAddr::new(address.parse().unwrap(), 3306);
    let generation = store::generation(&store, &old).await.unwrap();
    let engine = async || store::engine(&state, &run_dir(), &store, generation).await;
    let id: uuid::Uuid = old.parse().unwrap();
    let follower = async || {
        store::accounts(&mut engine().await.ok()?)
            .await
            .into_iter()
            .find(|name| name.starts_with("coffer_repl@"))
    };
    let killed = async || {
        let pid = processes::engine(&state, &generation.to_string()).unwrap().pid;
        processes::kill(pid);
        wait_for("another server runs", Duration::from_secs(60), async || {
            let now = processes::engine(&state, &generation.to_string())?.pid;
            (now != pid && engine().await.is_ok()).then_some(())
        })
        .await;
    };

    // As an abandoned upgrade leaves it whose source was away, and as an earlier version made it.
    let mut ours = engine().await.unwrap();
    ours.query_drop("set sql_log_bin=0").await.unwrap();
    ours.query_drop(format!("create user coffer_repl@'{address}' identified by 'x'")).await.unwrap();
    let first: String = certificate(&store, id).await.unwrap();
    store.execute("delete from certificates where instance_id = $1", &[&id]).await.unwrap();
    killed().await;
    wait_for("the follower's account is gone", Duration::from_secs(30), async || {
        follower().await.is_none().then_some(())
    })
    .await;
    let second = certificate(&store, id).await.unwrap();
    assert_ne!(first, second);
    assert!(proves_itself(side, &authority(&store).await, side.ip()).await);

    let new = ask_for_upgrade(&api, &old, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    killed().await;
    let looked = async || {
        let sql = "select answered_at::text from generations where id = $1";
        store.query_one(sql, &[&generation.0]).await.unwrap().get::<_, Option<String>>(0)
    };
    for _ in 0..3 {
        let last = looked().await;
        wait_for("the server is looked at", Duration::from_secs(30), async || {
            (looked().await != last).then_some(())
        })
        .await;
    }
    assert_eq!(follower().await, Some(format!("coffer_repl@{address}")));
    assert_eq!(certificate(&store, id).await.unwrap(), second, "the same for life");
    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;
    assert_eq!(follower().await, None);
    delete(&api, &[&new, &old]).await;
}

async fn certificate(store: &tokio_postgres::Client, instance: uuid::Uuid) -> Option<String> {
    let sql = "select certificate from certificates where instance_id = $1";
    store.query_opt(sql, &[&instance]).await.unwrap().map(|row| row.get(0))
}

/// Every file below `folder` that holds one of the words, but for what is the engine's own.
fn files_with(folder: &Path, words: &[Vec<u8>], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        // The engine's own data and log of changes, where a tenant's rows and accounts are.
        let engines_own =
            path.ends_with("data") && folder.parent().is_some_and(|p| p.ends_with("generations"));
        if kind.is_dir() && !engines_own {
            files_with(&path, words, found);
        } else if kind.is_file()
            && let Ok(text) = std::fs::read(&path)
            && holds(&text, words)
        {
            found.push(path);
        }
    }
}

fn holds(text: &[u8], words: &[Vec<u8>]) -> bool {
    words.iter().any(|word| text.windows(word.len()).any(|part| part == word.as_slice()))
}

/// Processes of this machine whose arguments or environment hold one of the words.
fn processes_with(words: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let path = entry.path().join(name);
            if std::fs::read(&path).is_ok_and(|text| holds(&text, words)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_found_nowhere() {
    let state = bed().state;
    let api = Client::login(&state, "coffer").await.unwrap();
    let store = store::connect(&state).await;
    let marker = |what: &str| format!("{what}{}", uuid::Uuid::new_v4().simple());
    let (created, set, refused) = (marker("created"), marker("set"), marker("refused"));
    let words: Vec<Vec<u8>> = [&created, &set, &refused]
        .into_iter()
        .flat_map(|word| [word.clone(), Verifier::native(word).expose().trim_start_matches('*').to_owned()])
        .map(String::into_bytes)
        .collect();

    // Programs come and go: looked at all the while.
    let over = Arc::new(AtomicBool::new(false));
    let watch = {
        let (over, words) = (Arc::clone(&over), words.clone());
        tokio::spawn(async move {
            let mut found = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let words = words.clone();
                found.extend(tokio::task::spawn_blocking(move || processes_with(&words)).await.unwrap());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            found
        })
    };

    let old = create(&api, "marked", &created).await;
    let address = healthy(&api, &old).await;
    let side = SocketAddr::new(address.parse().unwrap(), 3306);
    let Answer::In(mut app) = Knock::new(HERE, side, "app", Some(&created)).answer().await else {
        panic!("it may");
    };
    for sql in [
        format!("create user other@'%' identified by '{refused}'"),
        format!("set password for near@'127.9.%' = password('{refused}')"),
        format!("set password = passwort('{refused}')"),
    ] {
        assert!(app.value(&sql).await.is_err(), "a tenant's user may not");
    }
    app.value(&format!("set password = password('{set}')")).await.unwrap();
    let again = Knock::new(HERE, side, "app", Some(&refused)).answer().await;
    assert!(!again.is_in());

    let new = ask_for_upgrade(&api, &old, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    // Which goes through the binary log now.
    app.value(&format!("set password = password('{created}')")).await.unwrap();
    app.value(&format!("set password = password('{set}')")).await.unwrap();
    ask_for_detach(&api, &new).await;
    let address = healthy(&api, &new).await;
    let side = SocketAddr::new(address.parse().unwrap(), 3306);
    assert!(Knock::new(HERE, side, "app", Some(&set)).answer().await.is_in());

    over.store(true, Ordering::Relaxed);
    let found = watch.await.unwrap();
    assert!(found.is_empty(), "arguments and environments: {found:?}");
    let mut files = Vec::new();
    files_with(&state, &words, &mut files);
    // What `dev` itself says lies beside its state.
    for log in ["out", "log", "dev.out", "dev.log"] {
        let log = state.parent().unwrap().join(log);
        if std::fs::read(&log).is_ok_and(|text| holds(&text, &words)) {
            files.push(log);
        }
    }
    assert!(files.is_empty(), "{files:?}");
    // Whoever looks would find it.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("leak"), format!("password: {set}\n")).unwrap();
    files_with(folder.path(), &words, &mut files);
    assert_eq!(files.len(), 1);
    let tables = store
        .query("select tablename::text from pg_tables where schemaname = 'public' order by 1", &[])
        .await
        .unwrap();
    assert!(tables.len() > 10, "the tables are found");
    for table in tables {
        let table: String = table.get(0);
        for word in &words {
            let sql = format!("select count(*) from \"{table}\" as it where position($1 in it::text) > 0");
            let word = String::from_utf8_lossy(word).into_owned();
            let found: i64 = store.query_one(&sql, &[&word]).await.unwrap().get(0);
            assert_eq!(found, 0, "rows of {table}");
        }
    }
    delete(&api, &[&new, &old]).await;
}

//! The service renews certificates before their end, and an operator rotates the authority, while servers serve: what a
//! server shows is read by Python's TLS, and held against what clients have, by it and by the engines' own programs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::ids::InstanceId;
use coffer::seal::Sealer;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{healthy, processes, status, store, wait_for};
use crate::parameters::by_address;
use crate::postgresql::{login, psql};
use crate::tls;

const SOON: Duration = Duration::from_secs(60);

/// Asks for TLS as the engine's protocol has it, verifies by a file of authorities, and prints the certificate.
const SHOWN: &str = r#"
import socket, ssl, struct, sys
kind, address, port, authorities = sys.argv[1:]
sock = socket.create_connection((address, int(port)), timeout=10)
if kind == "postgresql":
    sock.sendall(struct.pack("!II", 8, 80877103))
    assert sock.recv(1) == b"S"
else:
    head = sock.recv(4, socket.MSG_WAITALL)
    sock.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)
    asked = struct.pack("<IIB", 0x800 | 0x200 | 0x8000, 1 << 24, 45) + bytes(23)
    sock.sendall(len(asked).to_bytes(3, "little") + b"\x01" + asked)
try:
    inside = ssl.create_default_context(cafile=authorities).wrap_socket(sock, server_hostname=address)
except ssl.SSLCertVerificationError as error:
    sys.exit("not verified: " + error.verify_message)
print(ssl.DER_cert_to_PEM_cert(inside.getpeercert(binary_form=True)))
"#;

struct Served {
    kind: &'static str,
    id: String,
    address: String,
    secret: SecretString,
}

impl Served {
    async fn create(api: &Client, kind: &'static str, version: &str, secret: &SecretString) -> Self {
        let users =
            json!([{"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}]}]);
        let body = json!({"instance": {
            "name": kind, "flavorRef": "1", "volume": {"size": 2},
            "datastore": {"type": kind, "version": version}, "databases": [{"name": "shop"}], "users": users}});
        let (code, answer) = api.post("/instances", &body).await.unwrap();
        assert_eq!(code, 200, "{answer}");
        let id = answer["instance"]["id"].as_str().unwrap().to_owned();
        let address = healthy(api, &id).await;
        Self { kind, id, address, secret: secret.clone() }
    }

    /// Whether the engine's own client, which holds the server against a file of authorities, comes in.
    async fn lets_in(&self, authorities: &Path) -> Result<(), String> {
        let ca = authorities.display();
        if self.kind == "postgresql" {
            let to = format!("host={} user=app dbname=shop sslmode=verify-full", self.address);
            return psql(&format!("{to} sslrootcert={ca}"), &self.secret, "select 1").await.map(drop);
        }
        let how = [&format!("--ssl-ca={ca}"), "--ssl-verify-server-cert"];
        let output = tls::mariadb(&self.address, &self.secret, &how, "select 1").await;
        output.status.success().then_some(()).ok_or_else(|| tls::said(&output))
    }

    /// The certificate that a new connection is shown; what Python says where it cannot be verified.
    fn shown(&self, authorities: &Path) -> Result<String, String> {
        let python = PathBuf::from(std::env::var("COFFER_TEST_CLIENT").unwrap()).with_file_name("python");
        let port = if self.kind == "postgresql" { "5432" } else { "3306" };
        let output = std::process::Command::new(python)
            .args(["-c", SHOWN, self.kind, &self.address, port])
            .arg(authorities)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }
}

/// `coffer admin ca`, as an operator types it.
async fn admin(dev: &House, words: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_coffer"))
        .args(["admin", "--state-dir"])
        .arg(&dev.state)
        .arg("ca")
        .args(words)
        .env_remove("DATABASE_URL")
        .env_remove("COFFER_KEY_FILE")
        .output()
        .await
        .unwrap()
}

async fn done(dev: &House, words: &[&str]) -> String {
    let output = admin(dev, words).await;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(dev: &House, words: &[&str]) -> String {
    let output = admin(dev, words).await;
    assert!(!output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// How many instances have a certificate of each authority, by its state.
async fn counted(dev: &House) -> Vec<(String, i64)> {
    let text = done(dev, &["show", "--json"]).await;
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|it| (it["state"].as_str().unwrap().to_owned(), it["instances"].as_i64().unwrap())).collect()
}

/// The certificates in a file, one after the other.
fn certificates(text: &str) -> Vec<String> {
    let end = "-----END CERTIFICATE-----";
    let parts = text.split_inclusive(end).filter(|part| part.contains(end));
    parts.map(|part| format!("{}\n", part.trim())).collect()
}

/// The certificate in an instance's row.
async fn kept(dev: &House, it: &Served) -> String {
    let sql = "select certificate from certificates where instance_id = $1::text::uuid";
    dev.store().await.query_one(sql, &[&it.id]).await.unwrap().get(0)
}

/// Whether a server shows the certificate of its instance's row.
async fn shows_its_row(dev: &House, it: &Served, authorities: &Path) -> Option<()> {
    let shown = it.shown(authorities).ok()?;
    (certificates(&shown) == certificates(&kept(dev, it).await)).then_some(())
}

/// Puts a certificate that ends soon into an instance's row, as if a year had passed.
async fn age(dev: &House, it: &Served) {
    let store = dev.store().await;
    let row = store
        .query_one("select id::text, key_secret from authorities where state = 'signing'", &[])
        .await
        .unwrap();
    let (authority, key): (String, String) = (row.get(0), row.get(1));
    let sealer = Sealer::open(&dev.state.join("key")).unwrap();
    let key = sealer.unseal(&format!("authority {authority} key"), &key).unwrap();
    let made = coffer::pki::server_for(&authority, &key, it.address.parse().unwrap(), 30).unwrap();
    let instance = InstanceId(it.id.parse().unwrap());
    let secret = sealer.seal(&instance.certificate_purpose(), made.key.expose_secret()).unwrap();
    let sql = "update certificates set certificate = $2, key_secret = $3 where instance_id = $1::text::uuid";
    assert_eq!(store.execute(sql, &[&it.id, &made.certificate, &secret]).await.unwrap(), 1);
}

async fn renewals(dev: &House, id: &str) -> i64 {
    let sql =
        "select count(*) from events where instance_id = $1::text::uuid and what = 'certificate_renewed'";
    dev.store().await.query_one(sql, &[&id]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_follow_one_another_and_nobody_is_sent_away() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let both = [
        Served::create(&api, "mariadb", "10.11", &secret).await,
        Served::create(&api, "postgresql", "17", &secret).await,
    ];
    let ca = dev.state.join("ca.pem");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let first = file("first.pem", &std::fs::read_to_string(&ca).unwrap());
    let mut app = by_address(&both[0].address, &secret).await.unwrap();
    let session: Option<u64> = app.query_first("select connection_id()").await.unwrap();
    let clerk = login(&both[1].address, "app", &secret, "shop").await.unwrap();

    // Near its end.
    for it in &both {
        let before = it.shown(&first).unwrap();
        age(&dev, it).await;
        wait_for(&format!("{} shows another certificate", it.kind), SOON, async || {
            it.shown(&first).ok().filter(|now| *now != before)
        })
        .await;
        wait_for("the api tells of it", SOON, async || {
            let (_, shown) =
                api.read(&format!("/instances/{}/ssl?include_certificate=1", it.id)).await.unwrap();
            let payload = shown["ssl"]["certificate"]["payload"].as_str().unwrap().to_owned();
            let until = shown["ssl"]["certificate"]["expire_at"].as_str().unwrap();
            let until = chrono::NaiveDateTime::parse_from_str(until, "%Y-%m-%dT%H:%M:%S").unwrap();
            let days = (until - chrono::Utc::now().naive_utc()).num_days();
            let is_shown =
                certificates(&it.shown(&first).unwrap()) == certificates(&payload.replace('\r', ""));
            (days > 300 && is_shown).then_some(())
        })
        .await;
        assert_eq!(renewals(&dev, &it.id).await, 1);
    }

    // Another authority is announced: clients have time to fetch it.
    assert_eq!(counted(&dev).await, [("signing".to_owned(), 2)]);
    assert!(refused(&dev, &["sign"]).await.contains("No authority is announced"));
    done(&dev, &["rotate"]).await;
    assert!(refused(&dev, &["rotate"]).await.contains("announced already"));
    let text = wait_for("clients are given both", SOON, async || {
        let text = std::fs::read_to_string(&ca).unwrap();
        (certificates(&text).len() == 2).then_some(text)
    })
    .await;
    let bundle = file("both.pem", &text);
    let second = file("second.pem", &certificates(&text)[1]);
    for it in &both {
        for known in [&first, &bundle] {
            it.shown(known).unwrap();
            it.lets_in(known).await.unwrap();
        }
        it.shown(&second).unwrap_err();
        it.lets_in(&second).await.unwrap_err();
    }

    // It signs: the old one stays while it is needed.
    let due = both.each_ref().map(|it| format!("certificate.due.{}", it.id));
    due.iter().for_each(|point| dev.points.arm(point));
    done(&dev, &["sign"]).await;
    for point in &due {
        dev.points.reached(point).await;
    }
    let told = refused(&dev, &["retire"]).await;
    assert!(told.contains("still: 2 (") && both.iter().all(|it| told.contains(&it.id)), "{told}");
    assert_eq!(counted(&dev).await, [("signing".to_owned(), 0), ("old".to_owned(), 2)]);
    for it in &both {
        it.lets_in(&first).await.unwrap();
        it.lets_in(&bundle).await.unwrap();
    }
    due.iter().for_each(|point| dev.points.disarm(point));

    // Every server shows a certificate of the new one, to who has only that, and to who has both.
    for it in &both {
        wait_for(&format!("{} shows one of the new authority", it.kind), SOON, async || {
            it.shown(&second).ok()
        })
        .await;
        for known in [&second, &bundle] {
            it.shown(known).unwrap();
            it.lets_in(known).await.unwrap();
        }
        assert!(it.shown(&first).unwrap_err().contains("not verified"));
        it.lets_in(&first).await.unwrap_err();
    }

    // The old one goes.
    wait_for("no instance has one of the old authority", SOON, async || {
        let wanted = [("signing".to_owned(), 2), ("old".to_owned(), 0)];
        (counted(&dev).await == wanted).then_some(())
    })
    .await;
    done(&dev, &["retire"]).await;
    wait_for("clients are given the new one alone", SOON, async || {
        let text = std::fs::read_to_string(&ca).unwrap();
        (certificates(&text) == certificates(&std::fs::read_to_string(&second).unwrap())).then_some(())
    })
    .await;

    // Who has fetched it again comes in, and who has the first one alone does not.
    for it in &both {
        it.lets_in(&ca).await.unwrap();
        it.lets_in(&first).await.unwrap_err();
    }

    // Nobody was sent away, and upgrades go on.
    assert_eq!(app.query_first::<u64, _>("select connection_id()").await.unwrap(), session);
    clerk.batch_execute("select 1").await.unwrap();
    let change = json!({"instance": {"datastore_version": "11.8"}});
    api.patch(&format!("/instances/{}", both[0].id), &change).await.unwrap();
    wait_for("it is upgraded", Duration::from_secs(180), async || {
        let shown = api.show(&both[0].id).await.unwrap();
        (shown["status"] == "ACTIVE" && shown["datastore"]["version"] == "11.8").then_some(())
    })
    .await;
    both[0].shown(&second).unwrap();
    dev.leave_nothing(&api, &[&both[0].id, &both[1].id]).await;
}

/// When a server has answered whoever looks after it last, in seconds since 1970.
async fn answered(dev: &House, it: &Served) -> Option<f64> {
    let sql = "select extract(epoch from answered_at)::float8 from generations \
               where instance_id = $1::text::uuid and role = 'serving'";
    dev.store().await.query_one(sql, &[&it.id]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_comes_first_and_a_death_leaves_nothing_behind() {
    let mut dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let both = [
        Served::create(&api, "mariadb", "11.8", &secret).await,
        Served::create(&api, "postgresql", "18", &secret).await,
    ];
    let ca = dev.state.join("ca.pem");
    let [mariadb, _] = &both;

    // A task has the instance: looks come and go, and leave its certificate alone.
    let held = format!("restart.forward.hold.begun.{}", mariadb.id);
    dev.points.arm(&held);
    let (code, told) =
        api.post(&format!("/instances/{}/action", mariadb.id), &json!({"restart": {}})).await.unwrap();
    assert_eq!(code, 202, "{told}");
    dev.points.reached(&held).await;
    age(&dev, mariadb).await;
    let aged = kept(&dev, mariadb).await;
    for _ in 0..3 {
        let before = answered(&dev, mariadb).await;
        wait_for("it is looked at", SOON, async || {
            let now = answered(&dev, mariadb).await;
            (now > before).then_some(())
        })
        .await;
    }
    assert_eq!((kept(&dev, mariadb).await, renewals(&dev, &mariadb.id).await), (aged.clone(), 0));
    dev.points.disarm(&held);
    status(&api, &mariadb.id, "ACTIVE", Duration::from_secs(120)).await;
    wait_for("it is renewed when the task is over", SOON, async || {
        shows_its_row(&dev, mariadb, &ca).await?;
        (kept(&dev, mariadb).await != aged).then_some(())
    })
    .await;
    assert_eq!(renewals(&dev, &mariadb.id).await, 1);

    // The worker dies when the row has the new one and the server does not know of it.
    let renewed = both.each_ref().map(|it| format!("certificate.renewed.{}", it.id));
    let mut before = Vec::new();
    for (it, point) in both.iter().zip(&renewed) {
        before.push((it.shown(&ca).unwrap(), renewals(&dev, &it.id).await));
        dev.points.arm(point);
        age(&dev, it).await;
    }
    for ((it, point), (shown, count)) in both.iter().zip(&renewed).zip(&before) {
        dev.points.reached(point).await;
        assert_eq!((&it.shown(&ca).unwrap(), renewals(&dev, &it.id).await), (shown, count + 1));
    }
    dev.kill_dev_and_start_again().await;
    for ((it, point), (shown, count)) in both.iter().zip(&renewed).zip(&before) {
        wait_for(&format!("{} shows what its row says", it.kind), SOON, async || {
            shows_its_row(&dev, it, &ca).await
        })
        .await;
        assert_ne!(it.shown(&ca).unwrap(), *shown);
        assert_eq!(renewals(&dev, &it.id).await, count + 1, "not made once more");
        dev.points.disarm(point);
    }

    // A server that does not come up has its row renewed, and shows it when it does.
    let api = dev.login("coffer").await;
    let store = dev.store().await;
    let generation = store::generation(&store, &mariadb.id).await.unwrap();
    let data = dev.generations().join(generation.to_string()).join("data");
    let locked = |mode: u32| {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let count = renewals(&dev, &mariadb.id).await;
    let pid = dev.engine_pid(&store, &mariadb.id).await;
    locked(0o000);
    processes::kill(pid);
    wait_for("it is in trouble", SOON, async || {
        let sql = "select 1 from generations where id = $1 and trouble is not null";
        store.query_opt(sql, &[&generation.0]).await.unwrap().map(drop)
    })
    .await;
    age(&dev, mariadb).await;
    wait_for("its row is renewed", SOON, async || {
        (renewals(&dev, &mariadb.id).await == count + 1).then_some(())
    })
    .await;
    locked(0o700);
    wait_for("it shows what its row says", Duration::from_secs(120), async || {
        shows_its_row(&dev, mariadb, &ca).await
    })
    .await;
    healthy(&api, &mariadb.id).await;
    // What MariaDB said of its folder is in a warning of ours.
    let log = dev.leave_nothing_but_words(&api, &[&both[0].id, &both[1].id]).await;
    let errors: Vec<_> = log.lines().filter(|line| line.split_whitespace().nth(1) == Some("ERROR")).collect();
    assert!(errors.is_empty(), "unexpected ERROR lines: {errors:#?}");
}

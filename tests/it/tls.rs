//! The TLS state of an instance, with the engines' own client programs: who may come in the clear, and who is ended.

use std::process::{Output, Stdio};
use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{ask_for_upgrade, open_shop, status, wait_for};
use crate::parameters::by_address;
use crate::postgresql::{login, psql};

async fn ask(api: &Client, id: &str, change: Value) -> (u16, Value) {
    api.post(&format!("/instances/{id}/ssl"), &json!({"ssl": change})).await.unwrap()
}

async fn require(api: &Client, id: &str, required: bool) {
    let (change, mode) = match required {
        true => (json!({"enable": true, "mode": "enforced", "container_ref": "builtin"}), "enforced"),
        false => (json!({"disable": true}), "builtin"),
    };
    let (code, answer) = ask(api, id, change).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer, json!({"ssl": {"status": "on", "mode": mode, "restart_required": false}}));
    assert_eq!(seen(api, id, "").await["mode"], mode);
}

async fn seen(api: &Client, id: &str, query: &str) -> Value {
    let (code, answer) = api.read(&format!("/instances/{id}/ssl{query}")).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    answer["ssl"].clone()
}

/// What the certificate says, read by Python's own reader.
fn read_by_python(payload: &str) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), payload).unwrap();
    let python =
        std::path::PathBuf::from(std::env::var("COFFER_TEST_CLIENT").unwrap()).with_file_name("python");
    let program = "import json, ssl, sys; print(json.dumps(ssl._ssl._test_decode_cert(sys.argv[1])))";
    let output = std::process::Command::new(python).args(["-c", program]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// MariaDB's own client program, as `app`.
pub async fn mariadb(address: &str, password: &SecretString, how: &[&str], sql: &str) -> Output {
    tokio::process::Command::new(crate::harness::roles::engines().join("mariadb-11.8/bin/mariadb"))
        .env("MYSQL_PWD", password.expose_secret())
        .args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--protocol=tcp",
            "-u",
            "app",
            "-h",
            address,
        ])
        .args(how)
        .args(["-e", sql])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_told_to_encrypt(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(told) if told.code == 3159)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_requires_tls() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "encrypted", "10.11").await;
    let (id, address, secret) = (shop.id.as_str(), shop.address.as_str(), &shop.password);
    let authority = dev.state.join("ca.pem");
    let ca = format!("--ssl-ca={}", authority.display());
    let tls = [ca.as_str(), "--ssl-verify-server-cert"];

    let shown = seen(&api, id, "").await;
    assert_eq!((&shown["status"], &shown["mode"]), (&json!("on"), &json!("builtin")), "{shown}");
    assert!(shown["certificate"].get("payload").is_none(), "{shown}");
    let whole = seen(&api, id, "?include_certificate=True").await;
    let read = read_by_python(whole["certificate"]["payload"].as_str().unwrap());
    assert_eq!(read["subjectAltName"], json!([["IP Address", address]]), "{read}");
    assert_eq!(whole["certificate"]["san"], json!([address]));
    assert_eq!(read["subject"], json!([[["commonName", whole["certificate"]["cn"]]]]));
    // `Jan  1 00:00:00 2046 GMT` is `2046-01-01T00:00:00`.
    let until = read["notAfter"].as_str().unwrap();
    let until = chrono::NaiveDateTime::parse_from_str(until, "%b %e %H:%M:%S %Y GMT").unwrap();
    assert_eq!(whole["certificate"]["expire_at"], until.format("%Y-%m-%dT%H:%M:%S").to_string());

    // Whoever is there in the clear is ended, whoever is there in TLS goes on.
    let mut clear = by_address(address, secret).await.unwrap();
    let long = tokio::spawn({
        let (address, secret, ca) = (address.to_owned(), secret.clone(), ca.clone());
        async move {
            let sql = "select sleep(6), variable_value <> '' from information_schema.session_status \
                       where variable_name = 'ssl_cipher'";
            mariadb(&address, &secret, &[&ca, "--ssl-verify-server-cert"], sql).await
        }
    });
    wait_for("it sleeps", Duration::from_secs(20), async || {
        let sql = "select count(*) from information_schema.processlist where info like 'select sleep(6)%'";
        let count: Option<i64> = clear.query_first(sql).await.unwrap();
        (count == Some(1)).then_some(())
    })
    .await;
    require(&api, id, true).await;
    wait_for("the connection in the clear is ended", Duration::from_secs(5), async || {
        clear.query_drop("select 1").await.err().map(drop)
    })
    .await;
    let refused = by_address(address, secret).await.expect_err("refused");
    assert!(is_told_to_encrypt(&refused), "{refused:?}");
    let told = mariadb(address, secret, &["--skip-ssl"], "select 1").await;
    assert!(!told.status.success() && said(&told).contains("this address requires TLS"), "{}", said(&told));
    let cipher = mariadb(address, secret, &tls, "show session status like 'Ssl_cipher'").await;
    assert!(said(&cipher).starts_with("Ssl_cipher\tTLS_"), "{}", said(&cipher));
    let long = long.await.unwrap();
    assert_eq!(said(&long).trim(), "0\t1");

    // Who may change it, and when.
    let enforced = json!({"enable": true, "mode": "enforced", "container_ref": "builtin"});
    assert_eq!(ask(&dev.login("coffer-reader").await, id, enforced.clone()).await.0, 403);
    let (code, answer) = ask(&api, id, json!({"enable": true, "mode": "enforced"})).await;
    assert_eq!(code, 400, "{answer}");
    assert!(answer["badRequest"]["message"].as_str().unwrap().contains("ssl.container_ref"), "{answer}");
    let theirs = json!({"enable": true, "container_ref": "http://127.0.0.1/v1/containers/0b1f6d52"});
    assert_eq!(ask(&api, id, theirs).await.0, 501);

    // The new side of an upgrade requires it, too, and neither side changes meanwhile.
    let new = ask_for_upgrade(&api, id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let its = api.show(&new).await.unwrap()["ip"][0].as_str().unwrap().to_owned();
    let refused = by_address(&its, secret).await.expect_err("refused");
    assert!(is_told_to_encrypt(&refused), "{refused:?}");
    assert!(mariadb(&its, secret, &tls, "select 1").await.status.success());
    assert_eq!(ask(&api, &new, json!({"disable": true})).await.0, 400);
    assert_eq!(ask(&api, id, json!({"disable": true})).await.0, 422);
    assert_eq!(seen(&api, id, "").await["mode"], "enforced");
    api.delete(&new).await.unwrap();
    api.wait_until_gone(&new).await.unwrap();
    status(&api, id, "ACTIVE", Duration::from_secs(60)).await;

    require(&api, id, false).await;
    wait_for("clients come in the clear again", Duration::from_secs(5), async || {
        by_address(address, secret).await.ok().map(drop)
    })
    .await;
    dev.leave_nothing(&api, &[id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_requires_tls() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let (id, address) = crate::postgresql::shop_of(&api, &secret, "18").await;
    let to = |how: &str| format!("host={address} user=app dbname=shop {how}");
    let proven = format!("sslmode=verify-full sslrootcert={}", dev.state.join("ca.pem").display());
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(&to("sslmode=disable"), &secret, encrypted).await.unwrap(), "f");

    let clear = login(&address, "app", &secret, "shop").await.unwrap();
    require(&api, &id, true).await;
    wait_for("the connection in the clear is ended", Duration::from_secs(5), async || {
        clear.batch_execute("SELECT 1").await.err().map(drop)
    })
    .await;
    for how in ["sslmode=disable", "sslmode=disable gssencmode=disable"] {
        let told = psql(&to(how), &secret, "SELECT 1").await.expect_err("refused");
        assert!(told.contains("this address requires TLS"), "{told}");
    }
    for how in [
        proven.clone(),
        format!("{proven} sslnegotiation=direct"),
        format!("{proven} gssencmode=disable"),
        "sslmode=prefer".to_owned(),
    ] {
        assert_eq!(psql(&to(&how), &secret, encrypted).await.as_deref(), Ok("t"), "{how}");
    }
    require(&api, &id, false).await;
    wait_for("clients come in the clear again", Duration::from_secs(5), async || {
        psql(&to("sslmode=disable"), &secret, encrypted).await.ok().filter(|told| told == "f")
    })
    .await;
    dev.leave_nothing(&api, &[&id]).await;
}

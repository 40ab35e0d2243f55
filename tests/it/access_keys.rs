//! Access keys: made and managed by operators, given to each cloud of `dev`, and what a signed request must be to count.

use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use coffer::auth::access_keys::{AccessKeys, Error};
use coffer::auth::signatures::{Claim, SignedRequest, acs3};
use coffer::commands::access_keys::{self, Account};
use coffer::domain::caller::Level;
use coffer::domain::ids::ProjectId;
use coffer::seal::Sealer;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::harness::{bed, wait_for};
use crate::test_api::TestApi;

/// A request that is signed with a key's secret.
fn signed(key: &str, secret: &SecretString, at: DateTime<Utc>, nonce: &str) -> Claim {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const NAMES: &str =
        "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    let date = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let claim = |signature: &str| {
        let authorization =
            format!("ACS3-HMAC-SHA256 Credential={key},SignedHeaders={NAMES},Signature={signature}");
        let headers = [
            ("host", "127.0.0.1:1"),
            ("x-acs-action", "DescribeDBInstances"),
            ("x-acs-content-sha256", EMPTY),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", nonce),
            ("x-acs-version", "2014-08-15"),
            ("authorization", &authorization),
        ]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let request = SignedRequest { method: "POST", path: "/", query: "", headers: &headers, body: b"" };
        acs3::claim(&request).unwrap()
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let signature = hmac::sign(&key, claim(&"0".repeat(64)).string_to_sign.as_bytes());
    let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    claim(&hex)
}

fn account(roles: &[&str]) -> Account {
    Account {
        user: "ann".to_owned(),
        project: ProjectId::parse("1234").unwrap(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    }
}

fn nonce() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_is_who_the_key_belongs_to() {
    let door = TestApi::open().await;
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::open(&folder.path().join("key")).unwrap();
    let keys = AccessKeys::new(door.db.clone(), sealer.clone());
    let (key, secret) = access_keys::create(&door.db, &sealer, account(&["reader"])).await.unwrap();
    let now = Utc::now();
    let caller = keys.caller(&signed(&key.id, &secret, now, &nonce()), now).await.unwrap();
    assert_eq!((caller.user.as_str(), caller.project.as_str()), ("ann", "1234"));
    assert_eq!(caller.level, Some(Level::Reader));

    // What is stored is sealed.
    let stored = access_keys::list(&door.db).await.unwrap();
    assert_eq!(stored.as_slice(), std::slice::from_ref(&key));
    let other = SecretString::from("another secret");
    let refused = async |claim: Claim| keys.caller(&claim, now).await.unwrap_err();
    match refused(signed(&key.id, &other, now, &nonce())).await {
        Error::Mismatch { string_to_sign } => assert!(string_to_sign.starts_with("ACS3-HMAC-SHA256\n")),
        error => panic!("{error}"),
    }
    assert!(matches!(refused(signed("CFRNOBODY", &secret, now, &nonce())).await, Error::UnknownKey));
    for minutes in [-16, 16, -1_000_000] {
        let at = now + TimeDelta::minutes(minutes);
        assert!(matches!(refused(signed(&key.id, &secret, at, &nonce())).await, Error::Expired), "{minutes}");
    }
    for minutes in [-14, 14] {
        let at = now + TimeDelta::minutes(minutes);
        keys.caller(&signed(&key.id, &secret, at, &nonce()), now).await.unwrap();
    }

    // A nonce counts once for its key, and only after its request was proven.
    let once = nonce();
    assert!(matches!(refused(signed(&key.id, &other, now, &once)).await, Error::Mismatch { .. }));
    keys.caller(&signed(&key.id, &secret, now, &once), now).await.unwrap();
    assert!(matches!(refused(signed(&key.id, &secret, now, &once)).await, Error::NonceUsed));
    let (second, its) = access_keys::create(&door.db, &sealer, account(&["member"])).await.unwrap();
    keys.caller(&signed(&second.id, &its, now, &once), now).await.unwrap();

    // The old secret holds for as long as was said.
    let (_, newer) = access_keys::rotate(&door.db, &sealer, &key.id, 1).await.unwrap();
    for secret in [&secret, &newer] {
        keys.caller(&signed(&key.id, secret, now, &nonce()), now).await.unwrap();
    }
    let (rotated, newest) = access_keys::rotate(&door.db, &sealer, &key.id, 0).await.unwrap();
    assert_eq!(rotated.old_until, None);
    for secret in [&secret, &newer] {
        assert!(matches!(refused(signed(&key.id, secret, now, &nonce())).await, Error::Mismatch { .. }));
    }
    access_keys::enable(&door.db, &key.id, false).await.unwrap();
    assert!(matches!(refused(signed(&key.id, &newest, now, &nonce())).await, Error::UnknownKey));
    access_keys::enable(&door.db, &key.id, true).await.unwrap();
    keys.caller(&signed(&key.id, &newest, now, &nonce()), now).await.unwrap();

    for wrong in [
        account(&[]),
        account(&["swiftoperator"]),
        account(&["", "reader"]),
        Account { user: String::new(), ..account(&["reader"]) },
        Account { user: "x".repeat(65), ..account(&["reader"]) },
    ] {
        let told = access_keys::create(&door.db, &sealer, wrong.clone()).await.unwrap_err();
        assert!(matches!(told, coffer::commands::Error::Refused(_)), "{wrong:?}: {told}");
    }
    assert!(access_keys::rotate(&door.db, &sealer, &key.id, 169).await.is_err());
    assert!(access_keys::rotate(&door.db, &sealer, "none", 0).await.is_err());
    assert!(access_keys::enable(&door.db, "none", false).await.is_err());
}

/// Whoever sends copies of a request at once, to whichever process, has one of them answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_copies_one_counts() {
    let door = TestApi::open().await;
    let folder = tempfile::tempdir().unwrap();
    let sealer = Sealer::open(&folder.path().join("key")).unwrap();
    let (key, secret) = access_keys::create(&door.db, &sealer, account(&["member"])).await.unwrap();
    let now = Utc::now();
    let claim = signed(&key.id, &secret, now, &nonce());
    let copies = (0..100).map(|_| {
        let (keys, claim) = (AccessKeys::new(door.db.clone(), sealer.clone()), claim.clone());
        tokio::spawn(async move { keys.caller(&claim, now).await })
    });
    let answers = futures::future::join_all(copies).await;
    let counted = answers.iter().filter(|answer| answer.as_ref().unwrap().is_ok()).count();
    assert_eq!(counted, 1);
    for answer in answers {
        let answer = answer.unwrap();
        assert!(matches!(answer, Ok(_) | Err(Error::NonceUsed)), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_manages_them_from_a_terminal() {
    let door = TestApi::open().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let sealer = Sealer::open(&file).unwrap();
    let keys = AccessKeys::new(door.db.clone(), sealer);
    let admin = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_coffer"));
        command.args(["admin", "access-key"]).args(arguments);
        command.env("DATABASE_URL", &door.store_url).env("COFFER_KEY_FILE", &file);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let secret_of = |told: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix("secret ")).unwrap();
        SecretString::from(line.to_owned())
    };
    let (done, told, _) = admin(&["create", "--project", "1234", "--user", "ann", "--role", "member"]);
    assert!(done, "{told}");
    let (key, first) = (told.split_whitespace().next().unwrap().to_owned(), secret_of(&told));
    let now = Utc::now();
    keys.caller(&signed(&key, &first, now, &nonce()), now).await.unwrap();

    let (done, told, _) = admin(&["rotate", &key, "--overlap-hours", "2"]);
    assert!(done && told.contains("holds until"), "{told}");
    let second = secret_of(&told);
    for secret in [&first, &second] {
        keys.caller(&signed(&key, secret, now, &nonce()), now).await.unwrap();
    }
    let (done, told, _) = admin(&["list"]);
    assert!(done && told.contains(&key) && told.contains("enabled") && told.contains("member"), "{told}");
    let (_, listed, _) = admin(&["list", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&shown["id"], &shown["enabled"]),
        (&serde_json::json!(key), &serde_json::json!(true)),
        "{shown}"
    );
    for secret in [&first, &second] {
        assert!(!told.contains(secret.expose_secret()) && !listed.contains(secret.expose_secret()));
    }
    let (done, told, _) = admin(&["disable", &key]);
    assert!(done && told.contains("disabled"), "{told}");
    assert!(keys.caller(&signed(&key, &second, now, &nonce()), now).await.is_err());

    for (arguments, expected) in [
        (&["disable", "NONE"][..], "access key NONE"),
        (&["rotate", &key, "--overlap-hours", "1000"], "overlap_hours"),
        (&["create", "--project", "a b", "--user", "ann", "--role", "member"], "no project id"),
        (&["create", "--project", "1234", "--user", "ann", "--role", "nothing"], "roles"),
    ] {
        let (done, _, told) = admin(arguments);
        assert!(!done && told.contains(expected), "{arguments:?}: {told}");
    }
}

/// The bed's `dev` has written a key for each of its clouds, and only its owner may read them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_gives_each_cloud_a_key() {
    let state = &bed().state;
    let path = state.join("access-keys.json");
    let file = wait_for("the keys are written", std::time::Duration::from_secs(30), async || {
        std::fs::read_to_string(&path).ok()
    })
    .await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let clouds: Value = serde_json::from_str(&file).unwrap();
    let names: Vec<&String> = clouds.as_object().unwrap().keys().collect();
    assert_eq!(names, ["coffer", "coffer-admin", "coffer-other", "coffer-reader"]);
    let db = coffer::db::Db::new(&coffer::db::Config::new(crate::harness::store::url(state).await));
    let sealer = Sealer::open(&state.join("key")).unwrap();
    let keys = AccessKeys::new(db, sealer);
    for (cloud, level) in
        [("coffer", Level::Member), ("coffer-admin", Level::Admin), ("coffer-reader", Level::Reader)]
    {
        let text = |name: &str| clouds[cloud][name].as_str().unwrap().to_owned();
        let now = Utc::now();
        let claim = signed(&text("access_key"), &SecretString::from(text("secret_key")), now, &nonce());
        let caller = keys.caller(&claim, now).await.unwrap();
        assert_eq!((caller.project.as_str(), caller.level), (&*text("project_id"), Some(level)), "{cloud}");
    }
    assert_eq!(clouds["coffer"]["project_id"], clouds["coffer-reader"]["project_id"]);
    assert_ne!(clouds["coffer"]["project_id"], clouds["coffer-other"]["project_id"]);
}

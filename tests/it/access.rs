//! Who may come to an instance's address, from where: asked by connections from addresses of their own, which the endpoint
//! lets in or tells off in the engine's own words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use coffer::cli::demo::client::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::house::House;
use crate::harness::{ask_for_upgrade, healthy, status, wait_for};

async fn connect(from: &str, to: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.connect(SocketAddr::new(to.parse::<IpAddr>().unwrap(), port)).await.unwrap()
}

/// What MariaDB's address says first: `Ok` with the connection for a greeting, else the error's number.
async fn greeted(from: &str, to: &str) -> Result<TcpStream, u16> {
    let mut stream = connect(from, to, 3306).await;
    let mut head = [0; 7];
    tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut head)).await.unwrap().unwrap();
    match head[4] {
        0xff => Err(u16::from_le_bytes([head[5], head[6]])),
        _greeting => Ok(stream),
    }
}

/// Waits until a connection from there is greeted, or told off.
async fn becomes(from: &str, to: &str, is_let_in: bool) {
    wait_for(&format!("{from} is let in: {is_let_in}"), Duration::from_secs(5), async || {
        match greeted(from, to).await {
            Ok(_) => is_let_in.then_some(()),
            Err(1130) => (!is_let_in).then_some(()),
            Err(other) => panic!("{other}"),
        }
    })
    .await;
}

async fn limit(api: &Client, id: &str, cidrs: Value) {
    let body = json!({"instance": {"access": {"is_public": true, "allowed_cidrs": cidrs}}});
    let (code, answer) = api.put(&format!("/instances/{id}"), &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_from_where_they_may() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let body = json!({"instance": {
        "name": "limited", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mariadb", "version": "10.11"},
        "access": {"is_public": false, "allowed_cidrs": ["127.9.0.0/16"]}}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["instance"]["access"]["allowed_cidrs"], json!(["127.9.0.0/16"]), "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    let address = healthy(&api, &id).await;
    becomes("127.9.3.1", &address, true).await;
    assert_eq!(greeted("127.8.0.1", &address).await.unwrap_err(), 1130);

    // Another limit: who is there from elsewhere is ended.
    let mut open = greeted("127.9.3.1", &address).await.unwrap();
    limit(&api, &id, json!(["127.8.0.0/16", "127.7.0.1"])).await;
    let ended = async { while open.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the open connection is ended");
    becomes("127.9.3.1", &address, false).await;
    becomes("127.8.200.1", &address, true).await;
    becomes("127.7.0.1", &address, true).await;
    assert_eq!(greeted("127.7.0.2", &address).await.unwrap_err(), 1130);
    let seen = api.show(&id).await.unwrap();
    assert_eq!(seen["access"], json!({"is_public": false, "allowed_cidrs": ["127.8.0.0/16", "127.7.0.1"]}));

    // The endpoint remembers it.
    let endpoint = rustix::process::Pid::from_raw(dev.endpoint_pid().await).unwrap();
    rustix::process::kill_process(endpoint, rustix::process::Signal::KILL).unwrap();
    wait_for("the endpoint is another one", Duration::from_secs(30), async || {
        let now = dev.endpoint_pid().await;
        (now != endpoint.as_raw_nonzero().get()).then_some(())
    })
    .await;
    wait_for("it listens again", Duration::from_secs(30), async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.9.3.1:0".parse().unwrap()).unwrap();
        socket.connect(format!("{address}:3306").parse().unwrap()).await.ok().map(drop)
    })
    .await;
    assert_eq!(greeted("127.9.3.1", &address).await.unwrap_err(), 1130);

    // What is no limit, and who may not set one.
    for (access, code) in [
        (json!({"allowed_cidrs": ["10.0.0.0/33"]}), 400),
        (json!({"allowed_cidrs": ["example.org"]}), 400),
        (json!({"allowed_cidrs": ["10.0.0.0/8", "10.0.0.0/8"]}), 400),
        (json!({"allowed_cidrs": "10.0.0.0/8"}), 400),
        (json!({"other": 1}), 400),
        (json!({"is_public": true}), 202),
    ] {
        let body = json!({"instance": {"access": access}});
        let (answered, answer) = api.put(&format!("/instances/{id}"), &body).await.unwrap();
        assert_eq!(answered, code, "{body}: {answer}");
    }
    let patched =
        api.patch(&format!("/instances/{id}"), &json!({"instance": {"access": {"allowed_cidrs": []}}})).await;
    assert!(patched.unwrap_err().to_string().contains("answered 400"));
    let reader = dev.login("coffer-reader").await;
    let body = json!({"instance": {"access": {"allowed_cidrs": []}}});
    assert_eq!(reader.put(&format!("/instances/{id}"), &body).await.unwrap().0, 403);

    // The new instance of an upgrade lets in whom its source lets in.
    let new = ask_for_upgrade(&api, &id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let seen = api.show(&new).await.unwrap();
    assert_eq!(seen["access"]["allowed_cidrs"], json!(["127.8.0.0/16", "127.7.0.1"]), "{seen}");
    let its = seen["ip"][0].as_str().unwrap().to_owned();
    assert_eq!(greeted("127.9.3.1", &its).await.unwrap_err(), 1130);
    becomes("127.8.0.1", &its, true).await;
    api.delete(&new).await.unwrap();
    api.wait_until_gone(&new).await.unwrap();

    limit(&api, &id, json!([])).await;
    becomes("127.9.3.1", &address, true).await;
    dev.leave_nothing(&api, &[&id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_tells_off_in_its_own_words() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let (id, address) = crate::postgresql::shop(&api, &secret).await;
    limit(&api, &id, json!(["127.9.0.0/16"])).await;
    // A request for TLS, which a server answers with one letter.
    let asked = async |from: &str| {
        let mut stream = connect(from, &address, 5432).await;
        let _refused = stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await;
        let mut answer = Vec::new();
        let mut some = [0; 256];
        if let Ok(Ok(read)) = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut some)).await {
            answer.extend_from_slice(&some[..read]);
        }
        answer
    };
    wait_for("it is told off", Duration::from_secs(5), async || {
        let answer = asked("127.8.0.1").await;
        answer.windows(5).any(|word| word == b"28000").then_some(())
    })
    .await;
    let answer = asked("127.9.0.1").await;
    assert!(answer == b"S" || answer == b"N", "{answer:?}");
    limit(&api, &id, json!([])).await;
    dev.leave_nothing(&api, &[&id]).await;
}

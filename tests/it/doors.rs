//! Doors that must stay shut: service and root accounts through the public address.

use coffer::cli::demo::client::Client;

use crate::harness::{bed, delete, open_shop};

/// Names of service and root accounts, with an empty, a wrong and no password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_and_root_accounts_are_refused_through_the_endpoint() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let shop = open_shop(&api, "doors", "10.11").await;
    let names = ["root", "coffer", "coffer_repl", "mariadb.sys", "mysql", "coffer-engine", "PUBLIC", ""];
    for name in names {
        for password in [None, Some(""), Some("wrong")] {
            let opts = mysql_async::OptsBuilder::default()
                .ip_or_hostname(shop.address.as_str())
                .tcp_port(3306)
                .prefer_socket(false)
                .user(Some(name))
                .pass(password);
            match mysql_async::Conn::new(opts).await {
                Err(mysql_async::Error::Server(refused)) => {
                    // 1045: access denied; 1698 and 4151: the account cannot log in at all.
                    assert!([1045, 1698, 4151].contains(&refused.code), "{name:?} {password:?}: {refused}");
                }
                Err(other) => panic!("{name:?} {password:?}: {other}"),
                Ok(_) => panic!("{name:?} with {password:?} was let in"),
            }
        }
    }
    delete(&api, &[&shop.id]).await;
}

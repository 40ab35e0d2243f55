//! The system tables of a new server, from the engine's own scripts, with our account and no other.
//!
//! The server program reads the statements in its bootstrap mode: no connection, no account, no network. Our
//! account's verifier is in what it reads; the password is not.

use secrecy::ExposeSecret;

use crate::domain::tenant::{OWN_SCHEMA, Verifier};
use crate::engines::mariadb::{ACCOUNT, config, runtime};
use crate::engines::{Error, Server};
use crate::runtimes::{Job, Layout};

/// The scripts in their order, and whether each must be there. They are called `mysql_*` before 11 and `mariadb_*`
/// from 11 on.
const SCRIPTS: [(&str, bool); 6] = [
    ("*_system_tables.sql", true),
    ("*_performance_tables.sql", true),
    ("*_system_tables_data.sql", true),
    ("fill_help_tables.sql", true),
    ("maria_add_gis_sp_bootstrap.sql", false),
    ("*_sys_schema.sql", false),
];

/// Where scripts lie below the engine's root.
const FOLDERS: [&str; 2] = ["rootfs/usr/share/mysql", "rootfs/usr/share/mariadb"];

/// The job that makes the system tables in an empty data folder.
pub async fn job(server: &Server, layout: &Layout) -> Result<Job, Error> {
    // One statement a line: so the bootstrap mode reads them.
    let mut input = b"CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\n".to_vec();
    for (script, needed) in SCRIPTS {
        match find(server, layout, script).await? {
            Some(text) => {
                input.extend_from_slice(&text);
                input.push(b'\n');
            }
            None if needed => {
                let answer = script.to_owned();
                return Err(Error::Unexpected { doing: "look for the engine's own scripts", answer });
            }
            None => {}
        }
    }
    input.extend_from_slice(own(&Verifier::native(server.service_password.expose_secret())).as_bytes());
    let path = |name: &str, path: &std::path::Path| format!("--{name}={}", path.display());
    let args = vec![
        "--no-defaults".to_owned(),
        "--bootstrap".to_owned(),
        path("basedir", &layout.root.join("rootfs/usr")),
        path("datadir", &layout.data),
        path("tmpdir", &layout.tmp),
        "--log-warnings=0".to_owned(),
        "--enforce-storage-engine=".to_owned(),
        "--skip-log-bin".to_owned(),
        "--innodb-buffer-pool-size=32M".to_owned(),
        format!("--innodb-log-file-size={}", config::LOG_FILE_SIZE),
    ];
    Ok(Job { program: "mariadbd".to_owned(), args, input, secret: None })
}

async fn find(server: &Server, layout: &Layout, script: &str) -> Result<Option<Vec<u8>>, Error> {
    for folder in FOLDERS {
        for prefix in ["mysql", "mariadb"] {
            let path = format!("{folder}/{}", script.replace('*', prefix));
            let file = server.runtime.engine_file(layout, &path).await;
            if let Some(text) = file.map_err(runtime("read the engine's own scripts"))? {
                return Ok(Some(text));
            }
        }
    }
    Ok(None)
}

/// What we put in place of the accounts that the scripts make. `mariadb.sys` is locked; views of the system's own
/// need it.
fn own(verifier: &Verifier) -> String {
    let every_right = u64::MAX;
    format!(
        "\nUSE mysql;\n\
         DELETE FROM mysql.global_priv WHERE NOT (User='mariadb.sys' AND Host='localhost');\n\
         DELETE FROM mysql.proxies_priv;\n\
         DELETE FROM mysql.db WHERE User<>'mariadb.sys';\n\
         DELETE FROM mysql.roles_mapping;\n\
         DROP DATABASE IF EXISTS test;\n\
         INSERT INTO mysql.global_priv (Host, User, Priv) VALUES ('localhost', '{ACCOUNT}', \
         '{{\"access\":{every_right},\"plugin\":\"mysql_native_password\",\"authentication_string\":\"{}\"}}');\n\
         CREATE DATABASE IF NOT EXISTS {OWN_SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;\n\
         CREATE TABLE IF NOT EXISTS {OWN_SCHEMA}.probe (id INT NOT NULL PRIMARY KEY, word VARCHAR(64) NOT NULL) \
         ENGINE=InnoDB;\n",
        verifier.expose()
    )
}

//! What a tenant sees listed: its databases, and its users with the databases that they can come to.

use crate::domain::postgresql::{is_reserved_database, is_reserved_user};
use crate::domain::tenant::{Database, User};
use crate::engines::Error;
use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::databases::{TENANT_DATABASE, tenant_role};

/// The databases by name.
pub async fn databases(client: &Client) -> Result<Vec<Database>, Error> {
    let sql = format!("SELECT datname FROM pg_database WHERE {TENANT_DATABASE}");
    let mut names = client.column("list the databases", &sql).await?;
    names.retain(|name| !is_reserved_database(name));
    names.sort();
    Ok(names.into_iter().map(|name| Database { name }).collect())
}

/// The users by name: those that can log in. They may come from anywhere, as far as the server is concerned.
pub async fn users(client: &Client) -> Result<Vec<User>, Error> {
    let doing = "list the users";
    let ours = tenant_role("r.rolname");
    let sql = format!("SELECT r.rolname FROM pg_roles r WHERE r.rolcanlogin AND {ours}");
    let mut names = client.column(doing, &sql).await?;
    names.retain(|name| !is_reserved_user(name));
    names.sort();
    let sql = format!(
        "SELECT r.rolname, d.datname FROM pg_roles r CROSS JOIN pg_database d WHERE r.rolcanlogin AND {ours} \
         AND d.{TENANT_DATABASE} AND has_database_privilege(r.oid, d.oid, 'CONNECT')"
    );
    let rights = client.rows(doing, &sql).await?;
    let mut users: Vec<User> =
        names.into_iter().map(|name| User { name, host: "%".to_owned(), databases: Vec::new() }).collect();
    for row in rights {
        let mut row = row.into_iter().flatten();
        let (Some(name), Some(database)) = (row.next(), row.next()) else { continue };
        if let Some(user) = users.iter_mut().find(|user| user.name == name)
            && !is_reserved_database(&database)
        {
            user.databases.push(database);
        }
    }
    users.iter_mut().for_each(|user| user.databases.sort());
    Ok(users)
}

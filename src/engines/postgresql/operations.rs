//! What a customer has us do with databases and users.
//!
//! A user that has rights on a database may do everything in it, also with what its other users have made or will make. The
//! first user of a database owns it. When a user is dropped, its objects become those of the database's owner; where it was the
//! only user, [`ORPHANS`] has them, which nobody can log in as, until the database is given to somebody. Never are they ours:
//! a function that runs with its owner's rights would be a superuser's.
//!
//! Rights are given on the tenant's own objects only. A schema also holds those of extensions, which are ours, and some of
//! which are kept from everybody with reason.
//!
//! # Root
//! `root` has rights on every database, and is a member of every user. It makes no roles and no databases: before 16, who may
//! make roles may become one that reads and writes the server's files.

use crate::domain::operation::{Operation, Refused};
use crate::domain::postgresql::ORPHANS;
use crate::domain::tenant::{OWN_SCHEMA, Verifier};
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::content::{self, TENANT};
use crate::engines::postgresql::databases::{self, TENANT_DATABASE, tenant_role};
use crate::engines::postgresql::{ACCOUNT, major, own};
use crate::engines::{Error, Server};

/// The strongest account of a customer's.
const ROOT: &str = "root";

/// Statements that are one transaction, where there are many.
const AT_ONCE: usize = 200;

/// What the server says of an object that is gone meanwhile.
const GONE: [&str; 4] = ["42P01", "3F000", "42883", "42704"];

/// How often it is looked whether a user's sessions have ended.
const LOOKS: usize = 50;

/// The kinds of objects whose rights are given beforehand.
const KINDS: [&str; 5] = ["TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS"];

/// Whether there is a `root`.
pub async fn has_root(client: &Client) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = '{ROOT}' AND rolcanlogin");
    client.is_there("look for root", &sql).await
}

/// Does an operation; what is done already is left alone.
pub async fn operate(
    server: &Server,
    client: &Client,
    operation: &Operation,
) -> Result<Option<Refused>, Error> {
    match operation {
        Operation::CreateDatabases { databases } => {
            let has_root = has_root(client).await?;
            content::create(server, client, databases, &[]).await?;
            for database in databases.iter().filter(|_| has_root) {
                grant(server, client, &database.name, ROOT).await?;
            }
        }
        Operation::DropDatabase { name } => drop_database(client, name).await?,
        Operation::CreateUsers { users } => {
            let has_root = has_root(client).await?;
            for user in users {
                let taken = format!(
                    "SELECT 1 FROM pg_roles WHERE rolname = {} AND NOT rolcanlogin",
                    quoted(&user.name)
                );
                if client.is_there("look for a role", &taken).await? {
                    return Ok(Some(Refused::Exists { what: format!("Role {}", user.name) }));
                }
                content::create(server, client, &[], std::slice::from_ref(user)).await?;
                change_password(client, &user.name, &user.verifier).await?;
                for database in &user.databases {
                    grant(server, client, database, &user.name).await?;
                }
                if has_root {
                    let member = format!("GRANT {} TO {ROOT}", name(&user.name));
                    client.run_and_retry("make root a member of a user", &member).await?;
                }
            }
        }
        Operation::ChangePasswords { users } => {
            for (account, verifier) in users {
                change_password(client, &account.name, verifier).await?;
            }
        }
        Operation::AlterUser { account, renamed, verifier } => {
            if account != renamed && is_there(client, &account.name).await? {
                let rename = format!("ALTER ROLE {} RENAME TO {}", name(&account.name), name(&renamed.name));
                client.run_and_retry("rename a user", &rename).await?;
            }
            if let Some(verifier) = verifier {
                change_password(client, &renamed.name, verifier).await?;
            }
        }
        Operation::DropUser { account } => drop_user(server, client, &account.name).await?,
        Operation::Grant { account, databases } => {
            for database in databases {
                grant(server, client, database, &account.name).await?;
            }
        }
        Operation::Revoke { account, database } => {
            return revoke(server, client, database, &account.name).await;
        }
        Operation::EnableRoot { verifier } => enable_root(server, client, verifier).await?,
        Operation::DisableRoot => drop_user(server, client, ROOT).await?,
    }
    Ok(None)
}

async fn is_there(client: &Client, user: &str) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = {}", quoted(user));
    client.is_there("look for a user", &sql).await
}

async fn change_password(client: &Client, user: &str, verifier: &Verifier) -> Result<(), Error> {
    let sql = format!("ALTER ROLE {} PASSWORD {}", name(user), quoted(verifier.expose()));
    client.run_and_retry("change a user's password", &sql).await
}

async fn drop_database(client: &Client, database: &str) -> Result<(), Error> {
    let doing = "drop a database";
    let is_template =
        format!("SELECT 1 FROM pg_database WHERE datname = {} AND datistemplate", quoted(database));
    if client.is_there(doing, &is_template).await? {
        client.run_and_retry(doing, &format!("ALTER DATABASE {} IS_TEMPLATE false", name(database))).await?;
    }
    client.run(doing, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(database))).await
}

/// Those who can log in and come to a database, `root` last.
async fn users_of(client: &Client, database: &str) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT r.rolname FROM pg_roles r CROSS JOIN pg_database d WHERE r.rolcanlogin AND {} AND d.datname = {} \
         AND has_database_privilege(r.oid, d.oid, 'CONNECT') ORDER BY r.rolname = '{ROOT}', r.rolname",
        tenant_role("r.rolname"),
        quoted(database)
    );
    client.column("list a database's users", &sql).await
}

/// Whose a database is; `None` is ours.
async fn owner_of(client: &Client, database: &str) -> Result<Option<String>, Error> {
    let sql = format!(
        "SELECT r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = {} AND r.oid <> 10",
        quoted(database)
    );
    client.value("ask whose a database is", &sql).await
}

/// The schemas of the tenant's, of a `pg_namespace n`.
fn own_schemas() -> String {
    format!("n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_'")
}

/// The tenant's objects in a database, as a statement on rights names them.
async fn objects(inside: &Client) -> Result<Vec<String>, Error> {
    let own = own_schemas();
    let sql = format!(
        "SELECT 'SCHEMA ' || quote_ident(n.nspname) FROM pg_namespace n WHERE {own} \
         AND (n.nspowner <> 10 OR n.nspname = 'public') \
         UNION ALL SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || format('%I.%I', n.nspname, c.relname) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relowner <> 10 AND {own} \
         UNION ALL SELECT 'ROUTINE ' || p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.proowner <> 10 AND {own}"
    );
    inside.column("list a database's objects", &sql).await
}

/// Runs statements that each are about one object: that of one that is gone meanwhile is left out.
async fn on_each(inside: &Client, doing: &'static str, statements: &[String]) -> Result<(), Error> {
    let is_gone = |error: &Error| matches!(error, Error::State { state, .. } if GONE.contains(&&**state));
    for some in statements.chunks(AT_ONCE) {
        match inside.run_and_retry(doing, &some.join("; ")).await {
            Err(error) if is_gone(&error) => {}
            done => {
                done?;
                continue;
            }
        }
        for one in some {
            match inside.run_and_retry(doing, one).await {
                Err(error) if is_gone(&error) => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// The statements that give each of a database's users what another of them will make there.
fn shared_from_now_on(user: &str, others: &[String], verb: (&str, &str)) -> Vec<String> {
    let (verb, preposition) = verb;
    let pairs = others.iter().flat_map(|other| [(user, other.as_str()), (other.as_str(), user)]);
    let mut statements = Vec::new();
    for (maker, who) in pairs {
        for kind in KINDS {
            statements.push(format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} {verb} ALL ON {kind} {preposition} {}",
                name(maker),
                name(who)
            ));
        }
    }
    statements
}

/// Gives a user every right on a database; one that is nobody's becomes its own.
async fn grant(server: &Server, client: &Client, database: &str, user: &str) -> Result<(), Error> {
    let doing = "grant a user a database";
    let inside = Client::connect_to(server, database).await?;
    let owner = match owner_of(client, database).await? {
        Some(owner) => owner,
        None => {
            let own = format!("ALTER DATABASE {} OWNER TO {}", name(database), name(user));
            client.run_and_retry(doing, &own).await?;
            if is_there(client, ORPHANS).await? {
                // It owns no database: this is about what is in this one.
                let theirs = format!("REASSIGN OWNED BY {} TO {}", name(ORPHANS), name(user));
                inside.run_and_retry(doing, &theirs).await?;
            }
            user.to_owned()
        }
    };
    if major(&server.version) < 15 {
        // There `public` is the server's own, and open to everybody.
        let ours = "SELECT 1 FROM pg_namespace WHERE nspname = 'public' AND nspowner = 10";
        if inside.is_there(doing, ours).await? {
            let sql = format!(
                "ALTER SCHEMA public OWNER TO {}; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                name(&owner)
            );
            inside.run_and_retry(doing, &sql).await?;
        }
    }
    if owner != user {
        client
            .run_and_retry(doing, &format!("GRANT ALL ON DATABASE {} TO {}", name(database), name(user)))
            .await?;
    }
    let others: Vec<String> =
        users_of(client, database).await?.into_iter().filter(|other| other != user).collect();
    let mut statements = shared_from_now_on(user, &others, ("GRANT", "TO"));
    let user = name(user);
    statements
        .extend(objects(&inside).await?.into_iter().map(|object| format!("GRANT ALL ON {object} TO {user}")));
    on_each(&inside, doing, &statements).await
}

/// Takes a user's rights on a database away. What it made there stays where it is, and its own.
async fn revoke(
    server: &Server,
    client: &Client,
    database: &str,
    user: &str,
) -> Result<Option<Refused>, Error> {
    let doing = "take a user's rights on a database";
    let others: Vec<String> =
        users_of(client, database).await?.into_iter().filter(|other| other != user).collect();
    if owner_of(client, database).await?.as_deref() == Some(user) {
        let heir = others.first().map_or(ACCOUNT, String::as_str);
        let pass_on = format!("ALTER DATABASE {} OWNER TO {}", name(database), name(heir));
        client.run_and_retry(doing, &pass_on).await?;
    }
    client
        .run_and_retry(doing, &format!("REVOKE ALL ON DATABASE {} FROM {}", name(database), name(user)))
        .await?;
    end_sessions(client, user, Some(database)).await?;
    let inside = Client::connect_to(server, database).await?;
    let mut statements = shared_from_now_on(user, &others, ("REVOKE", "FROM"));
    let from = name(user);
    statements.extend(
        objects(&inside).await?.into_iter().map(|object| format!("REVOKE ALL ON {object} FROM {from}")),
    );
    on_each(&inside, doing, &statements).await?;
    let still =
        format!("SELECT 1 WHERE has_database_privilege({}, {}, 'CONNECT')", quoted(user), quoted(database));
    let comes_in = client.is_there(doing, &still).await?;
    Ok(comes_in.then(|| Refused::Rejected {
        message: format!(
            "user {user} comes to database {database} by a right of PUBLIC or of a role that it is a member of; revoke that by SQL"
        ),
    }))
}

/// Ends the sessions of a user, in one database or in all, and waits a while until they are gone.
async fn end_sessions(client: &Client, user: &str, database: Option<&str>) -> Result<(), Error> {
    let doing = "end a user's sessions";
    let there = database.map(|database| format!(" AND datname = {}", quoted(database))).unwrap_or_default();
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}{there}",
        quoted(user)
    );
    for _ in 0..LOOKS {
        if client.rows(doing, &sql).await?.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn drop_user(server: &Server, client: &Client, user: &str) -> Result<(), Error> {
    let doing = "drop a user";
    if !is_there(client, user).await? {
        return Ok(());
    }
    client.run_and_retry(doing, &format!("ALTER ROLE {} NOLOGIN", name(user))).await?;
    let owned = format!(
        "SELECT d.datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = {} AND d.{TENANT_DATABASE}",
        quoted(user)
    );
    for database in client.column(doing, &owned).await? {
        // It cannot log in any more, so it is not among them.
        let users = users_of(client, &database).await?;
        let heir = users.first().map_or(ACCOUNT, String::as_str);
        let pass_on = format!("ALTER DATABASE {} OWNER TO {}", name(&database), name(heir));
        client.run_and_retry(doing, &pass_on).await?;
    }
    end_sessions(client, user, None).await?;
    let open = databases::open_databases(client).await?;
    let named = format!(
        "SELECT d.datname, bool_or(s.deptype = 'o') FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid \
         JOIN pg_roles r ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid WHERE r.rolname = {} GROUP BY 1",
        quoted(user)
    );
    for row in client.rows(doing, &named).await? {
        let [Some(database), Some(owns)] = row.as_slice() else { continue };
        if !open.contains(database) {
            continue;
        }
        let mut sql = String::new();
        if owns == "t" {
            let heir = match owner_of(client, database).await? {
                Some(owner) => owner,
                None => orphans(client).await?,
            };
            sql = format!("REASSIGN OWNED BY {} TO {}; ", name(user), name(&heir));
        }
        // What it owned is another's by then: this takes away what it was granted.
        sql.push_str(&format!("DROP OWNED BY {}", name(user)));
        Client::connect_to(server, database).await?.run_and_retry(doing, &sql).await?;
    }
    let sql = format!("DROP OWNED BY {user}; DROP ROLE {user}", user = name(user));
    let dropped = client.run_and_retry(doing, &sql).await;
    if dropped.as_ref().is_err_and(|error| error.refusal().is_some()) {
        // Something of it lies in a database that nobody comes to: it stays a user, and is listed.
        client.run_and_retry(doing, &format!("ALTER ROLE {} LOGIN", name(user))).await?;
    }
    dropped
}

/// Makes the role that has what nobody owns any more.
async fn orphans(client: &Client) -> Result<String, Error> {
    if !is_there(client, ORPHANS).await? {
        let kind = TENANT.replacen("LOGIN", "NOLOGIN", 1);
        let make = format!("CREATE ROLE {} WITH {kind}", name(ORPHANS));
        client.run("make a role for what nobody owns", &make).await?;
    }
    Ok(ORPHANS.to_owned())
}

async fn enable_root(server: &Server, client: &Client, verifier: &Verifier) -> Result<(), Error> {
    let doing = "make root";
    if is_there(client, ROOT).await? {
        client.run_and_retry(doing, &format!("ALTER ROLE {ROOT} WITH {TENANT}")).await?;
    } else {
        client.run(doing, &format!("CREATE ROLE {ROOT} WITH {TENANT}")).await?;
    }
    change_password(client, ROOT, verifier).await?;
    let users = format!(
        "SELECT rolname FROM pg_roles r WHERE rolcanlogin AND rolname <> '{ROOT}' AND {} AND NOT rolsuper \
         AND NOT pg_has_role(r.oid, '{ROOT}', 'MEMBER') ORDER BY 1",
        tenant_role("rolname")
    );
    for user in client.column(doing, &users).await? {
        client.run_and_retry(doing, &format!("GRANT {} TO {ROOT}", name(&user))).await?;
    }
    client.run_and_retry(doing, &format!("GRANT pg_signal_backend TO {ROOT}")).await?;
    for database in databases::open_databases(client).await? {
        // Before it is root's.
        own::ensure(&Client::connect_to(server, &database).await?).await?;
        grant(server, client, &database, ROOT).await?;
    }
    Ok(())
}

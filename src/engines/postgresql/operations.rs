//! What a customer has us do with databases and users.
//!
//! A user that has rights on a database may do everything in it, also with what its other users have made or will make. The
//! first user of a database owns it.
//!
//! # What a dropped user owned
//! Code that a user left runs with its owner's rights: a function that says so, a view, the expression of an index. So what a
//! user owned never becomes what somebody owns who can log in, who would do whatever that code says; nor is it ever ours, and a
//! superuser's. [`ORPHANS`] has it, as whom nobody can log in. The users of a database in which it has something are members of
//! it, so that they may change and drop that, too.
//!
//! Rights are given on the tenant's own objects only. A schema also holds those of extensions, which are ours, and some of
//! which are kept from everybody with reason.
//!
//! # Root
//! `root` has rights on every database, and is a member of every user. It owns no database. It makes no roles and no databases: before 16, who may
//! make roles may become one that reads and writes the server's files.

use std::time::Duration;

use crate::domain::operation::{Operation, Refused};
use crate::domain::postgresql::ORPHANS;
use crate::domain::tenant::{OWN_SCHEMA, Verifier};
use crate::engines::postgresql::connection::{Client, OWN_DATABASE, name, quoted};
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

/// How often it is looked whether a user's sessions have ended, and the pause between two looks.
const LOOKS: usize = 50;
const LOOK: Duration = Duration::from_millis(500);

/// The kinds of objects whose rights are given beforehand.
const KINDS: [&str; 5] = ["TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS"];

/// Whether there is a `root`.
pub async fn has_root(client: &Client) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = '{ROOT}' AND rolcanlogin");
    client.is_there("look for root", &sql).await
}

/// By what the sessions of operations are known to each other.
const MARK: &str = "coffer operation";

/// How long an operation waits for a tenant's session that has locked what it changes, before that session is ended. Less than
/// a lock is waited for.
const BLOCKED: Duration = Duration::from_secs(3);

/// Does an operation; what is done already is left alone. A tenant's session that keeps it waiting is ended: it could do so for
/// ever, and every operation after this one would wait as well.
pub async fn operate(
    server: &Server,
    client: &Client,
    operation: &Operation,
) -> Result<Option<Refused>, Error> {
    mark(client).await?;
    let watch = Client::connect_anew(server, OWN_DATABASE).await?;
    tokio::select! {
        done = work(server, client, operation) => done,
        ended = unblock(&watch) => Err(ended),
    }
}

async fn mark(client: &Client) -> Result<(), Error> {
    client.run("begin an operation", &format!("SET application_name = '{MARK}'")).await
}

/// A session of an operation in a database.
async fn inside(server: &Server, database: &str) -> Result<Client, Error> {
    let inside = Client::connect_anew(server, database).await?;
    mark(&inside).await?;
    Ok(inside)
}

/// Ends tenants' sessions that keep operations waiting, for as long as it is waited for; returns when that cannot be done.
async fn unblock(watch: &Client) -> Error {
    let sql = format!(
        "SELECT pg_terminate_backend(b.pid) FROM pg_stat_activity a CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS w (pid) \
         JOIN pg_stat_activity b ON b.pid = w.pid WHERE a.application_name = '{MARK}' AND a.usesysid = 10 \
         AND a.wait_event_type = 'Lock' AND a.query_start < clock_timestamp() - interval '{} seconds' AND {}",
        BLOCKED.as_secs(),
        tenant_role("b.usename")
    );
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = watch.rows("end sessions that are in the way", &sql).await {
            return error;
        }
    }
}

async fn work(server: &Server, client: &Client, operation: &Operation) -> Result<Option<Refused>, Error> {
    if let Some(database) = closed(client, operation).await? {
        return Ok(Some(Refused::Rejected {
            message: format!(
                "database {database} takes no connections: have its owner open it (ALTER DATABASE … ALLOW_CONNECTIONS true) \
                 or drop it first"
            ),
        }));
    }
    match operation {
        Operation::CreateDatabases { databases } => {
            let has_root = has_root(client).await?;
            content::create(server, client, databases, &[]).await?;
            for database in databases.iter().filter(|_| has_root) {
                grant(server, client, &database.name, ROOT).await?;
            }
        }
        Operation::DropDatabase { name } => drop_database(server, client, name).await?,
        Operation::CreateUsers { users } => {
            let has_root = has_root(client).await?;
            // Before anything is made: the request is refused whole.
            for user in users {
                if is_no_user(client, &user.name).await? {
                    return Ok(Some(Refused::Exists { what: format!("Role {}", user.name) }));
                }
            }
            for user in users {
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
        // It changes no content.
        Operation::Configure | Operation::PublishLog { .. } => {}
    }
    Ok(None)
}

/// A database that an operation has to go into and that takes no connections, if there is one.
async fn closed(client: &Client, operation: &Operation) -> Result<Option<String>, Error> {
    let doing = "look for databases that take no connections";
    let of_user = |user: &str| {
        format!(
            "SELECT d.datname FROM pg_database d JOIN pg_roles r ON r.rolname = {} WHERE NOT d.datallowconn \
             AND d.{TENANT_DATABASE} AND (d.datdba = r.oid OR EXISTS (SELECT FROM pg_shdepend s WHERE s.dbid = d.oid \
             AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid)) ORDER BY 1 LIMIT 1",
            quoted(user)
        )
    };
    let named = match operation {
        Operation::CreateUsers { users } => users.iter().flat_map(|user| user.databases.clone()).collect(),
        Operation::Grant { databases, .. } => databases.clone(),
        Operation::Revoke { database, .. } => vec![database.clone()],
        Operation::DropUser { account } => return client.value(doing, &of_user(&account.name)).await,
        Operation::DisableRoot => return client.value(doing, &of_user(ROOT)).await,
        Operation::CreateDatabases { .. }
        | Operation::DropDatabase { .. }
        | Operation::ChangePasswords { .. }
        | Operation::AlterUser { .. }
        | Operation::EnableRoot { .. }
        | Operation::Configure
        | Operation::PublishLog { .. } => Vec::new(),
    };
    if named.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = named.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname IN ({}) ORDER BY 1 LIMIT 1",
        names.join(", ")
    );
    client.value(doing, &sql).await
}

async fn is_there(client: &Client, user: &str) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = {}", quoted(user));
    client.is_there("look for a user", &sql).await
}

/// Whether there is a role of that name that nobody can log in as.
async fn is_no_user(client: &Client, user: &str) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_roles WHERE rolname = {} AND NOT rolcanlogin", quoted(user));
    client.is_there("look for a role", &sql).await
}

async fn change_password(client: &Client, user: &str, verifier: &Verifier) -> Result<(), Error> {
    let sql = format!("ALTER ROLE {} PASSWORD {}", name(user), quoted(verifier.expose()));
    client.run_and_retry("change a user's password", &sql).await
}

/// Rolls back what is prepared and waits for a COMMIT that may never come.
async fn end_prepared(server: &Server, client: &Client, whose: &str) -> Result<(), Error> {
    let doing = "end prepared transactions";
    let sql = format!("SELECT gid, database FROM pg_prepared_xacts WHERE {whose}");
    for row in client.rows(doing, &sql).await? {
        let [Some(gid), Some(database)] = row.as_slice() else { continue };
        let end = format!("ROLLBACK PREPARED {}", quoted(gid));
        match inside(server, database).await?.run(doing, &end).await {
            // It was ended since.
            Err(Error::State { state, .. }) if state == "42704" => {}
            done => done?,
        }
    }
    Ok(())
}

async fn drop_database(server: &Server, client: &Client, database: &str) -> Result<(), Error> {
    let doing = "drop a database";
    end_prepared(server, client, &format!("database = {}", quoted(database))).await?;
    let is_template =
        format!("SELECT 1 FROM pg_database WHERE datname = {} AND datistemplate", quoted(database));
    if client.is_there(doing, &is_template).await? {
        client.run_and_retry(doing, &format!("ALTER DATABASE {} IS_TEMPLATE false", name(database))).await?;
    }
    client.run(doing, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(database))).await
}

/// Those who can log in and have every right on a database: its owner, and whom it was granted to by name.
async fn users_of(client: &Client, database: &str) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT r.rolname FROM pg_roles r CROSS JOIN pg_database d WHERE r.rolcanlogin AND {} AND d.datname = {} \
         AND (d.datdba = r.oid OR EXISTS (SELECT FROM aclexplode(d.datacl) x WHERE x.grantee = r.oid \
         AND x.privilege_type = 'CREATE')) ORDER BY r.rolname",
        tenant_role("r.rolname"),
        quoted(database)
    );
    client.column("list a database's users", &sql).await
}

/// Who owns a database next: another user that has every right on it, `root` never; ours, where there is none.
fn heir(users: &[String]) -> &str {
    users.iter().find(|user| *user != ROOT).map_or(ACCOUNT, String::as_str)
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
         UNION ALL SELECT format('ROUTINE %I.%I(%s)', n.nspname, p.proname, array_to_string(ARRAY(SELECT format_type(t.oid, NULL) \
         FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, at) ORDER BY t.at), ', ')) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
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

/// Gives a user every right on a database; one that is nobody's becomes its own, unless it is `root`.
async fn grant(server: &Server, client: &Client, database: &str, user: &str) -> Result<(), Error> {
    let doing = "grant a user a database";
    let inside = inside(server, database).await?;
    let owner = match owner_of(client, database).await? {
        Some(owner) => owner,
        None if user == ROOT => ACCOUNT.to_owned(),
        None => {
            let own = format!("ALTER DATABASE {} OWNER TO {}", name(database), name(user));
            client.run_and_retry(doing, &own).await?;
            user.to_owned()
        }
    };
    if is_there(client, ORPHANS).await? && owns_something(&inside, ORPHANS).await? {
        let member = format!("GRANT {} TO {}", name(ORPHANS), name(user));
        client.run_and_retry(doing, &member).await?;
    }
    if major(&server.version) < 15 {
        // There `public` is the server's own, and open to everybody.
        let ours = "SELECT 1 FROM pg_namespace WHERE nspname = 'public' AND nspowner = 10";
        if owner != ACCOUNT && inside.is_there(doing, ours).await? {
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
        let pass_on = format!("ALTER DATABASE {} OWNER TO {}", name(database), name(heir(&others)));
        client.run_and_retry(doing, &pass_on).await?;
    }
    let inside = inside(server, database).await?;
    take_from_others(&inside, Some(database), user).await?;
    let revoke = format!("REVOKE ALL ON DATABASE {} FROM {} CASCADE", name(database), name(user));
    client.run_and_retry(doing, &revoke).await?;
    end_sessions(client, user, Some(database)).await?;
    let mut statements = shared_from_now_on(user, &others, ("REVOKE", "FROM"));
    let from = name(user);
    statements.extend(
        objects(&inside)
            .await?
            .into_iter()
            .map(|object| format!("REVOKE ALL ON {object} FROM {from} CASCADE")),
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

/// Takes away what others than the owners of things have handed on to a user: their grants are theirs to take back, so each is
/// taken back as who gave it. Nothing of a tenant's runs at that.
async fn take_from_others(inside: &Client, database: Option<&str>, user: &str) -> Result<(), Error> {
    let doing = "take handed-on rights away";
    let own = own_schemas();
    let of_database = database.map(|database| {
        format!(
            "SELECT 'DATABASE ' || quote_ident(d.datname) AS object, d.datdba AS owner, d.datacl AS acl FROM pg_database d \
             WHERE d.datname = {} UNION ALL ",
            quoted(database)
        )
    });
    let sql = format!(
        "SELECT DISTINCT o.object, g.rolname FROM ({}\
         SELECT 'SCHEMA ' || quote_ident(n.nspname) AS object, n.nspowner AS owner, n.nspacl AS acl FROM pg_namespace n WHERE {own} \
         UNION ALL SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || format('%I.%I', n.nspname, c.relname), \
         c.relowner, c.relacl FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {own} \
         UNION ALL SELECT format('ROUTINE %I.%I(%s)', n.nspname, p.proname, array_to_string(ARRAY(SELECT format_type(t.oid, NULL) \
         FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, at) ORDER BY t.at), ', ')), \
         p.proowner, p.proacl FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {own}) o \
         CROSS JOIN LATERAL aclexplode(o.acl) x JOIN pg_roles r ON r.oid = x.grantee JOIN pg_roles g ON g.oid = x.grantor \
         WHERE r.rolname = {} AND x.grantor <> o.owner",
        of_database.unwrap_or_default(),
        quoted(user)
    );
    let mut statements = Vec::new();
    for row in inside.rows(doing, &sql).await? {
        let [Some(object), Some(grantor)] = row.as_slice() else { continue };
        statements.push(format!(
            "SET LOCAL ROLE {}; REVOKE ALL ON {object} FROM {} CASCADE; SET LOCAL ROLE NONE",
            name(grantor),
            name(user)
        ));
    }
    on_each(inside, doing, &statements).await
}

/// Whether a role owns something in a database.
async fn owns_something(inside: &Client, role: &str) -> Result<bool, Error> {
    let sql = format!(
        "SELECT 1 FROM pg_shdepend s JOIN pg_roles r ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid \
         WHERE r.rolname = {} AND s.deptype = 'o' AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         LIMIT 1",
        quoted(role)
    );
    inside.is_there("look what a role owns", &sql).await
}

/// Ends the sessions of a user, in one database or in all, and waits until they are gone; an error after 5 s.
async fn end_sessions(client: &Client, user: &str, database: Option<&str>) -> Result<(), Error> {
    let doing = "end a user's sessions";
    let there = database.map(|database| format!(" AND datname = {}", quoted(database))).unwrap_or_default();
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}{there}",
        quoted(user)
    );
    for _ in 0..LOOKS {
        if client.rows(doing, &sql).await?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What it went on to make would be dropped with its rights.
    Err(Error::NoAnswer(format!("{doing}: they have not ended")))
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
        let pass_on = format!("ALTER DATABASE {} OWNER TO {}", name(&database), name(heir(&users)));
        client.run_and_retry(doing, &pass_on).await?;
    }
    end_sessions(client, user, None).await?;
    end_prepared(server, client, &format!("owner = {}", quoted(user))).await?;
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
        let inside = inside(server, database).await?;
        if owns == "t" {
            let orphans = orphans(client).await?;
            sql = format!("REASSIGN OWNED BY {} TO {}; ", name(user), name(&orphans));
            for other in users_of(client, database).await? {
                let member = format!("GRANT {} TO {}", name(&orphans), name(&other));
                client.run_and_retry(doing, &member).await?;
            }
        }
        // What it owned is another's by then: this takes away what it was granted.
        sql.push_str(&format!("DROP OWNED BY {} CASCADE", name(user)));
        take_from_others(&inside, Some(database), user).await?;
        inside.run_and_retry(doing, &sql).await?;
    }
    let sql = format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}", user = name(user));
    let dropped = client.run_and_retry(doing, &sql).await;
    if dropped.as_ref().is_err_and(|error| error.refusal().is_some() && !error.may_pass()) {
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
        own::ensure(&inside(server, &database).await?).await?;
        grant(server, client, &database, ROOT).await?;
    }
    Ok(())
}

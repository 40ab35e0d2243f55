//! What the comparison of two servers sees and what it does not mind, with real servers that hold the same because the
//! same statements were run on both: no copy is part of it.
//!
//! Needs the engines of the set-up (`COFFER_ENGINES`, else `/var/cache/coffer/engines`) and, as root, its accounts.

use coffer::engines::{Engine as _, Server};

use crate::engine_servers::House;
use crate::postgres_servers::{ENGINE as POSTGRESQL, database, started, tenant, user};

/// Servers of several versions that ran the same statements as the tenant.
async fn servers(house: &House, versions: &[&str], content: &str) -> Vec<Server> {
    let mut servers = Vec::new();
    // One verifier for all: it has a salt.
    let (databases, users) = ([database("shop")], [user("app", "a", &["shop"])]);
    for version in versions {
        let server = started(house, version).await;
        POSTGRESQL.create_content(&server, &databases, &users).await.unwrap();
        let app = tenant(&server, "app", "a", "shop").await.unwrap();
        app.batch_execute(content).await.unwrap();
        servers.push(server);
    }
    servers
}

/// What only one of two inventories says.
fn apart(theirs: &[String], ours: &[String]) -> Vec<String> {
    coffer::workflow::feed::differences(theirs, ours)
}

/// Names that are keywords to one version and none to another; they are printed in definitions, types and rights.
const KEYWORDS: &str = r#"
CREATE TABLE events (id int PRIMARY KEY, json jsonb, old json DEFAULT '{}'::json, olds json[], "json_array" int DEFAULT 1 CHECK ("json_array" > 0));
CREATE INDEX ON events USING gin (json);
CREATE TABLE k ("system_user" text PRIMARY KEY);
ALTER TABLE k ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON k USING (k."system_user" = current_user);
CREATE TABLE "json_table" ("merge_action" text, "absent" int, keys int REFERENCES events);
CREATE TYPE "json_scalar" AS ENUM ('a', 'b');
CREATE DOMAIN "json_exists" AS "json_scalar" CHECK (VALUE > 'a');
CREATE FUNCTION "json_query"("json_value" "json_exists", indent "json_scalar"[]) RETURNS SETOF "json_scalar" LANGUAGE sql AS 'SELECT $1';
GRANT SELECT ("system_user") ON k TO PUBLIC;
REVOKE EXECUTE ON FUNCTION "json_query" FROM PUBLIC;
COMMENT ON COLUMN "json_table".absent IS 'x';
CREATE STATISTICS "json_serialize" ON "merge_action", keys FROM "json_table";
CREATE TRIGGER "json_arrayagg" BEFORE UPDATE OF "merge_action" ON "json_table" FOR EACH ROW
    WHEN (OLD."merge_action" <> 'x') EXECUTE FUNCTION suppress_redundant_updates_trigger();
"#;

#[tokio::test(flavor = "multi_thread")]
async fn names_that_became_keywords_are_no_difference() {
    let house = House::new();
    let servers = servers(&house, &["15.0", "17.0", "18.0"], KEYWORDS).await;
    let mut lines = Vec::new();
    for server in &servers {
        lines.push(POSTGRESQL.inventory(server).await.unwrap());
    }
    assert_eq!(apart(&lines[0], &lines[1]), Vec::<String>::new());
    assert_eq!(apart(&lines[1], &lines[2]), Vec::<String>::new());
}

//! Random schemas and rows through the look and the upgrade: what the look calls possible succeeds and is the same by the
//! second reader; what it does not is named by an object of that schema.
//!
//! A few schemas in `make test`; as many as `PROPTEST_CASES` says, by both strategies, where that is set.
//! `COFFER_TEST_SEED` repeats a sample; it is printed.

use super::{Thing, mariadb, postgresql};

/// Numbers that look random, and are the same for one seed.
pub struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % most
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn seed() -> u64 {
    let given = std::env::var("COFFER_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() & u128::from(u64::MAX)).unwrap()
    });
    eprintln!("the schemas are made again by COFFER_TEST_SEED={seed}");
    seed | 1
}

/// How many schemas, and whether they go by every strategy.
fn wanted() -> (usize, bool) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    cases.map_or((4, false), |cases| (cases, true))
}

/// Names that a column or table may have.
const NAMES: &[&str] = &[
    "id",
    "a b",
    "Select",
    "user",
    "json",
    "system_user",
    "ü",
    "it's",
    "x%y",
    "1st",
    "$d",
    "a.b",
    "-- c",
    "order",
    "value",
    "vector",
    "🦀",
    "offset",
    "Id",
    "q\"u",
    "back`tick",
    "period",
    "plan",
];

/// A type of PostgreSQL's, and values of it.
const PG_TYPES: &[(&str, &[&str])] = &[
    ("int", &["0", "-2147483648", "2147483647"]),
    ("bigint", &["-9223372036854775808", "1"]),
    ("numeric", &["'NaN'", "1.10", "1e-40", "-0.0"]),
    ("numeric(10, 3)", &["1234567.891", "0"]),
    ("real", &["0.1234567", "16777217", "'NaN'", "'-0'", "1e-45"]),
    ("double precision", &["0.1", "5e-324", "'-Infinity'"]),
    ("text", &["''", "'it''s'", "E'\\\\N'", "repeat('ü🦀', 900)", "'NULL'", "'trail  '"]),
    ("varchar(9)", &["'x  '", "''"]),
    ("char(5)", &["'ab'", "''"]),
    ("bytea", &["'\\x00ff'", "''", "decode(repeat('0a5c', 3000), 'hex')"]),
    ("timestamptz", &["'infinity'", "'2026-03-29 01:30:00.000001+00'", "'0044-03-15 BC'"]),
    ("timestamp(3)", &["'1999-12-31 23:59:59.9996'"]),
    ("date", &["'-infinity'", "'5874897-12-31'"]),
    ("interval", &["'1 mon -1 day 00:00:00.000001'"]),
    ("timetz", &["'24:00-15:59'"]),
    ("jsonb", &["'{\"a\": [1, null]}'", "'null'"]),
    ("json", &["'{\"a\" : 1, \"a\":2}'"]),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'"]),
    ("inet", &["'10.1.2.3/8'", "'::1'"]),
    ("int[]", &["'{}'", "'[-2:-1]={1,NULL}'"]),
    ("text[]", &["ARRAY['NULL', NULL, '{\"']"]),
    ("int4range", &["'empty'", "'[1,)'"]),
    ("tsvector", &["'a:1A ''b c'''"]),
    ("point", &["'(0.1,NaN)'"]),
    ("bit(4)", &["b'1010'"]),
    ("xml", &["'<a/>'"]),
    ("bool", &["true", "false"]),
];

fn pg_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn pg_schema(dice: &mut Dice, at: usize) -> Thing {
    let schema = format!("z_random_{at}");
    let mut sql: Vec<String> = Vec::new();
    let tables = 1 + dice.below(4);
    let mut keyed: Vec<String> = Vec::new();
    for table in 0..tables {
        let name = pg_name(&format!("{} {table}", dice.one(NAMES)));
        let mut columns: Vec<(String, usize)> = Vec::new();
        for column in 0..=dice.below(7) {
            columns.push((pg_name(&format!("{}{column}", dice.one(NAMES))), dice.below(PG_TYPES.len())));
        }
        let key = dice.chance(75);
        let parts = dice.chance(20);
        let mut parts_of = vec![match dice.below(3) {
            // From 17 on a partition's column is an identity with its table's, which the second reader would tell.
            0 if !parts => "k bigint GENERATED ALWAYS AS IDENTITY".to_owned(),
            1 => "k serial".to_owned(),
            _ => "k int NOT NULL".to_owned(),
        }];
        for (column, kind) in &columns {
            let (kind, values) = PG_TYPES[*kind];
            let default =
                if dice.chance(25) { format!(" DEFAULT {}", dice.one(values)) } else { String::new() };
            parts_of.push(format!("{column} {kind}{default}"));
        }
        if key {
            parts_of.push("PRIMARY KEY (k)".to_owned());
        }
        if dice.chance(20) {
            parts_of.push("CHECK (k > -5)".to_owned());
        }
        let by = if parts { " PARTITION BY RANGE (k)" } else { "" };
        sql.push(format!("CREATE TABLE {name} ({}){by}", parts_of.join(", ")));
        if parts {
            sql.push(format!(
                "CREATE TABLE {} PARTITION OF {name} FOR VALUES FROM (0) TO (5)",
                pg_name(&format!("low {table}"))
            ));
            sql.push(format!(
                "CREATE TABLE {} PARTITION OF {name} DEFAULT",
                pg_name(&format!("rest {table}"))
            ));
        }
        if !key && dice.chance(60) {
            sql.push(format!("ALTER TABLE {name} REPLICA IDENTITY FULL"));
        }
        for row in 0..dice.below(12) {
            let values: Vec<String> =
                columns
                    .iter()
                    .map(|(_, kind)| {
                        if dice.chance(20) {
                            "NULL".to_owned()
                        } else {
                            dice.one(PG_TYPES[*kind].1).to_owned()
                        }
                    })
                    .collect();
            let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
            sql.push(format!(
                "INSERT INTO {name} (k, {}) OVERRIDING SYSTEM VALUE VALUES ({row}, {})",
                names.join(", "),
                values.join(", ")
            ));
        }
        for (column, _) in &columns {
            match dice.below(14) {
                0 => sql.push(format!("CREATE INDEX ON {name} ({column})")),
                1 => sql.push(format!("CREATE INDEX ON {name} USING gin ({column})")),
                2 => sql.push(format!("CREATE INDEX ON {name} USING gist ({column})")),
                3 => sql.push(format!("ALTER TABLE {name} DROP COLUMN {column}")),
                4 => sql.push(format!("COMMENT ON COLUMN {name}.{column} IS 'it''s {{}} ü'")),
                5 => sql.push(format!("CREATE INDEX ON {name} USING hash ({column}) WHERE k > 2")),
                6 => sql.push(format!("GRANT SELECT ({column}) ON {name} TO clerk WITH GRANT OPTION")),
                7 => sql.push(format!("ALTER TABLE {name} ALTER {column} SET STATISTICS 7")),
                8 => sql.push(format!("ALTER TABLE {name} ALTER {column} SET STORAGE EXTERNAL")),
                _ => {}
            }
        }
        if dice.chance(30) {
            sql.push(format!(
                "CREATE VIEW {} AS SELECT * FROM {name} WHERE k > 1",
                pg_name(&format!("view {table}"))
            ));
        }
        if dice.chance(15) {
            let data = dice.one(&["WITH DATA", "WITH NO DATA"]);
            sql.push(format!(
                "CREATE MATERIALIZED VIEW {} AS SELECT * FROM {name} {data}",
                pg_name(&format!("kept {table}"))
            ));
        }
        if dice.chance(25) {
            sql.push(format!(
                "CREATE FUNCTION f{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
            ));
            let when = dice.one(&["BEFORE INSERT", "AFTER UPDATE", "AFTER INSERT OR DELETE"]);
            sql.push(format!(
                "CREATE TRIGGER {} {when} ON {name} FOR EACH ROW EXECUTE FUNCTION {schema}.f{table}()",
                pg_name(dice.one(NAMES))
            ));
        }
        if dice.chance(20) {
            sql.push(format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"));
            sql.push(format!("CREATE POLICY {} ON {name} USING (k > 0)", pg_name(dice.one(NAMES))));
        }
        if dice.chance(8) {
            sql.push(format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY"));
        }
        if let Some(other) = keyed.last().filter(|_| dice.chance(40)) {
            sql.push(format!(
                "ALTER TABLE {name} ADD CONSTRAINT {} FOREIGN KEY (k) REFERENCES {other} (k)",
                pg_name(dice.one(NAMES))
            ));
        }
        if key {
            keyed.push(name);
        }
    }
    if dice.chance(40) {
        sql.push(format!(
            "CREATE SEQUENCE {} START {} INCREMENT {}",
            pg_name(dice.one(NAMES)),
            1 + dice.below(500),
            1 + dice.below(9)
        ));
        sql.push(format!("SELECT nextval(c.oid::regclass) FROM pg_class c WHERE c.relkind = 'S' AND c.relnamespace = '{schema}'::regnamespace"));
    }
    Thing {
        name: schema[2..].to_owned(),
        tell: "random".to_owned(),
        made: vec![(String::new(), sql)],
        ..Thing::default()
    }
}

/// A type of MariaDB's, and values of it.
const MARIA_TYPES: &[(&str, &[&str])] = &[
    ("INT", &["0", "-2147483648", "2147483647"]),
    ("BIGINT UNSIGNED", &["18446744073709551615", "0"]),
    ("DECIMAL(20, 6)", &["1.100000", "-99999999999999.999999"]),
    ("DOUBLE", &["0.1", "5e-324", "1.7976931348623157e308"]),
    ("VARCHAR(30)", &["''", "'it''s'", "'a  '", "'ü🦀'", "'\\\\N'"]),
    ("CHAR(5)", &["'ab '", "''"]),
    ("TEXT", &["REPEAT('ü', 3000)", "'x\\ny\\0'"]),
    ("BLOB", &["x'00ff0d0a271a5c'", "''"]),
    ("VARBINARY(9)", &["x'00'", "'a '"]),
    ("DATETIME(6)", &["'9999-12-31 23:59:59.999999'", "'1000-01-01 00:00:00.000001'"]),
    ("TIMESTAMP(3) NULL", &["'2026-03-29 01:30:00.001'"]),
    ("DATE", &["'2026-02-28'"]),
    ("TIME(2)", &["'-838:59:59.99'"]),
    ("YEAR", &["2155"]),
    ("BIT(9)", &["b'101010101'"]),
    ("ENUM('a', 'it''s', '')", &["'a'", "''"]),
    ("SET('x', 'y')", &["'x,y'", "''"]),
    ("JSON", &["'{\"a\" : 1.0}'", "'null'"]),
    ("UUID", &["'00000000-0000-0000-0000-000000000001'"]),
    ("INET6", &["'::ffff:1.2.3.4'"]),
    ("POINT", &["POINT(0.1, -1)"]),
    ("VARCHAR(20) CHARACTER SET latin1", &["'ä'"]),
    ("VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci", &["'Ä'"]),
];

fn maria_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``").replace('🦀', "crab"))
}

fn maria_schema(dice: &mut Dice, at: usize) -> Thing {
    let mut sql: Vec<String> = Vec::new();
    let mut keyed: Vec<String> = Vec::new();
    for table in 0..=dice.below(4) {
        let name = maria_name(&format!("{} {table}", dice.one(NAMES)));
        let mut columns: Vec<(String, usize)> = Vec::new();
        for column in 0..=dice.below(7) {
            columns
                .push((maria_name(&format!("{}{column}", dice.one(NAMES))), dice.below(MARIA_TYPES.len())));
        }
        let key = dice.chance(75);
        let mut parts = vec!["k INT NOT NULL".to_owned()];
        for (column, kind) in &columns {
            parts.push(format!("{column} {}", MARIA_TYPES[*kind].0));
        }
        if key {
            parts.push("PRIMARY KEY (k)".to_owned());
        }
        if dice.chance(20) {
            parts.push("CHECK (k > -5)".to_owned());
        }
        if dice.chance(20) {
            parts.push(format!("g INT AS (k * 2) {}", dice.one(&["VIRTUAL", "STORED"])));
        }
        let engine = dice.one(&["InnoDB", "InnoDB", "InnoDB", "InnoDB", "Aria", "MyISAM", "MEMORY"]);
        let rest = match dice.below(8) {
            0 => " PARTITION BY HASH (k) PARTITIONS 3",
            1 => " WITH SYSTEM VERSIONING",
            _ => "",
        };
        sql.push(format!("CREATE TABLE {name} ({}) ENGINE = {engine}{rest}", parts.join(", ")));
        for row in 0..dice.below(12) {
            let values: Vec<String> = columns
                .iter()
                .map(|(_, kind)| {
                    if dice.chance(20) {
                        "NULL".to_owned()
                    } else {
                        dice.one(MARIA_TYPES[*kind].1).to_owned()
                    }
                })
                .collect();
            let names: Vec<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
            sql.push(format!(
                "INSERT INTO {name} (k, {}) VALUES ({row}, {})",
                names.join(", "),
                values.join(", ")
            ));
        }
        for (column, _) in &columns {
            match dice.below(10) {
                0 => sql.push(format!("CREATE INDEX {} ON {name} ({column})", maria_name(dice.one(NAMES)))),
                1 => sql.push(format!("ALTER TABLE {name} DROP COLUMN {column}")),
                2 => sql.push(format!("ALTER TABLE {name} ADD UNIQUE ({column}, k)")),
                3 => sql.push(format!("UPDATE {name} SET {column} = NULL WHERE k = 3")),
                _ => {}
            }
        }
        if dice.chance(30) {
            sql.push(format!("CREATE VIEW v{table} AS SELECT * FROM {name} WHERE k > 1"));
        }
        if dice.chance(25) {
            let when = dice.one(&["BEFORE INSERT", "AFTER UPDATE", "BEFORE DELETE"]);
            sql.push(format!(
                "CREATE TRIGGER {} {when} ON {name} FOR EACH ROW SET @x = 1",
                maria_name(&format!("{}{table}", dice.one(NAMES)))
            ));
        }
        if let Some(other) = keyed.last().filter(|_| dice.chance(30)) {
            sql.push(format!("ALTER TABLE {name} ADD FOREIGN KEY (k) REFERENCES {other} (k)"));
        }
        if key {
            keyed.push(name);
        }
    }
    if dice.chance(40) {
        sql.push(format!(
            "CREATE SEQUENCE s START WITH {} INCREMENT BY {}",
            1 + dice.below(500),
            1 + dice.below(9)
        ));
        sql.push("SELECT NEXTVAL(s)".to_owned());
    }
    if dice.chance(40) {
        sql.push(format!(
            "CREATE FUNCTION {}(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
            maria_name(dice.one(NAMES))
        ));
    }
    if dice.chance(30) {
        sql.push(
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SET @x = 1".to_owned(),
        );
    }
    Thing {
        name: format!("random_{at}"),
        tell: "random".to_owned(),
        made: vec![(String::new(), sql)],
        ..Thing::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_schemas_of_postgresql() {
    let mut dice = Dice(seed());
    let (cases, all) = wanted();
    let things: Vec<Thing> = (0..cases).map(|at| pg_schema(&mut dice, at)).collect();
    let twin = dice.chance(50);
    if all || twin {
        postgresql::goes_free("15.0", "17.0", postgresql::Way::Twin, things.clone()).await;
    }
    if all || !twin {
        postgresql::goes_free("15.0", "18.0", postgresql::Way::InPlace, things).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_schemas_of_mariadb() {
    let mut dice = Dice(seed());
    let (cases, all) = wanted();
    let things: Vec<Thing> = (0..cases).map(|at| maria_schema(&mut dice, at)).collect();
    let twin = dice.chance(50);
    if all || twin {
        mariadb::goes_free("10.11.0", "11.8.0", mariadb::Way::Twin, things.clone()).await;
    }
    if all || !twin {
        mariadb::goes_free("10.11.0", "11.8.0", mariadb::Way::InPlace, things).await;
    }
}

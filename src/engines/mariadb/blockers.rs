//! What in a server's content a logical copy with replication cannot carry, found before anything is touched.

use crate::domain::question::Blocker;
use crate::engines::Error;
use crate::engines::mariadb::connection::{Client, name};
use crate::engines::mariadb::content::TENANT_SCHEMA;

/// How many of one kind are named; a tenant who sees a hundred needs no more.
const NAMED: usize = 100;

/// Looks for them. The list is bounded.
pub async fn find(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let mut found = tables(client).await?;
    found.extend(views(client).await?);
    found.extend(programs(client).await?);
    found.extend(prepared_transactions(client).await?);
    Ok(found)
}

async fn tables(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let rows = client
        .rows(
            "look at the tables' engines",
            &format!(
                "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), IFNULL(ENGINE, ''), TABLE_TYPE \
                 FROM information_schema.TABLES WHERE {TENANT_SCHEMA} AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW') \
                 AND (ENGINE IS NULL OR ENGINE <> 'InnoDB' OR TABLE_TYPE = 'SYSTEM VERSIONED') \
                 ORDER BY 1 LIMIT {NAMED}"
            ),
        )
        .await?;
    let blocker = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (object, engine, kind) = (values.next()?, values.next()?, values.next()?);
        let (why, remedy) = match (engine.as_str(), kind.as_str()) {
            ("", _) => ("cannot be opened".to_owned(), "repair or drop it".to_owned()),
            ("InnoDB", _) => (
                "keeps old rows (system versioning), which a copy would lose".to_owned(),
                format!("drop its history with ALTER TABLE {object} DROP SYSTEM VERSIONING"),
            ),
            (engine, "SEQUENCE") => (
                format!("is a sequence of {engine}, which a copy of a serving server cannot carry"),
                "make it again with ENGINE=InnoDB".to_owned(),
            ),
            (engine, _) => (
                format!("is a table of {engine}, which a copy of a serving server cannot carry"),
                format!("ALTER TABLE {object} ENGINE=InnoDB"),
            ),
        };
        Some(Blocker { object, why, remedy })
    };
    Ok(rows.into_iter().filter_map(blocker).collect())
}

/// Views that cannot be read stop the dump program.
async fn views(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let sql = format!("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE {TENANT_SCHEMA}");
    let mut found = Vec::new();
    for row in client.rows("look at the views", &sql).await? {
        let [Some(schema), Some(view)] = row.as_slice() else { continue };
        let fields = format!("SHOW FIELDS FROM {}.{}", name(schema), name(view));
        match client.run("look at a view", &fields).await {
            Ok(()) => {}
            Err(Error::Refused { code, message, .. }) => {
                found.push(Blocker {
                    object: format!("{schema}.{view}"),
                    why: format!("is a view that cannot be read ({code}: {message})"),
                    remedy: "mend or drop it".to_owned(),
                });
            }
            Err(error) => return Err(error),
        }
        if found.len() >= NAMED {
            break;
        }
    }
    Ok(found)
}

/// The dump program writes its delimiter behind a routine's text: after a comment that ends with its line, the
/// delimiter is part of the comment.
async fn programs(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let lists = [
        (
            "ROUTINE_SCHEMA",
            "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES",
        ),
        (
            "TRIGGER_SCHEMA",
            "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS",
        ),
        ("EVENT_SCHEMA", "SELECT EVENT_SCHEMA, EVENT_NAME, EVENT_DEFINITION FROM information_schema.EVENTS"),
    ];
    let mut found = Vec::new();
    for (schema, select) in lists {
        let tenant = TENANT_SCHEMA.replace("TABLE_SCHEMA", schema);
        for row in
            client.rows("look at the routines", &format!("{select} WHERE {tenant} ORDER BY 1, 2")).await?
        {
            let [Some(schema), Some(name), Some(text)] = row.as_slice() else { continue };
            if found.len() < NAMED && ends_in_a_comment(text) {
                found.push(Blocker {
                    object: format!("{schema}.{name}"),
                    why: "ends with a comment to the end of the line, which a copy stumbles on".to_owned(),
                    remedy: "make it again without that last comment".to_owned(),
                });
            }
        }
    }
    Ok(found)
}

/// Whether the text's end is inside a `--` or `#` comment.
fn ends_in_a_comment(text: &str) -> bool {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = match first {
            '\'' | '"' | '`' => quoted_length(rest, first),
            '#' => rest.find('\n'),
            '-' if is_dashes(rest) => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|at| at + 2),
            other => Some(other.len_utf8()),
        };
        let Some(skip) = skip else {
            return matches!(first, '#' | '-');
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    false
}

fn is_dashes(rest: &str) -> bool {
    rest.strip_prefix("--")
        .is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control()))
}

/// The length of a quoted text with its quotes; `None` when it does not end.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            // A doubled quote is the beginning of another quoted text: the end is the same.
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// They are in no dump, and their end would be replicated without their beginning.
async fn prepared_transactions(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let rows = client.rows("look for prepared transactions", "XA RECOVER").await?;
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: format!("transaction {}", row.into_iter().nth(3).flatten().unwrap_or_default()),
        why: "is prepared (XA) and neither committed nor rolled back".to_owned(),
        remedy: "XA COMMIT or XA ROLLBACK it".to_owned(),
    };
    Ok(rows.into_iter().take(NAMED).map(blocker).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_at_the_end_is_seen() {
        for (text, ends) in [
            ("RETURN x -- the end", true),
            ("RETURN x # the end", true),
            ("RETURN x --", true),
            ("RETURN x -- the end\n", false),
            ("RETURN x /* the # end */", false),
            ("RETURN CONCAT('#', x, \"-- \", `# y`)", false),
            ("RETURN 'it''s # one'", false),
            ("RETURN 'a\\'#'", false),
            ("RETURN x--y", false),
            ("BEGIN\n  -- a comment; with 'one quote\nEND", false),
            ("", false),
        ] {
            assert_eq!(ends_in_a_comment(text), ends, "{text}");
        }
    }
}

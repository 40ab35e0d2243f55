//! Default values of columns of bytes (BINARY, VARBINARY), by what they are: some versions print `'a'`, later ones
//! `x'61'`. `information_schema` loses the bytes that are no text; the table's own description has them all.
//!
//! # If we die here
//! It only reads.

use std::fmt::Write as _;

use crate::engines::Error;
use crate::engines::mariadb::connection::{Client, name};

/// Whether a column of this type has such a default.
pub fn is_of_bytes(column_type: &str) -> bool {
    column_type.starts_with("binary(") || column_type.starts_with("varbinary(")
}

/// The descriptions of tables as the server has them, the last one kept: columns come table by table.
#[derive(Default)]
pub struct Described {
    last: Option<(String, String, Vec<u8>)>,
}

impl Described {
    /// The default of a column of bytes, in hexadecimal digits where it is a literal; `said` is what
    /// `information_schema` says of it.
    pub async fn told(
        &mut self,
        client: &mut Client,
        (schema, table, column): (&str, &str, &str),
        said: &str,
    ) -> Result<String, Error> {
        let Some(bytes) = literal(said.as_bytes()).filter(|(_, rest)| rest.is_empty()) else {
            return Ok(said.to_owned());
        };
        // A byte that is no text is told as a question mark.
        let exact = match said.starts_with('\'') && said.contains('?') {
            true => of_column(self.describe(client, schema, table).await?, column),
            false => None,
        };
        Ok(digits(&exact.unwrap_or(bytes.0)))
    }

    async fn describe(&mut self, client: &mut Client, schema: &str, table: &str) -> Result<&[u8], Error> {
        let is_last = self.last.as_ref().is_some_and(|(of, named, _)| of == schema && named == table);
        if !is_last {
            client.run("read texts as they are", "SET SESSION character_set_results=binary").await?;
            let show = format!("SHOW CREATE TABLE {}.{}", name(schema), name(table));
            let shown = client.bytes("read a table's definition", &show).await;
            client
                .run("read texts in our character set", "SET SESSION character_set_results=utf8mb4")
                .await?;
            let text = match shown {
                Ok(rows) => rows.into_iter().next().and_then(|row| row.into_iter().nth(1).flatten()),
                // It is gone by now, or cannot be opened: the other side tells.
                Err(Error::Refused { .. }) => None,
                Err(error) => return Err(error),
            };
            self.last = Some((schema.to_owned(), table.to_owned(), text.unwrap_or_default()));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, _, text)| text.as_slice()))
    }
}

fn digits(bytes: &[u8]) -> String {
    let mut text = String::from("x'");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\'');
    text
}

/// The bytes of the literal that a text begins with (`'..'` or `x'..'`), and what follows it.
fn literal(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"x'") {
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        let (digits, rest) = rest.split_at_checked(end)?;
        let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        return Some((pairs.collect::<Option<_>>()?, rest.get(1..)?));
    }
    text.strip_prefix(b"'").and_then(|rest| unquoted(rest, b'\''))
}

/// What stands before the closing quote, and what follows that; in names a backslash is one.
fn unquoted(text: &[u8], quote: u8) -> Option<(Vec<u8>, &[u8])> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    loop {
        rest = match rest {
            [a, b, after @ ..] if *a == quote && *b == quote => {
                bytes.push(quote);
                after
            }
            [a, after @ ..] if *a == quote => return Some((bytes, after)),
            [b'\\', escaped, after @ ..] if quote == b'\'' => {
                bytes.push(match escaped {
                    b'0' => 0,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'Z' => 26,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

/// The literal that is a column's default, in the text of `SHOW CREATE TABLE`: a column's line begins with its name.
fn of_column(text: &[u8], column: &str) -> Option<Vec<u8>> {
    const LINE: &[u8] = b"\n  `";
    const DEFAULT: &[u8] = b" DEFAULT ";
    let (mut rest, mut is_columns) = (text, false);
    loop {
        rest = match rest {
            _ if rest.starts_with(LINE) => {
                let (named, after) = unquoted(rest.get(LINE.len()..)?, b'`')?;
                is_columns = named == column.as_bytes();
                after
            }
            _ if is_columns && rest.starts_with(DEFAULT) => {
                return literal(rest.get(DEFAULT.len()..)?).map(|(bytes, _)| bytes);
            }
            [quote @ (b'\'' | b'`'), after @ ..] => unquoted(after, *quote)?.1,
            [_, after @ ..] => after,
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_its_bytes_however_it_is_printed() {
        for (text, bytes) in [
            ("'a'", Some(&b"a"[..])),
            ("x'61'", Some(b"a")),
            ("''", Some(b"")),
            ("x''", Some(b"")),
            (r"'it''s \\ \0\n'", Some(b"it's \\ \0\n")),
            ("'a", None),
            ("x'6g'", None),
            ("concat('a')", None),
            ("NULL", None),
        ] {
            assert_eq!(literal(text.as_bytes()).map(|(bytes, _)| bytes).as_deref(), bytes, "{text}");
        }
        assert_eq!(digits(b"\x00\xff"), "x'00ff'");
    }

    #[test]
    fn a_columns_default_is_found_in_its_tables_text() {
        let text = b"CREATE TABLE `t` (\n  `a` binary(2) DEFAULT '\\0\xff' COMMENT ' DEFAULT ''x''',\n  `b\n  ``c` varbinary(9) \
                     NOT NULL DEFAULT 'it''s\xf0',\n  `c` varchar(9) COMMENT '\n  `a` DEFAULT ''q''',\n  `d` varbinary(9) \
                     DEFAULT concat('a'),\n  PRIMARY KEY (`a`)\n) ENGINE=InnoDB";
        for (column, bytes) in [
            ("a", Some(&b"\0\xff"[..])),
            ("b\n  `c", Some(b"it's\xf0")),
            ("c", None),
            ("d", None),
            ("e", None),
        ] {
            assert_eq!(of_column(text, column).as_deref(), bytes, "{column}");
        }
    }
}

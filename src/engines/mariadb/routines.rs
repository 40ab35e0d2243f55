//! Where a candidate's routines are while it follows: nowhere.
//!
//! What a candidate applies has every right there is. A view that calls a function runs it when it is made (see
//! [`definitions`](super::definitions)), so that a tenant who makes one on the source would run a function of its own
//! with every right on the candidate. So the table of all routines has another name as long as a candidate follows:
//! nothing can be called, and none can be made. A routine that is made, changed or dropped on the source meanwhile, or a
//! view that calls one, is not applied: the candidate stops there and says so.
//!
//! # If we die here
//! The table keeps the name that it has. It is named anew before anything is applied, and has its own name again
//! before the candidate serves.

use crate::engines::Error;
use crate::engines::mariadb::connection::Client;

/// Where the server looks for routines.
const TABLE: &str = "mysql.proc";

/// Where they are meanwhile.
const HIDDEN: &str = "mysql.coffer_proc";

/// Whether they are hidden.
async fn are_hidden(client: &mut Client) -> Result<bool, Error> {
    let sql = "SHOW TABLES FROM mysql LIKE 'coffer_proc'";
    Ok(!client.rows("look where the routines are", sql).await?.is_empty())
}

/// The table that they are in now.
pub async fn table(client: &mut Client) -> Result<&'static str, Error> {
    Ok(if are_hidden(client).await? { HIDDEN } else { TABLE })
}

/// Hides them. The client has left the binary log out.
pub async fn hide(client: &mut Client) -> Result<(), Error> {
    if are_hidden(client).await? {
        return Ok(());
    }
    client.run("hide the routines", &format!("RENAME TABLE {TABLE} TO {HIDDEN}")).await
}

/// Has them back. The client has left the binary log out.
pub async fn reveal(client: &mut Client) -> Result<(), Error> {
    if !are_hidden(client).await? {
        return Ok(());
    }
    client.run("have the routines back", &format!("RENAME TABLE {HIDDEN} TO {TABLE}")).await
}

/// What a candidate says when it met what it cannot apply because of that, in the tenant's words.
pub fn explained(text: &str) -> String {
    if text.contains(TABLE) || text.contains("mysql/proc") {
        format!(
            "a routine, or a view that calls one, was made, changed or dropped during the upgrade ({text})"
        )
    } else {
        text.to_owned()
    }
}

//! System accounts, found by name. Only local ones: set-up makes them with `useradd --system`.

use std::io;

/// User id and group id of the user `name`.
///
/// # Errors
/// When `/etc/passwd` cannot be read.
pub fn find_user(name: &str) -> io::Result<Option<(u32, u32)>> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    Ok(line_of(&text, name).and_then(|line| {
        let mut ids = line.split(':').skip(2).map_while(|field| field.parse().ok());
        Some((ids.next()?, ids.next()?))
    }))
}

/// The group id of the group `name`.
///
/// # Errors
/// When `/etc/group` cannot be read.
pub fn find_group(name: &str) -> io::Result<Option<u32>> {
    let text = std::fs::read_to_string("/etc/group")?;
    Ok(line_of(&text, name).and_then(|line| line.split(':').nth(2)?.parse().ok()))
}

fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.split(':').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_and_a_stranger_is_not() {
        assert_eq!(find_user("root").unwrap(), Some((0, 0)));
        assert_eq!(find_group("root").unwrap(), Some(0));
        assert_eq!(find_user("no such user").unwrap(), None);
    }
}

//! Who asks.

use crate::domain::ids::ProjectId;

/// What the caller's roles allow, from least to most. `None` of the known roles is no caller at all (403).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `reader`, `dbaas:observer`, `observer`: looks.
    Reader,
    /// `dbaas:creator`: a reader who may create and detach.
    Creator,
    /// `member`, `dbaas:admin`: everything on the project's own resources.
    Member,
    /// `admin`: everything, in every project, through its own project's path.
    Admin,
}

impl Level {
    /// The level that `roles` give together: the most permissive wins.
    pub fn of_roles<S: AsRef<str>>(roles: &[S]) -> Option<Self> {
        roles
            .iter()
            .filter_map(|role| match role.as_ref() {
                "admin" => Some(Self::Admin),
                "member" | "dbaas:admin" | "identity:user-admin" => Some(Self::Member),
                "dbaas:creator" => Some(Self::Creator),
                "reader" | "observer" | "dbaas:observer" => Some(Self::Reader),
                _ => None,
            })
            .max()
    }
}

/// An authenticated caller, scoped to one project.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user's id.
    pub user: String,
    /// The project that the token is scoped to.
    pub project: ProjectId,
    /// What the token's roles allow; `None` when it holds no role that we know.
    pub level: Option<Level>,
}

impl Caller {
    /// Whether the caller sees every project's resources.
    pub fn is_admin(&self) -> bool {
        self.level == Some(Level::Admin)
    }

    /// Whether a resource of `owner` exists for this caller.
    pub fn sees(&self, owner: &ProjectId) -> bool {
        self.is_admin() || self.project == *owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_permissive_role_wins() {
        for (roles, level) in [
            (&["reader"][..], Some(Level::Reader)),
            (&["reader", "member"], Some(Level::Member)),
            (&["dbaas:observer", "dbaas:creator"], Some(Level::Creator)),
            (&["dbaas:admin"], Some(Level::Member)),
            (&["member", "admin", "reader"], Some(Level::Admin)),
            (&["swiftoperator"], None),
            (&[], None),
        ] {
            assert_eq!(Level::of_roles(roles), level, "{roles:?}");
        }
    }
}

//! Users, and how a request says which one it is.

use std::collections::BTreeMap;

/// Members may do everything, whatever the roles say.
pub const MASTERS: &str = "system:masters";
/// Everybody with credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everybody without.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// What the user name of a ServiceAccount begins with.
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Group of all ServiceAccounts; with a namespace behind it, of that namespace's.
const ACCOUNT_GROUP: &str = "system:serviceaccounts";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// User name, for example `system:admin`.
    pub name: String,
    /// Uid; only ServiceAccounts have one.
    pub uid: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// More facts about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with credentials, in some groups.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|g| g == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self {
            name: name.into(),
            groups,
            ..Self::default()
        }
    }

    /// The user of in-process clients: may do everything.
    pub fn admin() -> Self {
        Self::new("system:admin", [MASTERS.to_owned()])
    }

    /// Somebody without credentials.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..Self::default()
        }
    }

    /// A ServiceAccount.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [ACCOUNT_GROUP.into(), format!("{ACCOUNT_GROUP}:{namespace}")];
        Self::new(format!("{ACCOUNT_PREFIX}{namespace}:{name}"), groups)
    }

    /// True for somebody without credentials.
    pub fn is_anonymous(&self) -> bool {
        self.groups.iter().any(|g| g == UNAUTHENTICATED)
    }

    /// True for a member of a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// Namespace and name in the user name of a ServiceAccount.
pub fn account_of(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')
}

/// What a request says about its sender, before it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Known from elsewhere: an in-process client, or the owner of a verified certificate.
    Known(User),
    /// Whoever this bearer token belongs to.
    Token(String),
    /// Nobody in particular.
    Nobody,
}

/// The `Impersonate-*` headers of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Impersonation {
    /// Name of the user to act as.
    pub user: String,
    /// Uid of the user to act as.
    pub uid: String,
    /// Groups to act in.
    pub groups: Vec<String>,
    /// Facts to claim.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// True when nobody is impersonated.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// The user the request then is.
    pub fn user(&self) -> User {
        let mut groups = self.groups.clone();
        if let (Some((namespace, _)), true) = (account_of(&self.user), groups.is_empty()) {
            groups = vec![ACCOUNT_GROUP.into(), format!("{ACCOUNT_GROUP}:{namespace}")];
        }
        let user = match self.user == User::anonymous().name {
            true => User::anonymous(),
            false => User::new(self.user.clone(), groups),
        };
        User {
            uid: self.uid.clone(),
            extra: self.extra.clone(),
            ..user
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_accounts_have_names_and_groups() {
        let user = User::service_account("ns", "robot");
        assert_eq!(account_of(&user.name), Some(("ns", "robot")));
        assert!(user.is_in("system:serviceaccounts:ns") && user.is_in(AUTHENTICATED));
        let acting = Impersonation {
            user: user.name.clone(),
            ..Impersonation::default()
        };
        assert_eq!(acting.user(), user);
        assert!(User::anonymous().is_anonymous() && !user.is_anonymous());
    }
}

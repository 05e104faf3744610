//! Who a child runs as, looked up before anything is forked.

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

/// An account of this machine, with the groups that its login would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// All its groups.
    pub groups: Vec<Gid>,
}

/// Why nobody can run as an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no such account.
    #[error("there is no user `{0}` on this machine; make one with: adduser --system --group {0}")]
    Unknown(String),
    /// The present user may not become it.
    #[error("the worker runs as `{own}` and cannot become `{wanted}`; run it as root, or leave `user` out")]
    NotRoot {
        /// Who the worker runs as.
        own: String,
        /// Who it was to become.
        wanted: String,
    },
    /// The account database cannot be read.
    #[error("user `{0}` cannot be looked up: {1}")]
    LookUp(String, nix::Error),
}

impl Account {
    /// The account that this process runs as.
    ///
    /// # Errors
    /// [`AccountError`] when the account database cannot be read.
    pub fn own() -> Result<Self, AccountError> {
        let uid = geteuid();
        match User::from_uid(uid) {
            Ok(Some(user)) => Self::of(user),
            // A container may run as a number that has no name.
            Ok(None) => Ok(Self { name: uid.to_string(), uid, gid: nix::unistd::getegid(), groups: Vec::new() }),
            Err(error) => Err(AccountError::LookUp(uid.to_string(), error)),
        }
    }

    /// The account with this name, if this process may become it.
    ///
    /// # Errors
    /// [`AccountError`] when it does not exist, or this process is not root and somebody else.
    pub fn named(name: &str) -> Result<Self, AccountError> {
        let user = User::from_name(name).map_err(|error| AccountError::LookUp(name.to_owned(), error))?;
        let user = user.ok_or_else(|| AccountError::Unknown(name.to_owned()))?;
        if !geteuid().is_root() && user.uid != geteuid() {
            return Err(AccountError::NotRoot { own: Self::own()?.name, wanted: name.to_owned() });
        }
        Self::of(user)
    }

    fn of(user: User) -> Result<Self, AccountError> {
        let failed = |error| AccountError::LookUp(user.name.clone(), error);
        let name = std::ffi::CString::new(user.name.clone()).map_err(|_| failed(nix::Error::EINVAL))?;
        let groups = getgrouplist(&name, user.gid).map_err(failed)?;
        Ok(Self { uid: user.uid, gid: user.gid, groups, name: user.name })
    }

    /// Whether it is root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.uid.is_root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_is_named_with_the_remedy() {
        let message = Account::named("no-such-user").unwrap_err().to_string();
        assert!(message.contains("`no-such-user`") && message.contains("adduser"), "{message}");
    }

    #[test]
    fn ones_own_account_can_always_be_had() {
        let own = Account::own().unwrap();
        assert_eq!(own.uid, geteuid());
    }
}

//! From a URL in `.gitmodules`, which whoever wrote the commit chose, to an address that may be fetched, and with what.
//!
//! The clone's key and token go to the clone's own host and to no other. A fork's run has neither, and reaches no other
//! host. Nothing leads to a program (`ext::`), to an option, or to a folder of this machine that the clone does not lie in.

use std::path::{Path, PathBuf};

use crate::git::Remote;

/// An address in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    scheme: Scheme,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The parts of the path, none of them empty, `.` or `..`.
    path: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https,
    Http,
    Git,
    Ssh,
    /// `host:path`, which ssh takes as relative to the user's home.
    Scp,
    File,
}

impl Scheme {
    fn is_ssh(self) -> bool {
        matches!(self, Self::Ssh | Self::Scp)
    }
}

/// How a submodule is reached.
///
/// `clone` is how its repository is, `parent` the address of the module that names it, `text` what is written there.
///
/// # Errors
/// Why it must not be.
pub(super) fn resolve(clone: &Remote, parent: &str, text: &str, from_fork: bool) -> Result<Remote, String> {
    if text.starts_with('-') || text.chars().any(char::is_control) || text.contains("::") {
        return Err(format!("{text:?} is no address that is fetched from"));
    }
    let own =
        Address::parse(&clone.address).ok_or_else(|| format!("{:?} has no submodules: it is no plain address", clone.address))?;
    let mut address = if text.starts_with("./") || text.starts_with("../") {
        Address::parse(parent).ok_or_else(|| format!("{parent:?} is no plain address"))?.joined(text)?
    } else {
        Address::parse(text)
            .ok_or_else(|| format!("{text:?} is no address that is fetched from; it may be https, ssh or relative"))?
    };
    if own.scheme == Scheme::File || address.scheme == Scheme::File {
        return of_this_machine(&own, &address, from_fork);
    }
    let same_host = own.host == address.host;
    if from_fork && !same_host {
        return Err(format!("a fork's submodules come from {}, and this one would from {}", own.host, address.host));
    }
    // Anybody can read over https what is public; and a token is for https.
    let is_default_ssh = address.scheme.is_ssh() && address.port.is_none_or(|port| port == 22);
    if same_host && is_default_ssh && (own.scheme == Scheme::Https || from_fork) {
        let port = own.port.filter(|_| own.scheme == Scheme::Https);
        address = Address { scheme: Scheme::Https, user: None, port, ..address };
    }
    let same_server = same_host && address.port_number() == own.port_number();
    let known_hosts = clone.known_hosts.clone();
    let plain = Remote { address: address.to_string(), known_hosts, ..Remote::default() };
    match address.scheme {
        Scheme::Https => Ok(Remote {
            token: clone.token.clone().filter(|_| same_server && own.scheme == Scheme::Https && !from_fork),
            ca_file: clone.ca_file.clone().filter(|_| same_server),
            ..plain
        }),
        Scheme::Ssh | Scheme::Scp if same_server && own.scheme.is_ssh() && own.user == address.user && !from_fork => {
            Ok(Remote { deploy_key: clone.deploy_key.clone(), ..plain })
        }
        Scheme::Http | Scheme::Git if same_server && own.scheme == address.scheme => Ok(plain),
        Scheme::Ssh | Scheme::Scp => {
            Err(format!("{address} is not fetched: ssh is for the user and host of the clone address alone"))
        }
        _ => Err(format!("{address} is not fetched: the connection would not be encrypted")),
    }
}

/// Root can read every repository of this machine, so only those count that lie beside the clone.
fn of_this_machine(own: &Address, address: &Address, from_fork: bool) -> Result<Remote, String> {
    if own.scheme != Scheme::File || address.scheme != Scheme::File {
        let what = if own.scheme == Scheme::File {
            "a submodule of a folder is beside it"
        } else {
            "no submodule is a folder of this machine"
        };
        return Err(format!("{address} is not fetched: {what}"));
    }
    if from_fork {
        return Err(format!("{address} is not fetched: a fork's run reads no other repository of this machine"));
    }
    let real = |path: &Path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
    let (own, asked) = (real(&own.folder())?, real(&address.folder())?);
    if !own.parent().is_some_and(|beside| asked.starts_with(beside)) {
        return Err(format!("{} is not fetched: it does not lie beside {}", asked.display(), own.display()));
    }
    Ok(Remote { address: asked.to_string_lossy().into_owned(), ..Remote::default() })
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let schemes = [
            ("https", Scheme::Https),
            ("http", Scheme::Http),
            ("git", Scheme::Git),
            ("ssh", Scheme::Ssh),
            ("file", Scheme::File),
        ];
        let (scheme, authority, path) = match text.split_once("://") {
            Some((name, rest)) => {
                let (_, scheme) = schemes.into_iter().find(|(known, _)| *known == name)?;
                let (authority, path) = rest.split_once('/')?;
                (scheme, authority, path)
            }
            None if text.starts_with('/') => (Scheme::File, "", text),
            None => {
                let (authority, path) = text.split_once(':').filter(|(authority, _)| !authority.contains('/'))?;
                // An absolute path is that of an ssh URL.
                (if path.starts_with('/') { Scheme::Ssh } else { Scheme::Scp }, authority, path)
            }
        };
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        let (host, port) = match server.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (server, None),
        };
        let host_is_plain =
            host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) && !host.starts_with(['-', '.']);
        let user_is_plain = user.is_none_or(|user| {
            !user.is_empty()
                && !user.starts_with('-')
                && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
        // A user of a web server would come with a password, and neither is ours to send.
        let user_fits = user.is_none() || matches!(scheme, Scheme::Ssh | Scheme::Scp);
        let is_whole = (scheme == Scheme::File) == host.is_empty();
        if !(host_is_plain && user_is_plain && is_whole && (user_fits || scheme == Scheme::Https)) {
            return None;
        }
        let user = user.filter(|_| user_fits).map(str::to_owned);
        let address = Self { scheme, user, host: host.to_ascii_lowercase(), port, path: Vec::new() };
        address.joined(path).ok().filter(|address| !address.path.is_empty())
    }

    /// This address, gone on from by a path.
    fn joined(mut self, path: &str) -> Result<Self, String> {
        let written = self.clone();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    self.path.pop().ok_or_else(|| format!("{path:?} leads out of {written}"))?;
                }
                // `%2e` and the like: what the server makes of it is not what is checked here.
                part if part.starts_with('-')
                    || part.contains(['\\', '?', '#'])
                    || part.to_ascii_lowercase().contains("%2")
                    || part.contains("%0") =>
                {
                    return Err(format!("{path:?} is not a plain path"));
                }
                part => self.path.push(part.to_owned()),
            }
        }
        Ok(self)
    }

    fn port_number(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
            Scheme::Git => 9418,
            Scheme::Ssh | Scheme::Scp => 22,
            Scheme::File => 0,
        })
    }

    fn folder(&self) -> PathBuf {
        Path::new("/").join(self.path.join("/"))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let (host, path) = (&self.host, self.path.join("/"));
        match self.scheme {
            Scheme::Https => write!(f, "https://{user}{host}{port}/{path}"),
            Scheme::Http => write!(f, "http://{user}{host}{port}/{path}"),
            Scheme::Git => write!(f, "git://{user}{host}{port}/{path}"),
            Scheme::Ssh => write!(f, "ssh://{user}{host}{port}/{path}"),
            Scheme::Scp => write!(f, "{user}{host}:{path}"),
            Scheme::File => write!(f, "/{path}"),
        }
    }
}

#[cfg(test)]
mod tests;

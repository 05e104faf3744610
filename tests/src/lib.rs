//! What the end-to-end tests share: the real programs, and the real servers around them.
pub mod booted; // a real machine with systemd, and Hookspool on it
pub mod curl; // what anybody posts with
pub mod example; // the sources that are shipped as examples
pub mod exim; // a real mail server
pub mod git_https; // a real git server with TLS and a token
pub mod nginx; // a real web server with TLS
pub mod programs; // the programs under test, built once
pub mod receiver; // the real receiver, started and stopped
pub mod recordings; // what forges really sent, and what was reviewed of it
pub mod registry; // a real Docker registry
pub mod server; // a whole server: forge, receiver, worker
pub mod sshd; // a real sshd

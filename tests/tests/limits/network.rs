//! `network = false`: a step reaches nobody but itself.

use std::net::TcpListener;

use hookspool_tests::server::{Server, is_root};

use super::{failed, job, run};

/// Listens on the loopback device, connects, and hears itself.
const TALK: &str = "use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalAddr => q(127.0.0.1), Listen => 1) or die; \
    my $c = IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => $l->sockport) or die; my $s = $l->accept; \
    print $s qq(hello\\n); close $s; print <$c>;";

#[test]
fn a_step_without_network_reaches_nobody_and_its_own_loopback_works() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The listener takes the connection without anybody's accepting it.
    let connect =
        format!("perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => q({address}), Timeout => 20) or die qq($!\\\\n)'");
    let jobs = job(&format!(
        "network = false\nbuild = \"perl -e '{TALK}'; sed 1,2d /proc/net/dev | cut -d: -f1 >$OUT/devices\"\n\
         test = {{ run = \"{connect} && echo reached >$OUT/with\", network = true }}\ndeploy = \"{connect}\"",
        TALK = TALK.replace("\\n", "\\\\n")
    ));
    let server = Server::new(&jobs);
    run(&server);
    assert!(server.log(1).contains("\nhello\n"), "{}", server.log(1));
    assert_eq!(server.written("devices").as_deref().map(str::trim), Some("lo"));
    assert_eq!(server.written("with").as_deref(), Some("reached"), "{}", server.log(1));
    assert!(server.outcome(1).1.starts_with("deploy exited with status"), "{:?}\n{}", server.outcome(1), server.log(1));
    assert!(server.log(1).contains("Connection refused"), "{}", server.log(1));
    assert!(server.log(1).contains("build: as user daemon, at most 1 h, without network"), "{}", server.log(1));
}

#[test]
fn a_worker_that_is_not_root_does_not_start_what_must_have_no_network() {
    if is_root() {
        // `elsewhere` has a worker that is not root.
        return;
    }
    let server = Server::new(&job("network = false\nbuild = \"touch $OUT/ran\""));
    run(&server);
    assert_eq!(
        server.outcome(1),
        failed("build could not start: network = false needs a worker that runs as root; run it as root, or leave that out")
    );
    assert!(!server.out("ran").exists());
}

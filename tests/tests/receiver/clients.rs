//! Who is let in, and who has to wait: the networks of a source, and the budget of refusals of each client.

use std::net::Ipv4Addr;

use hookspool_tests::receiver::{Answer, Installation, Post, RunningReceiver};

const FORGE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 6, 6, 6);

/// Refusals at once, as README.md says.
const BURST: usize = 60;

fn post_from(receiver: &RunningReceiver, source: Ipv4Addr, post: &Post) -> Answer {
    let mut connection = receiver.connect_from(source).unwrap();
    connection.send(&post.bytes()).unwrap();
    connection.answer().unwrap()
}

fn forged() -> Post {
    Post::push("master", 666).with_body("{}")
}

/// The statuses of `count` forged deliveries.
fn flood(receiver: &RunningReceiver, source: Ipv4Addr, count: usize) -> Vec<u16> {
    (0..count).map(|_| post_from(receiver, source, &forged()).status).collect()
}

#[test]
fn a_source_takes_nothing_from_outside_its_networks_and_reads_no_body() {
    let installation = Installation::new().unwrap();
    installation.add_to_source(r#"allow_from = ["192.30.252.0/22", "127.0.0.0/24"]"#).unwrap();
    let receiver = installation.start().unwrap();
    let mut connection = receiver.connect_from(STRANGER).unwrap();
    // Of the body nothing is sent, and the answer comes all the same.
    connection.send(&Post::push("master", 1).head(1000)).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"status":"forbidden"}"#));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(installation.records().unwrap().len(), 0);
    assert_eq!(post_from(&receiver, FORGE, &Post::push("master", 1)).status, 202);
}

#[test]
fn behind_a_unix_socket_it_is_the_client_that_must_be_in_the_networks_and_nobody_is_in_none() {
    let installation = Installation::new().unwrap();
    let folder = installation.path().join("run");
    std::fs::create_dir(&folder).unwrap();
    installation.give_to_user(&folder).unwrap();
    installation.write_config(&format!("unix:{}/receiver.sock", folder.display()), "").unwrap();
    installation.add_to_source(r#"allow_from = ["192.30.252.0/22"]"#).unwrap();
    let receiver = installation.start().unwrap();
    let status = |hops: &str| receiver.post(&Post::push("master", 1).and("x-forwarded-for", hops)).unwrap().status;
    assert_eq!(receiver.post(&Post::push("master", 1)).unwrap().status, 403);
    assert_eq!(status("unknown"), 403);
    assert_eq!(status("192.30.252.1, 203.0.113.9"), 403);
    assert_eq!(status("203.0.113.9, 192.30.252.1"), 202);
}

#[test]
fn who_is_refused_again_and_again_has_to_wait_and_nobody_else_has() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let statuses = flood(&receiver, STRANGER, 2 * BURST);
    assert!(statuses[..BURST].iter().all(|status| *status == 401), "{statuses:?}");
    assert!(statuses[BURST..].contains(&429), "{statuses:?}");
    let answer = (0..BURST).map(|_| post_from(&receiver, STRANGER, &forged())).find(|answer| answer.status == 429).unwrap();
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("60"), Some("close")));
    assert_eq!(answer.body, r#"{"status":"too_many"}"#);
    assert_eq!(post_from(&receiver, FORGE, &Post::push("master", 1)).status, 202);
    // Health is asked by whoever watches, from wherever.
    let mut connection = receiver.connect_from(STRANGER).unwrap();
    connection.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
}

#[test]
fn a_delivery_from_the_address_of_a_flood_is_accepted_all_the_same() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let is_over = || post_from(&receiver, STRANGER, &forged()).status == 429;
    assert!((0..4 * BURST).any(|_| is_over()));
    let genuine = Post::push("master", 1);
    // Only what is small and says so is looked at.
    let mut chunked = receiver.connect_from(STRANGER).unwrap();
    let head = String::from_utf8(genuine.head(0)).unwrap().replace("content-length: 0", "transfer-encoding: chunked");
    chunked.send(head.as_bytes()).unwrap();
    assert_eq!(chunked.answer().unwrap().status, 429);
    assert_eq!(post_from(&receiver, STRANGER, &genuine).status, 202);
    receiver.stop().unwrap();
    let log = installation.log().unwrap();
    assert!(log.contains(": accepted") && !log.contains("too_many"), "a flood fills no log: {log}");
}

#[test]
fn heads_and_bodies_that_are_cut_off_are_held_against_a_client_too() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    let bytes = Post::push("master", 1).bytes();
    for end in [40, bytes.len() - 1].into_iter().cycle().take(2 * BURST) {
        let mut connection = receiver.connect_from(STRANGER).unwrap();
        connection.send(&bytes[..end]).unwrap();
        connection.finish().unwrap();
        // It is closed without an answer, or with one that says that it has to wait.
        assert!(connection.answer().map_or(true, |answer| [400, 429].contains(&answer.status)));
    }
    let statuses = flood(&receiver, STRANGER, BURST);
    assert!(statuses[1..].contains(&429), "{statuses:?}");
}

#[test]
fn who_had_a_delivery_accepted_is_never_limited() {
    let installation = Installation::new().unwrap();
    let receiver = installation.start().unwrap();
    assert_eq!(post_from(&receiver, FORGE, &Post::push("master", 1)).status, 202);
    assert!(flood(&receiver, FORGE, 3 * BURST).iter().all(|status| *status == 401));
    assert_eq!(post_from(&receiver, FORGE, &Post::push("master", 2)).status, 202);
}

#[test]
fn who_is_in_a_sources_networks_is_never_limited_there() {
    let installation = Installation::new().unwrap();
    installation.add_to_source(r#"allow_from = "127.0.0.2""#).unwrap();
    let receiver = installation.start().unwrap();
    // Anybody can make a forge send what is not for us.
    assert!(flood(&receiver, FORGE, 3 * BURST).iter().all(|status| *status == 401));
    assert_eq!(post_from(&receiver, FORGE, &Post::push("master", 1)).status, 202);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_budget_and_the_proxy_has_none() {
    let installation = Installation::new().unwrap();
    installation.write_config("127.0.0.1:0", "trusted_proxies = \"127.0.0.2\"\nproxy_header = \"Forwarded\"").unwrap();
    let receiver = installation.start().unwrap();
    let of = |client: &str, post: Post| post_from(&receiver, FORGE, &post.and("forwarded", format!("for={client}"))).status;
    let flooded: Vec<_> = (0..3 * BURST).map(|_| of("\"[2001:db8::6]:666\"", forged())).collect();
    assert!(flooded.contains(&429), "{flooded:?}");
    assert!(flood(&receiver, FORGE, 3 * BURST).iter().all(|status| *status == 401));
    assert_eq!(of("192.0.2.1", Post::push("master", 1)), 202);
    receiver.stop().unwrap();
    assert!(installation.log().unwrap().contains("from 192.0.2.1: "));
}

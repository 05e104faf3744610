//! From a delivery to the first line of its script, on a booted machine: by the path unit and a transient unit, beside the bare
//! chain of the same units with shell scripts that do nothing else.
//!
//! `cargo bench -p hookspool-tests --bench arrival`, as root. It builds the release programs itself. Absolute figures drift with
//! the machine; the ratio of one run holds.

use hookspool_tests::booted::{Installed, Machine};

/// Rounds of both, in turn.
const ROUNDS: usize = 100;

/// The first line of the script tells the time.
const JOB: &str = "[[job]]\nname = \"bench\"\nwhen = [{ event = \"push\" }]\nbuild = \"date +%s.%N >/srv/out/began.new; mv /srv/out/began.new /srv/out/began\"\n\
    lane = { on_new = \"queue\" }\nnotify = { on = \"failure\" }\n";

/// The bare chain: a file wakes a path unit, whose service has systemd run a script that tells the time.
const BARE: &str = r#"
cat >/usr/local/bin/bare <<'END'
#!/bin/sh
rm /run/bare/wake
exec systemd-run --quiet --collect /bin/sh -c 'date +%s.%N >/srv/out/began.new; mv /srv/out/began.new /srv/out/began'
END
chmod 755 /usr/local/bin/bare
mkdir -p /run/bare
printf '[Path]\nPathExists=/run/bare/wake\n' >/etc/systemd/system/bare.path
printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/usr/local/bin/bare\n' >/etc/systemd/system/bare.service
systemctl daemon-reload
systemctl stop hookspool-worker.timer
systemctl start bare.path
"#;

/// Prints a line for each round: how long the bare chain took, and how long Hookspool, in seconds. Posts go through bash's own
/// socket, so that no client has to be started in the time that is measured.
const MEASURE: &str = r#"
secret=$(cat /etc/hookspool/secrets/receiver/github-webhook)
sha=$(git -C /srv/forge/shop.git rev-parse master)
began() { while ! test -e /srv/out/began; do :; done; cat /srv/out/began; rm -f /srv/out/began; }
settled() { while systemctl is-active --quiet hookspool-worker.service bare.service || ls /run/systemd/transient/*.service >/dev/null 2>&1; do :; done; }
rm -f /srv/out/began
for round in $(seq ROUNDS); do
    start=$EPOCHREALTIME
    touch /run/bare/wake
    bare="$start $(began)"
    settled
    body='{"ref":"refs/heads/master","before":"1111111111111111111111111111111111111111","after":"'$sha'","round":'$round',"repository":{"full_name":"octo/shop","html_url":"https://github.com/octo/shop"},"commits":[]}'
    signature=$(printf %s "$body" | openssl dgst -sha256 -hmac "$secret" | sed 's/.* //')
    head="POST /hooks/github HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: bench-$round\r\nX-Hub-Signature-256: sha256=$signature\r\nContent-Length: ${#body}\r\nConnection: close\r\n\r\n"
    start=$EPOCHREALTIME
    exec 3<>/dev/tcp/127.0.0.1/8071
    printf "$head%s" "$body" >&3
    read -r _ status _ <&3
    exec 3<&-
    test "$status" = 202 || { echo "answered $status" >&2; exit 1; }
    echo "$bare $start $(began)"
    settled
done
"#;

/// The median and the 99th of a hundred, in milliseconds.
fn milliseconds(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() - 1) * share / 100] * 1000.0;
    (at(50), at(99))
}

fn main() {
    let Some(machine) = Machine::boot() else { return };
    let server = Installed::on(machine, JOB, "");
    server.machine.run(BARE);
    let script = MEASURE.replace("ROUNDS", &ROUNDS.to_string());
    std::fs::write(server.machine.path("/root/measure"), script).expect("a file can be written");
    let said = server.machine.run("bash -eu /root/measure");
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for line in said.lines() {
        let times: Vec<f64> = line.split(' ').map(|time| time.parse().expect("a time")).collect();
        bare.push(times[1] - times[0]);
        ours.push(times[3] - times[2]);
    }
    let (bare, ours) = (milliseconds(bare), milliseconds(ours));
    println!("delivery to the script's first line   p50 {:6.1} ms  p99 {:6.1} ms", ours.0, ours.1);
    println!("the bare chain of units               p50 {:6.1} ms  p99 {:6.1} ms", bare.0, bare.1);
    println!("ratio of the medians: {:.2} (aim: at most 1.5)", ours.0 / bare.0);
}

//! Deliveries as they came, for the operator. [`reader`] is the child without privileges that opens the inbox; [`Inbox`]
//! is the end that listens to it, and believes nothing of what it says.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use hookspool_common::clock::Instant;
use hookspool_common::config::Config;
use hookspool_common::headers::Headers;
use hookspool_common::inbox::{self, Extent, Kept, MAX_BODY_BYTES, Query, RawLine, SqliteRawReader};
use hookspool_common::record::{InboxIdentity, Record};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::view::{second, shown};
use crate::receiver_side::{Patient, ReceiverSide, read_line};

/// The hidden command that the child is started with.
pub(super) const READER: &str = "read-inbox";

/// One line of the child's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    /// The first: which inbox it reads.
    Inbox(Opened),
    /// A delivery; its body follows.
    Delivery(Box<RawLine>),
    /// The last, when something went wrong. It has no other way to say it: what another user writes to the operator's
    /// terminal, the terminal obeys.
    Failed(String),
}

/// The inbox that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opened {
    pub(super) identity: InboxIdentity,
    pub(super) extent: Extent,
}

impl Opened {
    /// What is missing of the time since then, in words.
    pub(super) fn missing(&self, since: Instant) -> Option<String> {
        let newest = self.extent.newest_pruned_at.filter(|_| !self.extent.covers(since));
        newest.map(|at| format!("what came until {} was removed when its time was over", second(at)))
    }
}

/// A delivery as it came.
pub(super) struct Stored {
    /// What was read and answered when it came.
    pub(super) record: Record,
    /// Its headers and body, or why they are not there.
    pub(super) raw: Result<Raw, Gone>,
}

/// What a forge sent, without its signature.
pub(super) struct Raw {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// Why headers and body are not there, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Gone(String);

impl Raw {
    /// The headers as a forge's parser reads them.
    pub(super) fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        self.headers.iter().for_each(|(name, value)| headers.add(name, value));
        headers
    }
}

/// Reads what the inbox holds of `query`, one delivery at a time. Gives what inbox that was; `None` while no receiver
/// has ever run.
pub(super) fn read(
    config: &Config,
    query: &Query,
    mut each: impl FnMut(Stored) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Opened>> {
    let query = serde_json::to_string(query)?;
    let mut child = ReceiverSide::start("hookspool", &config.receiver.user, |command| {
        // What it writes to the terminal, the terminal would obey.
        command.arg(READER).arg(&config.paths.spool).arg(&query).stderr(std::process::Stdio::null());
    })?;
    let heard = listen(child.said(), &mut each);
    let succeeded = child.succeeded()?;
    let opened = heard?;
    succeeded.map_err(|status| anyhow!("the child that reads the inbox failed ({status})"))?;
    Ok(opened)
}

fn listen<P: Read + AsFd>(
    said: &mut BufReader<Patient<P>>,
    each: &mut dyn FnMut(Stored) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Opened>> {
    let opened = match next(said)? {
        None => return Ok(None),
        Some(Said::Inbox(opened)) => opened,
        Some(Said::Delivery(_) | Said::Failed(_)) => bail!("the child that reads the inbox does not say which"),
    };
    while let Some(line) = next(said)? {
        let Said::Delivery(line) = line else { bail!("the child that reads the inbox begins anew") };
        let raw = raw(said, line.kept)?;
        each(Stored { record: line.record, raw })?;
        said.get_mut().begin_anew();
    }
    Ok(Some(opened))
}

/// Reads all that the inbox holds of `query` into memory.
pub(super) fn read_all(config: &Config, query: &Query) -> anyhow::Result<(Option<Opened>, Vec<Stored>)> {
    let mut all = Vec::new();
    let opened = read(config, query, |stored| {
        all.push(stored);
        Ok(())
    })?;
    Ok((opened, all))
}

fn next(said: &mut impl BufRead) -> anyhow::Result<Option<Said>> {
    let Some(line) = read_line(said)? else { return Ok(None) };
    match serde_json::from_str(&line).context("a line of the child that reads the inbox is none of its")? {
        Said::Failed(why) => bail!("cannot read the inbox: {}", shown(&why)),
        said => Ok(Some(said)),
    }
}

fn raw(said: &mut impl Read, kept: Kept) -> anyhow::Result<Result<Raw, Gone>> {
    match kept {
        Kept::Removed => Ok(Err(Gone("its headers and body were removed when their time was over".to_owned()))),
        Kept::Unreadable { reason } => Ok(Err(Gone(reason))),
        Kept::Whole { headers, body_bytes } => {
            ensure!(body_bytes <= MAX_BODY_BYTES, "the child that reads the inbox announces a body of {body_bytes} bytes");
            let mut body = vec![0; body_bytes];
            said.read_exact(&mut body).context("the child that reads the inbox cuts a body off")?;
            Ok(Ok(Raw { headers, body }))
        }
    }
}

/// The child's side: `hookspool read-inbox SPOOL QUERY`.
///
/// # Errors
/// When its listener does not listen; anything else is said to the listener.
pub(super) fn reader(spool: &Path, query: &str) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let read = read_into(&mut out, spool, query);
    if let Err(error) = &read
        && !error.is::<io::Error>()
    {
        say(&mut out, &Said::Failed(format!("{error:#}")))?;
    }
    out.flush()?;
    Ok(())
}

fn read_into(out: &mut impl Write, spool: &Path, query: &str) -> anyhow::Result<()> {
    ensure!(!geteuid().is_root(), "root must not read it: SQLite would run what the receiver planted in its file");
    let query: Query = serde_json::from_str(query).context("that is no query")?;
    let found = inbox::find_inbox(spool);
    let Some(inbox) = found.map_err(|error| anyhow!("cannot look for the inbox: {error}; it is the receiver's and root's"))?
    else {
        return Ok(());
    };
    let reader = SqliteRawReader::open(&inbox).with_context(|| inbox.display().to_string())?;
    say(out, &Said::Inbox(Opened { identity: reader.identity().clone(), extent: reader.extent()? }))?;
    reader.read(&query, |line, body| {
        say(out, &Said::Delivery(Box::new(line)))?;
        out.write_all(body)?;
        anyhow::Ok(())
    })
}

fn say(out: &mut impl Write, said: &Said) -> anyhow::Result<()> {
    let line = serde_json::to_string(said)?;
    writeln!(out, "{line}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver_side::PATIENCE;

    const OPENED: &str = "{\"inbox\":{\"identity\":\"0123456789abcdef0123456789abcdef\",\"extent\":{\"newest_pruned_at\":1}}}\n";

    fn delivery(kept: &str) -> String {
        let id = hookspool_common::names::DeliveryId::generate();
        format!(
            "{{\"delivery\":{{\"record\":{{\"seq\":1,\"id\":\"{id}\",\"source\":\"github\",\"provider_id\":null,\"received_at\":1,\
             \"answer\":\"ignored\",\"reason\":\"x\",\"proposals\":[]}},\"kept\":{kept}}}}}\n"
        )
    }

    /// What is heard of a child that says this: the bodies, or what is complained of.
    fn hear(text: &str) -> Result<Vec<Option<Vec<u8>>>, String> {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        let mut bodies = Vec::new();
        let mut each = |stored: Stored| {
            bodies.push(stored.raw.ok().map(|raw| raw.body));
            Ok(())
        };
        let heard = listen(&mut BufReader::new(Patient::until(reader, PATIENCE)), &mut each);
        heard.map(|_| bodies).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn bodies_follow_their_lines_and_may_hold_lines_themselves() {
        let whole = delivery("{\"state\":\"whole\",\"headers\":{},\"body_bytes\":9}");
        let removed = delivery("{\"state\":\"removed\"}");
        let heard = hear(&format!("{OPENED}{whole}{{\"a\":1}}\n\n{removed}"));
        assert_eq!(heard, Ok(vec![Some(b"{\"a\":1}\n\n".to_vec()), None]));
        assert_eq!((hear(""), hear(OPENED)), (Ok(Vec::new()), Ok(Vec::new())));
    }

    #[test]
    fn a_child_that_lies_is_not_believed() {
        let whole = |bytes: &str| delivery(&format!("{{\"state\":\"whole\",\"headers\":{{}},\"body_bytes\":{bytes}}}"));
        for (lie, complaint) in [
            (format!("{OPENED}{}short", whole("9")), "cuts a body off"),
            (format!("{OPENED}{}", whole("26214401")), "announces a body of 26214401 bytes"),
            (format!("{OPENED}{OPENED}"), "begins anew"),
            (delivery("{\"state\":\"removed\"}"), "does not say which"),
            (format!("{OPENED}{}", whole("0").replace("github", "../../x")), "none of its"),
            (format!("{OPENED}{}", whole("0").replace("\"seq\"", "\"command\":\"reboot\",\"seq\"")), "none of its"),
            (format!("{OPENED}{{\"failed\":\"no\\u001b[2J\"}}\n"), "cannot read the inbox: no\u{fffd}[2J"),
            ("reboot\n".to_owned(), "none of its"),
        ] {
            let heard = hear(&lie);
            assert!(heard.as_ref().is_err_and(|error| error.contains(complaint)), "{complaint}: {heard:?}");
        }
    }
}

//! One HTTP request, as a forge would make it.

use std::time::Duration;

use anyhow::Context;
use hookspool_common::headers::Headers;

/// How long to wait for an answer: what GitHub gives a receiver.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) fn post(url: &str, headers: &Headers, body: &[u8]) -> anyhow::Result<Answer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        // Any status is an answer, and a redirect is not followed: a forge would not either.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let mut request = agent.post(url);
    for (name, value) in headers.iter() {
        request = request.header(name, value);
    }
    let mut response = request.send(body).with_context(|| format!("cannot send to {url}; is the receiver running?"))?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().context("cannot read the answer")?;
    Ok(Answer { status, body })
}

//! Mail as it crosses the network: the worker's mailer against a real exim4, with what it must never say in the clear.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::Context;
use hookspool_common::config::{self, SmtpSecurity, Transport};
use hookspool_common::ledger::NewNotice;
use hookspool_common::secrets::Secret;
use hookspool_tests::exim::{Exim, HOST, LOGIN, PASSWORD};
use hookspool_worker::mail::{Mailer, SendError};

/// A line with a single dot, one that begins with a dot, and an end without an empty line.
const BODY: &str = ".\r\n..two\r\n\r\nThe test failed.\r\n";

fn notice(number: u32, recipient: &str) -> NewNotice {
    let message_id = format!("<hookspool-run-{number}-00@example.org>");
    let message =
        format!("From: ci@example.org\r\nTo: {recipient}\r\nSubject: run {number}\r\nMessage-ID: {message_id}\r\n\r\n{BODY}");
    NewNotice { recipient: recipient.to_owned(), sender: "ci@example.org".to_owned(), message_id, message: message.into_bytes() }
}

fn configured(transport: Transport, ca_file: Option<&Path>) -> anyhow::Result<config::Mail> {
    Ok(config::Mail {
        from: "CI <ci@example.org>".parse().map_err(anyhow::Error::msg)?,
        transport,
        password: None,
        ca_file: ca_file.map(Path::to_owned),
        allow: Vec::new(),
        fallback: None,
    })
}

fn smtp(security: SmtpSecurity, port: u16, ca_file: Option<&Path>, password: &str) -> anyhow::Result<Mailer> {
    let user = Some(LOGIN.to_owned()).filter(|_| security != SmtpSecurity::None);
    let transport = Transport::Smtp { security, host: HOST.to_owned(), port, user };
    Ok(Mailer::new(&configured(transport, ca_file)?, Some(&Secret::new(password.as_bytes().to_vec())))?)
}

fn starttls(server: &Exim) -> anyhow::Result<Mailer> {
    smtp(SmtpSecurity::StartTls, server.port(), Some(&server.certificate()), PASSWORD)
}

/// The body as it lies in the mailbox, with the line ends of the network.
fn body(mail: &str) -> Option<String> {
    mail.split_once("\n\n").map(|(_, body)| body.replace('\n', "\r\n"))
}

/// Neither this mail nor any other was sent, and none is lost.
#[track_caller]
fn assert_unavailable(sent: &Result<(), SendError>) {
    assert!(matches!(sent, Err(SendError::Unavailable(_))), "{sent:?}");
}

#[test]
fn a_mail_arrives_over_starttls_after_a_login() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    server.start()?;
    starttls(&server)?.send(&notice(1, "mona@example.org"))?;
    let mails = server.wait_for_mails("mona", 1)?;
    assert!(mails[0].contains("\nMessage-ID: <hookspool-run-1-00@example.org>\n"), "{}", mails[0]);
    // Exim says there how it got the mail: extended SMTP, secured, authenticated.
    assert!(mails[0].contains("with esmtpsa"), "{}", mails[0]);
    assert_eq!(body(&mails[0]).context("no body")?, BODY);
    Ok(())
}

#[test]
fn a_mail_arrives_over_tls_from_the_first_byte() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    server.start()?;
    let mailer = smtp(SmtpSecurity::Tls, server.tls_port(), Some(&server.certificate()), PASSWORD)?;
    mailer.send(&notice(1, "mona@example.org"))?;
    assert!(server.wait_for_mails("mona", 1)?[0].contains("with esmtpsa"));
    assert_unavailable(&smtp(SmtpSecurity::Tls, server.tls_port(), None, PASSWORD)?.send(&notice(2, "mona@example.org")));
    Ok(())
}

#[test]
fn a_wrong_password_may_be_mended() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    server.start()?;
    let mailer = smtp(SmtpSecurity::StartTls, server.port(), Some(&server.certificate()), "wrong")?;
    let sent = mailer.send(&notice(1, "mona@example.org"));
    assert_unavailable(&sent);
    assert!(!format!("{sent:?}").contains("wrong"), "{sent:?}");
    starttls(&server)?.send(&notice(1, "mona@example.org"))?;
    server.wait_for_mails("mona", 1)?;
    Ok(())
}

#[test]
fn a_recipient_that_is_refused_is_refused_for_good_and_one_that_is_deferred_is_not() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    server.start()?;
    let mailer = starttls(&server)?;
    for refused in ["nobody@example.org", "mona@elsewhere.test"] {
        let sent = mailer.send(&notice(1, refused));
        assert!(matches!(sent, Err(SendError::Permanent(_))), "{refused}: {sent:?}");
    }
    let sent = mailer.send(&notice(2, "greylisted@example.org"));
    assert!(matches!(sent, Err(SendError::Passing(_))), "{sent:?}");
    // A refusal leaves nothing behind that would keep the next mail.
    mailer.send(&notice(3, "ops@example.org"))?;
    server.wait_for_mails("ops", 1)?;
    Ok(())
}

#[test]
fn a_server_that_is_down_gets_the_mail_when_it_is_up() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    let mailer = starttls(&server)?;
    assert_unavailable(&mailer.send(&notice(1, "mona@example.org")));
    server.start()?;
    mailer.send(&notice(1, "mona@example.org"))?;
    server.wait_for_mails("mona", 1)?;
    server.stop()?;
    assert_unavailable(&mailer.send(&notice(2, "mona@example.org")));
    server.start()?;
    mailer.send(&notice(2, "mona@example.org"))?;
    server.wait_for_mails("mona", 2)?;
    Ok(())
}

#[test]
fn nothing_is_said_to_a_server_whose_certificate_is_not_trusted() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    server.start()?;
    let (port, heard) = listened_to(server.port())?;
    let sent = smtp(SmtpSecurity::StartTls, port, None, PASSWORD)?.send(&notice(1, "mona@example.org"));
    assert_unavailable(&sent);
    assert_only_greetings(&heard.recv()?);

    // The same way with trust: what is heard on the wire tells neither the login nor the mail.
    let (port, heard) = listened_to(server.port())?;
    smtp(SmtpSecurity::StartTls, port, Some(&server.certificate()), PASSWORD)?.send(&notice(2, "mona@example.org"))?;
    assert_only_greetings(&heard.recv()?);
    assert!(server.wait_for_mails("mona", 1)?[0].contains("Subject: run 2"));
    Ok(())
}

#[test]
fn nothing_is_said_to_a_server_that_has_no_tls() -> anyhow::Result<()> {
    let listener = TcpListener::bind((HOST, 0))?;
    let port = listener.local_addr()?.port();
    let server = thread::spawn(move || plain_server(&listener));
    let sent = smtp(SmtpSecurity::StartTls, port, None, PASSWORD)?.send(&notice(1, "mona@example.org"));
    assert_unavailable(&sent);
    let heard = server.join().ok().context("the server panicked")??;
    assert_only_greetings(heard.as_bytes());
    Ok(())
}

#[test]
fn a_refusal_before_the_mail_was_named_may_be_mended() -> anyhow::Result<()> {
    let listener = TcpListener::bind((HOST, 0))?;
    let port = listener.local_addr()?.port();
    let server = thread::spawn(move || -> anyhow::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"554 no mail service here\r\n")?;
        Ok(())
    });
    assert_unavailable(&smtp(SmtpSecurity::None, port, None, "")?.send(&notice(1, "mona@example.org")));
    server.join().ok().context("the server panicked")?
}

#[test]
fn a_connection_that_is_cut_within_the_mail_may_be_made_again() -> anyhow::Result<()> {
    let listener = TcpListener::bind((HOST, 0))?;
    let port = listener.local_addr()?.port();
    let server = thread::spawn(move || -> anyhow::Result<()> {
        let (stream, _) = listener.accept()?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        (&stream).write_all(b"220 x ESMTP\r\n")?;
        for answer in ["250 x", "250 ok", "250 ok", "354 go on"] {
            lines.next().context("the client hung up")??;
            (&stream).write_all(format!("{answer}\r\n").as_bytes())?;
        }
        lines.next().context("the client hung up")??;
        Ok(stream.shutdown(Shutdown::Both)?)
    });
    assert_unavailable(&smtp(SmtpSecurity::None, port, None, "")?.send(&notice(1, "mona@example.org")));
    server.join().ok().context("the server panicked")?
}

#[test]
fn a_mail_arrives_by_way_of_sendmail() -> anyhow::Result<()> {
    let Some(mut server) = Exim::prepare()? else { return Ok(()) };
    let mailer = Mailer::new(&configured(Transport::Sendmail(server.sendmail()?), None)?, None)?;
    mailer.send(&notice(1, "mona@example.org"))?;
    let mails = server.wait_for_mails("mona", 1)?;
    assert_eq!(body(&mails[0]).context("no body")?, BODY);
    assert!(server.log().contains("<= ci@example.org"), "{}", server.log());
    Ok(())
}

/// A port before another one, and all that one client says to it, once it has hung up.
fn listened_to(port: u16) -> anyhow::Result<(u16, mpsc::Receiver<Vec<u8>>)> {
    let listener = TcpListener::bind((HOST, 0))?;
    let own_port = listener.local_addr()?.port();
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || -> anyhow::Result<()> {
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect((HOST, port))?;
        let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
        let back = thread::spawn(move || {
            std::io::copy(&mut answers, &mut to_client).ok();
            // The server hung up, which the client must hear.
            to_client.shutdown(Shutdown::Write).ok();
        });
        sender.send(relayed(&client, &server))?;
        server.shutdown(Shutdown::Both).ok();
        back.join().ok();
        Ok(())
    });
    Ok((own_port, heard))
}

fn relayed(mut from: &TcpStream, mut to: &TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        heard.extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    heard
}

/// A server without TLS that would take any login; what it was told.
fn plain_server(listener: &TcpListener) -> anyhow::Result<String> {
    let (stream, _) = listener.accept()?;
    (&stream).write_all(b"220 plain.test ESMTP\r\n")?;
    let mut heard = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut heard)? > 0 {
        (&stream).write_all(b"250-plain.test\r\n250 AUTH PLAIN LOGIN\r\n")?;
    }
    Ok(heard)
}

/// In the clear there were only EHLO, STARTTLS and QUIT, and neither login nor mail anywhere.
#[track_caller]
fn assert_only_greetings(heard: &[u8]) {
    let shown = String::from_utf8_lossy(heard);
    assert!(shown.starts_with("EHLO "), "{shown}");
    let is_greeting = |line: &&[u8]| [&b"EHLO "[..], b"STARTTLS\r", b"QUIT\r"].iter().any(|greeting| line.starts_with(greeting));
    // After STARTTLS come the records of TLS, of which the first byte is 22 (RFC 8446 section 5.1).
    let clear = heard.iter().position(|byte| *byte == 22).map_or(heard, |tls| &heard[..tls]);
    for line in clear.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(is_greeting(&line), "{:?}", String::from_utf8_lossy(line));
    }
    for secret in ["AUTH", "MAIL FROM", "mona", "Subject"] {
        assert!(!heard.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} in {shown}");
    }
}

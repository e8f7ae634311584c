//! `campanile listen`: subscribes, and prints what arrives.
//!
//! Owns one line per event on standard output; everything about the connection goes to standard error. Never drops
//! an event that arrived, and never counts the protocol's own (members, subscription counts) towards `--count`. The
//! invariant: one event is one line, whatever its data hold. Next: `client/`, `target.rs`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use campanile_protocol::{ChannelKind, Secret};
use serde::Serialize;
use tokio::time::sleep;

use crate::calendar;
use crate::cli::ListenArgs;
use crate::client::{Connection, Ended, Incident, Member, Next, Obstacle, after_close, explained, visible};
use crate::target::Target;

/// Listens until it was enough: `--count`, `--seconds`, Ctrl-C, or a refusal.
///
/// # Errors
///
/// When the output cannot be written; that the reader went away is no error.
pub async fn run(
    args: &ListenArgs,
    environment: impl Iterator<Item = (String, String)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let prepared = prepare(args).and_then(|member| {
        let target = Target::find(&args.target, environment).map_err(|error| error.to_string())?;
        Ok((member, target))
    });
    let (member, target) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => {
            writeln!(err, "error: {reason}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let secret = Secret::new(target.secret.expose());
    let mut listener =
        Listener { args, target, secret, member, was_connected: false, complaint: None, refused: 0, seen: 0, out, err };
    let outcome = tokio::select! {
        outcome = listener.listen() => outcome,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
        () = pause(args.seconds) => listener.time_is_up(),
    };
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome,
    }
}

/// Sleeps so long, or for good.
async fn pause(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// Who to be, if anybody.
fn prepare(args: &ListenArgs) -> Result<Option<Member>, String> {
    let room = args.channels.iter().find(|channel| ChannelKind::of(channel).is_presence());
    if let (Some(room), None) = (room, &args.user_id) {
        return Err(format!("{room} is a presence channel: say who you are with --user-id"));
    }
    let user_info = match &args.user_info {
        Some(text) => {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(text).map_err(|error| format!("--user-info must be a JSON object: {error}"))?;
            Some(serde_json::value::to_raw_value(&object).map_err(|error| error.to_string())?)
        }
        None => None,
    };
    Ok(args.user_id.clone().map(|user_id| Member { user_id, user_info }))
}

struct Listener<'a, O, E> {
    args: &'a ListenArgs,
    target: Target,
    secret: Secret,
    member: Option<Member>,
    was_connected: bool,
    /// What was last said about having no connection.
    complaint: Option<Ended>,
    refused: usize,
    seen: u64,
    out: &'a mut O,
    err: &'a mut E,
}

impl<O: Write, E: Write> Listener<'_, O, E> {
    /// One connection after the other, as a browser would.
    async fn listen(&mut self) -> io::Result<ExitCode> {
        loop {
            let (ended, was_established) = match Connection::open(&self.target, None).await {
                Ok(connection) => match self.follow(connection).await? {
                    Followed::Enough(code) => return Ok(code),
                    Followed::Ended(ended) => (ended, true),
                },
                Err(ended) => (ended, false),
            };
            let next = match ended.obstacle() {
                // A server that has once been right is expected back, whatever is there now.
                Some(obstacle) if obstacle.is_final() && !self.was_connected => Next::GiveUp,
                _ => after_close(ended.code(), was_established),
            };
            match next {
                Next::GiveUp => {
                    writeln!(self.err, "error: {}", explained(&ended, ended.obstacle(), &self.target))?;
                    return Ok(ExitCode::FAILURE);
                }
                Next::ConnectAfter(delay) => {
                    self.complain(&ended)?;
                    sleep(delay).await;
                }
            }
        }
    }

    /// Says why there is no connection: in full the first time, and not again while nothing changes.
    fn complain(&mut self, ended: &Ended) -> io::Result<()> {
        if self.complaint.as_ref() == Some(ended) {
            return Ok(());
        }
        match self.was_connected {
            true => writeln!(self.err, "{}: {ended}; connecting again", self.target)?,
            false => {
                let explained = explained(ended, ended.obstacle(), &self.target);
                writeln!(self.err, "{explained}\n  connecting again until it works; Ctrl-C ends")?;
            }
        }
        self.complaint = Some(ended.clone());
        Ok(())
    }

    /// One connection, until it ends or it was enough.
    async fn follow(&mut self, mut connection: Connection) -> io::Result<Followed> {
        (self.refused, self.was_connected, self.complaint) = (0, true, None);
        writeln!(self.err, "connected to {} as {}", self.target, connection.socket_id())?;
        for channel in self.channels() {
            if let Err(ended) = connection.subscribe(&self.target.key, &self.secret, channel, self.member.as_ref()) {
                return Ok(Followed::Ended(ended));
            }
        }
        loop {
            match connection.next().await {
                Ok(incident) => {
                    if let Some(code) = self.show(&incident)? {
                        connection.close().await;
                        return Ok(Followed::Enough(code));
                    }
                }
                Err(ended) => return Ok(Followed::Ended(ended)),
            }
        }
    }

    /// The channels, each once.
    fn channels(&self) -> impl Iterator<Item = &str> {
        let all = &self.args.channels;
        all.iter()
            .enumerate()
            .filter(|(at, channel)| !all[..*at].contains(channel))
            .map(|(_, channel)| channel.as_str())
    }

    /// Prints it where it belongs; gives an exit code if that was enough.
    fn show(&mut self, incident: &Incident) -> io::Result<Option<ExitCode>> {
        let channel = incident.channel.as_deref().unwrap_or_default();
        match incident.event.as_str() {
            "pusher_internal:subscription_succeeded" => writeln!(self.err, "subscribed to {}", visible(channel))?,
            "pusher:subscription_error" => {
                writeln!(self.err, "error: {} was refused: {}", visible(channel), incident.complaint())?;
                // Once: every signed channel has the same key and secret.
                if self.refused == 0 && incident.data.contains("signature") {
                    writeln!(self.err, "  {}", self.target.account())?;
                    writeln!(self.err, "  hint: {}", Obstacle::WrongSecret.advice(&self.target))?;
                }
                self.refused += 1;
                if self.refused >= self.channels().count() {
                    return Ok(Some(ExitCode::FAILURE));
                }
            }
            "pusher:error" => writeln!(self.err, "error: the server says: {}", incident.complaint())?,
            name => {
                let now = SystemTime::now();
                let line = if self.args.json { json_line(incident, now) } else { text_line(incident, now) };
                writeln!(self.out, "{line}")?;
                self.out.flush()?;
                if !name.starts_with("pusher") {
                    self.seen += 1;
                }
                if self.args.count.is_some_and(|count| self.seen >= count) {
                    return Ok(Some(ExitCode::SUCCESS));
                }
            }
        }
        Ok(None)
    }

    /// The end of `--seconds`: fine, unless more was expected in that time.
    fn time_is_up(&mut self) -> io::Result<ExitCode> {
        if !self.was_connected {
            writeln!(self.err, "error: never connected to {}", self.target)?;
            return Ok(ExitCode::FAILURE);
        }
        match self.args.count {
            Some(count) if self.seen < count => {
                writeln!(self.err, "error: {} of {count} events came in time", self.seen)?;
                Ok(ExitCode::FAILURE)
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}

enum Followed {
    Enough(ExitCode),
    Ended(Ended),
}

/// For people: time, channel, event, data.
fn text_line(incident: &Incident, now: SystemTime) -> String {
    let time = rfc3339(now);
    // The day is known to whoever watches.
    let (_, clock) = time.split_once('T').unwrap_or_default();
    let channel = incident.channel.as_deref().unwrap_or("-");
    let mut line = format!("{clock}  {}  {}  {}", visible(channel), visible(&incident.event), visible(&incident.data));
    if let Some(user) = &incident.user_id {
        let _infallible = write!(line, "  from user {}", visible(user));
    }
    line
}

/// For programs. The data stay the string that they are for subscribers.
fn json_line(incident: &Incident, now: SystemTime) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        channel: Option<&'a str>,
        event: &'a str,
        data: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a str>,
    }
    let line = Line {
        time: rfc3339(now),
        channel: incident.channel.as_deref(),
        event: &incident.event,
        data: &incident.data,
        user_id: incident.user_id.as_deref(),
    };
    serde_json::to_string(&line).expect("a struct of strings is always JSON")
}

/// The time in UTC to the millisecond, as RFC 3339 writes it.
fn rfc3339(time: SystemTime) -> String {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    let (year, month, day) = calendar::date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)
    }

    fn incident() -> Incident {
        Incident {
            event: "App\\Events\\Shipped".to_owned(),
            channel: Some("orders".to_owned()),
            data: "{\"id\":7}\n\u{1b}[2J".to_owned(),
            user_id: None,
            bytes: 0,
        }
    }

    fn listen(args: ListenArgs) -> ListenArgs {
        ListenArgs { channels: vec!["a".to_owned(), "b".to_owned(), "a".to_owned()], ..args }
    }

    /// Shows these in turn; gives what was printed and the exit code that came of it.
    fn show(args: &ListenArgs, incidents: &[Incident]) -> (String, String, Option<ExitCode>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let target = Target::find(&args.target, std::iter::empty()).unwrap();
        let secret = Secret::new("app-secret");
        let mut listener = Listener {
            args,
            target,
            secret,
            member: None,
            was_connected: false,
            complaint: None,
            refused: 0,
            seen: 0,
            out: &mut out,
            err: &mut err,
        };
        let code = incidents.iter().find_map(|incident| listener.show(incident).unwrap());
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
    }

    fn protocol(event: &str, channel: &str) -> Incident {
        Incident { event: event.to_owned(), channel: Some(channel.to_owned()), data: String::new(), ..incident() }
    }

    #[test]
    fn the_time_is_right_on_leap_days_and_at_the_ends_of_years() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_799, "2000-02-29T23:59:59.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (1_735_689_600, "2025-01-01T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(rfc3339(at(seconds)), written);
        }
    }

    #[test]
    fn an_event_is_one_line_and_cannot_steer_the_terminal() {
        assert_eq!(
            text_line(&incident(), at(0)),
            "00:00:00.007Z  orders  App\\Events\\Shipped  {\"id\":7}\\n\\u{1b}[2J"
        );
        let from = Incident { user_id: Some("7".to_owned()), ..incident() };
        assert!(text_line(&from, at(0)).ends_with("  from user 7"));
    }

    #[test]
    fn a_line_of_json_keeps_the_data_as_they_came() {
        assert_eq!(
            json_line(&incident(), at(0)),
            "{\"time\":\"1970-01-01T00:00:00.007Z\",\"channel\":\"orders\",\"event\":\"App\\\\Events\\\\Shipped\",\
             \"data\":\"{\\\"id\\\":7}\\n\\u001b[2J\"}"
        );
    }

    #[test]
    fn only_the_applications_events_count() {
        let args = listen(ListenArgs { count: Some(2), ..ListenArgs::default() });
        let member = protocol("pusher_internal:member_added", "a");
        let (out, _, code) = show(&args, &[incident(), member.clone()]);
        assert_eq!((out.lines().count(), code), (2, None));
        let (out, _, code) = show(&args, &[incident(), member, incident(), incident()]);
        assert_eq!((out.lines().count(), code), (3, Some(ExitCode::SUCCESS)));
    }

    #[test]
    fn it_gives_up_only_when_every_channel_was_refused() {
        let args = listen(ListenArgs::default());
        let (a, b) = (protocol("pusher:subscription_error", "a"), protocol("pusher:subscription_error", "b"));
        let (out, err, code) = show(&args, std::slice::from_ref(&a));
        assert_eq!((out.as_str(), code), ("", None));
        assert!(err.starts_with("error: a was refused"), "{err}");
        assert_eq!(show(&args, &[a, b]).2, Some(ExitCode::FAILURE));
    }

    #[test]
    fn an_error_is_the_servers_sentence_and_not_its_json() {
        let refused = Incident {
            data: r#"{"type":"AuthError","error":"the signature is not\u001b[2J that of its key","status":401}"#
                .to_owned(),
            ..protocol("pusher:subscription_error", "private-a")
        };
        let (_, err, _) = show(&listen(ListenArgs::default()), &[refused]);
        let mut lines = err.lines();
        let said = r"error: private-a was refused: the signature is not\u{1b}[2J that of its key";
        assert_eq!(lines.next(), Some(said), "{err}");
        assert!(err.contains("hint: the server has another secret"), "{err}");
        for (data, said) in [
            (r#"{"code":4301,"message":"too many client events"}"#, "too many client events (4301)"),
            (r#"{"code":null,"message":"no such event"}"#, "no such event"),
            ("", "without a word"),
            ("garbled", "garbled"),
        ] {
            let error = Incident { data: data.to_owned(), ..protocol("pusher:error", "") };
            let (_, err, code) = show(&listen(ListenArgs::default()), &[error]);
            assert_eq!((err.as_str(), code), (format!("error: the server says: {said}\n").as_str(), None));
        }
    }

    #[test]
    fn a_presence_channel_needs_a_user_who_is_described_by_an_object() {
        let mut args = ListenArgs { channels: vec!["presence-a".to_owned()], ..ListenArgs::default() };
        assert_eq!(prepare(&args).unwrap_err(), "presence-a is a presence channel: say who you are with --user-id");
        args.user_id = Some("7".to_owned());
        assert_eq!(prepare(&args).unwrap().unwrap().user_id, "7");
        args.user_info = Some("[1]".to_owned());
        assert!(prepare(&args).unwrap_err().starts_with("--user-info must be a JSON object"));
    }
}

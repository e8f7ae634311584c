//! `campanile trigger`: publishes through the HTTP API.
//!
//! Owns the body of the request and the words for its outcome. Never judges names or sizes: the server's limits
//! are the server's, and its sentence is passed on. The invariant: data is sent exactly as written, and where clients
//! will hardly read it as it was meant, that is said beside it.
//! Next: `client/api.rs`, `target.rs`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::TriggerArgs;
use crate::client::{Api, ApiError, explained, visible};
use crate::target::Target;

/// Bytes read from a file or from standard input, so that a wrong file is told and not swallowed.
const INPUT_BYTES_MAX: u64 = 16 << 20;

const STANDARD_INPUT: &str = "standard input";

/// What is said of data that was sent and is no JSON. SDKs send JSON always, so subscribers are written for it.
const NOT_JSON: &str = "warning: the data is not JSON, which clients expect: pusher-js hands over the text itself, others \
                        may fail.\n  A text in JSON has quotes of its own: --data '\"hello\"'";

/// What came of a request that was accepted.
struct Outcome {
    text: String,
    /// Whether what clients are handed is JSON.
    is_json: bool,
}

/// Publishes, and says what came of it. `input_is_terminal` tells whether a person types it.
///
/// # Errors
///
/// When the output cannot be written. A refused trigger is an exit code.
pub async fn run(
    args: &TriggerArgs,
    environment: impl Iterator<Item = (String, String)>,
    input: &mut impl Read,
    input_is_terminal: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    if input_is_terminal && let Some(what) = awaited(args) {
        writeln!(
            err,
            "type {what} and end with Ctrl-D on a line of its own{}",
            match args.batch_file {
                Some(_) => "",
                None => "; --data 'TEXT' needs no typing",
            }
        )?;
    }
    match publish(args, environment, input).await {
        Ok(Outcome { text, is_json }) => {
            out.write_all(text.as_bytes())?;
            if !is_json {
                writeln!(err, "{NOT_JSON}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            writeln!(err, "error: {reason}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What is read from standard input, if anything is.
fn awaited(args: &TriggerArgs) -> Option<&'static str> {
    match (&args.batch_file, &args.data) {
        (Some(path), _) => (path == Path::new("-")).then_some("the batch"),
        (None, data) => data.is_none().then_some("the event's data"),
    }
}

async fn publish(
    args: &TriggerArgs,
    environment: impl Iterator<Item = (String, String)>,
    input: &mut impl Read,
) -> Result<Outcome, String> {
    let target = Target::find(&args.target, environment).map_err(|error| error.to_string())?;
    let request = Request::read(args, input)?;
    let told = |error: ApiError| explained(&error, error.obstacle(), &target);
    let api = Api::new(&target).map_err(told)?;
    let answer = api.post(request.path, request.body).await.map_err(told)?;
    let done = match answer.outcome.as_deref() {
        None => "published".to_owned(),
        Some(outcomes) if outcomes.contains(',') => format!("not all published ({outcomes}):"),
        Some(outcome) => format!("not published but {outcome}:"),
    };
    let mut text = format!("{done} {} as app {} at {}\n", request.what, target.app_id, target.authority());
    // `{}` says nothing; anything else was asked for.
    if !matches!(answer.body.as_str(), "" | "{}") {
        text.push_str(&visible(&answer.body));
        text.push('\n');
    }
    Ok(Outcome { text, is_json: request.is_json })
}

/// What to post.
#[derive(Debug, Eq, PartialEq)]
struct Request {
    path: &'static str,
    body: String,
    what: String,
    is_json: bool,
}

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    channels: &'a [String],
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<String>,
}

/// As much of a batch as tells whether its data are JSON.
#[derive(Deserialize)]
struct Batch {
    batch: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    data: Option<String>,
}

impl Batch {
    /// Whether an event in it has data that clients cannot read as JSON. What is no batch is for the server to refuse.
    fn has_other_data(body: &str) -> bool {
        let Ok(Self { batch }) = serde_json::from_str(body) else { return false };
        let mut data = batch.iter().filter_map(|entry| entry.data.as_deref());
        data.any(|data| serde_json::from_str::<IgnoredAny>(data).is_err())
    }
}

impl Request {
    fn read(args: &TriggerArgs, input: &mut impl Read) -> Result<Self, String> {
        if let Some(path) = &args.batch_file {
            return Self::batch(&read_batch(path, input)?);
        }
        let data = match &args.data {
            Some(data) => data.clone(),
            None => read_text(input, STANDARD_INPUT)?,
        };
        let name = args.event.as_deref().unwrap_or_default();
        let event = Event {
            name,
            channels: &args.channels,
            data: &data,
            socket_id: args.socket_id.as_deref(),
            info: (!args.info.is_empty()).then(|| args.info.join(",")),
        };
        let body = serde_json::to_string(&event).map_err(|error| error.to_string())?;
        let what = match args.channels.as_slice() {
            [only] => format!("{name:?} on {only}"),
            channels => format!("{name:?} on {} channels", channels.len()),
        };
        Ok(Self { path: "/events", body, what, is_json: serde_json::from_str::<IgnoredAny>(&data).is_ok() })
    }

    /// Takes the array alone, too.
    fn batch(text: &str) -> Result<Self, String> {
        let written: &RawValue =
            serde_json::from_str(text).map_err(|error| format!("the batch is not JSON: {error}"))?;
        let body = match written.get().starts_with('[') {
            true => format!("{{\"batch\":{}}}", written.get()),
            false => written.get().to_owned(),
        };
        let is_json = !Batch::has_other_data(&body);
        Ok(Self { path: "/batch_events", body, what: "a batch".to_owned(), is_json })
    }
}

fn read_batch(path: &Path, input: &mut impl Read) -> Result<String, String> {
    if path == Path::new("-") {
        return read_text(input, STANDARD_INPUT);
    }
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    read_text(&mut file, &name)
}

fn read_text(input: &mut impl Read, name: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    input.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read {name}: {error}"))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(format!("{name} has more than {INPUT_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn args(channels: &[&str]) -> TriggerArgs {
        TriggerArgs {
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
            event: Some("shipped".to_owned()),
            ..TriggerArgs::default()
        }
    }

    #[test]
    fn data_is_sent_exactly_as_written() {
        let written = "{ \"id\" : 7 }\n";
        let request = Request::read(&args(&["a"]), &mut written.as_bytes()).unwrap();
        assert_eq!(request.body, r#"{"name":"shipped","channels":["a"],"data":"{ \"id\" : 7 }\n"}"#);
        assert_eq!((request.path, request.what.as_str()), ("/events", "\"shipped\" on a"));
    }

    #[test]
    fn what_was_asked_for_is_asked() {
        let args = TriggerArgs {
            data: Some("x".to_owned()),
            socket_id: Some("1.2".to_owned()),
            info: vec!["user_count".to_owned(), "subscription_count".to_owned()],
            ..args(&["a", "b"])
        };
        let request = Request::read(&args, &mut io::empty()).unwrap();
        assert_eq!(
            request.body,
            r#"{"name":"shipped","channels":["a","b"],"data":"x","socket_id":"1.2","info":"user_count,subscription_count"}"#
        );
    }

    #[test]
    fn a_batch_is_an_object_or_only_its_array() {
        let args = TriggerArgs { batch_file: Some(PathBuf::from("-")), ..TriggerArgs::default() };
        for written in [r#" {"batch":[1]} "#, " [1]\n"] {
            let request = Request::read(&args, &mut written.as_bytes()).unwrap();
            assert_eq!((request.path, request.body.as_str()), ("/batch_events", r#"{"batch":[1]}"#));
        }
        let error = Request::read(&args, &mut "{".as_bytes()).unwrap_err();
        assert!(error.starts_with("the batch is not JSON"), "{error}");
    }

    #[test]
    fn data_that_clients_cannot_parse_is_noticed() {
        for (data, is_json) in [
            ("{}", true),
            (" {\"id\":7}\n", true),
            ("\"hello\"", true),
            ("7", true),
            ("hello", false),
            ("{id:7}", false),
            ("{} {}", false),
            ("", false),
        ] {
            let request = Request::read(&args(&["a"]), &mut data.as_bytes()).unwrap();
            assert_eq!(request.is_json, is_json, "{data:?}");
            let event = serde_json::json!({ "name": "e", "channel": "a", "data": data });
            let batch = Request::batch(&serde_json::json!([event]).to_string()).unwrap();
            assert_eq!(batch.is_json, is_json, "{data:?}");
        }
        // What the server will refuse is for its own sentence.
        assert!(Request::batch("[7]").unwrap().is_json);
    }

    #[test]
    fn input_at_the_bound_is_taken_and_one_byte_more_is_refused() {
        let read = |length: u64| read_text(&mut io::repeat(b'x').take(length), "it");
        assert_eq!(read(INPUT_BYTES_MAX).unwrap().len() as u64, INPUT_BYTES_MAX);
        assert_eq!(read(INPUT_BYTES_MAX + 1).unwrap_err(), "it has more than 16777216 bytes");
    }

    #[tokio::test]
    async fn a_person_is_told_that_input_is_awaited_and_a_pipe_is_not() {
        let hint = async |args: &TriggerArgs, is_terminal| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            // A port that is none, so that nothing is sent.
            let variables = std::iter::once(("PUSHER_PORT".to_owned(), "none".to_owned()));
            run(args, variables, &mut io::empty(), is_terminal, &mut out, &mut err).await.unwrap();
            String::from_utf8(err).unwrap()
        };
        let typed = args(&["a"]);
        assert!(hint(&typed, true).await.starts_with("type the event's data and end with Ctrl-D"));
        assert!(!hint(&typed, false).await.contains("type"));
        assert!(!hint(&TriggerArgs { data: Some("x".to_owned()), ..args(&["a"]) }, true).await.contains("type"));
        let batch = |path: &str| TriggerArgs { batch_file: Some(PathBuf::from(path)), ..TriggerArgs::default() };
        assert!(hint(&batch("-"), true).await.starts_with("type the batch"));
        assert!(!hint(&batch("b.json"), true).await.contains("type"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_and_fails() {
        // Bound and dropped again, so that nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut args = TriggerArgs { data: Some("x".to_owned()), ..args(&["a"]) };
        args.target.port = Some(port);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&args, std::iter::empty(), &mut io::empty(), false, &mut out, &mut err).await.unwrap();
        let err = String::from_utf8(err).unwrap();
        assert_eq!((code, out.as_slice()), (ExitCode::FAILURE, &b""[..]));
        assert!(err.starts_with(&format!("error: no answer from http://127.0.0.1:{port}: ")), "{err}");
        assert!(!err.contains("auth_signature"), "{err}");
    }
}

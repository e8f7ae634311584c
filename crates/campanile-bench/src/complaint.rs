//! What a server says when it refuses.
//!
//! Owns the reading of refusals, by HTTP and by frame, and the words that make them an error of the run. Never sends
//! anything. The invariant: what a server has sent is shown short, and cannot steer a terminal.

use std::io;
use std::net::SocketAddr;

use memchr::memmem;
use serde_json::Value;

/// Characters of a refusal that are shown.
const CHARACTERS_MAX: usize = 300;

/// Where to look, whatever the refusal is.
const AS_WHOM: &str = "--port says where the server is; --app-id, --key and --secret must be those of an app it has";

/// An error of the run, with what the server has said, if it has.
pub(crate) fn error(what: &str, said: Option<&str>) -> io::Error {
    match said {
        Some(said) => io::Error::other(format!("{what}; the server said first: {said}\n  {AS_WHOM}")),
        None => io::Error::other(what.to_owned()),
    }
}

/// The error of a server that cannot be reached.
pub(crate) fn unreachable(address: SocketAddr, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there: is the server running? --port says where it is looked for"
        }
        _ => "--port says where the server is looked for",
    };
    io::Error::new(error.kind(), format!("cannot connect to {address}: {error}\n  {advice}"))
}

/// The error of a publication that was answered with this status.
pub(crate) fn unpublished(status: Option<u16>, body: &[u8]) -> io::Error {
    let said = match serde_json::from_slice::<Value>(body).ok().and_then(|body| text(&body, &["error", "message"])) {
        Some(sentence) => sentence,
        None => shown(&String::from_utf8_lossy(body)),
    };
    let advice = match status {
        Some(401 | 403 | 404) => format!("\n  {AS_WHOM}"),
        _ => String::new(),
    };
    let status = status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
    io::Error::other(format!("the server refused a publication with {status}: {said}{advice}"))
}

/// What a frame, or an answer in place of a WebSocket, says against the client; none if it says nothing of the kind.
pub(crate) fn read(received: &[u8]) -> Option<String> {
    if received.starts_with(b"HTTP/1.") {
        let line = received.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        return Some(format!("no WebSocket, but {}", shown(&String::from_utf8_lossy(line))));
    }
    let is_refusal = [&b"pusher:error"[..], b"pusher:subscription_error"];
    if !is_refusal.iter().any(|event| memmem::find(received, event).is_some()) {
        return None;
    }
    let frame: Value = serde_json::from_slice(received).ok()?;
    // Some servers have it as an object, others as a string that holds one.
    let data = match &frame["data"] {
        Value::String(inner) => serde_json::from_str(inner).unwrap_or_else(|_| frame["data"].clone()),
        data => data.clone(),
    };
    let sentence = text(&data, &["error", "message"]).unwrap_or_else(|| shown(&data.to_string()));
    Some(match data["code"].as_u64() {
        Some(code) => format!("{sentence} ({code})"),
        None => sentence,
    })
}

/// The first of these fields that is a text.
fn text(value: &Value, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| value[*field].as_str()).map(shown)
}

fn shown(text: &str) -> String {
    text.trim().chars().take(CHARACTERS_MAX).map(|shown| if shown.is_control() { ' ' } else { shown }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_from_whatever_brings_it() {
        for (received, said) in [
            (r#"{"event":"pusher:error","data":{"code":4001,"message":"no such key"}}"#, Some("no such key (4001)")),
            (r#"{"event":"pusher:error","data":"{\"code\":null,\"message\":\"no\"}"}"#, Some("no")),
            (
                r#"{"event":"pusher:subscription_error","channel":"a","data":{"error":"bad signature","status":401}}"#,
                Some("bad signature"),
            ),
            (r#"{"event":"pusher:error","data":[1]}"#, Some("[1]")),
            ("HTTP/1.0 404 Not\u{1b}Found\r\nServer: x\r\n\r\n", Some("no WebSocket, but HTTP/1.0 404 Not Found")),
            (r#"{"event":"told","data":"7"}"#, None),
            ("pusher:error, but no JSON", None),
        ] {
            assert_eq!(read(received.as_bytes()).as_deref(), said, "{received}");
        }
    }

    #[test]
    fn a_refused_publication_is_a_sentence_with_what_to_look_at() {
        let error = unpublished(Some(404), br#"{"error":"there is no app with the id of this path"}"#).to_string();
        assert!(error.starts_with("the server refused a publication with 404: there is no app"), "{error}");
        assert!(error.contains("--app-id"), "{error}");
        let error = unpublished(Some(413), b"<html>too large").to_string();
        assert_eq!(error, "the server refused a publication with 413: <html>too large");
    }

    #[test]
    fn what_a_server_says_is_cut_at_the_bound() {
        let long = "x".repeat(CHARACTERS_MAX);
        assert_eq!(shown(&long), long);
        assert_eq!(shown(&format!("{long}x")), long);
    }
}

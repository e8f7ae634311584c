//! What a payload carries, so that its arrival can be judged.
//!
//! Owns the stamp: a number and a time in fixed width, found again without parsing JSON. Never judges (`books.rs`
//! does). The invariant: a stamp that is found is whole.

use memchr::memmem;

/// Found in a JSON string within a string, and also where a server has unwrapped `data`.
const MARK: &str = "stamp=";
const DIGITS: usize = 16;
const STREAM_DIGITS: usize = 4;

/// Where one publication stands, and when it was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// Which publisher's; requests on different connections have no order among them.
    pub(crate) stream: u16,
    /// Which publication of that stream to its receiver, from 0.
    pub(crate) number: u64,
    /// When it was sent, in nanoseconds since the tool's start.
    pub(crate) sent_ns: u64,
}

/// Finds stamps in frames.
#[derive(Debug)]
pub(crate) struct Reader(memmem::Finder<'static>);

impl Reader {
    pub(crate) fn new() -> Self {
        Self(memmem::Finder::new(MARK))
    }

    /// The stamp in a frame; `None` for a frame that is no publication of ours.
    pub(crate) fn find(&self, frame: &[u8]) -> Option<Stamp> {
        let at = self.0.find(frame)? + MARK.len();
        let digits = frame.get(at..at + STREAM_DIGITS + 2 * DIGITS)?;
        let (stream, digits) = digits.split_at(STREAM_DIGITS);
        let (order, sent_ns) = digits.split_at(DIGITS);
        let stream = u16::try_from(number(stream)?).ok()?;
        Some(Stamp { stream, number: number(order)?, sent_ns: number(sent_ns)? })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Event data of about `bytes` bytes: JSON as an application would send it, in a JSON string as every SDK does.
pub(crate) fn data(stamp: Stamp, bytes: usize) -> String {
    const LINE: &str = "{\\\"sku\\\":\\\"A-1047\\\",\\\"name\\\":\\\"Desk lamp, brushed steel\\\",\\\"qty\\\":2},";
    let Stamp { stream, number, sent_ns } = stamp;
    let mut data = format!(
        "\"{{\\\"id\\\":\\\"{MARK}{stream:0STREAM_DIGITS$x}{number:0DIGITS$x}{sent_ns:0DIGITS$x}\\\",\\\"lines\\\":["
    );
    while data.len() + LINE.len() + 16 < bytes {
        data.push_str(LINE);
    }
    let fill = bytes.saturating_sub(data.len() + 16);
    data.push_str("\\\"");
    data.extend(std::iter::repeat_n('x', fill));
    data.push_str("\\\"]}\"");
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_the_frame_that_carries_it() {
        let stamp = Stamp { stream: 3, number: 77, sent_ns: 1_234_567_890 };
        let frame = format!("{{\"event\":\"e\",\"channel\":\"c\",\"data\":{}}}", data(stamp, 1200));
        assert_eq!(Reader::new().find(frame.as_bytes()), Some(stamp));
        let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
        let inner: serde_json::Value = serde_json::from_str(value["data"].as_str().unwrap()).unwrap();
        assert!(inner["lines"].as_array().unwrap().len() > 1);
        assert_eq!(Reader::new().find(inner.to_string().as_bytes()), Some(stamp));
    }

    #[test]
    fn data_has_about_the_size_that_was_asked_for() {
        for bytes in [200, 1200, 8192] {
            let length = data(Stamp { stream: 0, number: 0, sent_ns: 0 }, bytes).len();
            assert!(length.abs_diff(bytes) <= 16, "{length} of {bytes}");
        }
    }

    #[test]
    fn a_frame_without_a_whole_stamp_has_none() {
        let reader = Reader::new();
        assert_eq!(reader.find(b"{\"event\":\"pusher:pong\"}"), None);
        assert_eq!(reader.find(MARK.as_bytes()), None);
        assert_eq!(reader.find(format!("{MARK}{}", "z".repeat(36)).as_bytes()), None);
    }
}

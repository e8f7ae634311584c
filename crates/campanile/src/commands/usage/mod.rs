//! `campanile usage`: what an app has used, asked through the HTTP API.
//!
//! Owns which questions are asked and in which form the answer is printed. Never counts and never adds up time: the server
//! does. The invariant: `--json` and `--csv` print the server's answer as it is. Next: `page.rs` for what people see,
//! `client/api.rs`.

mod page;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{UsageArgs, UsageGroup, UsageStep};
use crate::client::{Api, ApiError, explained};
use crate::journal::report::Report;
use crate::target::Target;
use page::Page;

/// Asks, and prints the answer.
///
/// # Errors
///
/// When the output cannot be written. A refused question is an exit code.
pub async fn run(
    args: &UsageArgs,
    environment: impl Iterator<Item = (String, String)>,
    has_colours: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    match told(args, environment, has_colours).await {
        Ok(text) => {
            out.write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            writeln!(err, "error: {reason}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn told(
    args: &UsageArgs,
    environment: impl Iterator<Item = (String, String)>,
    has_colours: bool,
) -> Result<String, String> {
    let target = Target::find(&args.target, environment).map_err(|error| error.to_string())?;
    let explained = |error: ApiError| explained(&error, error.obstacle(), &target);
    let api = Api::new(&target).map_err(explained)?;
    let ask = async |group: Option<UsageGroup>, format: &str| {
        let answer = api.get("/usage", &parameters(args, group, format)).await;
        answer.map(|answer| answer.body).map_err(explained)
    };
    if args.json || args.csv {
        let body = ask(args.group, if args.csv { "csv" } else { "json" }).await?;
        // The lines of a CSV file end in its own way, the last too, which was taken for blank space.
        return Ok(if args.csv { format!("{body}\r\n") } else { format!("{body}\n") });
    }
    let report = async |group| {
        let body = ask(group, "json").await?;
        serde_json::from_str::<Report>(&body)
            .map_err(|error| format!("the answer is none of this version's ({error}): is the server another?"))
    };
    let groups = match args.group {
        None => vec![UsageGroup::Unit, UsageGroup::Event, UsageGroup::Prefix],
        Some(group) => vec![group],
    };
    let mut page = Page::new(&target.authority().to_string(), &report(None).await?, has_colours);
    for group in groups {
        let rows_max = if args.group.is_some() { usize::MAX } else { page::ROWS_OF_A_SUMMARY };
        page.add(&report(Some(group)).await?, rows_max);
    }
    Ok(page.finish())
}

/// What is asked: only what was said, for the rest is the server's to choose.
fn parameters<'a>(args: &'a UsageArgs, group: Option<UsageGroup>, format: &'a str) -> Vec<(&'static str, &'a str)> {
    let by = match args.by {
        UsageStep::Hour => "hour",
        UsageStep::Day => "day",
        UsageStep::Month => "month",
    };
    let group = group.map(|group| match group {
        UsageGroup::Prefix => "prefix",
        UsageGroup::Event => "event",
        UsageGroup::Unit => "unit",
    });
    let asked = [
        ("from", args.from.as_deref()),
        ("to", args.to.as_deref()),
        ("by", Some(by)),
        ("group", group),
        ("format", Some(format)),
    ];
    asked.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_is_asked() {
        assert_eq!(parameters(&UsageArgs::default(), None, "json"), [("by", "hour"), ("format", "json")]);
        let args = UsageArgs { from: Some("2026-11".to_owned()), by: UsageStep::Day, ..UsageArgs::default() };
        let all = [("from", "2026-11"), ("by", "day"), ("group", "event"), ("format", "json")];
        assert_eq!(parameters(&args, Some(UsageGroup::Event), "json"), all);
    }
}

//! What a mail says.
//!
//! Owns the operator's templates, the built-in one, and the choice between them by kind and locale. Never reads a file after
//! the start or a reload. The invariant: a template that cannot be read stops the start, and what a notification says is
//! text in a page, never a part of it. Read on in [`super::mail`].

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use campanile_inbox::{Contact, Notification};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

/// Bytes of one template.
pub const TEMPLATE_BYTES_MAX: u64 = 256 * 1024;
/// Files in the directory.
pub const TEMPLATES_MAX: usize = 1000;
/// What one template may do, in minijinja's units: the built-in one takes some 300.
pub const FUEL: u64 = 200_000;
/// Characters of a subject.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Bytes of a text, and of a page. The longest notification takes some 20,000.
pub const RENDERED_BYTES_MAX: usize = 1024 * 1024;

/// The name of what is used for kinds that have none of their own.
const DEFAULT: &str = "default";
/// A name that no file has.
const BUILT_IN: &str = "/built-in";

const SUBJECT: &str = ".subject.txt";
const TEXT: &str = ".txt";
const HTML: &str = ".html";

const BUILT_IN_SUBJECT: &str = "{{ title }}{% if count > 1 %} (+{{ count - 1 }}){% endif %}";

const BUILT_IN_TEXT: &str = "\
{{ title }}
{% if body %}
{{ body }}
{% endif %}{% if action_url %}
{{ actions[0].label if actions else \"Open\" }}: {{ action_url }}
{% endif %}{% if unsubscribe_url %}
-- 
No more e-mails about {{ category }}: {{ unsubscribe_url }}
{% endif %}";

const BUILT_IN_HTML: &str = "\
<!doctype html>
<html lang=\"{{ language }}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\"><title>{{ title }}</title></head>
<body style=\"margin:0;padding:24px;font-family:system-ui,sans-serif;font-size:16px;line-height:1.5\">
<div style=\"max-width:560px;margin:0 auto\">
<h1 style=\"font-size:20px\">{{ title }}</h1>
{% if body %}<p style=\"white-space:pre-line\">{{ body }}</p>
{% endif %}{% if action_url %}<p><a href=\"{{ action_url }}\">{{ actions[0].label if actions else \"Open\" }}</a></p>
{% endif %}{% if unsubscribe_url %}<p style=\"font-size:13px;opacity:.7\"><a href=\"{{ unsubscribe_url }}\">No more e-mails about {{ category }}</a></p>
{% endif %}</div></body></html>
";

/// Why there are no templates.
#[derive(Debug, thiserror::Error)]
#[error("the mail template {file} cannot be used: {reason}")]
pub struct TemplateError {
    /// Which.
    pub file: String,
    /// Why, and what to do.
    pub reason: String,
}

/// Everything that a template can name.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// What it is about.
    pub notification: &'a Notification,
    /// How people call its category.
    pub category: Option<&'a str>,
    /// Where its link leads, with a host.
    pub action_url: Option<&'a str>,
    /// Whose it is.
    pub user: &'a str,
    /// How to reach them.
    pub contact: &'a Contact,
    /// Whose app.
    pub app: &'a str,
    /// Where to end mails of this category.
    pub unsubscribe_url: Option<&'a str>,
}

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub subject: String,
    /// For those who read text.
    pub text: String,
    /// For all others.
    pub html: Option<String>,
}

/// The templates.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    names: BTreeSet<String>,
}

impl Templates {
    /// The built-in ones alone.
    pub fn built_in() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(
            |name| {
                if name.ends_with(HTML) { AutoEscape::Html } else { AutoEscape::None }
            },
        );
        let mut templates = Self { environment, names: BTreeSet::new() };
        for (end, source) in [(SUBJECT, BUILT_IN_SUBJECT), (TEXT, BUILT_IN_TEXT), (HTML, BUILT_IN_HTML)] {
            templates.add(format!("{BUILT_IN}{end}"), source.to_owned()).expect("the built-in templates are good");
        }
        templates
    }

    /// Those of a directory, and the built-in ones for what it does not have.
    ///
    /// # Errors
    ///
    /// When one cannot be read, is too large, is wrong, or has no text.
    pub fn read(directory: &Path) -> Result<Self, TemplateError> {
        let mut templates = Self::built_in();
        let failed = |file: &Path, reason: String| TemplateError { file: file.display().to_string(), reason };
        let entries = fs::read_dir(directory).map_err(|error| failed(directory, error.to_string()))?;
        let mut count = 0;
        for entry in entries {
            let path = entry.map_err(|error| failed(directory, error.to_string()))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(failed(&path, "its name is not UTF-8: rename it".to_owned()));
            };
            if name.starts_with('.') || !(name.ends_with(TEXT) || name.ends_with(HTML)) {
                continue;
            }
            count += 1;
            if count > TEMPLATES_MAX {
                return Err(failed(directory, format!("has more than {TEMPLATES_MAX} templates")));
            }
            let mut source = String::new();
            let read =
                fs::File::open(&path).and_then(|file| file.take(TEMPLATE_BYTES_MAX + 1).read_to_string(&mut source));
            read.map_err(|error| failed(&path, error.to_string()))?;
            if source.len() as u64 > TEMPLATE_BYTES_MAX {
                return Err(failed(&path, format!("has more than {TEMPLATE_BYTES_MAX} bytes")));
            }
            templates.add(name.to_owned(), source).map_err(|error| failed(&path, told(&error)))?;
            templates.names.insert(name.to_owned());
        }
        for name in &templates.names {
            let start = name.strip_suffix(SUBJECT).or_else(|| name.strip_suffix(HTML));
            if let Some(start) = start
                && !templates.names.contains(&format!("{start}{TEXT}"))
            {
                let reason = format!("there is no {start}{TEXT} beside it: a mail needs a text as well");
                return Err(failed(&directory.join(name), reason));
            }
        }
        Ok(templates)
    }

    fn add(&mut self, name: String, source: String) -> Result<(), minijinja::Error> {
        self.environment.add_template_owned(name, source)
    }

    /// The first name that there is a text for: of the kind in the user's locale, in its language, in none; then the same of
    /// `default`.
    fn choose(&self, kind: &str, locale: Option<&str>) -> String {
        let kind = file_name(kind);
        let locale = locale.map(file_name);
        let language = locale.as_deref().and_then(|locale| locale.split(['-', '_']).next());
        let of = |name: &str| {
            [locale.as_deref(), language]
                .into_iter()
                .flatten()
                .map(|locale| format!("{name}.{locale}"))
                .collect::<Vec<_>>()
        };
        let mut names = [of(&kind), vec![kind], of(DEFAULT), vec![DEFAULT.to_owned()]].into_iter().flatten();
        names.find(|name| self.names.contains(&format!("{name}{TEXT}"))).unwrap_or_else(|| BUILT_IN.to_owned())
    }

    /// Puts a mail into words. If the operator's template fails at this notification, the reason is returned beside the words of
    /// the built-in one.
    pub fn render(&self, letter: &Letter<'_>) -> (Words, Option<String>) {
        let name = self.choose(&letter.notification.kind, letter.contact.locale.as_deref());
        match self.words(&name, letter) {
            Ok(words) => (words, None),
            Err(error) => {
                let words = self.words(BUILT_IN, letter).expect("the built-in templates render anything");
                (words, Some(format!("the mail template {name}: {error}")))
            }
        }
    }

    fn words(&self, name: &str, letter: &Letter<'_>) -> Result<Words, String> {
        let notification = letter.notification;
        let locale = letter.contact.locale.as_deref().unwrap_or("en");
        let given = context! {
            notification => Serde(notification),
            title => notification.title.as_str(),
            body => notification.body.as_deref(),
            kind => notification.kind.as_str(),
            category => letter.category,
            action_url => letter.action_url,
            actions => Serde(&notification.actions),
            data => Serde(&notification.data),
            count => notification.group_count,
            user => letter.user,
            contact => Serde(letter.contact),
            app => letter.app,
            locale => locale,
            language => locale.split(['-', '_']).next(),
            unsubscribe_url => letter.unsubscribe_url,
        };
        let render = |end: &str| {
            let template = self.environment.get_template(&format!("{name}{end}")).map_err(|error| told(&error))?;
            let text = template.render(&given).map_err(|error| told(&error))?;
            if text.len() > RENDERED_BYTES_MAX {
                return Err(format!("{end} makes more than {RENDERED_BYTES_MAX} bytes"));
            }
            Ok(text)
        };
        let has = |end: &str| name == BUILT_IN || self.names.contains(&format!("{name}{end}"));
        let subject = if has(SUBJECT) { render(SUBJECT)? } else { notification.title.clone() };
        Ok(Words {
            subject: one_line(&subject),
            text: render(TEXT)?,
            html: has(HTML).then(|| render(HTML)).transpose()?,
        })
    }
}

/// An error with the line that it is in.
fn told(error: &minijinja::Error) -> String {
    match error.line() {
        Some(line) => format!("line {line}: {error}"),
        None => error.to_string(),
    }
}

/// A kind or a locale as a file's name has it: `App\Notifications\InvoicePaid` is `App_Notifications_InvoicePaid`.
fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// A subject is one line, however it was written.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(SUBJECT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
pub(crate) mod tests;

use campanile_inbox::{Timestamp, Uuid};

use super::*;

pub(crate) fn notification(title: &str) -> Notification {
    let at = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
    Notification {
        id: Uuid::from_u128(7),
        seq: 42,
        rev: 57,
        announcement: false,
        kind: "comment.added".to_owned(),
        category: Some("comments".to_owned()),
        title: title.to_owned(),
        body: Some("Ada: \"<b>Looks</b> good\"".to_owned()),
        action_url: Some("/documents/7".to_owned()),
        actions: Vec::new(),
        data: serde_json::json!({"author": "Ada"}),
        subject: None,
        group: None,
        group_count: 1,
        created_at: at,
        updated_at: at,
        read_at: None,
        seen_at: None,
        archived_at: None,
        snoozed_until: None,
        expires_at: None,
    }
}

fn render(templates: &Templates, notification: &Notification, locale: Option<&str>) -> (Words, Option<String>) {
    let contact = Contact { locale: locale.map(str::to_owned), ..Contact::default() };
    templates.render(&Letter {
        notification,
        category: Some("Comments"),
        action_url: Some("https://shop.example/documents/7?a=1&b=2"),
        user: "42",
        contact: &contact,
        app: "shop",
        unsubscribe_url: Some("https://live.shop.example/inbox/unsubscribe?token=t"),
    })
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, source) in files {
        fs::write(directory.path().join(name), source).unwrap();
    }
    directory
}

#[test]
fn without_templates_a_mail_has_title_text_link_and_a_way_out() {
    let (words, failed) = render(&Templates::built_in(), &notification("Ada <ada@x> commented"), None);
    assert_eq!(failed, None);
    assert_eq!(words.subject, "Ada <ada@x> commented");
    let expected = "Ada <ada@x> commented\n\nAda: \"<b>Looks</b> good\"\n\nOpen: https://shop.example/documents/7?a=1&b=2\n\n\
                    -- \nNo more e-mails about Comments: https://live.shop.example/inbox/unsubscribe?token=t\n";
    assert_eq!(words.text, expected);
}

#[test]
fn what_a_notification_says_is_text_in_the_page() {
    let (words, _) = render(&Templates::built_in(), &notification("<script>alert(1)</script>"), None);
    let html = words.html.unwrap();
    assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    assert!(html.contains("<h1 style=\"font-size:20px\">&lt;script&gt;alert(1)&lt;&#x2f;script&gt;</h1>"), "{html}");
    assert!(html.contains("documents&#x2f;7?a=1&amp;b=2\">Open</a>"), "{html}");
}

#[test]
fn a_digest_says_how_many_and_a_button_its_own_label() {
    let mut digest = notification("Ada commented");
    digest.group_count = 3;
    digest.actions = vec![campanile_inbox::Action { label: "Answer".to_owned(), url: "/x".to_owned() }];
    let (words, _) = render(&Templates::built_in(), &digest, None);
    assert_eq!(words.subject, "Ada commented (+2)");
    assert!(words.text.contains("\nAnswer: https://shop.example/"), "{}", words.text);
}

#[test]
fn a_mail_without_body_link_and_category_is_short() {
    let mut bare = notification("Only this");
    (bare.body, bare.action_url, bare.category) = (None, None, None);
    let letter = Letter {
        notification: &bare,
        category: None,
        action_url: None,
        user: "42",
        contact: &Contact::default(),
        app: "shop",
        unsubscribe_url: None,
    };
    let (words, _) = Templates::built_in().render(&letter);
    assert_eq!(words.text, "Only this\n");
    assert!(!words.html.unwrap().contains("<a "));
}

#[test]
fn the_nearest_template_by_kind_and_locale_is_taken() {
    let files = [
        ("comment.added.de-AT.txt", "at"),
        ("comment.added.de.txt", "de"),
        ("comment.added.txt", "any"),
        ("default.fr.txt", "fr"),
        ("default.txt", "default"),
        ("App_Notifications_InvoicePaid.txt", "laravel"),
        ("notes.md", "{% not a template"),
        (".hidden.txt", "{% nor this"),
    ];
    let directory = directory(&files);
    let templates = Templates::read(directory.path()).unwrap();
    let text = |kind: &str, locale| {
        let notification = Notification { kind: kind.to_owned(), ..notification("x") };
        render(&templates, &notification, locale).0.text
    };
    for (kind, locale, expected) in [
        ("comment.added", Some("de-AT"), "at"),
        ("comment.added", Some("de-CH"), "de"),
        ("comment.added", Some("fr"), "any"),
        ("comment.added", None, "any"),
        ("other", Some("fr_FR"), "fr"),
        ("other", Some("it"), "default"),
        ("App\\Notifications\\InvoicePaid", None, "laravel"),
        ("../../etc/passwd", None, "default"),
    ] {
        assert_eq!(text(kind, locale), expected, "{kind} {locale:?}");
    }
}

#[test]
fn a_template_without_page_makes_a_mail_of_text_and_one_without_subject_takes_the_title() {
    let directory = directory(&[("default.txt", "{{ data.author }} for {{ user }}")]);
    let (words, _) = render(&Templates::read(directory.path()).unwrap(), &notification("Title"), None);
    let text = "Ada for 42".to_owned();
    assert_eq!(words, Words { subject: "Title".to_owned(), text, html: None });
}

#[test]
fn pages_are_escaped_and_texts_are_not() {
    let files = [
        ("default.subject.txt", "{{ title }}\r\nBcc: everybody@example.com"),
        ("default.txt", "{{ title }}"),
        ("default.html", "{% include 'part.html' %}"),
        ("part.html", "<p>{{ title }}</p>"),
        ("part.txt", ""),
    ];
    let directory = directory(&files);
    let (words, _) = render(&Templates::read(directory.path()).unwrap(), &notification("a & b"), None);
    assert_eq!((&*words.subject, &*words.text), ("a & b Bcc: everybody@example.com", "a & b"));
    assert_eq!(words.html.unwrap(), "<p>a &amp; b</p>");
}

#[test]
fn a_template_that_cannot_be_used_stops_the_start_with_its_file_and_line() {
    for (files, why) in [
        (vec![("default.txt", "\n{% if %}")], "default.txt cannot be used: line 2"),
        (vec![("default.html", "x")], "there is no default.txt beside it"),
        (vec![("default.subject.txt", "x")], "there is no default.txt beside it"),
    ] {
        let directory = directory(&files);
        let refused = Templates::read(directory.path()).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let refused = Templates::read(Path::new("/does/not/exist")).unwrap_err().to_string();
    assert!(refused.contains("/does/not/exist"), "{refused}");
}

#[test]
fn a_template_that_fails_at_one_notification_is_told_and_the_built_in_one_takes_its_place() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    for source in ["{{ data.author.first.letter }}", endless, "{{ 'x' * 2000000 }}"] {
        let directory = directory(&[("default.txt", source)]);
        let (words, failed) = render(&Templates::read(directory.path()).unwrap(), &notification("Title"), None);
        assert!(words.text.starts_with("Title\n"), "{source}: {}", &words.text[..40]);
        assert!(failed.unwrap().starts_with("the mail template default:"), "{source}");
    }
}

#[test]
fn a_template_has_as_many_bytes_as_the_bound_and_no_more() {
    let length = usize::try_from(TEMPLATE_BYTES_MAX).unwrap();
    let most = directory(&[("default.txt", &"x".repeat(length))]);
    assert!(Templates::read(most.path()).is_ok());
    let more = directory(&[("default.txt", &"x".repeat(length + 1))]);
    let refused = Templates::read(more.path()).unwrap_err().to_string();
    assert!(refused.contains("more than 262144 bytes"), "{refused}");
}

#[test]
fn a_directory_has_as_many_templates_as_the_bound_and_no_more() {
    let directory = directory(&[]);
    for number in 0..TEMPLATES_MAX {
        fs::write(directory.path().join(format!("kind{number}.txt")), "x").unwrap();
    }
    assert!(Templates::read(directory.path()).is_ok());
    fs::write(directory.path().join("one-more.txt"), "x").unwrap();
    let refused = Templates::read(directory.path()).unwrap_err().to_string();
    assert!(refused.contains("more than 1000 templates"), "{refused}");
}

#[test]
fn a_rendered_text_may_have_as_many_bytes_as_the_bound() {
    let text = |length: usize| {
        let directory = directory(&[("default.txt", &format!("{{{{ 'x' * {length} }}}}"))]);
        render(&Templates::read(directory.path()).unwrap(), &notification("Title"), None)
    };
    assert_eq!(text(RENDERED_BYTES_MAX).0.text.len(), RENDERED_BYTES_MAX);
    assert!(text(RENDERED_BYTES_MAX + 1).1.is_some());
}

#[test]
fn a_subject_is_cut_at_its_bound() {
    let (most, more) = ("x".repeat(SUBJECT_CHARS_MAX), "x".repeat(SUBJECT_CHARS_MAX + 1));
    let subject = |title: &str| render(&Templates::built_in(), &notification(title), None).0.subject;
    assert_eq!(subject(&most), most);
    assert_eq!(subject(&more), format!("{most}…"));
}

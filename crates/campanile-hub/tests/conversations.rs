//! Conversations between clients and one mind, as text files that are played and compared.
//!
//! Owns the format of `conversations/*.txt`. Never knows what is right: the files say it, line by line, in the exact
//! bytes of every frame. The invariant: a file is what a player of its inputs writes down, so whatever a mind says that
//! the file does not show, or the reverse, is a failure. Read on in any of the files.
//!
//! ```text
//! app client_events presence_members_max=2    what the app has, before anybody connects
//! connect a                                   a client named a (protocol=5, version=1.0, key=other are optional)
//! a < subscribe private-orders                signed as the application would; also: unsigned, badly signed,
//!                                             signed with KEY, as {"user_id":"7"} (channel_data)
//! a < signin {"id":"7"}                       the same
//! a < {"event":"pusher:ping"}                 any other text is sent as it stands
//! 3 times a < nonsense                        so often
//! a > {"event":"pusher:pong","data":"{}"}     what the mind says
//! a > close 4009 reason                       and how it ends
//! * channel_occupied private-orders           what a webhook would hear; equal lines in a row are one, 3 times
//! a closes / a vanishes                       the connection ends
//! crowd 100 orders                            a hundred clients that nobody listens to subscribe
//! crowd leaves 1                              the last of them vanishes
//! api orders news {"a":1} except a            a publication with this data
//! terminate 7                                 the user's connections are ended
//! reload / reload disabled / reload without   the app as it is, switched off, or removed
//! + 3 s / + 500 ms                            time passes
//! ```
//!
//! `«x*165»` is the letter x 165 times.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use campanile_hub::letter::{ChannelKey, Departure, Homes};
use campanile_hub::{
    App, AppIndex, Apps, Census, ConnectionId, Effect, Hub, Letter, Moment, Notice, NoticeKind, Publication, Settings,
    WorkerId, handshake,
};
use campanile_protocol::json::DataLiteral;
use campanile_protocol::{ChannelName, EventName, Secret, ServerFrame, SocketId};

const KEY: &str = "app-key";
const CROWD: &str = "crowd";
/// Runs of one character at least this long are written short.
const RUN: usize = 30;

struct Client {
    name: String,
    id: ConnectionId,
    socket_id: SocketId,
    open: bool,
    look_at: Moment,
    said: VecDeque<String>,
}

struct Play {
    app: App,
    apps: Arc<Apps>,
    hub: Hub,
    clients: Vec<Client>,
    notices: Vec<String>,
    now: Moment,
}

fn app() -> App {
    App::new("1", KEY, "app-secret")
}

fn set(app: &mut App, word: &str) {
    let (name, value) = word.split_once('=').unwrap_or((word, "1"));
    let number = || value.parse().unwrap_or_else(|_| panic!("{word}: not a number"));
    let limits = &mut app.limits;
    match name {
        "client_events" => app.features.client_events = true,
        "user_authentication" => app.features.user_authentication = true,
        "watchlists" => app.features.watchlists = true,
        "subscription_counts" => app.features.subscription_counts = true,
        "activity_timeout_secs" => app.activity_timeout_secs = number() as u32,
        "authorized_within_secs" => app.authorized_connections_timeout_secs = Some(number() as u32),
        "channel_name_length_max" => limits.channel_name_length_max = number(),
        "event_name_length_max" => limits.event_name_length_max = number(),
        "client_event_bytes_max" => limits.client_event_bytes_max = number(),
        "client_events_per_sec" => limits.client_events_per_sec = number() as u32,
        "presence_members_max" => limits.presence_members_max = number(),
        "presence_member_bytes_max" => limits.presence_member_bytes_max = number(),
        "presence_snapshot_bytes_max" => limits.presence_snapshot_bytes_max = number(),
        "watchlist_max" => limits.watchlist_max = number(),
        "channels_per_connection_max" => limits.channels_per_connection_max = number(),
        "cache_ttl_secs" => limits.cache_ttl_secs = number() as u64,
        notice => {
            let bit = NoticeKind::NAMES.iter().position(|known| *known == notice);
            let bit = bit.unwrap_or_else(|| panic!("{word}: unknown")) as u8;
            app.notices = app.notices.with(bit);
        }
    }
}

/// `«x*165»` to the letters, and back.
fn long(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        let (run, after) = after.split_once('»').expect("« has its »");
        let (what, times) = run.rsplit_once('*').expect("« has a number of times");
        out.push_str(before);
        out.push_str(&what.repeat(times.parse().expect("times is a number")));
        rest = after;
    }
    out + rest
}

fn short(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        let mut times = 1;
        while chars.next_if_eq(&first).is_some() {
            times += 1;
        }
        if times >= RUN {
            write!(out, "«{first}*{times}»").expect("memory takes all");
        } else {
            out.extend(std::iter::repeat_n(first, times));
        }
    }
    out
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

impl Play {
    fn new(app: App) -> Self {
        let apps = Arc::new(Apps::new(vec![app.clone()], None));
        let settings = Settings { presence_grace_secs: 5, ..Settings::new(WorkerId(0), Homes { seed: 0, workers: 1 }) };
        let hub = Hub::new(settings, Arc::clone(&apps));
        Self { app, apps, hub, clients: Vec::new(), notices: Vec::new(), now: Moment(0) }
    }

    fn named(&self, name: &str) -> usize {
        self.clients.iter().rposition(|client| client.name == name).unwrap_or_else(|| panic!("nobody is named {name}"))
    }

    fn connect(&mut self, name: &str, words: &[&str]) {
        let option = |option: &str| words.iter().find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        let index = self.clients.len() as u32;
        let id = ConnectionId { index, generation: 0 };
        let socket_id = SocketId { place: index.into(), secret: 1000 + u64::from(index) };
        let client = Client {
            name: name.to_owned(),
            id,
            socket_id,
            open: true,
            look_at: self.now.after_secs(1),
            said: VecDeque::new(),
        };
        self.clients.push(client);
        let protocol = match option("protocol").or(option("version").map(|_| "")) {
            Some("") => handshake::protocol(None, option("version")),
            Some("none") => handshake::protocol(None, None),
            Some(protocol) => handshake::protocol(Some(protocol), option("version").or(Some("8.4.0"))),
            None => handshake::protocol(Some("7"), Some("8.4.0")),
        };
        let admitted = protocol.and_then(|protocol| {
            let app = handshake::app(&self.apps, option("key").unwrap_or(KEY))?;
            Ok((Arc::clone(app), protocol))
        });
        match admitted {
            Ok((app, protocol)) => self.hub.connect(id, &app, socket_id, protocol, self.now),
            Err(refused) => {
                let error = ServerFrame::Error { code: Some(refused.code), message: &refused.message, channel: None };
                let said = String::from_utf8(error.to_json()).expect("frames are text");
                let close = format!("close {} {}", refused.code.number(), refused.message);
                let client = self.clients.last_mut().expect("it has just connected");
                client.said.extend([said, close]);
                client.open = false;
            }
        }
    }

    /// The text that a client's words stand for.
    fn text(&self, client: usize, words: &str) -> String {
        let socket_id = self.clients[client].socket_id;
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (body, how) = ["unsigned", "badly signed"]
            .into_iter()
            .find_map(|how| Some((rest.strip_suffix(how)?.trim_end(), how)))
            .unwrap_or((rest, ""));
        let (body, key) = body.split_once(" signed with ").unwrap_or((body, KEY));
        let secret = Secret::new(if how == "badly signed" { "another" } else { "app-secret" });
        let auth = |signature: String| if how == "unsigned" { String::new() } else { format!("{key}:{signature}") };
        match first {
            "subscribe" => {
                let (channel, data) = body.split_once(" as ").map_or((body, None), |(name, data)| (name, Some(data)));
                let kind = campanile_protocol::ChannelKind::of(channel);
                let auth =
                    if kind.is_signed() { auth(secret.sign_channel(socket_id, channel, data)) } else { String::new() };
                let data = data.map_or(String::new(), |data| format!(r#","channel_data":{}"#, quoted(data)));
                let channel = quoted(channel);
                format!(r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel":{channel}{data}}}}}"#)
            }
            "unsubscribe" => format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":{}}}}}"#, quoted(body)),
            "signin" => {
                let auth = auth(secret.sign_user(socket_id, body));
                format!(r#"{{"event":"pusher:signin","data":{{"auth":"{auth}","user_data":{}}}}}"#, quoted(body))
            }
            _ => words.to_owned(),
        }
    }

    fn says(&mut self, name: &str, words: &str) {
        let client = self.named(name);
        let text = self.text(client, &long(words));
        self.hub.receive(self.clients[client].id, &text, self.now);
    }

    fn leaves(&mut self, client: usize, departure: Departure) {
        if std::mem::replace(&mut self.clients[client].open, false) {
            self.hub.disconnect(self.clients[client].id, departure, self.now);
        }
    }

    fn key(&self, name: &str) -> ChannelKey {
        ChannelKey { app: AppIndex(0), name: ChannelName::parse(name, 200).expect("the file's names are valid") }
    }

    fn publish(&mut self, words: &str) {
        let words = long(words);
        let (words, except) = words.split_once(" except ").map_or((&*words, None), |(words, name)| (words, Some(name)));
        let mut words = words.splitn(3, ' ');
        let (channel, event, data) = (words.next(), words.next(), words.next());
        let (Some(channel), Some(event), Some(data)) = (channel, event, data) else {
            panic!("api: channel event data")
        };
        let data = DataLiteral::from_text(data);
        let frame = ServerFrame::Event { event, channel, data: &data, user_id: None }.encode();
        let except = except.map(|name| self.clients[self.named(name)].socket_id);
        let key = self.key(channel);
        let remember = key.name.kind().cached.then_some(data);
        let event = EventName::parse(event, 200).expect("the file's names are valid");
        let publication = Publication { event, frame, except, remember, lasting: true, receipt: None };
        self.hub.letter(Letter::Publish { key, publication, ask: None }, self.now);
    }

    fn reload(&mut self, how: &str) {
        let apps = match how {
            "without" => vec![],
            how => vec![App { enabled: how != "disabled", ..self.app.clone() }],
        };
        self.apps = Arc::new(Apps::new(apps, Some(&self.apps)));
        self.hub.letter(Letter::Reload { apps: Arc::clone(&self.apps) }, self.now);
    }

    fn pass(&mut self, until: Moment) {
        loop {
            let looks = self.clients.iter().filter(|client| client.open).map(|client| client.look_at);
            let Some(next) = looks.chain(self.hub.next_due()).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.hub.due(self.now);
            for client in 0..self.clients.len() {
                if self.clients[client].open && self.clients[client].look_at <= self.now {
                    let next = self.hub.check(self.clients[client].id, self.now);
                    self.clients[client].look_at = next.unwrap_or(self.now.after_secs(1));
                }
            }
            self.tick();
        }
        self.now = until;
    }

    fn crowd(&mut self, words: &[&str]) {
        match words {
            ["leaves", count] => {
                for _ in 0..count.parse().expect("crowd leaves takes a number") {
                    let last = self.clients.iter().rposition(|client| client.name == CROWD && client.open);
                    self.leaves(last.expect("somebody of the crowd is left"), Departure::Left);
                }
            }
            [count, channel] => {
                for _ in 0..count.parse().expect("crowd takes a number") {
                    self.connect(CROWD, &[]);
                    self.says(CROWD, &format!("subscribe {channel}"));
                }
            }
            _ => panic!("crowd takes a number and a channel"),
        }
    }

    fn act(&mut self, line: &str) {
        if let Some((name, words)) = line.split_once(" < ") {
            let (times, name) = match name.split_once(" times ") {
                Some((times, name)) => (times.parse().expect("times is a number"), name),
                None => (1, name),
            };
            for _ in 0..times {
                self.says(name, words);
            }
            return self.tick();
        }
        let words: Vec<&str> = line.split(' ').collect();
        match *words {
            ["connect", name, ..] => self.connect(name, &words[2..]),
            ["crowd", ..] => self.crowd(&words[1..]),
            ["api", ..] => self.publish(&line["api ".len()..]),
            ["terminate", user] => {
                let key = self.key(&format!("#server-to-user-{user}"));
                self.hub.letter(Letter::Terminate { key }, self.now);
            }
            ["reload", ..] => self.reload(words.get(1).unwrap_or(&"")),
            ["+", time, "s"] => self.pass(self.now.after_secs(time.parse().expect("time is a number"))),
            ["+", time, "ms"] => self.pass(self.now.after_millis(time.parse().expect("time is a number"))),
            [name, "closes"] => self.leaves(self.named(name), Departure::Left),
            [name, "vanishes"] => self.leaves(self.named(name), Departure::Vanished),
            _ => panic!("no such act: {line}"),
        }
        self.tick();
    }

    /// Takes what the mind asks for and says, as a worker would.
    fn tick(&mut self) {
        let mut effects = Vec::new();
        self.hub.take_effects(&mut effects);
        self.hub.fanout().gather();
        while let Some(write) = self.hub.fanout().next_write() {
            let bytes = write.slices.concat();
            let client = self.clients.iter_mut().find(|client| client.open && client.id == write.connection);
            client.expect("only the connected are written to").said.extend(frames(&bytes));
        }
        for effect in effects {
            match effect {
                Effect::Close { connection, code, reason } => {
                    let client = self.clients.iter().position(|client| client.open && client.id == connection);
                    let client = client.expect("only the connected are closed");
                    self.clients[client].said.push_back(format!("close {} {reason}", code.number()));
                    self.leaves(client, Departure::Vanished);
                    self.tick();
                }
                Effect::Notice(notice) => self.notices.push(told(&notice)),
                Effect::Send { letter, .. } => panic!("one worker has nobody to write to: {letter:?}"),
                Effect::Answer { answer, .. } => panic!("nobody has asked: {answer:?}"),
                Effect::EnteredInbox { .. } => panic!("no app has inboxes"),
                Effect::Taken(_) => panic!("no app has inboxes"),
                Effect::Alert(alert) => panic!("no app has rules: {alert:?}"),
            }
        }
    }

    /// What has been said since the last act.
    fn said(&mut self, out: &mut String) {
        for client in &mut self.clients {
            let said: Vec<String> =
                client.said.drain(..).map(|frame| format!("{} > {}", client.name, short(&frame))).collect();
            if client.name != CROWD {
                write_down(&said, out);
            }
        }
        let told: Vec<String> = self.notices.drain(..).map(|notice| format!("* {}", short(&notice))).collect();
        write_down(&told, out);
    }

    /// Everybody leaves; nothing must remain.
    fn end(mut self) -> Census {
        for client in 0..self.clients.len() {
            self.leaves(client, Departure::Left);
        }
        self.pass(self.now.after_secs(self.app.limits.cache_ttl_secs + 10));
        self.hub.census()
    }
}

fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let [first, second, ..] = bytes {
        let (header, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => panic!("no frame of a conversation is that long"),
            length => (2, usize::from(*length)),
        };
        let text = String::from_utf8(bytes[header..header + length].to_vec()).expect("frames are text");
        frames.push(if *first == 0x81 { text } else { format!("a frame that begins with {first:#x}{text}") });
        bytes = &bytes[header + length..];
    }
    frames
}

fn told(notice: &Notice) -> String {
    let channel = notice.kind.channel().map_or(String::new(), |channel| format!(" {channel}"));
    let more = match &notice.kind {
        NoticeKind::MemberAdded { user_id, socket_id, .. } | NoticeKind::MemberRemoved { user_id, socket_id, .. } => {
            format!(" {user_id} by {socket_id}")
        }
        NoticeKind::ClientEvent { event, data, socket_id, user_id, .. } => {
            let user = user_id.as_ref().map_or(String::new(), |user| format!(" as {user}"));
            format!(" {event} {} by {socket_id}{user}", data.as_str())
        }
        NoticeKind::SubscriptionCount { count, .. } => format!(" {count}"),
        NoticeKind::ConnectionOpened { socket_id } | NoticeKind::ConnectionClosed { socket_id } => {
            format!(" {socket_id}")
        }
        NoticeKind::GuardAlert { reason, rule, .. } => format!(" {reason} by {rule}"),
        NoticeKind::Notification { user, .. } => format!(" {user}"),
        NoticeKind::ChannelOccupied { .. } | NoticeKind::ChannelVacated { .. } | NoticeKind::CacheMiss { .. } => {
            String::new()
        }
    };
    format!("{}{channel}{more}", notice.kind.name())
}

/// Writes equal lines that follow each other once.
fn write_down(lines: &[String], out: &mut String) {
    for equal in lines.chunk_by(|a, b| a == b) {
        match equal {
            [line] => writeln!(out, "{line}"),
            [line, ..] => writeln!(out, "{} times {line}", equal.len()),
            [] => continue,
        }
        .expect("memory takes all");
    }
}

fn is_said(line: &str) -> bool {
    let line =
        line.split_once(" times ").filter(|(times, _)| times.parse::<u32>().is_ok()).map_or(line, |(_, line)| line);
    line.starts_with("* ") || line.split_once(" > ").is_some_and(|(name, _)| !name.contains(' '))
}

/// Plays a file's acts and writes down all that happens. Files have as many plays as they have `app` lines.
fn played(script: &str) -> (String, Vec<Census>) {
    let (mut out, mut censuses, mut play) = (String::new(), Vec::new(), None::<Play>);
    for line in script.lines().filter(|line| !is_said(line)) {
        writeln!(out, "{line}").expect("memory takes all");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(settings) = line.strip_prefix("app") {
            censuses.extend(play.take().map(Play::end));
            let mut app = app();
            settings.split_whitespace().for_each(|word| set(&mut app, word));
            play = Some(Play::new(app));
        } else {
            let play = play.as_mut().expect("a file begins with its app");
            play.act(line);
            play.said(&mut out);
        }
    }
    censuses.extend(play.map(Play::end));
    (out, censuses)
}

/// With `UPDATE_CONVERSATIONS` in the environment, what happens is written into the file, for its author to read.
fn check(path: &Path) {
    let mut script = std::fs::read_to_string(path).expect("the file has just been listed");
    let (played, censuses) = played(&script);
    if std::env::var_os("UPDATE_CONVERSATIONS").is_some() {
        std::fs::write(path, &played).expect("the file can be written");
        script.clone_from(&played);
    }
    let (name, unlike) = (path.display(), script.lines().zip(played.lines()).position(|(a, b)| a != b));
    if let Some(line) = unlike.or((script.lines().count() != played.lines().count()).then_some(script.lines().count()))
    {
        panic!(
            "{name}:{} is not what happens, which is:\n\n{played}\n\nif that is meant, UPDATE_CONVERSATIONS=1 cargo test -p \
             campanile-hub --test conversations writes it down",
            line + 1
        );
    }
    assert!(script.lines().any(is_said), "{name} says nothing");
    for census in censuses {
        assert_eq!(census, Census::default(), "{name} leaves something behind");
    }
}

#[test]
fn every_conversation_goes_as_it_is_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .expect("the conversations lie beside this file")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 12, "conversations are missing: {paths:?}");
    for path in &paths {
        check(path);
    }
}

#[test]
fn a_conversation_that_goes_another_way_is_not_accepted() {
    let script = "app\nconnect a\na < {\"event\":\"pusher:ping\"}\na > {\"event\":\"pusher:pong\",\"data\":\"{}\"}\n";
    let (written, _) = played(script);
    assert!(written.contains("connection_established"), "what was left out of the script is written down");
    assert_eq!(played(&written).0, written);
    assert_ne!(played(&written.replace("pusher:ping", "pusher:pong")).0, written);
}

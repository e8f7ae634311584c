//! Processes that are killed, disks that are full, a database that goes away: and what is in the store all the same.
//!
//! Owns the proofs that nothing which was answered is lost, that nothing is told before it is there (I18), that numbers and
//! counts are right whenever one looks (I19), and that a key stays one notification (I20). Never kills with anything but
//! SIGKILL. The invariant: what the killed process has printed is the truth about what it was answered and told.
//!
//! This program is its own harness: called as `shop`, `sender`, `full` or `reader` it is the process that it happens to.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use campanile_inbox::{
    Change, Channel, Contact, DeliveryState, Draft, Inbox, InboxError, Mark, PageQuery, Recipients, Settings, Status,
    StoreUrl, Uuid,
};

#[path = "../../../campanile-broadcast/tests/support/postgres.rs"]
mod postgres;

const APP: &str = "shop";
const USERS: u64 = 5;
/// How often the shop is killed.
const KILLS: u32 = 5;
/// The shop lives at least and at most so long.
const LIFE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(800));
/// Longer than anything takes.
const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["shop", store, first] => runtime.block_on(shop(store, first.parse().unwrap())),
        ["sender", store] => runtime.block_on(sender(store)),
        ["full", store] => runtime.block_on(full(store)),
        ["reader", store] => runtime.block_on(reader(store)),
        _ => tests(&runtime, &arguments),
    }
}

/// Runs each test whose name has one of the filters in it.
#[expect(clippy::print_stdout, reason = "a harness says what it has found")]
fn tests(runtime: &tokio::runtime::Runtime, arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut passed = 0;
    let mut test = |name: &str, run: &dyn Fn()| {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            // A failure is a panic, which ends the program with another code than success.
            run();
            println!("test {name} ... ok");
            passed += 1;
        }
    };
    for kind in ["sqlite", "postgres"] {
        test(&format!("{kind}::a_store_that_is_killed_again_and_again_has_what_it_answered"), &|| {
            runtime.block_on(async { killed_shop(&Store::new(kind).await).await });
        });
        test(&format!("{kind}::what_a_killed_process_was_sending_is_unknown_and_not_sent_again"), &|| {
            runtime.block_on(async { killed_sender(&Store::new(kind).await).await });
        });
    }
    test("sqlite::a_full_disk_is_told_loses_nothing_and_goes_on_when_there_is_room", &|| runtime.block_on(full_disk()));
    test("sqlite::a_file_that_may_not_be_written_is_told_at_the_start", &|| runtime.block_on(read_only()));
    test("postgres::a_restart_of_the_database_is_told_and_it_goes_on", &|| runtime.block_on(restarted_postgres()));
    println!("\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}

async fn killed_shop(store: &Store) {
    let mut answered = BTreeSet::new();
    let mut told: Vec<(String, Uuid, i64)> = Vec::new();
    for round in 0..KILLS {
        let first = u64::from(round) * 1_000_000;
        let mut shop = Process::start(&["shop", &store.to_string(), &first.to_string()]);
        // It lives from its first answer on, so that it is not killed in its cradle.
        let mut lines = shop.lines();
        let mut heard = vec![lines.next().expect("it answers something").unwrap()];
        std::thread::sleep(between(LIFE));
        shop.kill();
        // The last line may be a half one.
        heard.extend(lines.map_while(Result::ok).filter(|line| line.ends_with('.')));
        for line in &heard {
            match line.trim_end_matches('.').split(' ').collect::<Vec<_>>()[..] {
                ["answered", key] => drop(answered.insert(key.to_owned())),
                ["told", user, id, seq] => told.push((user.to_owned(), id.parse().unwrap(), seq.parse().unwrap())),
                _ => panic!("{line:?}"),
            }
        }
        let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
        // Before anybody puts anything right.
        let report = inbox.reconcile().await.unwrap();
        assert_eq!(report.wrong, Vec::<String>::new(), "the counts equal the rows at every commit");
        for user in 0..USERS {
            numbered_without_gaps(&inbox, &user.to_string()).await;
        }
        inbox.close().await;
    }
    assert!(answered.len() > 50, "only {} answers: the shop has hardly worked", answered.len());
    assert!(told.len() > 20, "only {} were told", told.len());

    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = {
        let inbox = inbox.clone();
        tokio::spawn(async move { inbox.run(async { drop(stopped.await) }).await })
    };
    let began = Instant::now();
    // What the killed process held under a lease comes back when that has run out.
    while inbox.depths().await.unwrap().jobs_due > 0 {
        assert!(began.elapsed() < SOON, "{:?}", inbox.depths().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut keys: Vec<String> = Vec::new();
    let mut rows = BTreeSet::new();
    for user in 0..USERS {
        let user = user.to_string();
        for notification in numbered_without_gaps(&inbox, &user).await {
            keys.push(format!("{user}:{}", notification.title));
            rows.insert((user.clone(), notification.id, notification.seq));
        }
    }
    let distinct: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "one key is one notification");
    let lost: Vec<_> = answered.iter().filter(|key| !distinct.contains(key)).collect();
    assert!(lost.is_empty(), "answered and lost: {lost:?}");
    let invented: Vec<_> = told.iter().filter(|told| !rows.contains(*told)).collect();
    assert!(invented.is_empty(), "told and not there: {invented:?}");
    assert_eq!(inbox.reconcile().await.unwrap().wrong_count, 0);
    drop(stop);
    running.await.unwrap();
}

async fn numbered_without_gaps(inbox: &Inbox, user: &str) -> Vec<campanile_inbox::Notification> {
    let mut query = PageQuery { status: Status::All, limit: Some(100), ..PageQuery::default() };
    let mut all = Vec::new();
    loop {
        let page = inbox.page(APP, user, query).await.unwrap();
        all.extend(page.notifications);
        let Some(next) = page.next else { break };
        query = PageQuery { status: Status::All, limit: Some(100), before: Some(next), ..PageQuery::default() };
    }
    let seqs: Vec<i64> = all.iter().rev().map(|notification| notification.seq).collect();
    let expected: Vec<i64> = (1..).take(seqs.len()).collect();
    assert_eq!(seqs, expected, "user {user}");
    all
}

/// Accepts, marks and stores as fast as it can, and says what was answered and told.
async fn shop(store: &str, first: u64) -> ExitCode {
    let (inbox, mut changes) = Inbox::open(Store::parse(store).settings()).await.unwrap();
    let next = Arc::new(AtomicU64::new(first));
    for _ in 0..8 {
        let (inbox, next) = (inbox.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, SeqCst);
                let user = (number % USERS).to_string();
                let key = format!("{user}:{number}");
                let draft = Draft {
                    key: Some(key.clone()),
                    ..Draft::new(Recipients::User(user), "order.shipped", number.to_string())
                };
                // Each is sent twice, as by a publisher that did not hear the answer.
                for _ in 0..2 {
                    if inbox.accept(APP, draft.clone()).await.is_ok() {
                        say(&format!("answered {key}"));
                    }
                }
            }
        });
    }
    for user in 0..USERS {
        let inbox = inbox.clone();
        tokio::spawn(async move {
            let user = user.to_string();
            for step in 0_u64.. {
                let Ok(page) = inbox.page(APP, &user, PageQuery::default()).await else { continue };
                for notification in page.notifications.iter().step_by(3) {
                    let mark =
                        [Mark::Read, Mark::Unread, Mark::Archive, Mark::Seen][usize::try_from(step % 4).unwrap()];
                    drop(inbox.mark(APP, &user, notification.id, mark).await);
                }
                drop(inbox.read_all(APP, &user, page.state.seq, None, None).await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let courier = inbox.clone();
    tokio::spawn(async move { courier.run(std::future::pending()).await });
    while let Some(change) = changes.next().await {
        if let Change::Arrived { user, notification, .. } = change {
            say(&format!("told {user} {} {}", notification.id, notification.seq));
        }
    }
    ExitCode::FAILURE
}

/// One line in one write, whole if it ends with a full stop.
fn say(line: &str) {
    // Whoever killed us does not read any more.
    let _ = std::io::stdout().lock().write_all(format!("{line}.\n").as_bytes());
}

async fn killed_sender(store: &Store) {
    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    let contact = Contact { email: Some("one@example.com".into()), ..Contact::default() };
    inbox.put_user(APP, "1", contact).await.unwrap();
    inbox.close().await;
    let mut sender = Process::start(&["sender", &store.to_string()]);
    let first = sender.lines().next().unwrap().unwrap();
    assert_eq!(first, "sending.");
    sender.kill();
    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    let courier = inbox.clone();
    let running = tokio::spawn(async move { courier.run(std::future::pending()).await });
    let began = Instant::now();
    loop {
        let records = inbox.deliveries(APP, "1", None, 10).await.unwrap();
        assert_eq!(records.len(), 1);
        if records[0].state == DeliveryState::Unknown {
            break;
        }
        assert!(began.elapsed() < SOON, "{records:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(inbox.claim_deliveries(10).await.unwrap().is_empty(), "it is not sent again");
    running.abort();
}

async fn sender(store: &str) -> ExitCode {
    let (inbox, _changes) = Inbox::open(Store::parse(store).settings()).await.unwrap();
    let via = Some(vec![Channel::Inbox, Channel::Mail]);
    let draft = Draft { via, ..Draft::new(Recipients::User("1".into()), "k", "by mail") };
    inbox.accept(APP, draft).await.unwrap();
    let courier = inbox.clone();
    tokio::spawn(async move { courier.run(std::future::pending()).await });
    loop {
        if !inbox.claim_deliveries(1).await.unwrap().is_empty() {
            say("sending");
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn full_disk() {
    let store = Store::new("sqlite").await;
    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    inbox.close().await;
    // A limit on files is the full disk that nobody else notices. Its signal is ignored, so that it becomes an error.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"trap "" XFSZ; ulimit -S -f 4096; exec "$0" "$@""#]);
    command.arg(std::env::current_exe().unwrap()).args(["full", &store.to_string()]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let answered: BTreeSet<&str> = said.lines().filter_map(|line| line.strip_prefix("answered ")).collect();
    assert!(said.contains("full: ") && said.contains("goes on."), "{said}");
    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    let courier = inbox.clone();
    let running = tokio::spawn(async move { courier.run(std::future::pending()).await });
    while inbox.depths().await.unwrap().jobs_due > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let there: BTreeSet<String> =
        numbered_without_gaps(&inbox, "1").await.into_iter().map(|notification| notification.title + ".").collect();
    let lost: Vec<_> = answered.iter().filter(|title| !there.contains(**title)).collect();
    assert!(lost.is_empty(), "answered and lost: {lost:?}");
    assert_eq!(inbox.depths().await.unwrap().jobs_dead, 0, "a full disk costs no try");
    assert_eq!(inbox.reconcile().await.unwrap().wrong_count, 0);
    running.abort();
}

/// Fills the disk, sees what happens, makes room, and goes on.
async fn full(store: &str) -> ExitCode {
    let (inbox, _changes) = Inbox::open(Store::parse(store).settings()).await.unwrap();
    let courier = inbox.clone();
    tokio::spawn(async move { courier.run(std::future::pending()).await });
    let draft = |number: u32| Draft {
        body: Some("x".repeat(4000)),
        ..Draft::new(Recipients::User("1".into()), "k", number.to_string())
    };
    let mut number = 0;
    let error = loop {
        assert!(number < 20_000, "the disk does not fill");
        match inbox.accept(APP, draft(number)).await {
            Ok(_) => say(&format!("answered {number}")),
            Err(error) => break error,
        }
        number += 1;
    };
    let InboxError::Unavailable { reason } = &error else { panic!("{error:?}") };
    say(&format!("full: {reason}"));
    assert!(reason.contains("full") || reason.contains("I/O"), "{reason}");
    inbox.state(APP, "1").await.expect("what is there can still be read");
    // Long enough for the courier to fail as well.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resource = rustix::process::Resource::Fsize;
    let maximum = rustix::process::getrlimit(resource).maximum;
    rustix::process::setrlimit(resource, rustix::process::Rlimit { current: maximum, maximum }).unwrap();
    let began = Instant::now();
    while let Err(error) = inbox.accept(APP, draft(number + 1)).await {
        assert!(began.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say(&format!("answered {}", number + 1));
    while inbox.depths().await.unwrap().jobs_due > 0 {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say("goes on");
    ExitCode::SUCCESS
}

async fn read_only() {
    let store = Store::new("sqlite").await;
    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    inbox.close().await;
    let Store::Sqlite { file, .. } = &store else { unreachable!("it was asked for") };
    let directory = file.parent().unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    if rustix::process::getuid().is_root() {
        // Whom no permission stops. Nobody must find the program, too.
        let copy = directory.parent().unwrap().join(format!("reader-{}", std::process::id()));
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        command = Command::new(copy);
        command.uid(65534).gid(65534);
    }
    let program = PathBuf::from(command.get_program());
    let output = command.args(["reader", &store.to_string()]).current_dir("/").output().unwrap();
    if program != std::env::current_exe().unwrap() {
        std::fs::remove_file(program).unwrap();
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("refused: ") && said.contains("campanile.db"), "{output:?}");
    assert!(said.contains("right to write") || said.contains("readonly") || said.contains("unable to open"), "{said}");
    let (inbox, _changes) = Inbox::open(store.settings()).await.unwrap();
    assert_eq!(inbox.state(APP, "1").await.unwrap().unread, 0);
}

async fn reader(store: &str) -> ExitCode {
    match Inbox::open(Store::parse(store).settings()).await {
        Err(error) => say(&format!("refused: {error}")),
        Ok((inbox, _changes)) => {
            let answer = inbox.accept(APP, Draft::new(Recipients::User("1".into()), "k", "t")).await;
            say(&format!("opened, and answers {answer:?}"));
        }
    }
    ExitCode::SUCCESS
}

async fn restarted_postgres() {
    let store = Store::new("postgres").await;
    let (inbox, mut changes) = Inbox::open(store.settings()).await.unwrap();
    let courier = inbox.clone();
    let running = tokio::spawn(async move { courier.run(std::future::pending()).await });
    let draft = |title: &str| Draft { key: Some(title.into()), ..Draft::new(Recipients::User("1".into()), "k", title) };
    inbox.accept(APP, draft("before")).await.unwrap();
    while !matches!(changes.next().await, Some(Change::Arrived { .. })) {}

    let directory = postgres::socket_directory().to_owned();
    let pool = postgres::pool_of(&directory, "public").await;
    let programs: String =
        sqlx::query_scalar("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetch_one(&pool).await.unwrap();
    drop(pool);
    let pid_file = directory.join("data/postmaster.pid");
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().lines().next().unwrap().parse().unwrap();
    let signal = |pid, signal| rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
    signal(pid, rustix::process::Signal::INT).unwrap();
    let began = Instant::now();
    while pid_file.exists() {
        assert!(began.elapsed() < SOON, "Postgres does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let away = inbox.accept(APP, draft("while it is away")).await;
    assert!(matches!(away, Err(InboxError::Unavailable { .. })), "{away:?}");
    assert!(matches!(inbox.state(APP, "1").await, Err(InboxError::Unavailable { .. })));
    let owner = std::fs::metadata(directory.join("data")).unwrap();
    let mut server = Command::new(Path::new(&programs).join("postgres"));
    server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200", "-k"]).arg(&directory);
    server.arg("-D").arg(directory.join("data")).current_dir(&directory);
    if rustix::process::getuid().is_root() {
        server.uid(owner.uid()).gid(owner.gid());
    }
    let mut server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for title in ["while it is away", "after"] {
        let began = Instant::now();
        while let Err(error) = inbox.accept(APP, draft(title)).await {
            assert!(began.elapsed() < SOON, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let began = Instant::now();
    while inbox.state(APP, "1").await.unwrap().unread < 3 {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(numbered_without_gaps(&inbox, "1").await.len(), 3);
    running.abort();
    inbox.close().await;
    signal(i32::try_from(server.id()).unwrap(), rustix::process::Signal::QUIT).unwrap();
    server.wait().unwrap();
}

fn between((least, most): (Duration, Duration)) -> Duration {
    let fraction = f64::from(getrandom::u32().unwrap()) / f64::from(u32::MAX);
    least + (most - least).mul_f64(fraction)
}

/// This program in another role. It dies with its test, one way or another.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Self(child.unwrap())
    }

    /// What it says, as it says it. A thread takes it, because a pipe holds little and the process must not wait for us.
    fn lines(&mut self) -> std::sync::mpsc::IntoIter<std::io::Result<String>> {
        let stdout = self.0.stdout.take().expect("it is read once");
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        lines.into_iter()
    }

    /// Must find it alive.
    fn kill(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it ended before it was killed");
        self.0.kill().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or is about to.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// A store with a name by which another process finds it.
enum Store {
    Sqlite { file: PathBuf, _directory: Option<tempfile::TempDir> },
    Postgres { directory: PathBuf, schema: String },
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite { file, .. } => write!(f, "sqlite|{}", file.display()),
            Self::Postgres { directory, schema } => write!(f, "postgres|{}|{schema}", directory.display()),
        }
    }
}

impl Store {
    async fn new(kind: &str) -> Self {
        if kind == "sqlite" {
            let directory = tempfile::tempdir().unwrap();
            return Self::Sqlite { file: directory.path().join("campanile.db"), _directory: Some(directory) };
        }
        let pool = postgres::pool().await;
        let schema: String = sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&pool).await.unwrap();
        Self::Postgres { directory: postgres::socket_directory().to_owned(), schema }
    }

    fn parse(text: &str) -> Self {
        match text.split('|').collect::<Vec<_>>()[..] {
            ["sqlite", file] => Self::Sqlite { file: file.into(), _directory: None },
            ["postgres", directory, schema] => {
                Self::Postgres { directory: directory.into(), schema: schema.to_owned() }
            }
            _ => panic!("{text:?} names no store"),
        }
    }

    fn settings(&self) -> Settings {
        let store = match self {
            Self::Sqlite { file, .. } => StoreUrl::Sqlite(file.clone()),
            Self::Postgres { directory, schema } => {
                let host = directory.display().to_string().replace('/', "%2F");
                StoreUrl::Postgres(format!("postgres://postgres@{host}/postgres?options[search_path]={schema}"))
            }
        };
        let lease = Duration::from_secs(1);
        Settings { mail_delay: Duration::ZERO, delivery_lease: lease, ..Settings::new(store) }
    }
}

//! Many clients at once: what they cost each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Client, Opening, SOON, TestServer, in_string, start, within};

/// Crowds take turns: both ends of each connection are descriptors of this one process.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A crowd that has failed has ended all the same.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::print_stderr, reason = "figures are for people who run the tests with --nocapture")]
fn tell(figure: &str) {
    eprintln!("{figure}");
}

/// Connects so many clients, a few at a time.
fn crowd(server: &TestServer, size: usize) -> Vec<Client> {
    let mut crowd = Vec::with_capacity(size);
    while crowd.len() < size {
        let mut few: Vec<Client> = (0..(size - crowd.len()).min(50))
            .map(|_| {
                let mut client = Client::dial(server);
                client.raw(Opening::default().head().as_bytes());
                client
            })
            .collect();
        for client in &mut few {
            client.upgraded();
            client.establish();
        }
        crowd.append(&mut few);
    }
    crowd
}

/// Subscribes all of them.
fn subscribe(crowd: &mut [Client], channel: &str) {
    for few in crowd.chunks_mut(50) {
        for client in few.iter_mut() {
            client.ask_for(json!({ "channel": channel }));
        }
        for client in few {
            client.subscribed(channel);
        }
    }
}

#[test]
fn connections_are_spread_over_all_workers() {
    let _turn = turn();
    for workers in [2, 4] {
        let server = start(&[("workers", &workers.to_string())]);
        let crowd = crowd(&server, 1000);
        let mut by_worker: HashMap<u64, usize> = HashMap::new();
        for client in &crowd {
            let place: u64 = client.socket_id.split('.').next().and_then(|place| place.parse().ok()).expect("a place");
            // 10 bits of it are the worker, above 26 of the connection's place.
            *by_worker.entry(place >> 26 & 0x3ff).or_default() += 1;
        }
        let (least, most) = (by_worker.values().min().expect("workers"), by_worker.values().max().expect("workers"));
        tell(&format!("1000 connections from one address over {workers} workers: {least} to {most}"));
        assert_eq!(by_worker.len(), workers, "every worker has connections: {by_worker:?}");
        assert!(most <= &(2 * least), "{by_worker:?}");
    }
}

#[test]
fn thousands_who_vanish_at_once_do_not_keep_others_waiting() {
    const CROWD: usize = 4000;
    const MEMBERS: usize = 100;
    let _turn = turn();
    let server = start(&[("limits.presence_grace_secs", "1"), ("apps.0.presence_members_max", "200")]);
    let mut watcher = Client::connect(&server);
    watcher.join("presence-all", "watcher");
    let mut crowd = crowd(&server, CROWD);
    subscribe(&mut crowd, "crowded");
    for (number, client) in crowd[..2 * MEMBERS].iter_mut().enumerate() {
        // Each user with two tabs.
        let user = (number % MEMBERS).to_string();
        let subscription = client.signed("presence-all", Some(&json!({ "user_id": user }).to_string()));
        client.ask_for(subscription);
    }
    let mut members = 0;
    while members < MEMBERS {
        assert_eq!(watcher.event()["event"], "pusher_internal:member_added");
        members += 1;
    }
    for client in &mut crowd[..2 * MEMBERS] {
        // The member_added of those who came later may come first to no one but come to many after it.
        while client.event()["event"] != "pusher_internal:subscription_succeeded" {}
    }
    server.wait_for_connections(CROWD as u64 + 1);

    for client in crowd {
        client.vanish();
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let one = Instant::now();
        let mut client = Client::connect(&server);
        client.subscribe(&format!("crowded-{number}"));
        client.subscribe("crowded");
        slowest = slowest.max(one.elapsed());
    }
    tell(&format!("while {CROWD} vanish, connecting and subscribing twice took at most {slowest:?}"));
    assert!(slowest < SOON, "{slowest:?}");
    let mut removed: HashMap<String, usize> = HashMap::new();
    while removed.len() < MEMBERS {
        let event = watcher.event();
        assert_eq!(event["event"], "pusher_internal:member_removed", "{event}");
        let user = in_string(&event["data"])["user_id"].as_str().expect("a user").to_owned();
        *removed.entry(user).or_default() += 1;
    }
    assert!(began.elapsed() > Duration::from_millis(500), "the grace was kept");
    assert!(removed.values().all(|times| *times == 1), "{removed:?}");
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    let users = server.get("/apps/app/channels/presence-all/users", &[]).json();
    assert_eq!(users, json!({ "users": [{ "id": "watcher" }] }));
    server.wait_for_connections(1);
}

#[test]
fn ten_thousand_connections_that_come_and_go_leave_no_place_taken() {
    const ROUNDS: usize = 10;
    const AT_ONCE: usize = 1000;
    let _turn = turn();
    let server = start(&[("apps.0.connections_max", "1000"), ("limits.connections_max", "1000")]);
    for round in 0..ROUNDS {
        let crowd = crowd(&server, AT_ONCE);
        assert_eq!(server.connections(), 1000);
        let refused = Client::open(&server, &Opening::default()).refused();
        assert_eq!(refused, 4100, "both quotas are full; the node's is the one that may be waited for");
        for (number, mut client) in crowd.into_iter().enumerate() {
            match (round + number) % 4 {
                0 => client.vanish(),
                1 => drop(client),
                2 => client.frame(0x88, &1000_u16.to_be_bytes()),
                _ => client.frame(0xf8, b""),
            }
        }
        server.wait_for_connections(0);
    }
    assert_eq!(server.exchange(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").body, "ready\n");
}

#[test]
fn a_ping_is_answered_within_a_fan_out_to_thousands() {
    const CROWD: usize = 4000;
    const EVENTS: usize = 20;
    let _turn = turn();
    let server = start(&[]);
    let mut crowd = crowd(&server, CROWD);
    subscribe(&mut crowd, "crowded");
    let mut pinging = Client::connect(&server);
    let mut slowest = Duration::ZERO;
    let mut pings = 0;
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            for _ in 0..EVENTS {
                server.publish("crowded", "e", &"x".repeat(1200));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        while !publishing.is_finished() {
            let one = Instant::now();
            pinging.sync();
            slowest = slowest.max(one.elapsed());
            pings += 1;
        }
    });
    tell(&format!("within {EVENTS} fan-outs to {CROWD}, the slowest of {pings} pings took {slowest:?}"));
    assert!(slowest < SOON, "{slowest:?}");
    for client in &mut crowd {
        for _ in 0..EVENTS {
            assert_eq!(client.event()["event"], "e");
        }
    }
}

#[test]
fn a_drain_ends_though_thousands_have_vanished() {
    const CROWD: usize = 3000;
    let _turn = turn();
    let server = start(&[("drain.wave_secs", "1"), ("limits.closing_timeout_secs", "1")]);
    let crowd = crowd(&server, CROWD);
    let (vanishing, silent): (Vec<_>, Vec<_>) = crowd.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let drain = std::thread::spawn(move || server.drain());
    // Some go before they are told, some while, some never say anything again.
    for (number, (_, client)) in vanishing.into_iter().enumerate() {
        if number % 500 == 0 {
            std::thread::sleep(Duration::from_millis(200));
        }
        client.vanish();
    }
    let took = drain.join().expect("a drain does not panic");
    assert!(took < 2 * SOON, "{took:?}");
    for (_, mut client) in silent {
        assert_eq!(client.closed(), 4200);
    }
}

#[test]
fn many_clients_may_come_back_while_many_are_still_leaving() {
    let _turn = turn();
    let server = start(&[("limits.presence_grace_secs", "60"), ("apps.0.presence_members_max", "500")]);
    let mut watcher = Client::connect(&server);
    watcher.join("presence-all", "watcher");
    let mut before: Vec<Client> = crowd(&server, 300);
    for (number, client) in before.iter_mut().enumerate() {
        client.join("presence-all", &number.to_string());
        assert_eq!(watcher.event()["event"], "pusher_internal:member_added");
    }
    for client in before {
        client.vanish();
    }
    let mut after = crowd(&server, 300);
    for (number, client) in after.iter_mut().enumerate() {
        client.join("presence-all", &number.to_string());
    }
    // Nobody was seen leaving or coming.
    within(SOON, || {
        let users = server.get("/apps/app/channels/presence-all", &[("info", "user_count")]).json();
        if users["user_count"] == 301 { Ok(()) } else { Err(users.to_string()) }
    });
    assert_eq!(watcher.sync(), [] as [Value; 0]);
}

#[test]
fn twenty_thousand_channels_are_all_listed_and_deliveries_go_on() {
    const CLIENTS: usize = 20;
    const CHANNELS: usize = 1000;
    const LISTS: usize = 5;
    let _turn = turn();
    let server = start(&[]);
    let mut crowd = crowd(&server, CLIENTS);
    for (number, client) in crowd.iter_mut().enumerate() {
        for few in (0..CHANNELS).collect::<Vec<_>>().chunks(100) {
            for channel in few {
                client.ask_for(json!({ "channel": format!("many-{number}-{channel}") }));
            }
            // Grants of different homes come in any order.
            for _ in few {
                assert_eq!(client.event()["event"], "pusher_internal:subscription_succeeded");
            }
        }
    }
    let mut expected: Vec<String> =
        (0..CLIENTS).flat_map(|number| (0..CHANNELS).map(move |channel| format!("many-{number}-{channel}"))).collect();
    expected.sort();
    let mut listener = Client::connect(&server);
    listener.subscribe("news");
    let (mut delivered, mut slowest) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let listing = scope.spawn(|| {
            for _ in 0..LISTS {
                let query = [("filter_by_prefix", "many-"), ("info", "subscription_count")];
                let answer = server.get("/apps/app/channels", &query);
                let names = expected.iter().map(|name| format!(r#""{name}":{{"subscription_count":1}}"#));
                let expected = format!(r#"{{"channels":{{{}}}}}"#, names.collect::<Vec<_>>().join(","));
                assert!(answer.body == expected, "{} bytes, not {}", answer.body.len(), expected.len());
            }
        });
        while !listing.is_finished() {
            let began = Instant::now();
            server.publish("news", "told", "{}");
            assert_eq!(listener.event()["event"], "told");
            (delivered, slowest) = (delivered + 1, slowest.max(began.elapsed()));
        }
        listing.join().expect("every list is complete");
    });
    tell(&format!("{LISTS} lists of {}: {delivered} deliveries meanwhile, the slowest in {slowest:?}", expected.len()));
    assert!(delivered > LISTS, "{delivered} deliveries during {LISTS} lists");
    assert!(slowest < SOON, "{slowest:?}");
}

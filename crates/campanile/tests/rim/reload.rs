//! What an operator hears of a reload.

use crate::client::Browser;
use crate::log;
use crate::stage::{KEY, Stage};

fn app(id: &str, setting: &str) -> String {
    format!("[[apps]]\nid = '{id}'\nkeys = [{{ key = 'key-{id}', secret = 'secret-of-{id}-0123456789' }}]\n{setting}\n")
}

#[tokio::test]
async fn a_reload_says_in_numbers_what_it_has_changed_and_kept() {
    log::watch();
    let before = [app("same", ""), app("other", ""), app("less", ""), app("gone", "")].concat();
    let mut stage = Stage::open(&before);
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(stage.browser().await);
    }
    let mut leaving = stage.browser_of("key-gone").await;
    let mut disabled = stage.browser_of("key-less").await;
    stage.place.settings = [
        app("same", ""),
        app("other", "client_events = true"),
        app("less", "enabled = false"),
        app("new", ""),
        app("newer", ""),
    ]
    .concat();
    stage.reload().await.unwrap();
    let line = "reloaded apps_added=2 apps_removed=1 apps_changed=2 connections_kept=3";
    assert!(log::so_far().contains(line), "{}", log::so_far());
    for browser in &mut kept {
        assert!(browser.is_alive().await);
    }
    assert_eq!(leaving.close_code().await, 4001);
    assert_eq!(disabled.close_code().await, 4003);
    stage.reload().await.unwrap();
    let line = "reloaded apps_added=0 apps_removed=0 apps_changed=0 connections_kept=3";
    assert!(log::so_far().contains(line), "{}", log::so_far());
    stage.close().await;
}

#[tokio::test]
async fn compression_goes_on_and_off_for_those_who_connect_afterwards() {
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut stage = Stage::open("");
    let mut connected = Vec::new();
    for compression in [false, true, false] {
        stage.place.settings = format!("compression = {compression}\n");
        stage.reload().await.unwrap();
        let (browser, head) = Browser::upgrade(KEY, stage.tcp().await, OFFER).await;
        assert_eq!(head.contains("permessage-deflate"), compression, "{head}");
        connected.push(browser);
    }
    for browser in &mut connected {
        assert!(browser.text().await.contains("pusher:connection_established"));
        assert!(browser.is_alive().await);
    }
    stage.close().await;
}

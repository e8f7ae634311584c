//! One server for each `state_dir`.

use campanile::{StartError, StateDir};

use crate::stage::{Place, Stage};

#[tokio::test]
async fn a_second_server_on_the_same_port_is_told_what_runs_there_and_what_to_do() {
    let (stage, second) = (Stage::at(Place::new("")), Place::new(""));
    let mut config = second.config();
    config.listen.address = stage.address();
    let text = campanile::Server::start(config).map(|_| ()).unwrap_err().to_string();
    let said = format!("cannot listen on {}: Address already in use", stage.address());
    assert!(text.starts_with(&said) && text.contains("another campanile is there: stop that one, or give"), "{text}");
    assert!(stage.browser().await.is_alive().await);
    stage.close().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused_before_it_opens_anything() {
    let stage = Stage::at(Place::new(""));
    let error = stage.place.start().map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::StateDir(_)), "{error:?}");
    let text = error.to_string();
    let named = format!("(process {}, which listens on {}): stop that one", std::process::id(), stage.address());
    assert!(text.contains("is in use by another campanile") && text.contains(&named), "{text}");
    assert!(stage.browser().await.is_alive().await);

    let state = stage.place.path("state");
    assert!(StateDir::lock(&state).is_err());
    let Stage { place, server } = stage;
    server.drain().await.unwrap();
    // Given back once nobody works there any more.
    drop(StateDir::lock(&state).unwrap());
    Stage::at(place).close().await;
}

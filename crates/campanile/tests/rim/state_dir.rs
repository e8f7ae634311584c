//! One server for each `state_dir`.

use campanile::{StartError, StateDir};

use crate::stage::{Place, Stage};

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused_before_it_opens_anything() {
    let stage = Stage::at(Place::new(""));
    let error = stage.place.start().map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::StateDir(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("is in use by another campanile") && text.contains("state"), "{text}");
    assert!(stage.browser().await.is_alive().await);

    let state = stage.place.path("state");
    assert!(StateDir::lock(&state).is_err());
    let Stage { place, server } = stage;
    server.drain().await.unwrap();
    // Given back once nobody works there any more.
    drop(StateDir::lock(&state).unwrap());
    Stage::at(place).close().await;
}

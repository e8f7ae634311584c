//! Every interleaving of what two connections do on one channel.
//!
//! Owns the order of steps: subscribe, unsubscribe, close and publish up to [`LENGTH`], with every order in which the
//! letters between the channel's home and the connections' worker can arrive in between.
//! `CAMPANILE_SIMULATION_LENGTH=7` tries longer ones. Never draws anything. Two steps at different workers
//! commute unless one delivers what the other has just sent, so of such neighbours only one order is tried: the home's
//! step first. The invariant: each path is tried once, and the model of the simulation judges each.

use crate::model::Stage;
use crate::world::World;

/// So many steps of clients and publishers.
const LENGTH: usize = 6;

const HOME: usize = 0;
const AWAY: usize = 1;
const UP: (usize, usize) = (AWAY, HOME);
const DOWN: (usize, usize) = (HOME, AWAY);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Subscribe(usize),
    Unsubscribe(usize),
    Close(usize),
    Publish,
    Deliver((usize, usize)),
}

/// Where the two connections are and who they are.
#[derive(Debug, Clone, Copy)]
struct Cast {
    name: &'static str,
    workers: [usize; 2],
    users: [Option<&'static str>; 2],
    /// Clients are written to after each step, or only when all has come to rest.
    ticks: bool,
}

impl Cast {
    fn worker_of(self, step: Step) -> usize {
        match step {
            Step::Subscribe(client) | Step::Unsubscribe(client) | Step::Close(client) => self.workers[client],
            Step::Publish => HOME,
            Step::Deliver((_, to)) => to,
        }
    }
}

fn world(cast: Cast) -> World {
    // Among the seeds of homes is one that makes worker 0 the channel's.
    let key = format!("0/{}", cast.name);
    let mut seeds = 0..;
    let mut world = loop {
        let world = World::new(2, seeds.next().expect("there are many seeds"));
        if world.home(&key) == HOME {
            break world;
        }
    };
    world.quiet = true;
    for worker in cast.workers {
        world.connect(worker, 0);
    }
    world.come_to_rest();
    world
}

/// The steps that could come next after `last`, before which the home had `waiting` letters.
fn next(world: &World, cast: Cast, ops: usize, last: Option<(Step, bool)>) -> Vec<Step> {
    let (mut steps, key) = (Vec::new(), format!("0/{}", cast.name));
    if ops > 0 {
        for client in 0..2 {
            let alike = cast.workers[0] == cast.workers[1];
            // Of two connections that are alike, the first acts first.
            let begins = client == 0 || !alike || world.model.seats.iter().any(|seat| seat.client == 0);
            if world.clients[client].open && begins {
                match world.model.seat(client, &key, false).map(|seat| world.model.seats[seat].stage) {
                    None => steps.push(Step::Subscribe(client)),
                    Some(stage) => {
                        // A repeated request goes to the home again only if there is a snapshot to send.
                        if stage == Stage::Joined && cast.users[client].is_some() {
                            steps.push(Step::Subscribe(client));
                        }
                        steps.extend([Step::Unsubscribe(client), Step::Close(client)]);
                    }
                }
            }
        }
        // An event that nobody is to get changes nothing, and two in a row are as good as one.
        if world.model.subscribers(&key) > 0 && last.is_none_or(|(last, _)| last != Step::Publish) {
            steps.push(Step::Publish);
        }
    }
    steps.extend([UP, DOWN].into_iter().filter(|pair| world.is_under_way(*pair)).map(Step::Deliver));
    steps.retain(|step| {
        let Some((last, was_waiting)) = last else { return true };
        // It could as well have come before the other worker's step, and has been tried there.
        let commutes = cast.worker_of(last) == AWAY && cast.worker_of(*step) == HOME;
        !commutes || (*step == Step::Deliver(UP) && !was_waiting)
    });
    steps
}

fn go(world: &mut World, cast: Cast, step: Step) {
    match step {
        Step::Subscribe(client) => world.subscribe(client, cast.name, cast.users[client]),
        Step::Unsubscribe(client) => world.unsubscribe(client, cast.name),
        Step::Close(client) => world.disconnect(client, false),
        Step::Publish => {
            world.publish(&format!("0/{}", cast.name), None);
            world.deliver((2, HOME));
        }
        Step::Deliver(pair) => world.deliver(pair),
    }
    if cast.ticks {
        world.flush(cast.worker_of(step));
    }
}

/// Goes on from here in every way; returns how many ways there were.
fn every_way(mut world: World, cast: Cast, ops: usize, taken: &mut Vec<(Step, bool)>) -> usize {
    let choices = next(&world, cast, ops, taken.last().copied());
    let judge = |world: &World, taken: &[(Step, bool)]| {
        assert_eq!(world.violation, None, "{cast:?}: {:?}", taken.iter().map(|(step, _)| step).collect::<Vec<_>>());
    };
    if ops == 0 || choices.is_empty() {
        world.come_to_rest();
        world.check_rest();
        judge(&world, taken);
        return 1;
    }
    let mut ways = 0;
    for step in choices {
        let mut world = world.clone();
        taken.push((step, world.is_under_way(UP)));
        go(&mut world, cast, step);
        judge(&world, taken);
        let left = ops - usize::from(!matches!(step, Step::Deliver(_)));
        ways += every_way(world, cast, left, taken);
        taken.pop();
    }
    ways
}

/// Tries all ways of one step fewer than [`LENGTH`] so many times over, or as many steps as the environment says.
fn try_all(cast: Cast, shorter: usize) -> usize {
    let length = crate::number("CAMPANILE_SIMULATION_LENGTH").map_or(LENGTH - shorter, |length| length as usize);
    every_way(world(cast), cast, length, &mut Vec::new())
}

const PUBLIC: Cast = Cast { name: "room", workers: [AWAY, AWAY], users: [None, None], ticks: true };
const TABS: Cast = Cast { name: "presence-room", users: [Some("u1"), Some("u1")], ..PUBLIC };
const USERS: Cast = Cast { users: [Some("u1"), Some("u2")], ..TABS };

#[test]
fn two_connections_away_from_the_home_of_a_public_channel() {
    assert!(try_all(PUBLIC, 0) > 100_000);
}

#[test]
fn two_tabs_away_from_the_home_of_a_presence_channel() {
    assert!(try_all(TABS, 0) > 50_000);
}

#[test]
fn two_users_away_from_the_home_of_a_presence_channel() {
    // With more to hear of each other there are more ways: all of length 6 take a minute.
    assert!(try_all(USERS, 1) > 10_000);
}

#[test]
fn one_connection_at_the_home_and_one_away() {
    let workers = [HOME, AWAY];
    for cast in [PUBLIC, TABS, USERS] {
        assert!(try_all(Cast { workers, ..cast }, 0) > 5_000);
    }
}

#[test]
fn a_tick_that_takes_everything_in_at_once() {
    let workers = [HOME, AWAY];
    for cast in [PUBLIC, USERS] {
        assert!(try_all(Cast { workers, ticks: false, ..cast }, 0) > 5_000);
    }
}

//! One life of a server, drawn from a seed.

use crate::dice::Dice;
use crate::faults::Fault;
use crate::world::{GUEST, Guest, World};

const NAMES: [&str; 8] =
    ["public", "private-a", "presence-a", "presence-b", "cache-a", "private-cache-a", "presence-cache-a", "private-b"];
const USERS: [&str; 4] = ["u1", "u2", "u3", "u4"];
const CLIENTS_MAX: usize = 8;

/// What a run has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) transcript: String,
    pub(crate) violation: Option<String>,
    /// The planted fault has happened.
    pub(crate) struck: bool,
    pub(crate) frames: usize,
}

/// Runs a seed, with a fault that strikes at its n-th opportunity if one is given.
pub(crate) fn run(seed: u64, fault: Option<(Fault, usize)>) -> Outcome {
    let mut dice = Dice::new(seed);
    let workers = dice.pick(&[1, 2, 2, 4]);
    let mut world = World::new(workers, seed);
    if let Some((fault, after)) = fault {
        world.plant(fault, after);
    }
    let steps = 40 + dice.below(100);
    let mut left = steps;
    let life =
        Life { names: (0..1 + dice.below(6)).map(|_| dice.pick(&NAMES)).collect(), minds_are_lost: dice.percent(30) };
    while left > 0 && world.violation.is_none() {
        left -= 1;
        step(&mut world, &mut dice, &life);
    }
    if world.violation.is_none() {
        rest(&mut world, &mut dice);
    }
    let frames = world.clients.iter().map(|client| client.received).sum();
    let World { transcript, violation, faults, .. } = world;
    Outcome { transcript, violation, struck: faults.happened, frames }
}

/// What one run is about.
struct Life {
    /// Few channels see more happen to each.
    names: Vec<&'static str>,
    minds_are_lost: bool,
}

fn any_key(dice: &mut Dice, names: &[&str]) -> String {
    let app = u32::from(dice.percent(10)) * GUEST;
    format!("{app}/{}", dice.pick(names))
}

fn step(world: &mut World, dice: &mut Dice, life: &Life) {
    let names = &life.names;
    let worker = dice.below(world.hubs.len());
    let open = world.open();
    let client = if open.is_empty() { None } else { Some(dice.pick(&open)) };
    match (dice.below(160), client) {
        (0..15, _) if open.len() < CLIENTS_MAX => {
            let app = u32::from(dice.percent(15)) * GUEST;
            world.connect(worker, app);
        }
        (15..40, Some(client)) => {
            let name = dice.pick(names);
            let user = name.starts_with("presence-").then(|| dice.pick(&USERS));
            world.subscribe(client, name, user);
        }
        (40..50, Some(client)) => world.unsubscribe(client, dice.pick(names)),
        (50..56, Some(client)) => {
            let name = dice.pick(names);
            // On public channels they are refused by another rule, which the conversations show.
            let name = if name.starts_with("pr") { name } else { "private-a" };
            world.client_event(client, name);
        }
        (56..68, _) => {
            let except = client.filter(|_| dice.percent(40));
            let key = if dice.percent(10) {
                format!("0/#server-to-user-{}", dice.pick(&USERS))
            } else {
                any_key(dice, names)
            };
            if !key.starts_with("1/") || world.knows_guest() {
                world.publish(&key, except);
            }
        }
        (68..75, Some(client)) => {
            let watchlist: Vec<String> = USERS.into_iter().filter(|_| dice.percent(40)).map(str::to_owned).collect();
            world.sign_in(client, dice.pick(&USERS), &watchlist);
        }
        (75..78, Some(client)) => {
            world.subscribe(client, &format!("#server-to-user-{}", dice.pick(&USERS)), None);
        }
        (78..83, Some(client)) => world.disconnect(client, dice.percent(60)),
        (83..85, Some(client)) => world.ping(client),
        (85, _) => world.terminate(&format!("0/#server-to-user-{}", dice.pick(&USERS))),
        (86..88, _) => world.reload(dice.pick(&[Guest::Welcome, Guest::Welcome, Guest::Disabled, Guest::Removed])),
        (88..90, _) if life.minds_are_lost => world.lose_mind(worker),
        (88..95, _) => {
            let millis = dice.pick(&[1, 300, 999, 1000, 2000, 2999, 3000, 5000, 6000, 21_000]);
            world.pass(if dice.percent(4) { 125_000 } else { millis });
        }
        (95..98, _) => world.ask(&any_key(dice, names)),
        (98, _) => world.ask_channels(worker),
        (99..103, _) => world.sweep(worker),
        (103..108, _) => world.look(worker),
        (108..125, _) => {
            world.flush(worker);
        }
        _ => {
            let pairs = world.under_way();
            if !pairs.is_empty() {
                world.deliver(dice.pick(&pairs));
            }
        }
    }
}

/// Everything comes to rest; then everybody leaves, and all deadlines pass.
fn rest(world: &mut World, dice: &mut Dice) {
    world.come_to_rest();
    world.check_rest();
    world.pass(10_000);
    world.come_to_rest();
    world.check_rest();
    world.check_told();
    for client in world.open() {
        world.disconnect(client, dice.percent(50));
        if dice.percent(30) {
            world.pass(1500);
        }
    }
    world.come_to_rest();
    // The grace, the wait of notices, the time of what is remembered.
    for _ in 0..3 {
        world.pass(10_000);
        world.come_to_rest();
    }
    world.check_rest();
    world.check_empty();
}

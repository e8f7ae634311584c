use campanile_broadcast::Channel;

#[derive(Channel)]
struct Without;

#[derive(Channel)]
#[channel("private-orders.{a}{b}")]
struct Adjacent {
    a: i64,
    b: i64,
}

#[derive(Channel)]
#[channel("private-orders.{a}.{a}")]
struct Twice {
    a: i64,
}

#[derive(Channel)]
#[channel("private-orders.{a")]
struct Open {
    a: i64,
}

#[derive(Channel)]
#[channel("private-my orders")]
struct Space;

#[derive(Channel)]
#[channel("#server-to-user-{id}")]
struct Reserved {
    id: i64,
}

#[derive(Channel)]
#[channel("private-")]
struct OnlyAPrefix;

#[derive(Channel)]
#[channel("private-orders.{0}")]
struct Tuple(i64);

fn main() {}

use campanile_broadcast::Channel;

struct UserId(i64);

#[derive(Channel)]
#[channel("private-user.{id}")]
struct UserChannel {
    id: UserId,
}

fn main() {}

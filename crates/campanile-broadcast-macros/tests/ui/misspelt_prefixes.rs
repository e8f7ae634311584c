use campanile_broadcast::Channel;

#[derive(Channel)]
#[channel("privat-user.{id}")]
struct OneLetterLess {
    id: i64,
}

#[derive(Channel)]
#[channel("presense-room.{id}")]
struct AnotherLetter {
    id: i64,
}

#[derive(Channel)]
#[channel("private_user.{id}")]
struct Underscore {
    id: i64,
}

#[derive(Channel)]
#[channel("Private-user.{id}")]
struct Capital {
    id: i64,
}

#[derive(Channel)]
#[channel("private.{id}")]
struct Dot {
    id: i64,
}

#[derive(Channel)]
#[channel("private-encypted-user.{id}")]
struct NotEncrypted {
    id: i64,
}

#[derive(Channel)]
#[channel("private-encrypted.{id}")]
struct EncryptedWithADot {
    id: i64,
}

#[derive(Channel)]
#[channel("presents-{id}", as_writen)]
struct MisspeltOption {
    id: i64,
}

// Meant as they stand, so nothing is said of these.
#[derive(Channel)]
#[channel("presents-{id}", as_written)]
struct Presents {
    id: i64,
}

#[derive(Channel)]
#[channel("private-encrypt.{id}", as_written)]
struct Encrypt {
    id: i64,
}

#[derive(Channel)]
#[channel("products.{id}")]
struct Products {
    id: i64,
}

#[derive(Channel)]
#[channel("prices-{id}")]
struct Prices {
    id: i64,
}

#[derive(Channel)]
#[channel("profile.{id}")]
struct Profile {
    id: i64,
}

fn main() {}

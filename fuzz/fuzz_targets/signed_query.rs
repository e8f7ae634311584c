//! Whatever query a request brings: no panic, one string to sign, and no way past the signature. What we sign verifies,
//! and no longer does once path, body, secret or time is another.

#![no_main]

use campanile_protocol::Secret;
use campanile_protocol::signature::{PARAMETERS_MAX, SignatureError, SignedQuery, sign_request};
use libfuzzer_sys::fuzz_target;

/// Key, time, version, hash of the body and signature.
const PARAMETERS_OF_THE_SIGNER: usize = 5;

fuzz_target!(|input: (u32, &str, &str, &[u8], &str)| {
    // The query comes last, so that it is what most of the input's bytes become.
    let (now, key, path, body, query) = input;
    let now = u64::from(now);
    let secret = Secret::new(key);

    let parsed = SignedQuery::parse(query);
    let string_to_sign = parsed.string_to_sign("post", path);
    assert_eq!(SignedQuery::parse(query).string_to_sign("POST", path), string_to_sign);
    let signature = secret.sign(string_to_sign.as_bytes());
    let signed = format!("{query}&auth_signature={signature}");
    assert_eq!(
        SignedQuery::parse(&signed).string_to_sign("POST", path),
        string_to_sign,
        "a signature signs all but itself"
    );
    if parsed.verify(&secret, "POST", path, now).is_ok() && parsed.verify_body(body).is_ok() {
        let given = parsed.get("auth_signature").expect("nothing verifies without a signature");
        assert!(given.eq_ignore_ascii_case(&signature));
    }

    // What the signer adds itself is not a caller's to give.
    let is_ours = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("auth_") || name.starts_with("body_md5")
    };
    let params = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| !is_ours(name));
    let params: Vec<(&str, &str)> = params.take(PARAMETERS_MAX - PARAMETERS_OF_THE_SIGNER).collect();
    let ours = sign_request(key, &secret, "POST", path, &params, body, now);
    let ours = SignedQuery::parse(&ours);
    let verify = |secret: &Secret, path: &str, body: &[u8], now: u64| {
        ours.verify(secret, "POST", path, now).and_then(|()| ours.verify_body(body))
    };
    assert_eq!(ours.key(), Ok(key));
    assert_eq!(verify(&secret, path, body, now), Ok(()));
    assert_eq!(verify(&secret, path, &[body, b"x"].concat(), now), Err(SignatureError::Body));
    assert_eq!(verify(&secret, path, body, now + 601), Err(SignatureError::Timestamp { now: now + 601 }));
    let elsewhere = verify(&secret, &format!("{path}x"), body, now);
    assert!(matches!(elsewhere, Err(SignatureError::Signature { .. })), "{elsewhere:?}");
    let forged = verify(&Secret::new(&format!("{key}x")), path, body, now);
    assert!(matches!(forged, Err(SignatureError::Signature { .. })), "{forged:?}");
});

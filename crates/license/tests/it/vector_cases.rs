//! Vectors about the token itself: its states and seconds, and everything that must be refused.

use counterfoil_license::{Claims, SigningKey, TOKEN_BYTES_MAX};
use serde_json::{Value, json};

use crate::forge::{
    DAY, ISSUED, claims, decode, encode, forge, forge_claims, forge_header, forged_with_s_plus_order,
    forged_with_small_r, header, hmac_sha256, key,
};
use crate::vectors::{Case, case};

pub fn all() -> Vec<Case> {
    [
        states(),
        clocks(),
        tolerated(),
        algorithms(),
        headers(),
        keys(),
        signatures(),
        texts(),
        payloads(),
        expectations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn signed(claims: &Claims) -> String {
    key().sign(claims)
}

fn states() -> Vec<Case> {
    let honest = claims();
    let token = signed(&honest);
    let mut cases = vec![
        case("valid: a day after issue", &*token),
        case("expired: after ten thousand years", &*token).at(315_569_520_000).expect("expired"),
    ];
    for (name, begins, before, after) in [
        ("nbf", honest.nbf, "not_yet_valid", "valid"),
        ("refresh_after", honest.refresh_after, "valid", "refresh_due"),
        ("paid_until", honest.paid_until, "refresh_due", "in_grace"),
        ("exp", honest.exp, "in_grace", "expired"),
    ] {
        cases.push(case(&format!("{before}: a second before {name}"), &*token).at(begins - 1).expect(before));
        cases.push(case(&format!("{after}: at {name}"), &*token).at(begins).expect(after));
    }
    let paid = ISSUED + 30 * DAY;
    let graceless = signed(&Claims { exp: paid, grace_until: paid, ..claims() });
    cases.push(
        case("refresh_due: a second before the end without grace", &*graceless).at(paid - 1).expect("refresh_due"),
    );
    cases.push(case("expired: at the end without grace", &*graceless).at(paid).expect("expired"));
    let late = signed(&Claims { refresh_after: ISSUED + 33 * DAY, ..claims() });
    cases.push(case("in_grace: outranks a refresh that is not due", late).at(ISSUED + 31 * DAY).expect("in_grace"));
    let trial = Claims { trial: true, plan: "trial".to_owned(), status: "trialing".to_owned(), ..claims() };
    cases.push(case("valid: a trial", signed(&trial)));
    for (name, day) in
        [("2^31 - 1", 2_147_483_647_i64), ("the leap day of 2028", 1_835_395_200), ("the year 9999", 253_402_214_400)]
    {
        let (iat, end) = (day, day + DAY);
        let claims =
            Claims { iat, nbf: iat, refresh_after: end, paid_until: end, exp: end, grace_until: end, ..claims() };
        cases.push(case(&format!("valid: {name} is an ordinary time"), signed(&claims)).at(day));
    }
    cases
}

fn clocks() -> Vec<Case> {
    let token = signed(&claims());
    let exp = claims().exp;
    let seen = |name: &str, highest: i64, now: i64| case(name, &*token).with("highest_time_seen", highest).at(now);
    vec![
        case("not_yet_valid: the clock is a day behind the issue", &*token).at(ISSUED - DAY).expect("not_yet_valid"),
        case("clock_behind: a day and a second behind the issue", &*token).at(ISSUED - DAY - 1).expect("clock_behind"),
        case("clock_behind: 1970", &*token).at(0).expect("clock_behind"),
        seen("valid: the highest time seen is earlier", ISSUED, ISSUED + DAY),
        seen("expired: turned back by a day, the highest time seen counts", exp, exp - DAY).expect("expired"),
        seen("clock_behind: turned back by a day and a second", exp, exp - DAY - 1).expect("clock_behind"),
        seen("in_grace: the highest time seen is in grace, the clock is not", ISSUED + 30 * DAY, ISSUED + 30 * DAY - 1)
            .expect("in_grace"),
        seen("clock_behind: no skew is allowed", ISSUED + DAY + 1, ISSUED + DAY)
            .with("clock_skew", 0)
            .expect("clock_behind"),
        seen("valid: no skew is allowed and none is there", ISSUED + DAY, ISSUED + DAY).with("clock_skew", 0),
        seen("valid: a skew of two days is allowed", ISSUED + 3 * DAY, ISSUED + DAY).with("clock_skew", 2 * DAY),
    ]
}

fn tolerated() -> Vec<Case> {
    let with = |name: &str, value: Value| forge_header(&changed(header(), name, value));
    let spaced = format!(" {}\n", serde_json::to_string_pretty(&claims()).unwrap());
    vec![
        case("valid: typ in capitals", with("typ", json!("LICENSE+JWT"))),
        case("valid: typ with application/", with("typ", json!("application/license+jwt"))),
        case("valid: an unknown header member", with("cty", json!("x"))),
        case("valid: an unknown claim", forge_claims(|claims| claims["vendor"] = json!({"x": [1, 1.5, null]}))),
        case("valid: white space between the claims", forge(&header().to_string(), &spaced)),
        case("valid: a claim beyond ASCII", forge_claims(|claims| claims["vendor"] = json!("Zoë \u{1f39f}"))),
        case("valid: no limits", forge_claims(|claims| claims["limits"] = json!({}))),
    ]
}

fn changed(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn algorithms() -> Vec<Case> {
    let mut cases: Vec<Case> = ["none", "HS256", "RS256", "ES256", "Ed25519", "eddsa", ""]
        .iter()
        .map(|alg| {
            let token = forge_header(&changed(header(), "alg", json!(alg)));
            case(&format!("unsupported_algorithm: {alg:?}"), token).refused("unsupported_algorithm")
        })
        .collect();
    let payload = encode(serde_json::to_vec(&claims()).unwrap());
    let none = encode(changed(header(), "alg", json!("none")).to_string());
    cases.push(
        case("unsupported_algorithm: none, unsigned", format!("{none}.{payload}.")).refused("unsupported_algorithm"),
    );
    let public = decode(key().public().to_jwk()["x"].as_str().unwrap());
    for (name, alg, code) in [
        ("unsupported_algorithm: HS256 with the public key as secret", "HS256", "unsupported_algorithm"),
        ("bad_signature: an HMAC under EdDSA", "EdDSA", "bad_signature"),
    ] {
        let signed = format!("{}.{payload}", encode(changed(header(), "alg", json!(alg)).to_string()));
        let tag = encode(hmac_sha256(&public, signed.as_bytes()));
        cases.push(case(name, format!("{signed}.{tag}")).refused(code));
    }
    let missing = forge_header(&without(header(), "alg"));
    cases.push(case("unsupported_algorithm: missing", missing).refused("unsupported_algorithm"));
    let list = forge_header(&changed(header(), "alg", json!(["EdDSA"])));
    cases.push(case("malformed: alg is a list", list).refused("malformed"));
    cases
}

fn headers() -> Vec<Case> {
    let thief = SigningKey::from_seed(&[66; 32]);
    let mut cases = Vec::new();
    for typ in ["JWT", "at+jwt", "statuslist+jwt", "keyset+jwt", "license", ""] {
        let token = forge_header(&changed(header(), "typ", json!(typ)));
        cases.push(case(&format!("wrong_type: {typ:?}"), token).refused("wrong_type"));
    }
    cases.push(case("wrong_type: missing", forge_header(&without(header(), "typ"))).refused("wrong_type"));
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("jwk", thief.public().to_jwk()),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let token = forge_header(&changed(header(), name, value));
        cases.push(case(&format!("forbidden_header: {name}"), token).refused("forbidden_header"));
    }
    let null = forge_header(&changed(header(), "jku", Value::Null));
    cases.push(case("forbidden_header: jku is null", null).refused("forbidden_header"));
    cases
}

fn keys() -> Vec<Case> {
    let thief = SigningKey::from_seed(&[66; 32]);
    let older = SigningKey::from_seed(&[1; 32]);
    let jwks = |keys: Vec<Value>| json!({"jwks": {"keys": keys}});
    let own = key().public().to_jwk();
    let small = |x: [u8; 32]| json!({"kty": "OKP", "crv": "Ed25519", "x": encode(x)});
    let mut second_encoding = [0xff; 32];
    (second_encoding[0], second_encoding[31]) = (0xf0, 0x7f);
    let mut order_one = [0; 32];
    order_one[0] = 1;
    let bad_set = |name: &str, keys: Vec<Value>| {
        case(&format!("key_set_invalid: {name}"), signed(&claims()))
            .with("trust", jwks(keys))
            .refused("key_set_invalid")
    };
    vec![
        case("valid: the older of two keys", older.sign(&claims())),
        case("unknown_key: a stranger's", thief.sign(&claims())).refused("unknown_key"),
        case("unknown_key: kid is missing", forge_header(&without(header(), "kid"))).refused("unknown_key"),
        case("unknown_key: kid is a path", forge_header(&changed(header(), "kid", json!("../../dev/null"))))
            .refused("unknown_key"),
        case("malformed: kid is a list", forge_header(&changed(header(), "kid", json!(["a"])))).refused("malformed"),
        case(
            "bad_signature: kid of another of our keys",
            forge_header(&changed(header(), "kid", json!(older.key_id()))),
        )
        .refused("bad_signature"),
        case("unknown_key: the key was taken out of the set", signed(&claims()))
            .with("trust", jwks(vec![older.public().to_jwk()]))
            .refused("unknown_key"),
        case("valid: keys of other kinds are passed over", signed(&claims()))
            .with("trust", jwks(vec![json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), own.clone()])),
        bad_set("a JWKS without keys", vec![]),
        bad_set("a JWKS with a private key", vec![changed(own.clone(), "d", json!(encode([7; 32])))]),
        bad_set("a kid that is no thumbprint", vec![changed(own.clone(), "kid", json!("k1"))]),
        bad_set("a key of order one", vec![own.clone(), small(order_one)]),
        bad_set("a key of order four", vec![own.clone(), small([0; 32])]),
        bad_set("a second encoding of a point", vec![own.clone(), small(second_encoding)]),
        bad_set(
            "a key of 31 bytes",
            vec![changed(json!({"kty": "OKP", "crv": "Ed25519"}), "x", json!(encode([9; 31])))],
        ),
        case("valid: one key given twice", signed(&claims())).with("trust", jwks(vec![own.clone(), own])),
    ]
}

fn signatures() -> Vec<Case> {
    let token = signed(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let bytes = decode(signature);
    let refused = |name: &str, signature: String| {
        case(&format!("bad_signature: {name}"), format!("{message}.{signature}")).refused("bad_signature")
    };
    let mut flipped = bytes.clone();
    flipped[10] ^= 1;
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // The last character has four bits that mean nothing; a lax reader takes its neighbor for the same signature.
    let neighbor = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let payload = serde_json::to_string(&Claims { plan: "enterprise".to_owned(), ..claims() }).unwrap();
    let (head, _) = token.split_once('.').unwrap();
    vec![
        refused("one bit is different", encode(&flipped)),
        refused("a byte is missing", encode(&bytes[..63])),
        refused("a byte too many", encode([&bytes[..], &[0]].concat())),
        refused("empty", String::new()),
        refused("S plus the group order", encode(forged_with_s_plus_order(&token))),
        refused("R of small order", encode(forged_with_small_r(message))),
        case("bad_signature: other claims", format!("{head}.{}.{signature}", encode(payload))).refused("bad_signature"),
        case("malformed: the signature's unused bits are set", format!("{}{neighbor}", &token[..token.len() - 1]))
            .refused("malformed"),
    ]
}

fn texts() -> Vec<Case> {
    let token = signed(&claims());
    let refused = |name: &str, text: String| case(&format!("malformed: {name}"), text).refused("malformed");
    let (message, _) = token.rsplit_once('.').unwrap();
    let too_large = format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX + 1 - token.len()));
    vec![
        refused("empty", String::new()),
        refused("three empty parts", "..".to_owned()),
        refused("two parts", message.to_owned()),
        refused("four parts", format!("{token}.AAAA")),
        refused("a line break at the end", format!("{token}\n")),
        refused("a space before", format!(" {token}")),
        refused("padding", format!("{token}==")),
        refused("Bearer", format!("Bearer {token}")),
        refused("a letter beyond ASCII", format!("{token}\u{e9}")),
        case("too_large: a byte too long", too_large).refused("too_large"),
    ]
}

fn payloads() -> Vec<Case> {
    let honest = serde_json::to_string(&claims()).unwrap();
    let raw = |name: &str, payload: &str| {
        case(&format!("malformed: {name}"), forge(&header().to_string(), payload)).refused("malformed")
    };
    let twice = header().to_string().replacen('{', "{\"alg\":\"none\",", 1);
    let mut cases = vec![
        case("malformed: alg is named twice", forge(&twice, &honest)).refused("malformed"),
        case("malformed: the header is a list", forge("[]", &honest)).refused("malformed"),
        case("malformed: the header begins with a byte order mark", forge("\u{feff}{}", &honest)).refused("malformed"),
        raw("exp is named twice", &honest.replacen('{', "{\"exp\":1,", 1)),
        raw("a limit is named twice", &honest.replace("\"seats\":5", "\"seats\":5,\"seats\":500")),
        raw(
            "a member of an unknown claim is named twice",
            &honest.replacen('{', "{\"x\":[{\"a\":1,\"\\u0061\":2}],", 1),
        ),
        raw("the payload is a list", "[]"),
        raw("the payload is empty", ""),
        raw("the payload is cut off", &honest[..honest.len() - 1]),
        raw("something follows the payload", &format!("{honest}{{}}")),
        raw(
            "a thousand nested lists",
            &honest.replacen('{', &format!("{{\"x\":{}1{},", "[".repeat(1000), "]".repeat(1000)), 1),
        ),
    ];
    for name in ["iss", "sub", "customer_id", "aud", "iat", "nbf", "exp", "jti", "features", "limits", "paid_until"] {
        let token = forge_claims(|claims| _ = claims.as_object_mut().unwrap().remove(name));
        cases.push(case(&format!("missing_claim: {name}"), token).refused("missing_claim"));
    }
    for (name, value) in [
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("exp", json!(1.5)),
        ("aud", json!(["acme-editor", "*"])),
        ("features", json!("export")),
        ("features", json!([1])),
        ("limits", json!({"seats": "5"})),
        ("trial", json!(0)),
        ("status_list", Value::Null),
        ("status_list", json!({"idx": -1, "uri": "u"})),
    ] {
        let token = forge_claims(|claims| claims[name] = value.clone());
        cases.push(case(&format!("malformed: {name} is {value}"), token).refused("malformed"));
    }
    cases
}

fn expectations() -> Vec<Case> {
    let claim = |name: &str, value: Value, code: &str| {
        let title = format!("{code}: {name} is {value}");
        case(&title, forge_claims(|claims| claims[name] = value)).refused(code)
    };
    vec![
        claim("iss", json!("https://billing.example.com/"), "wrong_issuer"),
        claim("iss", json!("https://BILLING.example.com"), "wrong_issuer"),
        claim("iss", json!(""), "wrong_issuer"),
        claim("aud", json!("acme-viewer"), "wrong_audience"),
        claim("aud", json!(""), "wrong_audience"),
        claim("sub", json!("cust_ffffffffffffffffffffffffffffffff"), "invalid_claim"),
        claim("exp", json!(ISSUED), "invalid_claim"),
        claim("exp", json!(0), "invalid_claim"),
        case("wrong_audience: outranks the end", forge_claims(|claims| claims["aud"] = json!("x")))
            .at(claims().exp)
            .refused("wrong_audience"),
        case("bad_signature: outranks the end", {
            let token = signed(&claims());
            let (message, _) = token.rsplit_once('.').unwrap();
            format!("{message}.{}", encode([1; 64]))
        })
        .at(claims().exp)
        .refused("bad_signature"),
    ]
}

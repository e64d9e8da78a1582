//! What holds of logins on their way.

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn ring() -> KeyRing {
    KeyRing::new([1; KeyRing::KEY], [])
}

fn attempt(number: u8) -> Attempt {
    Attempt::new([number; Attempt::RANDOM], format!("/{number}"), NOW)
}

#[test]
fn a_return_address_is_a_path_of_this_origin() {
    for good in
        ["/", "/orders", "/orders/7?x=1&next=//h#part", "/a%20b", "/a?x=%0a%5c", "/author", "/%E2%82%AC", "/100%"]
    {
        assert_eq!(return_address(good, &Site::example()).as_deref(), Some(good));
    }
    let long = format!("/{}", "a".repeat(LONGEST_RETURN));
    let encoded = format!("/%{}20", "25".repeat(MOST_ENCODED));
    for bad in [
        "",
        "orders",
        "https://evil.example/",
        "https:evil.example",
        "https:/evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%09/evil.example",
        "/%2f/evil.example",
        "/%2Fevil.example",
        "/%252fevil.example",
        "/%5cevil.example",
        "/%5Cevil.example",
        "/%255cevil.example",
        "/a/%5c/evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/ /evil.example",
        "/\u{0}",
        "/a\r\nset-cookie: x",
        "/%0d%0aset-cookie:x",
        "/./",
        "/..//evil.example",
        "/.%2e//evil.example",
        "/%2e%2e/x",
        "/a/../b",
        "@evil.example",
        "//user@evil.example",
        "//app.example.com.evil.example",
        "//app.example.com@evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/ü",
        "/auth",
        "/auth/login",
        "/auth/logout?x",
        "/%61uth/login",
        "?x",
        "#x",
        &long,
        &encoded,
    ] {
        assert_eq!(return_address(bad, &Site::example()), None, "{bad:?}");
    }
}

#[test]
fn what_is_made_of_one_attempt_tells_nothing_of_the_rest() {
    let attempt = attempt(1);
    let made = [attempt.state(), attempt.nonce(), attempt.verifier(), attempt.challenge()];
    for (at, one) in made.iter().enumerate() {
        assert_eq!(one.len(), 43);
        assert!(made[at + 1..].iter().all(|other| other != one));
    }
    let digest = digest::digest(&digest::SHA256, attempt.verifier().as_bytes());
    assert_eq!(attempt.challenge(), URL_SAFE_NO_PAD.encode(digest));
}

#[test]
fn a_browser_has_five_attempts_for_ten_minutes_each() {
    let attempts = (1..=6).fold(Attempts::default(), |attempts, number| attempts.with(attempt(number)));
    let value = attempts.seal(&ring(), &Site::example(), [0; NONCE]).unwrap();
    let opened =
        |value: &str, later: u64| Attempts::open(value, &ring(), &Site::example(), NOW + Duration::from_secs(later));
    let mut held = opened(&value, 599);
    assert!(held.take(&attempt(1).state()).is_none(), "the oldest is gone");
    for number in 2..=6 {
        assert_eq!(held.take(&attempt(number).state()).unwrap().return_to(), format!("/{number}"));
        assert!(held.take(&attempt(number).state()).is_none(), "it counts once");
    }
    assert!(opened(&value, 600).is_empty());
    // Begun where the clock is a second ahead.
    let ahead = Attempt::new([7; Attempt::RANDOM], "/7".to_owned(), NOW + Duration::from_secs(1));
    let ahead = Attempts::default().with(ahead).seal(&ring(), &Site::example(), [0; NONCE]).unwrap();
    assert!(!opened(&ahead, 0).is_empty());
    assert!(
        Attempts::open(&value, &ring(), &Site { origin: "https://b".to_owned(), ..Site::example() }, NOW).is_empty()
    );
    assert!(Attempts::open(&value, &KeyRing::new([2; 32], []), &Site::example(), NOW).is_empty());
    assert!(
        !Attempts::open(&value, &KeyRing::new([2; 32], [[1; 32]]), &Site::example(), NOW).is_empty(),
        "an older key opens"
    );
    for wrong in ["", "x", &value[1..], &value[..value.len() - 4], &"A".repeat(100_000)] {
        assert!(opened(wrong, 0).is_empty());
    }
}

#[test]
fn a_cookie_never_grows_beyond_what_browsers_keep() {
    let long = |number| Attempt::new([number; 32], format!("/{}", "a".repeat(LONGEST_RETURN - 1)), NOW);
    let attempts = (1..=5).fold(Attempts::default(), |attempts, number| attempts.with(long(number)));
    let value = attempts.seal(&ring(), &Site::example(), [0; NONCE]).unwrap();
    assert!(value.len() <= Attempts::LENGTH);
    let mut held = Attempts::open(&value, &ring(), &Site::example(), NOW);
    assert!(held.take(&long(5).state()).is_some() && held.is_empty(), "the newest is kept");
}

#[test]
fn an_answer_belongs_to_its_attempt_and_its_issuer() {
    let issuer = ["https://login.example.com/".to_owned()];
    let state = attempt(1).state();
    let iss = "iss=https%3A%2F%2Flogin.example.com%2F";
    let ask = |query: &str, announced| {
        let mut attempts = Attempts::default().with(attempt(1));
        returned(&query.replace("STATE", &state), &mut attempts, &issuer, announced).map(|returned| returned.code)
    };
    assert_eq!(ask(&format!("code=c&state=STATE&{iss}"), true), Ok("c".to_owned()));
    assert_eq!(ask("code=c&state=STATE", false), Ok("c".to_owned()));
    for (query, announced) in [
        ("", false),
        ("code=c", false),
        ("code=c&state=", false),
        ("code=c&state=another", false),
        ("code=c&state=STATE&state=STATE", false),
        ("code=c&code=d&state=STATE", false),
        ("state=STATE", false),
        ("code=&state=STATE", false),
        ("code=c&state=STATE", true),
        ("code=c&state=STATE&iss=https%3A%2F%2Flogin.example.com", false),
        ("error=access_denied&state=STATE&iss=https%3A%2F%2Fevil.example", false),
        ("error=access_denied&state=another", false),
    ] {
        assert!(matches!(ask(query, announced), Err(Reject::LoginStateInvalid { .. })), "{query}");
    }
    let refused =
        Reject::LoginRefused { error: Quoted::from("access_denied"), description: Some(Quoted::from("<b>no</b>")) };
    assert_eq!(ask("error=access_denied&error_description=%3Cb%3Eno%3C%2Fb%3E&state=STATE", false), Err(refused));
}

#[test]
fn the_issuer_is_asked_with_a_challenge_and_what_the_operator_adds() {
    let request = Request {
        client_id: "web",
        scopes: &["openid".to_owned(), "orders".to_owned()],
        parameters: &[("audience".to_owned(), "https://api".to_owned())],
    };
    let endpoint = Url::parse("https://login.example.com/authorize?tenant=7").unwrap();
    let (site, attempt) = (Site::example(), attempt(1));
    let url = request.address(&endpoint, &site, &attempt);
    let pairs: Vec<(String, String)> = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    let expected = [
        ("tenant", "7"),
        ("response_type", "code"),
        ("client_id", "web"),
        ("redirect_uri", "https://app.example.com/auth/callback"),
        ("scope", "openid orders"),
        ("state", &attempt.state()),
        ("nonce", &attempt.nonce()),
        ("code_challenge", &attempt.challenge()),
        ("code_challenge_method", "S256"),
        ("audience", "https://api"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

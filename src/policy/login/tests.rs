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

/// What a browser sends that has the cookies of these attempts.
fn sent(attempts: &[Attempt]) -> HeaderMap {
    let site = Site::example();
    let pair = |attempt: &Attempt| {
        let value = attempt.seal(&ring(), &site, [0; NONCE]).unwrap();
        format!("{}={value}", site.login_cookie(&attempt.state()))
    };
    let field = attempts.iter().map(pair).collect::<Vec<_>>().join("; ");
    [(http::header::COOKIE, field.parse().unwrap())].into_iter().collect()
}

fn came_back(headers: &HeaderMap, state: &str, later: Duration) -> Option<String> {
    let found = super::attempt(&format!("state={state}"), headers, &ring(), &Site::example(), NOW + later);
    found.map(|attempt| attempt.return_to().to_owned())
}

#[test]
fn each_attempt_is_found_by_its_state_for_ten_minutes() {
    let headers = sent(&[attempt(1), attempt(2)]);
    let at = |state: &str, later: u64| came_back(&headers, state, Duration::from_secs(later));
    for number in [1, 2] {
        let state = attempt(number).state();
        assert_eq!(at(&state, 599), Some(format!("/{number}")));
        assert_eq!(at(&state, 600), None);
        assert_eq!(at(&state[..8], 0), None, "all of it counts");
        assert_eq!(at(&format!("{}x", &state[..42]), 0), None);
    }
    assert_eq!(at(&attempt(3).state(), 0), None);
    assert_eq!(at("", 0), None);
    // Begun where the clock is a second ahead.
    let ahead = Attempt::new([7; Attempt::RANDOM], "/7".to_owned(), NOW + Duration::from_secs(1));
    let state = ahead.state();
    assert_eq!(came_back(&sent(&[ahead]), &state, Duration::ZERO), Some("/7".to_owned()));
}

#[test]
fn an_attempt_opens_at_its_site_with_a_key_of_the_ring() {
    let value = attempt(1).seal(&ring(), &Site::example(), [0; NONCE]).unwrap();
    let opens = |value: &str, ring: &KeyRing, site: &Site| Attempt::open(value, ring, site, NOW).is_some();
    assert!(opens(&value, &ring(), &Site::example()));
    assert!(!opens(&value, &ring(), &Site { origin: "https://b".to_owned(), ..Site::example() }));
    assert!(!opens(&value, &ring(), &Site { cookie: "__Host-b".to_owned(), ..Site::example() }));
    assert!(!opens(&value, &KeyRing::new([2; 32], []), &Site::example()));
    assert!(opens(&value, &KeyRing::new([2; 32], [[1; 32]]), &Site::example()), "an older key opens");
    for wrong in ["", "x", &value[1..], &value[..value.len() - 4], &"A".repeat(100_000)] {
        assert!(!opens(wrong, &ring(), &Site::example()));
    }
}

#[test]
fn a_browser_keeps_five_attempts_and_no_more_than_a_cookie_holds() {
    let at = |number: u8, length: usize| {
        let begun = NOW + Duration::from_secs(number.into());
        Attempt::new([number; 32], format!("/{}", "a".repeat(length - 1)), begun)
    };
    let outgrown = |attempts: &[Attempt], length: usize| {
        outgrown(&sent(attempts), &ring(), &Site::example(), NOW + Duration::from_secs(10), length)
    };
    let names = |attempts: &[Attempt]| -> Vec<String> {
        attempts.iter().map(|attempt| Site::example().login_cookie(&attempt.state())).collect()
    };
    let short: Vec<_> = [3, 1, 4, 2, 5].map(|number| at(number, 1)).into();
    assert!(outgrown(&short[..4], 200).is_empty());
    assert_eq!(outgrown(&short, 200), names(&[at(1, 1)]), "the oldest goes");
    // Of the same second that one is the oldest which the browser sends first.
    let same = [attempt(9), attempt(1), attempt(2), attempt(3), attempt(4)];
    assert_eq!(outgrown(&same, 200), names(&[attempt(9)]));
    let long = [at(1, 1), at(2, LONGEST_RETURN)];
    assert_eq!(outgrown(&long, 200), [] as [String; 0]);
    assert_eq!(outgrown(&long, 2900), names(&[at(2, LONGEST_RETURN), at(1, 1)]));
    let value = long[1].seal(&ring(), &Site::example(), [0; NONCE]).unwrap();
    assert!(value.len() <= Attempt::LENGTH, "the longest fits");
}

#[test]
fn an_answer_belongs_to_its_attempt_and_its_issuer() {
    let issuer = ["https://login.example.com/".to_owned()];
    let state = attempt(1).state();
    let iss = "iss=https%3A%2F%2Flogin.example.com%2F";
    let ask = |query: &str, announced| {
        let query = query.replace("STATE", &state);
        let found = super::attempt(&query, &sent(&[attempt(1)]), &ring(), &Site::example(), NOW);
        returned(&query, found, &issuer, announced).map(|returned| returned.code)
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

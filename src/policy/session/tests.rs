//! What holds of every session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const TERMS: Terms = Terms {
    refresh_before: Duration::from_secs(60),
    idle_timeout: Duration::from_secs(3600),
    lifetime: Duration::from_secs(7200),
};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What was granted at one time and ends at another.
fn granted(received: u64, expires: Option<u64>) -> Granted {
    let access_token =
        AccessToken { text: "opaque-1".to_owned(), scope: None, received: at(received), expires: expires.map(at) };
    Granted { access_token, refresh_token: Some(format!("refresh-{received}")), id_token: None }
}

fn session(expires: Option<u64>) -> Session {
    let login =
        Login { issuer: "https://issuer".to_owned(), subject: "alice".to_owned(), sid: None, claims: Map::new() };
    Session::new(login, granted(0, expires), at(0))
}

#[test]
fn a_token_is_renewed_ahead_by_at_most_half_of_its_life() {
    let standing = |expires: u64, now: u64| session(Some(expires)).standing(&TERMS, at(now));
    assert_eq!(standing(600, 539), Standing::Fresh);
    assert_eq!(standing(600, 540), Standing::Ending);
    assert_eq!(standing(600, 599), Standing::Ending);
    assert_eq!(standing(600, 600), Standing::Spent);
    assert_eq!(standing(2, 0), Standing::Fresh, "a short life is halved");
    assert_eq!(standing(2, 1), Standing::Ending);
    assert_eq!(standing(2, 2), Standing::Spent);
    assert_eq!(session(None).standing(&TERMS, at(1_000_000)), Standing::Fresh, "its end is not known");
    let mut bare = session(Some(600));
    bare.refresh_token = None;
    assert_eq!(bare.standing(&TERMS, at(599)), Standing::Fresh, "nothing can renew it");
    assert_eq!(bare.standing(&TERMS, at(600)), Standing::Spent);
}

#[test]
fn the_same_end_again_is_no_reason_to_ask_again() {
    let renewed = session(Some(600)).renewed(granted(550, Some(600))).unwrap();
    assert_eq!(renewed.standing(&TERMS, at(599)), Standing::Fresh);
    assert_eq!(renewed.standing(&TERMS, at(600)), Standing::Spent);
    let later = renewed.renewed(granted(600, Some(1200))).unwrap();
    assert_eq!(later.standing(&TERMS, at(1140)), Standing::Ending);
}

#[test]
fn a_renewal_keeps_what_the_issuer_does_not_send() {
    let mut session = session(Some(600)).with_attempt(Attempt::troubled(at(1)));
    session.id_token = Some("hint".to_owned());
    let renewed = session.renewed(Granted { refresh_token: None, ..granted(550, Some(1150)) }).unwrap();
    assert_eq!(renewed.refresh_token.as_deref(), Some("refresh-0"));
    assert_eq!(renewed.id_token.as_deref(), Some("hint"));
    assert_eq!((renewed.used, renewed.created, renewed.attempt), (at(550), at(0), None));
    let rotated = session.renewed(granted(550, Some(1150))).unwrap();
    assert_eq!(rotated.refresh_token.as_deref(), Some("refresh-550"));
}

/// RFC 6749 section 6: a refresh that asks for no scopes is for those that were granted, which the answer need not name.
#[test]
fn a_renewal_that_names_no_scopes_widens_none() {
    let scoped = |scope: Option<&str>| {
        let granted = granted(550, Some(1150));
        let scope = scope.map(str::to_owned);
        Granted { access_token: AccessToken { scope, ..granted.access_token }, ..granted }
    };
    let mut session = session(Some(600));
    session.access_token.scope = Some("read".to_owned());
    for (named, expected) in [(None, "read"), (Some("read write"), "read write"), (None, "read write")] {
        session = session.renewed(scoped(named)).unwrap();
        assert_eq!(session.access_token.scope.as_deref(), Some(expected));
    }
}

#[test]
fn nobody_becomes_another_by_a_renewal() {
    let token = |claims: &str| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        Some(format!("{}.{}.{}", part("{\"alg\":\"RS256\"}"), part(claims), part("s")))
    };
    for (claims, outcome) in [
        (r#"{"iss":"https://issuer","sub":"alice"}"#, Ok(())),
        (r#"{"iss":"https://issuer","sub":"bob"}"#, Err("its ID token is of another subject")),
        (r#"{"iss":"https://issuer"}"#, Err("its ID token is of another subject")),
        (r#"{"iss":"https://other","sub":"alice"}"#, Err("its ID token is of another issuer")),
    ] {
        let granted = Granted { id_token: token(claims), ..granted(550, Some(1150)) };
        assert_eq!(session(Some(600)).renewed(granted).map(|_| ()), outcome, "{claims}");
    }
    let garbage = Granted { id_token: Some("garbage".to_owned()), ..granted(550, Some(1150)) };
    assert!(session(Some(600)).renewed(garbage).is_err());
}

#[test]
fn a_session_ends_unused_or_old() {
    let session = session(None);
    let remains = |session: &Session, now: u64| session.remains(&TERMS, at(now)).as_secs();
    assert_eq!(remains(&session, 0), 3600);
    assert_eq!(remains(&session, 3599), 1);
    assert_eq!(remains(&session, 3600), 0);
    let used = session.used_at(at(3500)).used_at(at(3000));
    assert_eq!(remains(&used, 3600), 3500);
    assert_eq!(remains(&used.used_at(at(7100)), 7150), 50, "its lifetime is over first");
    assert_eq!(remains(&used.used_at(at(7199)), 7200), 0);
    assert!(!session.is_used_anew(&TERMS, at(59)));
    assert!(session.is_used_anew(&TERMS, at(60)));
    assert_eq!(Terms { idle_timeout: Duration::from_secs(32), ..TERMS }.step(), Duration::from_secs(2));
}

#[test]
fn a_try_that_failed_is_not_repeated_at_once() {
    let failed = session(Some(600)).with_attempt(Attempt::troubled(at(600)));
    assert!(failed.rests(at(600)));
    assert!(!failed.rests(at(601)));
    assert!(!failed.rests(at(599)), "the clock was set back");
    assert!(!session(Some(600)).rests(at(600)));
}

#[test]
fn who_refuses_us_is_asked_ever_more_seldom() {
    let pauses = |random: u8| {
        let mut last: Option<Attempt> = None;
        let next = move |_| {
            let attempt = Attempt::refused(last.as_ref(), at(600), random);
            let rest = attempt.rest();
            assert!(session(None).with_attempt(attempt.clone()).rests(at(600) + rest - Duration::from_millis(1)));
            assert!(!session(None).with_attempt(attempt.clone()).rests(at(600) + rest));
            last = Some(attempt);
            rest.as_millis()
        };
        (0..8).map(next).collect::<Vec<_>>()
    };
    assert_eq!(pauses(0), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    assert_eq!(
        pauses(255),
        [750, 1500, 3000, 6000, 12_000, 22_500, 22_500, 22_500],
        "each a quarter sooner, none more"
    );
    let twice = Attempt::refused(Some(&Attempt::refused(None, at(600), 0)), at(601), 0);
    let kept_back = Attempt::kept_back(Some(&twice), at(603));
    let failed = |seconds, pause| Attempt::Failed { at: at(seconds), pause, left_out: Duration::ZERO, unsure: false };
    assert_eq!(kept_back, failed(603, 2 * PAUSE));
    assert_eq!(Attempt::kept_back(None, at(600)), failed(600, PAUSE));
}

/// Once it is not known whether the issuer has exchanged a refresh token, no further try makes that sure.
#[test]
fn a_try_without_an_answer_is_not_forgotten() {
    let under_way = Attempt::UnderWay { by: [1; 16], begun: at(600), span: PAUSE };
    let (silent, kept_back) = (Attempt::troubled(at(600)), Attempt::kept_back(None, at(600)));
    for (last, expected) in [(None, false), (Some(&kept_back), false), (Some(&silent), true), (Some(&under_way), true)]
    {
        assert_eq!(Attempt::refused(last, at(601), 0).is_unsure(), expected, "{last:?}");
        assert_eq!(Attempt::kept_back(last, at(601)).is_unsure(), expected, "{last:?}");
    }
}

#[test]
fn a_token_that_is_refused_before_its_end_is_replaced_until_that_helps_no_more() {
    let session = session(Some(600));
    assert!(session.may_be_hastened(at(10)) && !session.is_doubtful());
    let hastened = session.renewed(granted(10, Some(300))).unwrap().hastened(at(10));
    assert!(hastened.is_doubtful());
    assert!(!hastened.may_be_hastened(at(10_000)), "nobody took it");
    assert_eq!(hastened.standing(&TERMS, at(250)), Standing::Ending, "it ends sooner than the other one was to");
    let later = hastened.renewed(granted(300, Some(600))).unwrap();
    assert!(later.is_doubtful() && !later.may_be_hastened(at(10_000)), "nor any token since");
    let taken = later.taken();
    assert!(!taken.is_doubtful());
    assert!(!taken.may_be_hastened(at(69)));
    assert!(taken.may_be_hastened(at(70)));
    let mut bare = session;
    bare.refresh_token = None;
    assert!(!bare.may_be_hastened(at(10)), "nothing can renew it");
}

#[test]
fn what_is_stored_opens_with_the_cookie_alone_and_shows_no_token() {
    let sealer = Sealer {
        ring: KeyRing::new([1; 32], []),
        cookie: "__Host-session".to_owned(),
        origin: "https://app.example.com".to_owned(),
    };
    let (cookie, session) = (Cookie::new([5; Cookie::RANDOM]), session(Some(600)));
    let sealed = sealer.seal(&session, &cookie, [3; NONCE]).unwrap();
    assert_eq!(sealer.open(&sealed, &cookie), Some(session.clone()));
    for secret in ["opaque-1", "refresh-0", "alice"] {
        assert!(!sealed.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is shown");
        assert!(!format!("{session:?}").contains(secret));
    }
    // The same id with another secret finds the session, and does not open it.
    let mut forged = [5; Cookie::RANDOM];
    forged[Cookie::RANDOM - 1] = 6;
    let forged = Cookie::new(forged);
    assert_eq!(forged.place(), cookie.place());
    assert_eq!(sealer.open(&sealed, &forged), None);
    let elsewhere = Sealer { origin: "https://other.example.com".to_owned(), ..sealer.clone() };
    assert_eq!(elsewhere.open(&sealed, &cookie), None);
    let other_form = sealer.ring.seal(b"{}", &sealer.bound(&cookie), [3; NONCE]).unwrap();
    assert_eq!(sealer.open(&other_form, &cookie), None);
}

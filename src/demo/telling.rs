//! What `bearward demo` prints: where its parts are, a line to paste for each outcome, and what it answers.
//!
//! Tokens and secrets stay in their files. Tokens end while the demo goes on: it says when, and how to get others. What a
//! browser does by itself, a session, is told as curl does it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Demo;
use super::provider::Lifetimes;
use super::tour::{Ask, Event, ID_TOKEN, ORDERS, REFRESH_TOKEN, SECRET};
use crate::policy::claims::NumericDate;

impl Demo {
    /// What to paste, and what it answers. `program` is how this binary is called.
    pub fn tell(&self, program: &Path) -> String {
        let gateway = self.address;
        let mut text = format!(
            "bearward demo: {} (dialect {})\n\n  page        http://{gateway}/ (log in, call the API, log out)\n  \
             gateway     http://{gateway}\n  metrics     http://{}/metrics\n  \
             sample API  http://{}\n  issuer      {}\n  tokens      {}\n\nPaste a line; what it answers stands above it.\n",
            self.provider.about,
            self.provider.dialect,
            self.admin_address(),
            self.api.address(),
            self.issuer.name(),
            self.life(),
        );
        let token_endpoint = self.issuer.token_endpoint();
        // What comes later cannot be pasted. Writing to a String cannot fail.
        for stop in self.tour.stops.iter().take_while(|stop| stop.before == Event::None) {
            let line = stop.request.curl(self.provider, gateway, &token_endpoint, self.directory.path());
            let _ = write!(text, "\n  # {}: {}\n  {line}\n", stop.title, stop.answer.told());
        }
        if let Some(line) = self.renewal() {
            let _ = write!(
                text,
                "\nNew tokens in the files of that login, whenever the last ones have ended:\n\n  {line}\n"
            );
        }
        text += "\nWhat a browser does, where a session's cookie takes the place of a token:\n";
        for (title, line) in self.session() {
            let _ = write!(text, "\n  # {title}\n  {line}\n");
        }
        let _ = write!(
            text,
            "\nWhy the ID token is refused, step by step:\n\n  {} explain --config '{}' --method GET --url http://{gateway}{ORDERS} --token-file '{}'\n\n\
             Ctrl-C ends the demo and removes its files.\n",
            program.display(),
            self.file.display(),
            self.directory.path().join(ID_TOKEN).display(),
        );
        text
    }

    /// How long tokens live, and until when these do.
    fn life(&self) -> String {
        let Lifetimes { access, refresh, .. } = self.provider.lifetimes;
        let ends = NumericDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(self.begun.saturating_add(access)));
        format!("access {access} s, so these until {ends}; refresh {refresh} s")
    }

    /// The line that puts the answer to a refresh into the files of the first login; none where that brought no refresh token.
    fn renewal(&self) -> Option<String> {
        self.tour.text(REFRESH_TOKEN)?;
        let directory = self.directory.path();
        let refresh = Ask::Refresh { token: REFRESH_TOKEN.to_owned(), secret: SECRET };
        let asking = refresh.curl(self.provider, self.address, &self.issuer.token_endpoint(), directory);
        let asking = asking.replacen("curl -i", "curl -s", 1);
        let (answer, new) = (directory.join("answer"), directory.join("new"));
        let (answer, new, directory) = (answer.display(), new.display(), directory.display());
        let member = r#"s/.*"'$kind'_token": *"\([^"]*\)".*/\1/p"#;
        // A provider that goes on with the same refresh token need not say it again. No line break: curl would send it.
        Some(format!(
            "{asking} > '{answer}'; for kind in access refresh; do sed -n '{member}' '{answer}' | tr -d '\\n' > '{new}'; \
             [ ! -s '{new}' ] || mv '{new}' '{directory}'/$kind-token; done"
        ))
    }

    /// A session from its login to its end, each with what it answers. curl keeps secure cookies of this machine from 7.79 on.
    fn session(&self) -> [(&'static str, String); 5] {
        let cookies = self.directory.path().join("cookies");
        let (cookies, gateway) = (cookies.display(), self.address);
        [
            ("log in, and see who is logged in: 302 three times, then 200", {
                let login = format!("http://{gateway}/auth/login?return_to=/auth/session");
                format!("curl -i -L -b '{cookies}' -c '{cookies}' '{login}'")
            }),
            ("call the API: 200", format!("curl -i -b '{cookies}' http://{gateway}{ORDERS}")),
            (
                "change something from another site's page: 403 csrf_refused",
                format!(
                    "curl -i -b '{cookies}' -H 'Origin: https://elsewhere.example' -X POST http://{gateway}{ORDERS}"
                ),
            ),
            (
                "log out: 200",
                format!(
                    "curl -i -b '{cookies}' -c '{cookies}' -H 'Origin: http://{gateway}' -X POST http://{gateway}/auth/logout"
                ),
            ),
            (
                "call the API once more: 401 credential_missing, which says where to log in",
                format!("curl -i -b '{cookies}' http://{gateway}{ORDERS}"),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::config::Config;
    use crate::demo::tour::ACCESS_TOKEN;
    use crate::demo::{provider, providers};
    use crate::remote::clock::Clock;

    /// What a line of the shell prints; nothing where this machine has no curl.
    async fn pasted(line: &str) -> String {
        let line = line.to_owned();
        let run = move || Command::new("sh").arg("-c").arg(line).output().unwrap();
        String::from_utf8(tokio::task::spawn_blocking(run).await.unwrap().stdout).unwrap()
    }

    async fn has_curl() -> bool {
        pasted("curl --version").await.starts_with("curl ")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_files_of_a_demo_can_be_used_and_go_with_it() {
        let demo = Demo::start(provider("auth0").unwrap(), Clock::system()).await.unwrap();
        let loaded = Config::load(&demo.file).unwrap();
        assert_eq!(loaded.config.server.listen, [demo.address]);
        let told = demo.tell(Path::new("bearward"));
        let endpoint = demo.issuer.token_endpoint();
        for stop in demo.tour.stops.iter().take_while(|stop| stop.before == Event::None) {
            let line = stop.request.curl(demo.provider, demo.address, &endpoint, demo.directory.path());
            assert!(told.contains(&line), "{told}");
        }
        assert!(!told.contains("life is over"), "what takes an hour cannot be pasted");
        let token = std::fs::read_to_string(demo.directory.path().join(ID_TOKEN)).unwrap();
        assert_eq!(Some(&*token), demo.tour.text(ID_TOKEN));
        assert!(!told.contains(&token), "tokens stay in their files");
        let directory = demo.directory.path().to_owned();
        demo.stop().await;
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn it_says_until_when_its_tokens_are_good() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)).0;
        let demo = Demo::start(provider("keycloak").unwrap(), clock).await.unwrap();
        let told = demo.tell(Path::new("bearward"));
        let line = "\n  tokens      access 300 s, so these until 2027-01-15T08:05:00Z; refresh 1800 s\n";
        assert!(told.contains(line), "{told}");
        demo.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tokens_can_be_had_anew_from_every_provider_as_often_as_one_likes() {
        if !has_curl().await {
            return;
        }
        for provider in providers().unwrap() {
            let demo = Demo::start(provider, Clock::system()).await.unwrap();
            let line = demo.renewal().unwrap();
            let good = &demo.tour.stops[0];
            let asked = good.request.curl(provider, demo.address, "", demo.directory.path());
            for _ in 0..2 {
                demo.directory.write(ACCESS_TOKEN, "spent").unwrap();
                pasted(&line).await;
                assert!(pasted(&asked).await.starts_with("HTTP/1.1 200 "), "{}", provider.dialect);
            }
            demo.stop().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_session_is_as_told_at_every_provider() {
        if !has_curl().await {
            return;
        }
        for provider in providers().unwrap() {
            let demo = Demo::start(provider, Clock::system()).await.unwrap();
            for (title, line) in demo.session() {
                let answer = pasted(&line).await;
                let statuses: Vec<_> =
                    answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
                let expected: &[&str] = match title.split_once(": ").unwrap().1.get(..3).unwrap() {
                    "302" => &["302", "302", "302", "200"],
                    status => &[status],
                };
                assert_eq!(statuses, expected, "{}: {title}\n{answer}", provider.dialect);
                for code in ["csrf_refused", "credential_missing"].into_iter().filter(|code| title.contains(code)) {
                    assert!(answer.contains(code), "{}: {title}\n{answer}", provider.dialect);
                }
                assert_eq!(answer.contains("Log in at http"), title.contains("where to log in"), "{answer}");
            }
            demo.stop().await;
        }
    }
}

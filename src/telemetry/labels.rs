//! The values a metric's labels can have.
//!
//! A label's value comes from the configuration or from a closed list of this file, never from a request: what a
//! caller can choose must not be able to make new series. What stands outside a list has one common value.

use http::{Method, StatusCode};

use crate::policy::reject::Code;

/// The names that the configuration gives to what is counted, in its own order: an index into one of these lists is
/// what the rest of the program hands over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels<'a> {
    /// The names of the routes.
    pub routes: &'a [&'a str],
    /// The names of the issuers.
    pub issuers: &'a [&'a str],
    /// The names of the upstreams.
    pub upstreams: &'a [&'a str],
    /// The names of the sessions.
    pub sessions: &'a [&'a str],
}

/// What stands where the configuration's name is not known.
pub(super) const NONE: &str = "none";

/// The IANA HTTP Method Registry (RFC 9110 section 16.1.1), the common ones first because the list is searched.
pub(super) const METHODS: [&str; 42] = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "QUERY",
    "TRACE",
    "CONNECT",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "*",
    "other",
];

/// Where a method stands in [`METHODS`].
pub(super) fn method_index(method: &Method) -> usize {
    let known = METHODS.len() - 1;
    METHODS[..known].iter().position(|name| *name == method.as_str()).unwrap_or(known)
}

/// The assigned codes of the IANA HTTP Status Code Registry (RFC 9110 section 16.2.1).
const STATUSES: [(u16, &str); 61] = [
    (100, "100"),
    (101, "101"),
    (102, "102"),
    (103, "103"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (203, "203"),
    (204, "204"),
    (205, "205"),
    (206, "206"),
    (207, "207"),
    (208, "208"),
    (226, "226"),
    (300, "300"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (305, "305"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (402, "402"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (407, "407"),
    (408, "408"),
    (409, "409"),
    (410, "410"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (416, "416"),
    (417, "417"),
    (421, "421"),
    (422, "422"),
    (423, "423"),
    (424, "424"),
    (425, "425"),
    (426, "426"),
    (428, "428"),
    (429, "429"),
    (431, "431"),
    (451, "451"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (505, "505"),
    (506, "506"),
    (507, "507"),
    (508, "508"),
    (510, "510"),
    (511, "511"),
];

/// A status as a label: its number where the registry has it, else `5xx`.
pub(super) fn status_label(status: StatusCode) -> (u16, &'static str) {
    match STATUSES.binary_search_by_key(&status.as_u16(), |(number, _)| *number) {
        Ok(at) => STATUSES[at],
        Err(_) => (0, "5xx"),
    }
}

/// Declares a closed list of label values.
macro_rules! closed {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $value_doc:literal])+ $variant:ident = $label:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $value_doc])+ $variant,)+ }

        impl $name {
            /// Every value of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label's value.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What the value means: its documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($value_doc),+).trim_start(),)+ }
            }
        }
    };
}

closed! {
    /// Who made the answer.
    By {
        /// The gateway: a refusal, or a fault of the upstream told by us.
        Gateway = "gateway",
        /// The upstream; we passed its answer on.
        Upstream = "upstream",
    }
}

closed! {
    /// Why a connection ended badly, or never began.
    ConnectionFault {
        /// A head that is no HTTP: a bare 400.
        HeadMalformed = "head_malformed",
        /// A head larger than the parser takes: a bare 431.
        HeadTooLarge = "head_too_large",
        /// A head that did not arrive in `header_timeout`.
        HeadTimeout = "head_timeout",
        /// A connection that is no trusted proxy's, where each must begin with a PROXY header.
        ProxyUntrusted = "proxy_untrusted",
        /// What is no PROXY header where one must be.
        ProxyMalformed = "proxy_malformed",
        /// A PROXY header that was not complete in `header_timeout`.
        ProxyTimeout = "proxy_timeout",
        /// A TLS handshake that failed: not TLS, or nothing that both sides take.
        TlsHandshake = "tls_handshake",
        /// A client without a certificate where it must have one, or with one that is not taken.
        TlsClientCertificate = "tls_client_certificate",
        /// A TLS handshake that was not complete in `header_timeout`.
        TlsTimeout = "tls_timeout",
        /// A client that took nothing of its answer for too long.
        AnswerTimeout = "answer_timeout",
        /// A breach of HTTP/2, floods among them.
        Protocol = "protocol",
        /// The client left in the middle of a request or of an answer.
        ClientClosed = "client_closed",
        /// The socket failed.
        Socket = "socket",
        /// More connections than `connections` allows.
        LimitReached = "limit_reached",
        /// The operating system refused to give us the connection.
        AcceptFailed = "accept_failed",
    }
}

closed! {
    /// Why a key set was fetched.
    FetchTrigger {
        /// The first fetch, or a try to have one at last.
        Start = "start",
        /// The set's time came.
        Refresh = "refresh",
        /// A token named a key that the set does not have.
        UnknownKid = "unknown_kid",
    }
}

closed! {
    /// How a fetch of a key set ended.
    FetchResult {
        /// A usable set.
        Success = "success",
        /// No connection, or a broken one.
        Unreachable = "unreachable",
        /// No answer in time.
        Timeout = "timeout",
        /// An answer with another status than 200.
        Status = "status",
        /// An answer larger than is read.
        TooLarge = "too_large",
        /// An answer that is no key set, or no discovery document.
        Malformed = "malformed",
        /// A discovery document of another issuer (RFC 8414 section 3.3).
        IssuerMismatch = "issuer_mismatch",
        /// A key set without a usable key.
        NoUsableKeys = "no_usable_keys",
        /// An address that is not asked: plain http, or one that discovery may not name.
        Refused = "refused",
        /// A file that cannot be read.
        File = "file",
    }
}

closed! {
    /// How the question about an opaque token ended.
    IntrospectionResult {
        /// The token is active.
        Active = "active",
        /// It is not.
        Inactive = "inactive",
        /// The endpoint could not be learned.
        Discovery = "discovery",
        /// No connection.
        Unreachable = "unreachable",
        /// A connection that broke.
        Interrupted = "interrupted",
        /// No reply in time.
        Timeout = "timeout",
        /// Our client is not known, or may not ask.
        Unauthorized = "unauthorized",
        /// The issuer asks for fewer calls.
        Throttled = "throttled",
        /// A reply with another status.
        Status = "status",
        /// A reply that is no answer.
        Malformed = "malformed",
        /// Not asked: too many calls are under way.
        Overloaded = "overloaded",
        /// Not asked: the issuer is left alone for a moment.
        LeftAlone = "left_alone",
    }
}

closed! {
    /// How a session's access token was renewed.
    RefreshResult {
        /// With a new one.
        Success = "success",
        /// Not: the refresh token does not hold.
        InvalidGrant = "invalid_grant",
        /// Not: the refresh token does not hold, and had been shown before by somebody who is not known to have had an answer.
        Lost = "lost",
        /// Not: the issuer refuses us, or granted what is another's.
        Refused = "refused",
        /// Not: the issuer could not be asked, or gave no answer that counts.
        Unavailable = "unavailable",
        /// Not asked: the issuer is left alone for a moment.
        LeftAlone = "left_alone",
        /// With one for a session that was ended meanwhile.
        Discarded = "discarded",
    }
}

closed! {
    /// What happened to a session.
    SessionEvent {
        /// It began with a login.
        Created = "created",
        /// It was ended by the browser, or by its issuer.
        LoggedOut = "logged_out",
        /// Its browser logged in anew.
        Replaced = "replaced",
        /// It was found to be over by its token, which nothing renews, or by a configuration that lets it last less than it is
        /// stored. Of its age alone the store drops it, and it is not counted.
        Expired = "expired",
        /// The issuer does not renew it.
        Refused = "refused",
        /// It was ended because what the issuer had granted for it was lost.
        Lost = "lost",
        /// Its access token was refused before its end, and is renewed for that.
        TokenRefused = "token_refused",
        /// A cookie named it and did not open it.
        Unopened = "unopened",
        /// An upstream meant to set its cookie, or one of a login to it: that was left out of the answer.
        CookieWithheld = "cookie_withheld",
        /// A login was to return to a place that is none of ours.
        ReturnToRefused = "return_to_refused",
    }
}

closed! {
    /// What the memory of proven tokens had.
    CacheResult {
        /// The token, with a key that its issuer still has.
        Hit = "hit",
        /// Not that.
        Miss = "miss",
    }
}

closed! {
    /// What a connection to an upstream is doing.
    ConnectionState {
        /// Open, and waiting in the pool.
        Idle = "idle",
        /// Taken by a request.
        Active = "active",
    }
}

closed! {
    /// What became of a request whose connection to the upstream ended before any answer, and that could be repeated.
    RetryResult {
        /// Repeated, and answered.
        Success = "success",
        /// Repeated, and not answered.
        Failure = "failure",
        /// Not repeated: too many others were of late.
        BudgetSpent = "budget_spent",
    }
}

closed! {
    /// How a reload of the configuration ended.
    ReloadResult {
        /// The new configuration is in force.
        Success = "success",
        /// The file is wrong; the old configuration stays.
        Failure = "failure",
    }
}

/// What was decided about a request, whatever came after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Let through with a proven token.
    Permitted,
    /// Let through without a proven caller.
    Anonymous,
    /// Let through without a proven caller because the policy is in shadow mode; enforced, it were refused with this code.
    Shadowed(Code),
    /// Refused.
    Refused(Code),
}

impl Decision {
    /// The value of the `outcome` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Anonymous | Self::Shadowed(_) => "anonymous",
            Self::Refused(code) => code.facts().name,
        }
    }

    /// The word for it where the code stands beside: in access lines and spans.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Shadowed(_) => "shadowed",
            Self::Permitted | Self::Anonymous => self.label(),
        }
    }

    /// A number of its own for each value of the label.
    pub(super) const fn key(self) -> u16 {
        match self {
            Self::Permitted => 0,
            Self::Anonymous | Self::Shadowed(_) => 1,
            Self::Refused(code) => 2 + code as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_the_registry_or_other() {
        let label = |method: &str| METHODS[method_index(&method.parse::<Method>().unwrap())];
        assert_eq!(label("GET"), "GET");
        assert_eq!(label("QUERY"), "QUERY");
        assert_eq!(label("VERSION-CONTROL"), "VERSION-CONTROL");
        assert_eq!(label("get"), "other", "methods are case-sensitive");
        assert_eq!(label("PURGE"), "other");
        assert_eq!(label("other"), "other");
    }

    #[test]
    fn statuses_are_the_registry_or_5xx() {
        let label = |status: u16| status_label(StatusCode::from_u16(status).unwrap()).1;
        for (number, name) in STATUSES {
            assert_eq!(number.to_string(), name);
            assert_eq!(label(number), name);
        }
        for outside in [199, 299, 306, 418, 499, 509, 599, 999] {
            assert_eq!(label(outside), "5xx");
        }
    }

    #[test]
    fn each_decision_has_its_own_key() {
        let mut keys: Vec<u16> = Code::ALL.iter().map(|code| Decision::Refused(*code).key()).collect();
        keys.extend([Decision::Permitted.key(), Decision::Anonymous.key()]);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Code::ALL.len() + 2);
    }
}

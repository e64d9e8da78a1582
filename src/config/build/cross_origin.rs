//! `cors` and `preflight` of a route: who answers preflights, and who may read answers.

use super::repeated;
use crate::config::fault::Faults;
use crate::config::options;
use crate::config::read::{At, Origin, PreflightRule};
use crate::policy::cors::{Cors, CrossOrigin, Origins};

/// What a route does about requests from pages of other origins.
pub(super) fn cross_origin(raw: &options::Route, faults: &mut Faults) -> Option<CrossOrigin> {
    let cors = raw.cors.value.as_ref().map(|raw| cors(raw, faults));
    let forwards = raw.preflight.value? == PreflightRule::Forward;
    if forwards && raw.cors.written {
        let help = "leave `preflight` out where the gateway is to answer, and `cors` where the API does";
        faults
            .fault(&raw.preflight.span, "preflights cannot be both answered here and forwarded", help)
            .also(&raw.cors.span, "answered here");
    }
    match cors {
        Some(cors) => Some(CrossOrigin::Answered(cors?)),
        None if raw.cors.written => None,
        None if forwards => Some(CrossOrigin::Forwarded),
        None => Some(CrossOrigin::Ignored),
    }
}

fn cors(raw: &options::Cors, faults: &mut Faults) -> Option<Cors> {
    let exposed: Vec<_> = raw.expose_headers.value.iter().flatten().map(|at| (&at.value, &at.span)).collect();
    repeated(&exposed, ToString::to_string, faults);
    let exposed: Vec<_> = exposed.into_iter().map(|(name, _)| name.clone()).collect();
    let (origins, credentials) = (origins(raw, faults), raw.credentials.value?);
    Some(Cors::new(origins?, credentials, &exposed, raw.max_age.value?))
}

fn origins(raw: &options::Cors, faults: &mut Faults) -> Option<Origins> {
    let listed = raw.origins.value.as_ref()?;
    let origins: Vec<_> = listed.iter().map(|at| (&at.value.0, &at.span)).collect();
    repeated(&origins, ToString::to_string, faults);
    if origins.is_empty() {
        let help = "name the origin of each app that may read, or leave `cors` out";
        faults.fault(&raw.origins.span, "`origins` is empty: no page could read an answer", help);
    }
    let Some(At { span: any, .. }) = listed.iter().find(|at| at.value == Origin("*".to_owned())) else {
        return Some(Origins::These(origins.into_iter().map(|(origin, _)| origin.clone()).collect()));
    };
    if origins.len() > 1 {
        faults.fault(any, "`*` stands beside other origins", "write it alone, or name each origin that may read");
    }
    if raw.credentials.value == Some(true) {
        let help = "name the origins whose pages may send cookies; with `*` every page could act as whoever visits it";
        faults
            .fault(any, "every origin, and with credentials", help)
            .also(&raw.credentials.span, "requests may bear cookies");
    }
    Some(Origins::Any)
}

//! The order of the decision, once.
//!
//! Every rule that judges a token stands in one of these lists, and the lists follow each other:
//!
//! ```text
//! head, route, credential, size, shape, crit, issuer     one function each: request, route, credential, jwt, rules
//! BEFORE_KEY        kind, algorithm, time                cheap, and can only refuse
//! key, signature                                         gateway: the one step that may wait
//! AFTER_SIGNATURE   proof
//! BY_ANSWER         for an opaque token, in the place of issuer to proof: what its issuer answered about it
//! BY_POLICY         claims, audience, client, scopes, claims of the policy; for each policy that takes the issuer
//! ```
//!
//! `run` walks them to the first refusal, `explain` to the end. Kind and time come before the signature because they are
//! cheap, and so that an ID token is called one even when it is expired or signed with an algorithm we do not take.

use super::claims::{Claims, NumericDate, malformed};
use super::identity::IdentityHeader;
use super::introspection::{self, Answer};
use super::issuer::Issuer;
use super::json::Json;
use super::jwt::Contents;
use super::permit::Policy;
use super::reject::{Reject, Step};

/// A step of the decision with the function that takes it.
pub struct Rule<Judge> {
    /// Which step it is.
    pub step: Step,
    /// Refuses, or lets the next rule judge.
    pub judge: Judge,
}

/// What a rule about the token alone sees.
pub struct TokenCase<'a> {
    /// What the token says.
    pub contents: &'a Contents,
    /// Who is said to have issued it.
    pub issuer: &'a Issuer,
    /// The time it is judged at.
    pub now: NumericDate,
}

/// What a rule about an issuer's answer sees.
pub struct AnswerCase<'a> {
    /// What was answered.
    pub answer: &'a Answer,
    /// Who was asked.
    pub issuer: &'a Issuer,
    /// The time it is judged at.
    pub now: NumericDate,
}

/// What a rule of a policy sees.
pub struct PolicyCase<'a> {
    /// What the token says.
    pub claims: &'a Claims,
    /// Who issued it.
    pub issuer: &'a Issuer,
    /// What it must say.
    pub policy: &'a Policy,
    /// What the upstream is to be told of it.
    pub told: &'a [IdentityHeader],
}

/// A policy's refusal, and how far its rules had been walked by then.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The step that refused.
    pub step: Step,
    /// Its refusal.
    pub reject: Reject,
}

/// A rule about the token alone.
pub type TokenRule = Rule<fn(&TokenCase<'_>) -> Result<(), Reject>>;
/// A rule about an issuer's answer.
pub type AnswerRule = Rule<fn(&AnswerCase<'_>) -> Result<(), Reject>>;
/// A rule of a policy.
pub type PolicyRule = Rule<fn(&PolicyCase<'_>) -> Result<(), Reject>>;

/// What is judged before a key is looked for.
pub const BEFORE_KEY: &[TokenRule] = &[
    Rule { step: Step::Kind, judge: |case| case.issuer.kind(case.contents).map(|_| ()) },
    Rule { step: Step::Algorithm, judge: |case| case.issuer.algorithm(case.contents).map(|_| ()) },
    Rule { step: Step::Time, judge: |case| case.issuer.time(&case.contents.claims, case.now) },
];

/// What is judged of the token once its signature holds.
pub const AFTER_SIGNATURE: &[TokenRule] = &[Rule { step: Step::Proof, judge: |case| proof(&case.contents.claims) }];

/// What is judged of an issuer's answer about an opaque token.
pub const BY_ANSWER: &[AnswerRule] = &[
    Rule { step: Step::Introspection, judge: |case| introspection::active(case.answer, case.issuer) },
    Rule { step: Step::Issuer, judge: |case| introspection::issued(case.answer, case.issuer) },
    Rule { step: Step::Kind, judge: |case| introspection::kind(case.answer, case.issuer) },
    Rule { step: Step::Time, judge: |case| case.issuer.time(case.answer.claims(), case.now) },
    Rule { step: Step::Proof, judge: |case| introspection::unbound(case.answer).and(proof(case.answer.claims())) },
];

/// What a policy judges.
pub const BY_POLICY: &[PolicyRule] = &[
    Rule { step: Step::Claims, judge: well_formed },
    Rule { step: Step::Audience, judge: |case| case.policy.judge_audience(case.claims, case.issuer) },
    Rule { step: Step::Client, judge: |case| case.policy.judge_client(case.claims, case.issuer) },
    Rule { step: Step::Scopes, judge: |case| case.policy.judge_scopes(case.claims, case.issuer) },
    Rule { step: Step::Requirements, judge: |case| case.policy.judge_claims(case.claims) },
];

/// Walks rules about the token to the first refusal.
///
/// # Errors
///
/// That refusal.
pub fn walk_token(rules: &[TokenRule], case: &TokenCase<'_>) -> Result<(), Reject> {
    rules.iter().try_for_each(|rule| (rule.judge)(case))
}

/// Walks the rules about an answer to the first refusal.
///
/// # Errors
///
/// That refusal.
pub fn walk_answer(rules: &[AnswerRule], case: &AnswerCase<'_>) -> Result<(), Reject> {
    rules.iter().try_for_each(|rule| (rule.judge)(case))
}

/// Walks a policy's rules to the first refusal.
///
/// # Errors
///
/// That refusal.
pub fn walk_policy(rules: &[PolicyRule], case: &PolicyCase<'_>) -> Result<(), Refused> {
    rules.iter().try_for_each(|rule| (rule.judge)(case).map_err(|reject| Refused { step: rule.step, reject }))
}

/// RFC 7800 section 3.1: a token with `cnf` is for the holder of a key, and a plain Bearer request proves none.
fn proof(claims: &Claims) -> Result<(), Reject> {
    match claims.get("cnf") {
        None => Ok(()),
        Some(Json::Object(_)) => Err(Reject::ProofRequired),
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_)) => {
            Err(malformed("cnf", "is not an object"))
        }
    }
}

/// Every other claim that is read has the type its standard gives it, whether or not this policy asks for it.
fn well_formed(case: &PolicyCase<'_>) -> Result<(), Reject> {
    let PolicyCase { claims, issuer, policy, told } = case;
    claims.audience()?;
    claims.subject()?;
    issuer.client(claims)?;
    issuer.scopes(claims)?;
    for requirement in &policy.claims {
        requirement.well_formed(claims)?;
    }
    for header in *told {
        header.value(claims).map_err(|problem| malformed(&header.claim.to_string(), problem))?;
    }
    Ok(())
}

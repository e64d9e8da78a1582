//! An embedded issuer, a sample API and a tour of every outcome.

//! Seeds of random tests.

use std::str::FromStr;

/// A generator with a fresh seed, or with the one in this variable. It says how to repeat the test.
pub(crate) fn random(variable: &str, test: &str) -> fastrand::Rng {
    let seed = number(variable).unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("{variable}={seed} cargo test --test it {test}");
    fastrand::Rng::with_seed(seed)
}

/// The number in this variable, if it is set; one that is no number fails the test.
pub(crate) fn number<N: FromStr>(variable: &str) -> Option<N> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("`{variable}` must be a number, not `{text}`")))
}

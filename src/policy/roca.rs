//! Weak RSA keys of one make (CVE-2017-15361, "ROCA").
//!
//! A library in some smart cards and TPMs made primes of the form `k * M + (65537^a mod M)`, where M is the product of
//! the first primes; such moduli can be factored. So modulo each small prime the modulus is a power of 65537. Of keys
//! that were made otherwise about one in 2^27 looks alike by chance, and is refused with them.

/// The odd primes whose product is in M whatever the key's length.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus (big-endian) has the form that can be factored.
pub(super) fn is_weak(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn remainder(modulus: &[u8], prime: u32) -> u32 {
    modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

fn is_power_of_65537(value: u32, prime: u32) -> bool {
    let base = 65537 % prime;
    let mut power = 1;
    loop {
        if power == value {
            return true;
        }
        power = power * base % prime;
        // The powers form a group: after one comes the first again.
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_told_from_the_rest() {
        // Modulo 11 the powers of 65537 are 1 and 10, modulo 5 they are all but zero.
        let powers = |prime| (0..prime).filter(|value| is_power_of_65537(*value, prime)).collect::<Vec<_>>();
        assert_eq!(powers(11), [1, 10]);
        assert_eq!(powers(5), [1, 2, 3, 4]);
    }

    #[test]
    fn a_power_of_65537_is_weak_and_its_neighbour_is_not() {
        // 65537 squared is below M, so that it is a power modulo every prime.
        assert!(is_weak(&(65537_u64 * 65537).to_be_bytes()));
        assert!(!is_weak(&(65537_u64 * 65537 + 2).to_be_bytes()));
        assert!(!is_weak(&[]));
    }
}

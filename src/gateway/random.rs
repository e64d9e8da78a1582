//! Random bytes for ids, which are no secrets.
//!
//! They come from the system's cryptography, much at a time: asked for a few bytes, it costs more than all else that an id
//! takes.

use std::cell::RefCell;

/// How many bytes are asked for at once.
const STOCK: usize = 1024;

struct Stock {
    bytes: [u8; STOCK],
    used: usize,
}

thread_local! {
    static MINE: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; STOCK], used: STOCK }) };
}

/// Bytes that nobody was given before; zeroes where the system has none to give.
pub fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    const { assert!(LENGTH <= STOCK) };
    MINE.with_borrow_mut(|stock| {
        if STOCK - stock.used < LENGTH {
            stock.used = 0;
            if aws_lc_rs::rand::fill(&mut stock.bytes).is_err() {
                tracing::error!("the system gives no random bytes: request ids are not unique");
                stock.bytes = [0; STOCK];
            }
        }
        let mut taken = [0; LENGTH];
        taken.copy_from_slice(&stock.bytes[stock.used..stock.used + LENGTH]);
        stock.used += LENGTH;
        taken
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_are_given_twice() {
        let ids = || (0..1000).map(|_| random::<16>());
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(move || ids().collect::<Vec<_>>())).collect();
        let mut seen: HashSet<[u8; 16]> = ids().collect();
        seen.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        assert_eq!(seen.len(), 5000);
    }
}

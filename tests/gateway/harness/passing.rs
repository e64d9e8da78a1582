//! Time that goes by while something is awaited, where nothing tells when it begins to wait for a moment.

use std::time::Duration;

use bearward::remote::clock::Hands;

/// How much time goes by at once: less than anything waits.
const STEP: Duration = Duration::from_millis(10);

/// What is awaited, while the hands move on and on.
pub async fn passing<T>(hands: &Hands, awaited: impl Future<Output = T>) -> T {
    let time_goes_by = async {
        loop {
            hands.advance(STEP);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        come = awaited => come,
        () = time_goes_by => unreachable!("time does not end"),
    }
}

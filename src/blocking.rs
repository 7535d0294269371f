//! Work that blocks: on a thread of its own, or at once where a simulation has to be the same each time.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    /// Set by simulations.
    pub(crate) static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Does work that blocks.
///
/// # Errors
/// Where it panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    #[cfg(test)]
    if AT_ONCE.get() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
